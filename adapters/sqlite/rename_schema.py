"""The tables that say whose state a name of ``engine.db`` has: names are the operator's, and change; logins do not."""

from typing import Final

from adapters.sqlite.queue import Statement, cell

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS logins (
        account INTEGER PRIMARY KEY REFERENCES names, login TEXT NOT NULL, user INTEGER)""",
    "CREATE TABLE IF NOT EXISTS renames (at REAL NOT NULL, former TEXT NOT NULL, name TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS file_moves (source TEXT PRIMARY KEY, target TEXT NOT NULL)",
)
"""``logins``: the fingerprint of each account's key, and its user if known. ``renames``: which account had which name,
and until when. ``file_moves``: backups that are still to be renamed, because a file system has no transactions."""

LOGIN = Statement(
    "login",
    f"""INSERT OR REPLACE INTO logins
    SELECT (SELECT id FROM names WHERE name = {cell(0)}), {cell(1)}, {cell(2)} FROM rows""",
    width=3,
    order=21,
)
"""(account, fingerprint of the key, user or None)"""

MAKE_MOVES: Final = "CREATE TEMP TABLE moves (old TEXT PRIMARY KEY, new TEXT NOT NULL, with_jobs INTEGER NOT NULL)"
ADD_MOVE: Final = "INSERT INTO moves VALUES (?, ?, ?)"
NAME_BOTH: Final = "INSERT OR IGNORE INTO names (name) SELECT new FROM moves"

_BY_NUMBER: Final = """INSERT INTO numbered SELECT before.id, after.id
    FROM moves JOIN names AS before ON before.name = moves.old JOIN names AS after ON after.name = moves.new"""


def _numbers(table: str) -> tuple[str, str]:
    """Return the statements that give the rows of a table other accounts: in two steps, because two may swap."""
    return (
        f"UPDATE {table} SET account = -(SELECT new FROM numbered WHERE old = account) "
        f"WHERE account IN (SELECT old FROM numbered)",
        f"UPDATE {table} SET account = -account WHERE account < 0",
    )


_NEW: Final = "(SELECT new FROM moves WHERE old = {0})"

MOVE: Final = (
    "CREATE TEMP TABLE numbered (old INTEGER PRIMARY KEY, new INTEGER NOT NULL)",
    _BY_NUMBER,
    # Not the rows of ``names``: an account may be called like a state or an event, which use the same row.
    *(sql for table in ("lives", "snapshots", "present", "logins", "username_lookups") for sql in _numbers(table)),
    """UPDATE journal SET account = (SELECT new FROM numbered WHERE old = account)
        WHERE account IN (SELECT old FROM numbered)""",
    f"UPDATE job_charges SET account = {_NEW.format('account')} WHERE account IN (SELECT old FROM moves)",
    f"""UPDATE messages SET owner = char(1) || {_NEW.format("owner")} WHERE owner IN (SELECT old FROM moves)""",
    "UPDATE OR REPLACE messages SET owner = substr(owner, 2) WHERE owner >= char(1) AND owner < char(2)",
    f"""UPDATE jobs SET account = {_NEW.format("account")}
        WHERE account IN (SELECT old FROM moves WHERE with_jobs)""",
    f"UPDATE jobs SET worker = {_NEW.format('worker')} WHERE worker IN (SELECT old FROM moves WHERE with_jobs)",
    f"""UPDATE OR REPLACE incident_members SET name = char(1) || {_NEW.format("name")}
        WHERE slot IN ('connection', 'person', 'file', 'limit') AND name IN (SELECT old FROM moves)""",
    "UPDATE OR REPLACE incident_members SET name = substr(name, 2) WHERE name >= char(1) AND name < char(2)",
    *(
        sql
        for table in ("remote_updates", "remote_cursors")
        for sql in (
            f"""UPDATE OR REPLACE {table} SET account = char(1) || {_NEW.format("account")}
                WHERE account IN (SELECT old FROM moves)""",
            f"""UPDATE OR REPLACE {table} SET account = substr(account, 2)
                WHERE account >= char(1) AND account < char(2)""",
        )
    ),
    "DROP TABLE numbered",
    "DROP TABLE moves",
)
"""Give everything that is stored under the old names the new ones."""
