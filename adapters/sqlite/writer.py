"""Group commit: many small writes of an event loop, few durable transactions of one thread.

    loop    write ──▶ queue (bounded) ──▶ thread    BEGIN IMMEDIATE; one INSERT … FROM json_each per statement; COMMIT
      ▲                                     │
      └── acknowledge, one call per batch ◀─┘

Each call into ``sqlite3`` gives the GIL away once, and with a busy loop it takes long to come back. Therefore a batch
is one statement per kind of row, not one per row.

The thread never waits for long where it cannot be told to stop. The connection's own busy timeout is a short *slice*
(``WriterTimeouts.slice``); the timeout of 30 s is a loop of slices around ``BEGIN IMMEDIATE``, the only statement that
waits for a lock in WAL mode, and closing is noticed between two slices. Each slice is a turn of its own in the queue of
the processes that write to the file (``process_queue.py``). ``sqlite3_interrupt`` is no alternative: it does not
end the sleep of a busy handler, and it could hit a transaction that is about to succeed.
"""

import asyncio
import contextlib
import json
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any

import anyio
from attrs import define, field, frozen

from adapters.sqlite.errors import WriterBroken, WriterClosed, database_failure
from adapters.sqlite.process_queue import ProcessQueue
from adapters.sqlite.queue import Piece, Queue, Statement, Unit, gather
from states.events import DatabaseLocked, Failure, Unexpected

Trouble = Callable[[Failure | None, int], None]
"""Told on the loop what keeps rows from being saved (None: nothing any more) and how many are waiting."""

BATCH_ROWS = 512
QUEUE_ROWS = 16_384

_CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)"
_CLOSING_RETRY_SECONDS = 0.02
_ORPHAN_TIMEOUT_SECONDS = 5.0
_CLOSE_SLACK_SECONDS = 1.0

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _row_text(row: Sequence[Any]) -> str:
    """Return a row as a JSON array (ASCII)."""
    return f"[{','.join([_cell_text(value) for value in row])}]"


def _cell_text(value: Any) -> str:
    """Return a value as JSON. What is most of it needs no encoder to be made, which is slow."""
    kind = type(value)
    if kind is str:
        return encode_basestring_ascii(value)
    if value is None:
        return "null"
    if kind is int or (kind is float and math.isfinite(value)):
        return repr(value)
    return _encode(value)


@frozen(kw_only=True)
class WriterTimeouts:
    """How long the thread waits, in seconds."""

    busy: float = 30.0
    """For another program's lock, before that is reported as ``DatabaseLocked``."""
    slice: float = 0.25
    """For a lock, in one call into SQLite; how late closing can be noticed."""
    retry: float = 5.0
    """Between a batch that failed and its next try."""


@define(eq=False, kw_only=True)
class GroupWriter:
    """Writes rows into one database file, in order, through a thread of its own. Create it on a running loop.

    The writer owns ``connection`` (opened by ``open_database``) from now on and closes it. A database that is locked,
    full or broken loses nothing: the batch is tried again, for ever, and ``on_trouble`` is told each time.
    ``bound`` is the number of rows that may wait to become durable before ``write`` makes its caller wait.

    ``write`` and ``flush`` end with their work done, with the writer's closing or with its bug. A broken disk can make
    that long, so callers that cannot wait for it put their own deadline around them.
    """

    path: str
    connection: sqlite3.Connection
    on_trouble: Trouble
    bound: int = QUEUE_ROWS
    waits: WriterTimeouts = WriterTimeouts()

    # The loop's own.
    _written: int = field(default=0, init=False)
    _durable: int = field(default=0, init=False)
    _flushes: deque[tuple[int, asyncio.Future[None]]] = field(factory=deque, init=False)
    _door: anyio.Lock = field(factory=anyio.Lock, init=False)
    _room: anyio.Event = field(factory=anyio.Event, init=False)
    _ended: anyio.Event = field(factory=anyio.Event, init=False)
    _bug: BaseException | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    # Shared with the thread; each is safe by itself.
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _queue: Queue = field(factory=Queue, init=False)
    _gate: ProcessQueue = field(init=False)
    _closing: threading.Event = field(factory=threading.Event, init=False)
    _deadline: float | None = field(default=None, init=False)
    _thread: threading.Thread = field(init=False)

    @_gate.default
    def _before_the_file(self) -> ProcessQueue:
        return ProcessQueue(Path(self.path))

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self._work, name=f"writer of {self.path}", daemon=False)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many rows are not durable yet."""
        return self._written - self._durable

    async def write(self, statement: Statement, row: Sequence[Any]) -> None:
        """Queue one row; return at once unless the queue is at its bound. The row is not durable yet: see ``flush``.

        Raises ``WriterClosed`` after ``aclose``, ``WriterBroken`` after a bug in the thread, ``TypeError`` or
        ``ValueError`` for what is not JSON.
        """
        await self.write_together(((statement, row),))

    async def write_together(self, rows: Sequence[tuple[Statement, Sequence[Any]]]) -> None:
        """Queue rows that become durable in one transaction. They count as one row of the bound. See ``write``.

        When the caller is cancelled while it waits for room, nothing of it is queued.
        """
        # Encoded here, a row at a time: the thread would hold the GIL for a whole batch, and the error is the caller's.
        unit = Unit([Piece(statement, row[0], _row_text(row)) for statement, row in rows])
        # While somebody waits for room, everybody queues behind: nobody overtakes.
        if not self._door.locked() and self._put(unit):
            return
        async with self._door:
            while not self._put(unit):
                await self._room.wait()

    async def flush(self) -> None:
        """Return when all that was written before is durable. Raises as ``write`` does."""
        target = self._written
        if self._durable >= target:
            return
        self._raise_if_over()
        reached: asyncio.Future[None] = self._loop.create_future()
        self._flushes.append((target, reached))
        await reached
        if self._durable < target:
            self._raise_if_over()

    async def aclose(self, timeout: float) -> int:
        """Save what is queued, shrink the WAL, close the file and end the thread, all within ``timeout`` seconds.

        Returns the number of rows that could not be saved: 0, unless the database was unusable for all that time. A
        cancelled caller still waits: it is bounded, and the number would be lost.
        """
        self._closed = True
        self._make_room()  # a caller that waits for room sees that none will come; those that flush may still succeed
        if not self._closing.is_set():
            self._deadline = time.monotonic() + timeout
            self._closing.set()
            self._queue.wake()
        # The slack is for a call into SQLite that is under way; only a disk that hangs in the kernel takes longer.
        with anyio.move_on_after(timeout + _CLOSE_SLACK_SECONDS, shield=True):
            await self._ended.wait()
            self._thread.join()  # the thread's last act was to say that it ended: nothing to wait for
        return self.waiting

    # --- on the loop -------------------------------------------------------------------------------------------------

    def _put(self, unit: Unit) -> bool:
        """Queue ``unit`` if there is room."""
        self._raise_if_over()
        if self._queue.replace(unit):
            return True
        if self.waiting >= self.bound:
            return False
        self._written += 1
        self._queue.append(unit)
        return True

    def _raise_if_over(self) -> None:
        if self._bug is not None:
            raise WriterBroken(
                f"{self.path}: the writer stopped because of a bug ({_sentence(self._bug)}), {self.waiting} rows are "
                "not saved; restart the engine and report the bug"
            ) from self._bug
        if self._closed:
            raise WriterClosed(f"{self.path}: the writer is closed; write before closing")

    def _acknowledge(self, rows: int, recovered: bool) -> None:
        self._durable += rows
        while self._flushes and self._flushes[0][0] <= self._durable:
            _reach(self._flushes.popleft()[1])
        self._make_room()
        if recovered:
            self.on_trouble(None, self.waiting)

    def _report(self, failure: Failure) -> None:
        self.on_trouble(failure, self.waiting)

    def _end(self, bug: BaseException | None) -> None:
        self._bug, self._closed = bug, True
        self._ended.set()
        while self._flushes:
            _reach(self._flushes.popleft()[1])
        self._make_room()
        if bug is not None:
            self.on_trouble(Unexpected(detail=f"the writer of {self.path} stopped: {_sentence(bug)}"), self.waiting)

    def _make_room(self) -> None:
        self._room.set()
        self._room = anyio.Event()

    # --- in the thread -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        bug: BaseException | None = None
        try:
            self.connection.execute(f"PRAGMA busy_timeout = {int(min(self.waits.slice, self.waits.busy) * 1000)}")
            while units := self._queue.take(BATCH_ROWS, until=self._is_closing):
                if self._out_of_time() or not self._save(units):
                    break
            if not self._out_of_time():
                with contextlib.suppress(sqlite3.Error):  # the WAL is as durable as the file
                    self.connection.execute(_CHECKPOINT)
        except BaseException as exc:  # a thread has no caller: the loop tells whoever writes next
            bug = exc
        finally:
            with contextlib.suppress(sqlite3.Error):
                self.connection.close()
            self._gate.close()
            self._post(self._end, bug)

    def _save(self, units: list[Unit]) -> bool:
        """Store one batch, trying as often as it takes; return False when closing leaves no more time."""
        batch, troubled = gather(units), False
        while True:
            try:
                self._store(batch)
            except sqlite3.Error as exc:
                failure = database_failure(exc)
                if failure is None:
                    raise
            else:
                self._post(self._acknowledge, len(units), troubled)
                return True
            if not (troubled and self._is_closing()):  # closing retries at once, many times: told once is enough
                self._post(self._report, failure)
            troubled = True
            if not self._pause(self.waits.retry):
                return False

    def _store(self, batch: list[tuple[str, str]]) -> None:
        """Store one batch in one transaction: all of it or, with an exception, nothing.

        The turn is given up between two tries: while another program, which does not queue, keeps its lock, a neighbour
        must not wait behind this thread.
        """
        give_up = time.monotonic() + self.waits.busy
        while True:
            try:
                with self._gate.turn(lambda: self._is_closing() or time.monotonic() >= give_up):
                    self.connection.execute("BEGIN IMMEDIATE")
                    self._fill(batch)
                return
            except sqlite3.Error as exc:
                if not isinstance(database_failure(exc), DatabaseLocked) or time.monotonic() >= give_up:
                    raise
                # Some locks are refused without a wait: without this pause the loop could spin.
                if not self._pause(_CLOSING_RETRY_SECONDS):
                    raise

    def _fill(self, batch: list[tuple[str, str]]) -> None:
        try:
            for sql, rows in batch:
                self.connection.execute(sql, (rows,))
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:  # many errors of SQLite roll back by themselves
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
            raise

    def _pause(self, seconds: float) -> bool:
        """Wait; closing cuts it short. Return whether there is time for another try."""
        end = time.monotonic() + seconds
        while not self._is_closing() and (left := end - time.monotonic()) > 0:
            self._closing.wait(min(left, 1.0))
        if self._is_closing():
            time.sleep(_CLOSING_RETRY_SECONDS)
        return not self._out_of_time()

    def _is_closing(self) -> bool:
        """Whether the end was asked for, or nobody is left who could ask.

        A loop that was closed, or an interpreter that exits, without ``aclose``: the thread then saves what it has and
        ends, because a thread that is no daemon would keep the process alive.
        """
        if not self._closing.is_set() and (self._loop.is_closed() or not threading.main_thread().is_alive()):
            self._deadline = time.monotonic() + _ORPHAN_TIMEOUT_SECONDS
            self._closing.set()
        return self._closing.is_set()

    def _out_of_time(self) -> bool:
        return self._is_closing() and self._deadline is not None and time.monotonic() >= self._deadline

    def _post(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(call, *arguments)


def _reach(future: "asyncio.Future[None]") -> None:
    if not future.done():  # its caller may have been cancelled
        future.set_result(None)


def _sentence(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"
