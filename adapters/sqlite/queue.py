"""What waits to be saved: rows on their way from the loop to the writer's thread."""

import threading
from collections import deque
from collections.abc import Callable, Iterable

from attrs import define, field, frozen

_IDLE_SECONDS = 1.0
"""How often an idle thread looks whether somebody is still there."""


# Materialized, or SQLite would write the text of a row anew for each of its cells: twice the time.
ROWS = "WITH rows (value) AS MATERIALIZED (SELECT value FROM json_each(?))"
"""What a statement's SQL begins with: its batch as ``rows``, each an array."""


def cell(number: int) -> str:
    """Return the SQL of a cell of a row."""
    return f"json_extract(value, '$[{number}]')"


@frozen
class Statement:
    """One kind of row and the SQL that stores a whole batch of them.

    ``sql`` takes one parameter: a JSON array of rows, each an array (``… FROM json_each(?)``). Within a batch the
    statements run by ``order``, lowest first, each once; rows of one statement keep the order in which they were
    written. ``latest`` says that a row replaces an earlier one with the same first value: only the last is stored.
    """

    name: str
    sql: str
    order: int = 0
    latest: bool = False


@frozen
class Piece:
    """One row: its statement, its first value and all of it as JSON."""

    statement: Statement
    key: object
    text: str


@define(eq=False)
class Unit:
    """What one write stores, in one transaction."""

    pieces: list[Piece]
    slot: tuple[str, object] | None = field(init=False)
    """Where a later write of the same value may take this one's place."""

    @slot.default
    def _own_place(self) -> tuple[str, object] | None:
        if len(self.pieces) != 1 or not self.pieces[0].statement.latest:
            return None
        return self.pieces[0].statement.name, self.pieces[0].key


@define(eq=False)
class Queue:
    """Units in order. Both sides hold the lock for moments only, never while they wait for anything else."""

    _units: deque[Unit] = field(factory=deque, init=False)
    _slots: dict[tuple[str, object], Unit] = field(factory=dict, init=False)
    _changed: threading.Condition = field(factory=threading.Condition, init=False)

    def replace(self, unit: Unit) -> bool:
        """Let ``unit`` take the place of one that it makes needless; return whether there was one."""
        if (slot := unit.slot) is None:
            return False
        with self._changed:
            old = self._slots.get(slot)
            if old is not None:
                old.pieces = unit.pieces
            return old is not None

    def append(self, unit: Unit) -> None:
        """Put ``unit`` at the end."""
        slot = unit.slot
        with self._changed:
            # What comes after this unit must not take a place before it.
            for piece in unit.pieces:
                if piece.statement.latest:
                    self._slots.pop((piece.statement.name, piece.key), None)
            if slot is not None:
                self._slots[slot] = unit
            self._units.append(unit)
            self._changed.notify()

    def wake(self) -> None:
        """Make ``take`` ask ``until`` now."""
        with self._changed:
            self._changed.notify()

    def take(self, most: int, until: Callable[[], bool]) -> list[Unit]:
        """Wait for units and remove up to ``most`` of them; return none when ``until`` says so and none are left."""
        with self._changed:
            while not self._units and not until():
                self._changed.wait(_IDLE_SECONDS)
            taken = [self._units.popleft() for _ in range(min(most, len(self._units)))]
            for unit in taken:
                if (slot := unit.slot) is not None and self._slots.get(slot) is unit:
                    del self._slots[slot]
            return taken


def gather(units: Iterable[Unit]) -> list[tuple[str, str]]:
    """Return the batch as (SQL, JSON array of rows), one for each statement, in their order."""
    rows: dict[Statement, dict[object, str]] = {}
    for number, piece in enumerate(piece for unit in units for piece in unit.pieces):
        rows.setdefault(piece.statement, {})[piece.key if piece.statement.latest else number] = piece.text
    return [
        (statement.sql, f"[{','.join(texts.values())}]")
        for statement, texts in sorted(rows.items(), key=lambda item: item[0].order)
    ]
