"""Reads incidents, for commands in a process of their own, and for the engine when it begins."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from attrs import define, field

from adapters.sqlite import incident_schema
from adapters.sqlite.connect import open_read_only, read_rows
from adapters.sqlite.errors import JournalMissing, Undecodable, naming_file, translating_errors
from adapters.sqlite.job_codec import MAX_TIME, is_legible
from adapters.sqlite.schema import schema_version
from states.incident import Incident, IncidentKind, Severity
from states.names import name_key

MAX_NUMBER = 2**63 - 1
"""The greatest number that a row of SQLite can have."""


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
        if not path.exists():
            raise JournalMissing(f"{path}: there is no such file yet; run the engine first")
        with translating_errors(path), naming_file(path):
            db = open_read_only(path)
            try:
                yield cls(path, db, schema_version(db, path) >= incident_schema.FIRST_VERSION)
            finally:
                db.close()

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
        where, values = ["closed IS NULL"] if open_only else ["true"], list[float]()
        if since is not None:
            where.append("(closed IS NULL OR closed >= ?)")
            values.append(since)
        if until is not None:
            where.append("since < ?")
            values.append(until)
        which = f"{'INDEXED BY incidents_open' if open_only else ''} WHERE {' AND '.join(where)}"
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
        found: dict[str, float | None] = {}
        for name, until in read_rows(self._db, incident_schema.LEFT, (number,)):
            at = until if isinstance(until, int | float) and abs(until) < MAX_TIME else None
            if is_legible(name):
                before = found.get(name, at)
                found[name] = None if at is None or before is None else max(at, before)
        return found

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
        found: dict[int, set[str]] = {}
        for number, name in read_rows(self._db, query, (json.dumps(list(numbers)),)):
            if is_legible(name):
                found.setdefault(number, set()).add(name)
        return {number: tuple(sorted(names, key=name_key)) for number, names in found.items()}


def incident_from(row: Sequence[Any], accounts: tuple[str, ...]) -> Incident:
    """Return the incident in a row of ``incident_schema.SELECT``. Raises ``Undecodable``."""
    number, kind, cause, fleet, severity, since, opened, closed, acked, detail = row
    try:
        if not (is_legible(cause) and is_legible(detail) and fleet in (0, 1)):
            raise TypeError("a text or a flag is spoilt")
        for time in (since, opened, closed, acked):
            if time is not None and not (isinstance(time, int | float) and abs(time) < MAX_TIME):
                raise TypeError(f"{time!r:.40} in place of a time")
        if since is None or opened is None:
            raise TypeError("its beginning is missing")
        return Incident(
            id=number, kind=IncidentKind(kind), cause=cause, accounts=accounts, fleet=bool(fleet),
            severity=Severity(severity), since=since, opened=opened, closed=closed, acked=acked, detail=detail,
        )  # fmt: skip
    except (ValueError, TypeError) as exc:
        raise Undecodable(
            f"incident {number} cannot be read ({type(exc).__name__}: {exc}); use the version that wrote it"
        ) from exc
