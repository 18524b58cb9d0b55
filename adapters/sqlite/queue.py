"""The queue of rows on their way from the loop to the writer's thread."""

import threading
from collections import deque
from collections.abc import Callable, Iterable

from attrs import define, field, frozen

_IDLE_SECONDS = 1.0
"""Between two looks of an idle thread at its loop and its file."""


# Materialized, or SQLite would write the text of a row anew for each of its cells: twice the time.
ROWS = "WITH rows (value) AS MATERIALIZED (SELECT value FROM json_each(?))"
"""The beginning of each statement's SQL: its batch as ``rows``, each an array."""


def cell(number: int) -> str:
    """Return the SQL of a cell of a row."""
    return f"json_extract(value, '$[{number}]')"


@frozen
class Statement:
    """One kind of row and the SQL that stores a whole batch of them.

    ``sql`` takes one parameter: a JSON array of rows, each an array (``… FROM json_each(?)``). Within a batch each
    statement runs once, lowest ``order`` first; rows of one statement keep the order in which they were written.
    ``latest`` says that a row replaces an earlier one with the same first value: only the last is stored.
    """

    name: str
    sql: str
    order: int = 0
    latest: bool = False


@frozen
class QueuedRow:
    """One row: its statement, its first value, and all of it as JSON."""

    statement: Statement
    key: object
    text: str


@define(eq=False)
class QueuedWrite:
    """The rows of one write, which become durable in one transaction."""

    rows: list[QueuedRow]
    slot: tuple[str, object] | None = field(init=False)
    """The key under which a later write may replace the rows of this one; None if none may."""

    @slot.default
    def _make_slot(self) -> tuple[str, object] | None:
        if len(self.rows) != 1 or not self.rows[0].statement.latest:
            return None
        return self.rows[0].statement.name, self.rows[0].key


@define(eq=False)
class Queue:
    """Writes in order. Both sides hold the lock for moments only, never while they wait for anything else."""

    _writes: deque[QueuedWrite] = field(factory=deque, init=False)
    _slots: dict[tuple[str, object], QueuedWrite] = field(factory=dict, init=False)
    _changed: threading.Condition = field(factory=threading.Condition, init=False)

    def replace(self, write: QueuedWrite) -> bool:
        """Replace a queued write that ``write`` makes needless; return whether there was one."""
        if (slot := write.slot) is None:
            return False
        with self._changed:
            old = self._slots.get(slot)
            if old is not None:
                old.rows = write.rows
            return old is not None

    def append(self, write: QueuedWrite) -> None:
        """Put ``write`` at the end."""
        slot = write.slot
        with self._changed:
            # A write that comes later must not replace one that is queued before this one.
            for row in write.rows:
                if row.statement.latest:
                    self._slots.pop((row.statement.name, row.key), None)
            if slot is not None:
                self._slots[slot] = write
            self._writes.append(write)
            self._changed.notify()

    def wake(self) -> None:
        """Make ``take`` call ``until`` now."""
        with self._changed:
            self._changed.notify()

    def take(self, count: int, until: Callable[[], bool]) -> list[QueuedWrite]:
        """Wait for writes and remove up to ``count`` of them; return none if none came for a second, or ``until``."""
        with self._changed:
            if not self._writes and not until():
                self._changed.wait(_IDLE_SECONDS)
            taken = [self._writes.popleft() for _ in range(min(count, len(self._writes)))]
            for write in taken:
                if (slot := write.slot) is not None and self._slots.get(slot) is write:
                    del self._slots[slot]
            return taken


def batch_rows(writes: Iterable[QueuedWrite]) -> list[tuple[str, str]]:
    """Return the batch as (SQL, JSON array of rows), one for each statement, by ``order``."""
    rows: dict[Statement, dict[object, str]] = {}
    for number, row in enumerate(row for write in writes for row in write.rows):
        rows.setdefault(row.statement, {})[row.key if row.statement.latest else number] = row.text
    return [
        (statement.sql, f"[{','.join(texts.values())}]")
        for statement, texts in sorted(rows.items(), key=lambda item: item[0].order)
    ]
