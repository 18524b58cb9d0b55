"""The tables of usernames in ``engine.db``, and the statements that fill them.

Whose username it is, is the same for all accounts. Access hashes are not here: they are valid for one account alone,
whose session file has them.
"""

import sqlite3
from typing import Any, Final

from adapters.sqlite.connect import read_rows
from adapters.sqlite.queue import Statement, cell

FIRST_VERSION: Final = 10
"""The first schema with usernames."""

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS usernames (
        name TEXT PRIMARY KEY, peer INTEGER, refusal TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS username_lookups (account INTEGER PRIMARY KEY REFERENCES names, times TEXT NOT NULL)",
)
"""``usernames``: the peer that a name in small letters belonged to at that time, with the mark of its kind, or NULL and
what Telegram said. ``username_lookups``: when each account has asked for a username in the last 24 hours."""

USERNAME = Statement(
    "username",
    f"""INSERT OR REPLACE INTO usernames SELECT {", ".join(map(cell, range(4)))} FROM rows""",
    width=4,
    order=50,
    latest=True,
)
"""(name, peer or None, refusal, at)"""

FORGET_USERNAME = Statement(
    "forget username",
    f"DELETE FROM usernames WHERE name IN (SELECT {cell(0)} FROM rows)",
    width=1,
    order=51,
)
"""(name)"""

LOOKUPS = Statement(
    "username lookups",
    f"INSERT OR REPLACE INTO username_lookups SELECT {cell(0)}, {cell(1)} FROM rows",
    width=2,
    order=52,
    latest=True,
    names=(0,),
)
"""(account, times as JSON)"""

SELECT: Final = "SELECT name, peer, refusal, at FROM usernames ORDER BY at"
SELECT_LOOKUPS: Final = "SELECT (SELECT name FROM names WHERE id = account), times FROM username_lookups"


def all_lookups(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return account and times of each row in a file; none if it is of an older version."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'username_lookups'").fetchone()
    return read_rows(connection, SELECT_LOOKUPS) if known else []
