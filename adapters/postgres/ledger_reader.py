"""Reads the ledger of completeness in PostgreSQL, for commands on any host."""

from collections.abc import Sequence
from typing import Any, Final

from attrs import define

from adapters.postgres.blocking import StoreReader
from adapters.sqlite.ledger_reader import row_of
from states.completeness import ReadLater
from states.ledger import LedgerRow

_ROWS: Final = """SELECT user_id, login, box, after, upto, since, until, first_id, last_id, NULL FROM ledger WHERE {0}
    UNION ALL SELECT user_id, '', box, after, upto, since, until, NULL, NULL, cause FROM ledger_holes WHERE {0}"""
"""Intervals and holes of one moment, because it is one statement."""
_BROKEN: Final = """SELECT user_id, box FROM ledger_holes UNION SELECT user_id, box FROM ledger WHERE box IN
    (SELECT box FROM ledger WHERE box <> 0 GROUP BY box HAVING count(*) > 1)
    UNION SELECT user_id, box FROM ledger WHERE box = 0 GROUP BY user_id, box HAVING count(*) > 1"""
_USERS: Final = """SELECT name, "user" FROM logins JOIN names ON names.id = account WHERE "user" IS NOT NULL"""
_FILLS: Final = "SELECT source, after_id, upto_id, at, from_at FROM ledger_fills WHERE user_id = %s AND chat = %s"


@define(eq=False)
class PostgresLedgerReader(StoreReader):
    """Reads the ledger of a fleet. A context manager; not for an event loop. All methods raise ``StoreUnusable``."""

    def users(self) -> dict[str, int]:
        """Return the user of each account that has run, by its name."""
        return dict(self._store.rows(_USERS))

    def rows(self, box: int, users: Sequence[int] | None = None) -> list[LedgerRow]:
        """Return what is known of a box, as these users have seen it; with None, whoever has."""
        if users is None:
            return self._legible(_ROWS.format("box = %s"), (box, box))
        wanted = list(users)
        return self._legible(_ROWS.format("box = %s AND user_id = ANY(%s::bigint[])"), (box, wanted, box, wanted))

    def boxes(self, user: int) -> dict[int, list[LedgerRow]]:
        """Return what is known of each box of a user."""
        boxes: dict[int, list[LedgerRow]] = {}
        for row in self._legible(_ROWS.format("user_id = %s"), (user, user)):
            boxes.setdefault(row.box, []).append(row)
        return boxes

    def broken(self) -> list[tuple[int, int]]:
        """Return user and box of what is not one chain: only there can be holes."""
        return [(user, box) for user, box in self._store.rows(_BROKEN)]

    def fills(self, chat: int, user: int = 0) -> list[ReadLater]:
        """Return what was read of a chat's history; ``user`` is 0 where all see a message under one number."""
        return [
            ReadLater(source=source, after_id=after, upto_id=upto, at=at, from_at=from_at)
            for source, after, upto, at, from_at in self._store.rows(_FILLS, (user, chat))
        ]

    def _legible(self, query: str, values: Sequence[Any]) -> list[LedgerRow]:
        return [row for each in self._store.rows(query, values) if (row := row_of(each)) is not None]
