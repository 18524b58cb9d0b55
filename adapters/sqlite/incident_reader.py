"""Reads incidents, for commands in a process of their own, and for the engine when it begins."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from attrs import define, field

from adapters.sqlite import incident_schema
from adapters.sqlite.connect import read_rows
from adapters.sqlite.errors import Undecodable
from adapters.sqlite.job_codec import is_legible
from adapters.sqlite.read_only import reading
from adapters.stores.incidents import MAX_NUMBER, incident_from, left_from, names_by_number, those_of
from states.incident import Incident


@define(eq=False)
class IncidentReader:
    """Reads the incidents of one file. A context manager; not for an event loop.

    A file that no engine has opened since there are incidents has none.
    """

    path: Path
    _db: sqlite3.Connection
    _has_incidents: bool
    on_unreadable: Callable[[int, str], None] = field(default=lambda number, why: None)
    """Called for each incident that is left out because its row cannot be read: its number (0 if that cannot be read
    either), and why."""

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open the file for the block. Raises ``JournalMissing``, ``JournalTooNew`` and ``DatabaseUnusable``."""
        with reading(path) as (db, version):
            yield cls(path, db, version >= incident_schema.FIRST_VERSION)

    def incidents(
        self,
        *,
        open_only: bool = False,
        last: int | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> list[Incident]:
        """Return the incidents, oldest first; ``last`` limits them to the newest so many.

        With ``since`` and ``until`` (Unix seconds), those that went on at some time from the one to before the other.
        """
        if not self._has_incidents:
            return []
        where, values = those_of(open_only, since, until, "?")
        which = f"{'INDEXED BY incidents_open' if open_only else ''} WHERE {where}"
        limit = MAX_NUMBER if last is None else max(0, min(last, MAX_NUMBER))
        query = f"{incident_schema.SELECT} {which} ORDER BY id DESC LIMIT ?"
        return self._decoded(list(reversed(read_rows(self._db, query, (*values, limit)))))

    def incident(self, number: int) -> Incident | None:
        """Return an incident by its number; None if there is none. Raises ``Undecodable``."""
        if not self._has_incidents or not 0 < number <= MAX_NUMBER:
            return None
        rows = read_rows(self._db, f"{incident_schema.SELECT} WHERE id = ?", (number,))
        return incident_from(rows[0], self._accounts([number]).get(number, ())) if rows else None

    def left(self, number: int) -> dict[str, float | None]:
        """Return when each account left an incident (Unix seconds); None for one that was in it to its end, or is.

        An account that was in several of its slots left with the last of them.
        """
        if not self._has_incidents or not 0 < number <= MAX_NUMBER:
            return {}
        return left_from(read_rows(self._db, incident_schema.LEFT, (number,)))

    def inside(self) -> list[tuple[int, str, str]]:
        """Return what is in the open incidents now: the incident, the slot, the name."""
        if not self._has_incidents:
            return []
        rows = read_rows(self._db, incident_schema.INSIDE)
        return [row for row in rows if isinstance(row[0], int) and is_legible(row[1]) and is_legible(row[2])]

    def last_number(self) -> int:
        """Return the greatest number that an incident has had; 0 if there was none."""
        if not self._has_incidents:
            return 0
        found = read_rows(self._db, incident_schema.LAST_NUMBER)[0][0]
        return found if isinstance(found, int) and 0 <= found < MAX_NUMBER else 0

    def acknowledged(self) -> list[int]:
        """Return the numbers of the open incidents that a person knows of."""
        if not self._has_incidents:
            return []
        return [number for (number,) in read_rows(self._db, incident_schema.ACKED)]

    def _decoded(self, rows: Sequence[tuple[Any, ...]]) -> list[Incident]:
        accounts = self._accounts([row[0] for row in rows])
        found = []
        for row in rows:
            try:
                found.append(incident_from(row, accounts.get(row[0], ())))
            except Undecodable as exc:
                self.on_unreadable(row[0], str(exc))
        return found

    def _accounts(self, numbers: Iterable[int]) -> dict[int, tuple[str, ...]]:
        """Return the accounts that were ever in these incidents."""
        # One JSON value: there may be more incidents than a statement can have parameters.
        query = f"{incident_schema.ACCOUNTS} IN (SELECT value FROM json_each(?))"
        return names_by_number(read_rows(self._db, query, (json.dumps(list(numbers)),)))
