"""The numbers of the journal's records: SQLite's follow each other, and those of PostgreSQL may have gaps.

A record keeps its number where it can, which is always so on the way into PostgreSQL.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Self

from attrs import define, field

from adapters.postgres.address import StoreAddress
from adapters.storage_copy.errors import NotStorable
from adapters.storage_copy.tables import JOURNAL, Row


@define(eq=False)
class JournalNumbering:
    """How records are numbered that are read from PostgreSQL."""

    start: int | None = None
    """The number of the first record; None: all keep theirs."""
    changed: bool = field(default=False, init=False)
    """Whether a record has got another number."""
    counted: dict[int, int] = field(factory=dict, init=False)
    """How many records of each account were written."""
    _last: dict[int, int] = field(factory=dict, init=False)
    """The new number of each account's last record."""

    @classmethod
    def beginning(cls, first: int | None, *, pruned: bool) -> Self:
        """Return a numbering from the first number on, without gaps; where records were deleted, not from 1."""
        return cls(max(first or 1, 2 if pruned else 1))

    def records(self, address: StoreAddress, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the records of a journal, in their order."""
        numbers: dict[int, int] = {}
        self._last.clear()
        for position, row in enumerate(rows, self.start or 0):
            seq, at, account, life, source, event, target, rule, counts, dwell, body, number = row
            if number <= numbers.get(account, 0):
                raise NotStorable(
                    f"{address}: the records of an account are out of their order (see number {seq} of the journal); "
                    "nothing was copied: was this database made by joining two?"
                )
            numbers[account] = number
            found = _counts(address, seq, counts)
            given = seq if self.start is None else position
            self.changed = self.changed or given != seq
            self._last[account] = given
            numbers_of = (*found[:2], *map(_real, found[2:]))
            yield (given, at, account, life, source, event, target, rule, *numbers_of, dwell, body)

    def lives(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield lives: what was deleted of them comes before the first record."""
        for account, life, at, policy, snapshot, pruned_to, base in rows:
            to = min(pruned_to, self.start - 1) if self.start is not None and pruned_to else pruned_to
            yield account, life, at, policy, snapshot, to, base

    def snapshots(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield snapshots, each with the number of its account's last record; after ``records``."""
        for account, seq, at, snapshot in rows:
            last = seq
            if self.start is not None and self.changed:
                last = self._last[account] if account in self._last else min(seq, self.start - 1)
            yield account, last, at, snapshot


def _counts(address: StoreAddress, seq: int, text: str) -> list[Any]:
    try:
        found = json.loads(text)
        if isinstance(found, list) and len(found) == 5:
            return found
    except (ValueError, RecursionError):
        pass
    raise NotStorable(f"{address}: {JOURNAL.named((seq,))}: its counts are none; mend or delete that row")


def _real(value: Any) -> Any:
    return float(value) if type(value) is int else value
