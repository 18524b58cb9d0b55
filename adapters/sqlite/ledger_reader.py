"""Reads the ledger of completeness, for commands in a process of their own."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from attrs import define

from adapters.sqlite import ledger_schema
from adapters.sqlite.connect import read_rows
from adapters.sqlite.job_codec import MAX_TIME, is_legible
from adapters.sqlite.read_only import reading
from states.completeness import ReadLater
from states.ledger import HoleCause, Interval, LedgerRow

_ROWS = "SELECT user, login, box, after, upto, since, until, first_id, last_id, NULL FROM ledger"
_HOLES = "SELECT user, '', box, after, upto, since, until, NULL, NULL, cause FROM ledger_holes"
_BROKEN = """SELECT user, box FROM ledger_holes UNION SELECT user, box FROM ledger WHERE box IN
    (SELECT box FROM ledger WHERE box <> 0 GROUP BY box HAVING count(*) > 1)
    UNION SELECT user, box FROM ledger WHERE box = 0 GROUP BY user HAVING count(*) > 1"""
_USERS = "SELECT (SELECT name FROM names WHERE id = account), user FROM logins WHERE user IS NOT NULL"


@define(eq=False)
class LedgerReader:
    """Reads the ledger of one file. A context manager; not for an event loop.

    A file that no engine has opened since there is a ledger has none. A row that cannot be read proves nothing.
    """

    path: Path
    _db: sqlite3.Connection
    _has_ledger: bool

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open the file for the block. Raises ``JournalMissing``, ``JournalTooNew`` and ``DatabaseUnusable``."""
        with reading(path) as (db, version):
            db.execute("BEGIN")  # rows and holes are of one moment
            yield cls(path, db, version >= ledger_schema.FIRST_VERSION)

    def users(self) -> dict[str, int]:
        """Return the user of each account that has run, by its name."""
        if not self._has_ledger:
            return {}
        return {name: user for name, user in read_rows(self._db, _USERS) if is_legible(name) and isinstance(user, int)}

    def rows(self, box: int, users: Sequence[int] | None = None) -> list[LedgerRow]:
        """Return what is known of a box, as these users have seen it; with None, whoever has."""
        if not self._has_ledger:
            return []
        found = [
            *read_rows(self._db, f"{_ROWS} WHERE box = ?", (box,)),
            *read_rows(self._db, f"{_HOLES} WHERE box = ?", (box,)),
        ]
        rows = [row for each in found if (row := row_of(each)) is not None]
        return [row for row in rows if users is None or row.user in users]

    def boxes(self, user: int) -> dict[int, list[LedgerRow]]:
        """Return what is known of each box of a user."""
        if not self._has_ledger:
            return {}
        boxes: dict[int, list[LedgerRow]] = {}
        for query in (_ROWS, _HOLES):
            for each in read_rows(self._db, f"{query} WHERE user = ?", (user,)):
                if (row := row_of(each)) is not None:
                    boxes.setdefault(row.box, []).append(row)
        return boxes

    def broken(self) -> list[tuple[int, int]]:
        """Return user and box of what is not one chain in the file: only there can be holes."""
        if not self._has_ledger:
            return []
        return [each for each in read_rows(self._db, _BROKEN) if all(isinstance(number, int) for number in each)]

    def fills(self, chat: int, user: int = 0) -> list[ReadLater]:
        """Return what was read of a chat's history; ``user`` is 0 where all see a message under one number."""
        if not self._has_ledger:
            return []
        query = "SELECT source, after_id, upto_id, at, from_at FROM ledger_fills WHERE user = ? AND chat = ?"
        return [
            ReadLater(source=source, after_id=after, upto_id=upto, at=at, from_at=from_at)
            for source, after, upto, at, from_at in read_rows(self._db, query, (user, chat))
            if is_legible(source) and isinstance(after, int) and _is_time(at)
            and (upto is None or isinstance(upto, int)) and (from_at is None or _is_time(from_at))
        ]  # fmt: skip


def row_of(row: Sequence[Any]) -> LedgerRow | None:
    """Return a row as it was written; None for one that is spoilt."""
    user, login, box, after, upto, since, until, first, last, cause = row
    numbers = all(isinstance(each, int) for each in (user, box, after, upto))
    ids = all(each is None or isinstance(each, int) for each in (first, last))
    if not (numbers and ids and is_legible(login) and _is_time(since) and _is_time(until)):
        return None
    try:
        known = None if cause is None else HoleCause(cause)
    except ValueError:
        known = HoleCause.NOT_RUNNING  # of a newer version
    return LedgerRow(
        user=user, login=login, box=box, interval=Interval(after, upto), cause=known, since=since, until=until,
        first_id=first, last_id=last,
    )  # fmt: skip


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < MAX_TIME
