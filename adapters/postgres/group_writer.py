"""Group commit into PostgreSQL: many small writes of an event loop, few durable transactions of one connection.

    write ──▶ queue (bounded) ──▶ run()    BEGIN; fence; one statement per kind of row; COMMIT    (one round trip)
      ▲                             │
      └──────── acknowledge ◀───────┘

While one transaction is on its way, all that is written gathers for the next one. A transaction whose answer was lost
may have been committed, and is sent again: each statement of a writer must bear to be executed twice.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import anyio
from attrs import define, field

from adapters.postgres.errors import Fenced, StoreUnusable
from adapters.postgres.statements import Row
from adapters.redaction import redacted
from adapters.sqlite.errors import WriterBroken, WriterClosed
from adapters.sqlite.pulse import WriterPulse
from adapters.stores.backlog import Backlog
from states.events import Failure, Unexpected

Call = tuple[str, Sequence[Any]]
"""A statement and its values."""
StoreObserver = Callable[[Failure | None, int], None]
"""Called with what keeps rows from being saved (None: nothing any more) and how many writes wait."""

MAX_QUEUED_WRITES = 16_384
MAX_BATCH_ROWS = 4096
"""Rows of one transaction; a single write may have more."""
FIRST_RETRY_SECONDS = 0.05
"""After a transaction that failed once: two nodes may have waited for each other. It doubles with each failure."""
RETRY_SECONDS = 5.0
"""The longest time between a transaction that failed and its next try."""
CLOSING_RETRY_SECONDS = 0.1


class RowKind(Protocol):
    """One kind of row: ``RowStatement`` is one, and whatever else a store knows to write."""

    @property
    def order(self) -> int:
        """Kinds with a lower one are written first."""

    @property
    def constants(self) -> Sequence[Any]:
        """Names of values of the writer that it needs."""

    def storable(self, row: Sequence[Any]) -> Row:
        """Return a row as the store can have it. Raises ``TypeError`` or ``ValueError``."""

    def calls(self, rows: Sequence[Row], constants: Sequence[Any] = ()) -> Sequence[Call]:
        """Return what stores these rows."""


class FencedStore(Protocol):
    """Where a life of a node writes."""

    async def transact(self, calls: Sequence[Call]) -> object:
        """Execute these in one transaction that begins with the fence of the life: all of them, or none.

        Raises ``Fenced`` if the life has ended, and ``StoreUnusable`` if it is not known whether they are stored.
        """


@define(eq=False)
class _Write:
    """The rows of one write, each with its statement."""

    rows: Sequence[tuple[RowKind, Row]]


@define(eq=False, kw_only=True)
class StoreWriter:
    """Writes rows in order, for one life of a node. ``run`` it in a task group for as long as it is used.

    A store that is down loses nothing: the batch is tried again, for ever, and each failed try calls ``on_trouble``.
    ``max_waiting`` is the number of writes that may wait before ``write`` makes its caller wait. ``constants`` are the
    values that statements name.
    """

    store: FencedStore
    on_trouble: StoreObserver = lambda failure, waiting: None
    on_fenced: Callable[[], None] = lambda: None
    """Called when the store has refused rows because the life is over."""
    max_waiting: int = MAX_QUEUED_WRITES
    retry: float = RETRY_SECONDS
    constants: dict[str, Any] = field(factory=dict)
    pulse: WriterPulse = field(factory=WriterPulse, init=False)
    _queue: deque[_Write] = field(factory=deque, init=False)
    _backlog: Backlog = field(factory=Backlog, init=False)
    _changed: asyncio.Event = field(factory=asyncio.Event, init=False)
    _closing: anyio.Event = field(factory=anyio.Event, init=False)
    _deadline: float = field(default=math.inf, init=False)
    """Until when ``run`` goes on trying, by the loop's clock."""
    _ended: anyio.Event = field(factory=anyio.Event, init=False)
    _bug: BaseException | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    @property
    def waiting(self) -> int:
        """How many writes are not durable yet."""
        return self._backlog.waiting

    async def write(self, statement: RowKind, row: Sequence[Any]) -> None:
        """Queue one row; return at once unless the queue is full. The row is not durable yet: see ``flush``.

        Raises ``WriterClosed`` after ``aclose``, ``Fenced`` after the end of the life, ``WriterBroken`` after a bug,
        ``TypeError`` or ``ValueError`` for a value that a column cannot have.
        """
        await self.write_together(((statement, row),))

    async def write_together(self, rows: Sequence[tuple[RowKind, Sequence[Any]]]) -> None:
        """Queue rows that become durable in one transaction. See ``write``.

        When the caller is cancelled while it waits for room, none of the rows is queued.
        """
        write = _Write([(statement, statement.storable(row)) for statement, row in rows])
        await self._backlog.admit(lambda: self._put(write))

    def offer(self, rows: Sequence[tuple[RowKind, Sequence[Any]]], *, always: bool = False) -> bool:
        """Queue rows as ``write_together`` does, without waiting; return False if there is no room.

        With ``always`` they need no room: for the last ones.
        """
        if self._backlog.is_awaited and not always:
            return False
        return self._put(_Write([(statement, statement.storable(row)) for statement, row in rows]), always=always)

    def offer_checked(self, rows: Sequence[tuple[RowKind, Row]]) -> bool:
        """Queue rows as ``offer`` does, whose values are known to be such as their columns can have."""
        return not self._backlog.is_awaited and self._put(_Write(rows))

    async def flush(self) -> None:
        """Return when everything written before is durable. Raises as ``write`` does."""
        await self._backlog.flush(self.raise_if_over)

    async def aclose(self, timeout: float) -> int:
        """Save the queued rows and end ``run``, within ``timeout`` seconds; return how many writes could not be saved.

        A cancelled caller still waits: the wait is bounded, and the number would be lost.
        """
        self._closed, self._deadline = True, anyio.current_time() + timeout
        self._backlog.make_room()
        self._changed.set()
        self._closing.set()
        with anyio.move_on_after(timeout, shield=True):
            await self._ended.wait()
        return self.waiting

    async def run(self) -> None:
        """Store what is written, until ``aclose``, the end of the life, a bug, or cancellation."""
        try:
            while self._queue or not self._closed:
                if self._queue:
                    if not await self._save(self._take()):
                        break
                else:
                    self._changed.clear()
                    await self._changed.wait()
        except Fenced as exc:
            self._bug = exc
            self.on_fenced()
        except Exception as exc:
            self._bug = exc
            self._report(Unexpected(detail=f"the writer of the store stopped: {_sentence(exc)}"))
        finally:
            self._end()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _put(self, write: _Write, *, always: bool = False) -> bool:
        self.raise_if_over()
        waiting = self._backlog.waiting
        if waiting >= self.max_waiting and not always:
            return False
        if not waiting:
            self.pulse.begin()
        self._backlog.add()
        self._queue.append(write)
        self._changed.set()
        return True

    def raise_if_over(self) -> None:
        """Raise what ``write`` would raise because the writer has ended."""
        if isinstance(self._bug, Fenced):
            raise Fenced(str(self._bug))
        if self._bug is not None:
            raise WriterBroken(
                f"the writer of the store stopped because of a bug ({_sentence(self._bug)}), {self.waiting} rows are "
                "not saved; restart the engine and report the bug"
            ) from self._bug
        if self._closed:
            raise WriterClosed("the writer of the store is closed; write before closing")

    def _take(self) -> list[_Write]:
        """Remove the writes of the next transaction from the queue, one at least."""
        taken: list[_Write] = []
        rows = 0
        while self._queue and (not taken or rows + len(self._queue[0].rows) <= MAX_BATCH_ROWS):
            taken.append(self._queue.popleft())
            rows += len(taken[-1].rows)
        return taken

    async def _save(self, writes: list[_Write]) -> bool:
        """Store one batch, trying as often as it takes; return False when closing leaves no more time."""
        calls, failures = self._calls(writes), 0
        while True:
            try:
                await self.store.transact(calls)
                break
            except StoreUnusable as exc:
                failures += 1
                self._report(exc.failure)
                if not await self._pause(min(self.retry, FIRST_RETRY_SECONDS * 2 ** min(failures, 16))):
                    return False
        self._backlog.store(len(writes))
        self.pulse.store(len(writes), more=self.waiting > 0, recovered=failures > 0)
        if failures:
            self.on_trouble(None, self.waiting)
        return True

    async def _pause(self, seconds: float) -> bool:
        """Wait before the next try; closing makes the wait short. Return whether there is time for another try."""
        if self._closed:
            await anyio.sleep(CLOSING_RETRY_SECONDS)
        else:
            with anyio.move_on_after(seconds):
                await self._closing.wait()
        return anyio.current_time() < self._deadline

    def _calls(self, writes: list[_Write]) -> list[Call]:
        batch: dict[RowKind, list[Row]] = {}
        for write in writes:
            for statement, row in write.rows:
                found = batch.get(statement)
                if found is None:
                    found = batch[statement] = []
                found.append(row)
        return [
            call
            for statement, rows in sorted(batch.items(), key=lambda item: item[0].order)
            for call in statement.calls(rows, [self.constants[name] for name in statement.constants])
        ]

    def _report(self, failure: Failure) -> None:
        self.pulse.fail(failure)
        with contextlib.suppress(Exception):
            self.on_trouble(failure, self.waiting)

    def _end(self) -> None:
        self._closed = True
        self._ended.set()
        self._backlog.end()


def _sentence(exc: BaseException) -> str:
    return redacted(f"{type(exc).__name__}: {exc}")
