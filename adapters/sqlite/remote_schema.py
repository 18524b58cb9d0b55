"""The tables of other programs in ``engine.db``: updates that wait for them, and how far each has acknowledged them.

The engine numbers the updates of each account one after the other, so a number that is not there has fallen out.
``place`` is how many bytes the account's updates had before this one, so that the oldest of too many are found without
a sum.
"""

import sqlite3
from typing import Any, Final

from adapters.sqlite.connect import read_rows
from adapters.sqlite.queue import Statement, cell

FIRST_VERSION: Final = 10
"""The first schema with these tables."""

NAMES: Final = ("remote_updates", "remote_cursors")
TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS remote_updates (
        account TEXT NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL, place INTEGER NOT NULL, mark TEXT NOT NULL,
        body BLOB NOT NULL, UNIQUE (account, number))""",
    """CREATE TABLE IF NOT EXISTS remote_cursors (
        account TEXT NOT NULL, program TEXT NOT NULL, feed TEXT NOT NULL, acknowledged INTEGER NOT NULL,
        at REAL NOT NULL, PRIMARY KEY (account, program)) WITHOUT ROWID""",
)
"""``mark`` is what an update is known again by when the datacenter sends it once more; ``feed`` is what the numbers
belong to: in another one they mean other updates."""

REMOTE_UPDATE = Statement(
    "remote update",
    f"""INSERT OR REPLACE INTO remote_updates (account, number, at, place, mark, body)
    SELECT {", ".join(map(cell, range(6)))} FROM rows""",
    width=6,
    order=55,
)
"""(account, number, at, place, mark, body)"""

REMOTE_CURSOR = Statement(
    "remote cursor",
    f"""INSERT INTO remote_cursors SELECT {", ".join(map(cell, range(5)))} FROM rows WHERE true
    ON CONFLICT (account, program) DO UPDATE SET feed = excluded.feed, acknowledged = excluded.acknowledged,
        at = excluded.at""",
    width=5,
    order=56,
)
"""(account, program, feed, acknowledged, at)"""

FORGET_CURSOR = Statement(
    "forget remote cursor",
    f"""DELETE FROM remote_cursors WHERE (account, program) IN (SELECT {cell(0)}, {cell(1)} FROM rows)""",
    width=2,
    order=57,
)
"""(account, program)"""

PRUNE_UPDATES = Statement(
    "prune remote updates",
    f"""DELETE FROM remote_updates WHERE rowid IN (
        SELECT remote_updates.rowid FROM rows
        JOIN remote_updates ON remote_updates.account = {cell(0)} AND remote_updates.number <= {cell(1)})""",
    width=2,
    order=58,
)
"""(account, number): deletes its updates up to this number."""

SELECT_CURSORS: Final = """SELECT account, program, feed, acknowledged FROM remote_cursors ORDER BY account, program"""
SELECT_LAST: Final = """SELECT account, min(number), max(number) FROM remote_updates GROUP BY account"""
SELECT_SIZE: Final = "SELECT place + length(body) FROM remote_updates WHERE account = ? AND number = ?"
SELECT_MARKS: Final = "SELECT mark, at FROM remote_updates WHERE account = ? ORDER BY number DESC LIMIT ?"
SELECT_AFTER: Final = """SELECT number, body FROM remote_updates WHERE account = ? AND number > ?
    ORDER BY number LIMIT ?"""
SELECT_FIRST: Final = """SELECT number FROM remote_updates WHERE account = ? AND at >= ? AND place >= ?
    ORDER BY number LIMIT 1"""
"""The first update that is neither older than a time nor before a place."""
SELECT_BEHIND: Final = """SELECT account, program, acknowledged, at,
    max(0, coalesce((SELECT max(number) FROM remote_updates WHERE account = remote_cursors.account), 0) - acknowledged)
    FROM remote_cursors ORDER BY account, program"""
"""Each cursor, and how many updates it is behind."""


def all_cursors(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return the rows of ``REMOTE_CURSOR`` in a file; none if it is of an older version."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'remote_cursors'").fetchone()
    return read_rows(connection, "SELECT account, program, feed, acknowledged, at FROM remote_cursors") if known else []
