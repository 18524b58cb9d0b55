"""The queue of rows on their way from the loop to the writer's thread."""

import math
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from attrs import define, field, frozen

from adapters.sqlite.names import NameNumbers

_IDLE_SECONDS = 1.0
"""Between two looks of an idle thread at its loop and its file."""
_MAX_ROWS: Final = 256
"""Rows that one statement stores. SQLite compiles a statement for each power of two up to it, and keeps them."""
_NULL: Final = math.nan
"""What SQLite takes for NULL, always. Python's ``sqlite3`` hands it over in a thirtieth of the time of None."""
_MAX_INTEGER: Final = 2**63 - 1

Row = tuple[Any, ...]
"""The cells of a row, each a number, a text, bytes or None; the first is never None."""


def cell(number: int) -> str:
    """Return the SQL of a cell of a row."""
    return f"column{number + 1}"


@frozen(eq=False)
class Statement:
    """One kind of row and the SQL that stores a whole batch of them.

    ``sql`` finds the batch as ``rows``, a table whose columns ``cell`` names; each row has ``width`` of them. Within a
    batch, statements with a lower ``order`` run first; rows of one statement keep the order in which they were
    written. ``latest`` says that a row replaces an earlier one with the same first cell: only the last is stored. The
    cells in ``names`` are names, of which ``sql`` gets the numbers.
    """

    name: str
    sql: str
    width: int
    order: int = 0
    latest: bool = False
    names: tuple[int, ...] = ()

    def execute(
        self, connection: sqlite3.Connection, rows: Sequence[Sequence[Any]], numbers: NameNumbers | None = None
    ) -> None:
        """Store rows, up to 256 of them by one statement. ``numbers`` are those that were read before."""
        numbers = NameNumbers(connection) if numbers is None else numbers
        for start in range(0, len(rows), _MAX_ROWS):
            part = rows[start : start + _MAX_ROWS]
            room = 1 << (len(part) - 1).bit_length()
            cells: list[Any] = [_NULL if value is None else value for value in chain.from_iterable(part)]
            for column in self.names:
                cells[column :: self.width] = map(numbers.__getitem__, cells[column :: self.width])
            cells += [_NULL] * ((room - len(part)) * self.width)
            connection.execute(sql_for(self, room), cells)


@lru_cache(maxsize=256)
def sql_for(statement: Statement, room: int) -> str:
    """Return the SQL that stores up to ``room`` rows; those that are not there are NULL throughout."""
    marks = f"({', '.join('?' * statement.width)})"
    values = ", ".join([marks] * room)
    return f"WITH rows AS (SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL) {statement.sql}"


def storable(row: Sequence[Any]) -> Row:
    """Return a row as SQLite can store it and give it back.

    Raises ``TypeError`` or ``ValueError`` for a value that it does not have: a bug of who wrote it, not of the thread.
    """
    for value in row:
        kind = type(value)
        if kind is str:
            if not value.isascii():
                break
        elif kind is float:
            if not math.isfinite(value):
                break
        elif not (value is None or kind is bool or (kind is int and -_MAX_INTEGER <= value <= _MAX_INTEGER)):
            break
    else:
        return tuple(row)
    return tuple(map(_storable, row))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        # Half characters (surrogates), which file names can have, would make the row unreadable for ever.
        return str(value).encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} cannot be stored")
    if isinstance(value, int) and not -_MAX_INTEGER <= value <= _MAX_INTEGER:
        return float(value)
    if not (value is None or isinstance(value, int | float | bytes)):
        raise TypeError(f"a value of type {type(value).__name__} cannot be stored")
    return value


Batch = list[tuple[Statement, list[Row]]]
"""The rows of one transaction for each statement, in the order in which the statements run."""


@define(eq=False)
class QueuedWrite:
    """The rows of one write, each with its statement, which become durable in one transaction."""

    rows: list[tuple[Statement, Row]]

    @property
    def slot(self) -> tuple[Statement, object] | None:
        """The key under which a later write may replace the rows of this one; None if none may."""
        if len(self.rows) != 1:
            return None
        statement, row = self.rows[0]
        return (statement, row[0]) if statement.latest else None


@define(eq=False)
class Queue:
    """Writes in order. Both sides hold the lock for moments only, never while they wait for anything else."""

    _writes: deque[QueuedWrite] = field(factory=deque, init=False)
    _slots: dict[tuple[Statement, object], QueuedWrite] = field(factory=dict, init=False)
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
        """Put ``write`` at the end. An idle thread takes it at the next ``wake``."""
        slot = write.slot
        if slot is None and not self._slots:  # only this side adds slots, and the thread may take a write at any time
            self._writes.append(write)
            return
        with self._changed:
            # A write that comes later must not replace one that is queued before this one.
            if self._slots:
                for statement, row in write.rows:
                    if statement.latest:
                        self._slots.pop((statement, row[0]), None)
            if slot is not None:
                self._slots[slot] = write
            self._writes.append(write)

    def wake(self) -> None:
        """Make ``take`` look at the queue, and call ``until``, now."""
        with self._changed:
            self._changed.notify()

    def take(self, count: int, until: Callable[[], bool]) -> list[QueuedWrite]:
        """Wait for writes and remove up to ``count`` of them; return none if none came for a second, or ``until``."""
        with self._changed:
            if not self._writes and not until():
                self._changed.wait(_IDLE_SECONDS)
            taken = [self._writes.popleft() for _ in range(min(count, len(self._writes)))]
            if self._slots:
                for write in taken:
                    if (slot := write.slot) is not None and self._slots.get(slot) is write:
                        del self._slots[slot]
            return taken


def batch_rows(writes: Iterable[QueuedWrite]) -> Batch:
    """Return the rows of a batch for each statement, by ``order``."""
    batch: dict[Statement, list[Row]] = {}
    for write in writes:
        for statement, row in write.rows:
            found = batch.get(statement)
            if found is None:
                found = batch[statement] = []
            found.append(row)
    return [
        (statement, list({row[0]: row for row in rows}.values()) if statement.latest else rows)
        for statement, rows in sorted(batch.items(), key=lambda item: item[0].order)
    ]
