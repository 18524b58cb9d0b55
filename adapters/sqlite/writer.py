"""Group commit: many small writes of an event loop, few durable transactions of one thread.

    loop    write ──▶ queue (bounded) ──▶ thread    BEGIN IMMEDIATE; one INSERT … FROM rows per statement; COMMIT
      ▲                                     │
      └── acknowledge, one call per batch ◀─┘

Each call into ``sqlite3`` releases the GIL once, and while the loop is busy it takes long to get it back. Therefore a
batch is one statement per kind of row, not one per row.

The thread never waits for long where it cannot be told to stop. The connection's own busy timeout is a short *slice*
(``WriterTimeouts.slice``). The timeout of 30 s is a loop of slices around ``BEGIN IMMEDIATE``, the only statement that
waits for a lock in WAL mode, and the thread notices closing between two slices. Each slice is a turn of its own in the
process queue (``process_queue.py``). ``sqlite3_interrupt`` is not an alternative: it does not end the sleep of a busy
handler, and it could hit a transaction that is about to succeed.
"""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
from attrs import define, field, frozen

from adapters.redaction import redacted
from adapters.sqlite.errors import WriterBroken, WriterClosed, database_failure
from adapters.sqlite.memory import Memory
from adapters.sqlite.node_file import LifeIsOver, life_ended
from adapters.sqlite.pulse import WriterPulse
from adapters.sqlite.queue import Batch, Queue, QueuedWrite, Row, Statement, batch_rows, storable
from adapters.sqlite.rescue import Rescue
from adapters.sqlite.written_database import WrittenDatabase
from adapters.stores.backlog import Backlog, resolve
from states.events import DatabaseLocked, Failure, Unexpected

WriterObserver = Callable[[Failure | None, int], None]
"""Called on the loop with what keeps rows from being saved (None: nothing any more) and how many rows wait."""

MAX_BATCH_ROWS = 512
MAX_QUEUED_ROWS = 16_384

_CLOSING_RETRY_SECONDS = 0.02
_ORPHAN_TIMEOUT = 5.0
"""Seconds that a thread goes on saving after its loop or its interpreter has ended."""
_CLOSE_SLACK_SECONDS = 1.0


@frozen(kw_only=True)
class WriterTimeouts:
    """How long the thread waits for what, in seconds."""

    busy: float = 30.0
    """For another program's lock, before it is reported as ``DatabaseLocked``."""
    slice: float = 0.25
    """For a lock, in one call into SQLite: the thread notices closing so late at the most."""
    retry: float = 5.0
    """Between a batch that failed and its next try."""


@define(eq=False, kw_only=True)
class GroupWriter:
    """Writes rows into one database file, in order, through a thread of its own. Create it on a running loop.

    The writer owns ``connection`` (opened by ``open_database``) from now on and closes it. A database that is locked,
    full or broken loses nothing: the batch is tried again, for ever, and each failed try calls ``on_trouble``.
    ``max_waiting`` is the number of rows that may wait to become durable before ``write`` makes its caller wait.

    ``write`` and ``flush`` return when their work is done, when the writer is closed, or when it stops because of a
    bug. A broken disk can make that long, so callers that cannot wait put a deadline of their own around them.
    """

    path: str
    connection: sqlite3.Connection
    on_trouble: WriterObserver
    max_waiting: int = MAX_QUEUED_ROWS
    timeouts: WriterTimeouts = WriterTimeouts()
    memory: Memory | None = None
    """What goes into a new file if this one is lost; None leaves a lost file alone."""
    on_rescue: Callable[[Rescue], None] | None = None
    """Called on the loop when a new file has taken the place of a lost one."""
    life: int = 0
    """The life of the node that writes, where several processes share the file: once it is over, nothing is taken."""
    on_ended: Callable[[], None] | None = None
    """Called on the loop when something was not taken because the life is over."""
    replaced: int = field(default=0, init=False)
    """How many times a new file has taken the place of a lost one: other connections to it must be opened again."""

    # Used on the loop only.
    pulse: WriterPulse = field(factory=WriterPulse, init=False)
    _backlog: Backlog = field(factory=Backlog, init=False)
    _ended: anyio.Event = field(factory=anyio.Event, init=False)
    _bug: BaseException | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _wakes: bool = field(default=False, init=False)
    """Whether the thread is to be woken at the end of the loop's turn."""
    # Shared with the thread; each is safe by itself.
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _queue: Queue = field(factory=Queue, init=False)
    _closing: threading.Event = field(factory=threading.Event, init=False)
    _deadline: float | None = field(default=None, init=False)
    _looks: deque[asyncio.Future[None]] = field(factory=deque, init=False)
    _suspected: threading.Event = field(factory=threading.Event, init=False)
    _file: WrittenDatabase = field(init=False)
    _loss_told: bool = field(default=False, init=False)
    _thread: threading.Thread = field(init=False)

    @_file.default
    def _make_file(self) -> WrittenDatabase:
        return WrittenDatabase(
            path=Path(self.path),
            connection=self.connection,
            busy_timeout=min(self.timeouts.slice, self.timeouts.busy),
            memory=self.memory,
            on_rescue=lambda done: self._post(self._tell_rescue, done),
            life=self.life,
            on_found_again=lambda done: self._post(self._tell_rescue, done),
        )

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self._work, name=f"writer of {self.path}", daemon=False)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many rows are not durable yet."""
        return self._backlog.waiting

    async def write(self, statement: Statement, row: Sequence[Any]) -> None:
        """Queue one row; return at once unless the queue is full. The row is not durable yet: see ``flush``.

        Raises ``WriterClosed`` after ``aclose``, ``LifeIsOver`` after the end of the life, ``WriterBroken`` after a bug
        in the thread, ``TypeError`` or ``ValueError`` for a value that SQLite does not have.
        """
        await self.write_together(((statement, row),))

    async def write_together(self, rows: Sequence[tuple[Statement, Sequence[Any]]]) -> None:
        """Queue rows that become durable in one transaction. They count as one row of ``max_waiting``. See ``write``.

        When the caller is cancelled while it waits for room, none of the rows is queued.
        """
        # Checked here: the error is the caller's.
        write = QueuedWrite([(statement, storable(row)) for statement, row in rows])
        await self._backlog.admit(lambda: self._put(write))

    def offer(self, rows: Sequence[tuple[Statement, Sequence[Any]]], *, always: bool = False) -> bool:
        """Queue rows as ``write_together`` does, without waiting; return False if there is no room.

        With ``always`` they need no room: for the last ones.
        """
        if self._backlog.is_awaited and not always:
            return False
        return self._put(QueuedWrite([(statement, storable(row)) for statement, row in rows]), always=always)

    def offer_checked(self, rows: list[tuple[Statement, Row]]) -> bool:
        """Queue rows as ``offer`` does, whose values are known to be such as SQLite has."""
        return not self._backlog.is_awaited and self._put(QueuedWrite(rows))

    async def flush(self) -> None:
        """Return when everything written before is durable. Raises as ``write`` does."""
        await self._backlog.flush(self.raise_if_over)

    async def look(self) -> None:
        """Return when the file has been compared with the one that is open, and replaced if it was lost."""
        if not (self._ended.is_set() or self._closed):
            seen: asyncio.Future[None] = self._loop.create_future()
            self._looks.append(seen)
            self._queue.wake()
            await seen

    def suspect(self) -> None:
        """Have the file checked: somebody who reads it has found damage. May be called from any thread."""
        self._suspected.set()
        self._queue.wake()

    async def aclose(self, timeout: float) -> int:
        """Save the queued rows, shrink the WAL, close the file and end the thread, all within ``timeout`` seconds.

        Returns the number of rows that could not be saved: 0, unless the database was unusable for all that time. A
        cancelled caller still waits: the wait is bounded, and the number would be lost.
        """
        self._closed = True
        self._backlog.make_room()  # whoever waits for room finds the writer closed; a flush may still succeed
        if not self._closing.is_set():
            self._deadline = time.monotonic() + timeout
            self._closing.set()
            self._queue.wake()
        # The slack is for a call into SQLite that is under way; only a disk that hangs in the kernel takes longer.
        with anyio.move_on_after(timeout + _CLOSE_SLACK_SECONDS, shield=True):
            await self._ended.wait()
            self._thread.join()  # which takes no time: the thread reports its end as its last act
        return self.waiting

    # --- on the loop -------------------------------------------------------------------------------------------------

    def _put(self, write: QueuedWrite, *, always: bool = False) -> bool:
        """Queue ``write`` if there is room; return whether there was."""
        self.raise_if_over()
        if self._queue.replace(write):
            return True
        waiting = self._backlog.waiting
        if waiting >= self.max_waiting and not always:
            return False
        if not waiting:
            self.pulse.begin()
        self._backlog.add()
        self._queue.append(write)
        if not self._wakes:
            # At the end of the loop's turn: what else is written in it becomes durable in the same transaction.
            self._wakes = True
            self._loop.call_soon(self._wake)
        return True

    def _wake(self) -> None:
        self._wakes = False
        self._queue.wake()

    def raise_if_over(self) -> None:
        """Raise what ``write`` would raise because the writer has ended."""
        if isinstance(self._bug, LifeIsOver):
            raise LifeIsOver(str(self._bug))
        if self._bug is not None:
            raise WriterBroken(
                f"{self.path}: the writer stopped because of a bug ({_sentence(self._bug)}), {self.waiting} rows are "
                "not saved; restart the engine and report the bug"
            ) from self._bug
        if self._closed:
            raise WriterClosed(f"{self.path}: the writer is closed; write before closing")

    def _acknowledge(self, rows: int, recovered: bool) -> None:
        self._backlog.store(rows)
        self.pulse.store(rows, more=self.waiting > 0, recovered=recovered)
        if recovered:
            self.on_trouble(None, self.waiting)

    def _tell_rescue(self, done: Rescue | None) -> None:
        self.replaced += 1
        if self.on_rescue is not None and done is not None:
            self.on_rescue(done)

    def _report(self, failure: Failure) -> None:
        self.pulse.fail(failure)
        self.on_trouble(failure, self.waiting)

    def _end(self, bug: BaseException | None) -> None:
        self._bug, self._closed = bug, True
        self._ended.set()
        while self._looks:
            resolve(self._looks.popleft())
        self._backlog.end()
        if isinstance(bug, LifeIsOver):
            if self.on_ended is not None:
                self.on_ended()
        elif bug is not None:
            self._report(Unexpected(detail=f"the writer of {self.path} stopped: {_sentence(bug)}"))

    # --- in the thread -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        bug: BaseException | None = None
        try:
            self._file.begin()
            while True:
                closing = self._is_closing()  # asked before the queue: what was queued before closing is still taken
                writes = self._queue.take(MAX_BATCH_ROWS, until=lambda: self._is_closing() or bool(self._looks))
                if not writes and (closing or not self._idle()):
                    break
                if writes and (self._is_out_of_time() or not self._save(writes)):
                    break
            if not self._is_out_of_time():
                self._find_failure()
                if not self.life:
                    self._file.shrink_log()
        except BaseException as exc:  # a thread has no caller: the next write raises it
            bug = exc
        finally:
            self._file.close()
            self._post(self._end, bug)

    def _save(self, writes: list[QueuedWrite]) -> bool:
        """Store one batch, trying as often as it takes; return False when closing leaves no more time."""
        has_failed = False
        batch: Batch = []
        while True:
            try:
                failure = self._find_failure()
                if failure is None:
                    batch = batch_rows(writes)
                    self._store(batch)
            except (sqlite3.Error, MemoryError) as exc:
                failure = self._file.failure_of(exc)
                if failure is None:
                    raise
                if self._file.is_replaced_after(exc, failure):
                    continue
            if failure is None:
                if self.memory is not None:
                    self.memory.stored(batch)
                self._post(self._acknowledge, len(writes), has_failed)
                return True
            if not (has_failed and self._is_closing()):  # closing retries many times at once: one report is enough
                self._post(self._report, failure)
            has_failed = True
            if not self._pause(self.timeouts.retry):
                return False

    def _idle(self) -> bool:
        """Look at the file while there is nothing to write; tell those that asked for it."""
        asked = len(self._looks)
        try:
            failure = self._find_failure()
        except MemoryError as exc:
            failure = database_failure(exc)
        if failure is not None and not self._loss_told:
            self._post(self._report, failure)
        self._loss_told = failure is not None
        for _ in range(asked):
            self._post(resolve, self._looks.popleft())
        return True

    def _find_failure(self) -> Failure | None:
        """Look at the file, and make a new one if it was lost; return why that could not be done."""
        suspected = self._suspected.is_set() and not self._is_closing()
        failure = self._file.find_failure(suspected=suspected)
        self._suspected.clear()
        if failure is not None and self.life and self._is_closing():
            raise life_ended(Path(self.path), self.life)  # the file that would be waited for does not know it
        return failure

    def _store(self, batch: Batch) -> None:
        """Store one batch in one transaction: all of it or, with an exception, nothing.

        The turn ends between two tries: while a program that does not queue keeps its lock, a neighbour must not wait
        behind this thread.
        """
        give_up = time.monotonic() + self.timeouts.busy
        while True:
            try:
                self._file.write(batch, lambda: self._is_closing() or time.monotonic() >= give_up)
                return
            except sqlite3.Error as exc:
                if not isinstance(database_failure(exc), DatabaseLocked) or time.monotonic() >= give_up:
                    raise
                # SQLite refuses some locks without a wait: without this pause the loop could spin.
                if not self._pause(_CLOSING_RETRY_SECONDS):
                    raise

    def _pause(self, seconds: float) -> bool:
        """Wait; closing cuts the wait short. Return whether there is time for another try."""
        end = time.monotonic() + seconds
        while not self._is_closing() and (left := end - time.monotonic()) > 0:
            self._closing.wait(min(left, 1.0))
        if self._is_closing():
            time.sleep(_CLOSING_RETRY_SECONDS)
        return not self._is_out_of_time()

    def _is_closing(self) -> bool:
        """Return whether ``aclose`` was called, or cannot be called any more.

        A loop can be closed, or the interpreter can exit, without ``aclose``. The thread then saves what it has and
        ends, because a non-daemon thread would keep the process alive.
        """
        if not self._closing.is_set() and (self._loop.is_closed() or not threading.main_thread().is_alive()):
            self._deadline = time.monotonic() + _ORPHAN_TIMEOUT
            self._closing.set()
        return self._closing.is_set()

    def _is_out_of_time(self) -> bool:
        return self._is_closing() and self._deadline is not None and time.monotonic() >= self._deadline

    def _post(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and all its callers are gone
            self._loop.call_soon_threadsafe(call, *arguments)


def _sentence(exc: BaseException) -> str:
    return redacted(f"{type(exc).__name__}: {exc}")
