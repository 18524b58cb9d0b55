"""The tables of ``engine.db``, and the statements that fill them.

Names (accounts, states, events, rules) are stored once and referred to by number, which more than halves a row. The
numbers are assigned and found in the transaction that uses them (``names.py``), so they are right whatever was written
before, and by whichever program.

A journal row is found by its ``seq`` or by (account, seq), which is what ``journal_by_account`` holds: SQLite appends
the ``seq`` to each entry of the index. Rows are ordered by writing, never by ``at``: a wall clock can be set back.
``journal_by_time`` finds the first row of a time, however long the journal is.

Retention deletes from the front, so the remaining numbers have no gap. A life that loses its first rows keeps the
snapshot after them: ``pruned_to`` is the last deleted ``seq`` (0: none), ``base`` the snapshot after it (NULL: it is
unknown), and a replay begins with it.

``present`` has which engine lives an account's life: a stored snapshot says where the account *is* only while that
engine runs. No clock decides this, because clocks can be wrong.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, NoReturn

from adapters.sqlite import (
    alert_schema,
    follow_schema,
    incident_schema,
    job_schema,
    ledger_schema,
    node_schema,
    remote_schema,
    rename_schema,
    username_schema,
)
from adapters.sqlite.connect import open_read_only, transaction
from adapters.sqlite.errors import DatabaseUnusable, JournalTooNew, translating_errors
from adapters.sqlite.queue import Statement, cell

_TABLES: Final = {"names", "policies", "lives", "journal", "snapshots"}
"""The tables that every version of the schema has."""
_SELECT_TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        "CREATE TABLE policies (id INTEGER PRIMARY KEY, policy TEXT NOT NULL UNIQUE)",
        """CREATE TABLE lives (
            account INTEGER NOT NULL REFERENCES names, life INTEGER NOT NULL, at REAL NOT NULL,
            policy INTEGER NOT NULL REFERENCES policies, snapshot TEXT NOT NULL, PRIMARY KEY (account, life))""",
        """CREATE TABLE journal (
            seq INTEGER PRIMARY KEY, at REAL NOT NULL, account INTEGER NOT NULL REFERENCES names,
            life INTEGER NOT NULL, source INTEGER NOT NULL REFERENCES names, event INTEGER NOT NULL REFERENCES names,
            target INTEGER NOT NULL REFERENCES names, rule INTEGER NOT NULL REFERENCES names, attempt INTEGER NOT NULL,
            failures INTEGER NOT NULL, delay REAL, draw REAL, deadline REAL, dwell REAL NOT NULL,
            body TEXT NOT NULL)""",
        "CREATE INDEX journal_by_account ON journal (account)",
        """CREATE TABLE snapshots (
            account INTEGER PRIMARY KEY REFERENCES names, seq INTEGER NOT NULL, at REAL NOT NULL,
            snapshot TEXT NOT NULL)""",
    ),
    (
        "CREATE INDEX journal_by_time ON journal (at)",
        "ALTER TABLE lives ADD COLUMN pruned_to INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE lives ADD COLUMN base TEXT",
    ),
    job_schema.TABLES,
    job_schema.LENGTHS,
    (
        """CREATE TABLE IF NOT EXISTS present (
            account INTEGER PRIMARY KEY REFERENCES names, life INTEGER NOT NULL, engine TEXT NOT NULL)""",
    ),
    job_schema.TRACES,
    rename_schema.TABLES,
    incident_schema.TABLES,
    alert_schema.TABLES,
    (
        *ledger_schema.TABLES,
        *follow_schema.TABLES,
        *remote_schema.TABLES,
        *username_schema.TABLES,
        *job_schema.HELD,
    ),
    (*node_schema.TABLES,),
)
"""The steps from one version of the schema to the next; ``PRAGMA user_version`` counts those that a file has had."""
VERSION = len(MIGRATIONS)
"""The schema that this version writes."""


def _name(number: int) -> str:
    return f"(SELECT id FROM names WHERE name = {cell(number)})"


NAME = Statement(
    "name",
    f"INSERT OR IGNORE INTO names (name) SELECT {cell(0)} FROM rows",
    width=1,
    order=0,
)
"""(name)"""

POLICY = Statement(
    "policy",
    f"INSERT OR IGNORE INTO policies (policy) SELECT {cell(0)} FROM rows",
    width=1,
    order=1,
)
"""(policy as JSON)"""

LIFE = Statement(
    "life",
    f"""INSERT INTO lives (account, life, at, policy, snapshot)
    SELECT {_name(0)}, {cell(1)}, {cell(2)}, (SELECT id FROM policies WHERE policy = {cell(3)}), {cell(4)}
    FROM rows WHERE true
    ON CONFLICT (account, life)
    DO UPDATE SET at = excluded.at, policy = excluded.policy, snapshot = excluded.snapshot""",
    width=5,
    order=2,
)
"""(account, life, at, policy as JSON, snapshot as JSON)"""

RECORD = Statement(
    "record",
    f"""INSERT INTO journal (account, life, source, event, target, rule, attempt, failures,
        at, dwell, delay, draw, deadline, body)
    SELECT {", ".join(map(cell, range(14)))} FROM rows""",
    width=14,
    order=3,
    names=(0, 2, 3, 4, 5),
)
"""(account, life, source, event, target, rule, attempt, failures, at, dwell, delay, draw, deadline, body as JSON)"""

SNAPSHOT = Statement(
    "snapshot",
    f"""INSERT INTO snapshots (account, seq, at, snapshot)
    SELECT {cell(0)},
        coalesce((SELECT seq FROM journal WHERE account = {cell(0)} ORDER BY seq DESC LIMIT 1), 0),
        {cell(1)}, {cell(2)}
    FROM rows WHERE true
    ON CONFLICT (account) DO UPDATE SET seq = excluded.seq, at = excluded.at, snapshot = excluded.snapshot""",
    width=3,
    order=4,
    latest=True,
    names=(0,),
)
"""(account, at, snapshot as JSON); after ``RECORD``, because it notes the ``seq`` of the account's last record."""

BASE = Statement(
    "base",
    f"""UPDATE lives SET pruned_to = {cell(2)}, base = {cell(3)} FROM rows
    WHERE account = {_name(0)} AND life = {cell(1)} AND pruned_to < {cell(2)}""",
    width=4,
    order=5,
)
"""(account, life, last seq that is deleted, snapshot after it as JSON or None), unless more is deleted already."""

PRUNE = Statement(
    "prune",
    f"DELETE FROM journal WHERE seq <= (SELECT max({cell(0)}) FROM rows)",
    width=1,
    order=6,
)
"""(last seq to delete); all before it are deleted, too."""

FORGET = Statement(
    "forget",
    f"""DELETE FROM lives WHERE rowid IN (
        SELECT lives.rowid FROM rows JOIN lives ON lives.account = {_name(0)} AND lives.life <= {cell(1)})""",
    width=2,
    order=7,
)
"""(account, life); all lives of the account before it are deleted, too."""


LAST_SEQ = """SELECT coalesce(max(seq), 0) FROM journal WHERE account = (SELECT id FROM names WHERE name = ?)"""
"""(account): the ``seq`` of its last record, 0 if it has none."""
SELECT_SNAPSHOTS = """SELECT (SELECT name FROM names WHERE id = account) AS name, snapshot, seq
    FROM snapshots ORDER BY name"""


PRESENT = Statement(
    "present",
    f"""INSERT INTO present (account, life, engine) SELECT {_name(0)}, {cell(1)}, {cell(2)}
    FROM rows WHERE true
    ON CONFLICT (account) DO UPDATE SET life = excluded.life, engine = excluded.engine""",
    width=3,
    order=8,
)
"""(account, life, identity of the engine)"""

ABSENT = Statement(
    "absent",
    f"""DELETE FROM present WHERE rowid IN (
        SELECT present.rowid FROM rows JOIN present ON present.account = {_name(0)} AND present.life = {cell(1)})""",
    width=2,
    order=9,
)
"""(account, life): no engine lives this life any more, although its last snapshot does not say so."""


def schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the schema in the file; 0 for an empty file.

    Raises ``JournalTooNew``, and ``DatabaseUnusable`` for the database of another program, or one that lacks tables.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = {name for (name,) in connection.execute(_SELECT_TABLES)}
    if tables and not tables & _TABLES:
        _refuse(path, "this is the database of another program", "move it away, or choose another storage.directory")
    if version and version <= len(MIGRATIONS) and not tables >= _TABLES:
        missing = ", ".join(sorted(_TABLES - tables))
        _refuse(path, f"the database lacks tables ({missing})", "move it away and start with an empty one")
    if version > len(MIGRATIONS):
        raise JournalTooNew(
            f"{path}: the journal has schema {version}, and this version of the program knows {len(MIGRATIONS)}; "
            f"use the version that wrote it, or a newer one{_way_back(path)}"
        )
    return version


def _way_back(path: Path) -> str:
    """Return the end of a sentence that names the copy of before the upgrade that this version can read, if any."""
    from adapters.sqlite.copy import copies_before_upgrades  # noqa: PLC0415 - for an error alone

    for copy in copies_before_upgrades(path):
        with suppress(ValueError):
            if int(copy.name.rsplit("-", 2)[1]) <= len(MIGRATIONS):
                return f", or put the copy in its place that was made before the upgrade: {copy}"
    return ""


def _refuse(path: Path, why: str, advice: str) -> NoReturn:
    from states.events import DatabaseCorrupt  # noqa: PLC0415 - a command whose database is well needs no events

    raise DatabaseUnusable(f"{path}: {why}; {advice}", DatabaseCorrupt(detail=why))


def check_owner(path: Path) -> None:
    """Raise ``DatabaseUnusable`` if the file is the database of another program, without writing to it."""
    with suppress(FileNotFoundError):
        if path.stat().st_size:
            with closing(open_read_only(path)) as connection:
                schema_version(connection, path)


TABLES = frozenset({
    "names", "policies", "lives", "journal", "snapshots", "present",
    "jobs", "job_counts", "job_charges", "job_results", "job_traces", "messages", "message_deletions",
    "logins", "renames", "file_moves", "incidents", "incident_members", "alerts",
    *ledger_schema.NAMES, *remote_schema.NAMES, "usernames", "username_lookups",
    *node_schema.NAMES,
})  # fmt: skip


def check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ``DatabaseUnusable`` if a file of the newest schema lacks a table, which something else has removed."""
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if missing := sorted(TABLES - found):
        _refuse(
            path,
            f"the database lacks the table {missing[0]}",
            "restore it from a backup, or move it away and start with an empty one",
        )


def _has_column(connection: sqlite3.Connection, statement: str) -> bool:
    """Return whether a statement adds a column that is there: unlike CREATE, ALTER knows no IF NOT EXISTS."""
    words = statement.split()
    if words[:2] != ["ALTER", "TABLE"] or words[3:5] != ["ADD", "COLUMN"]:
        return False
    return words[5] in {row[1] for row in connection.execute(f"PRAGMA table_info ({words[2]})")}


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to the newest schema, all steps in one transaction; before that, a copy of it is kept.

    A file that has it already is only read, so that there is no wait for a lock. Raises ``JournalTooNew`` and
    ``DatabaseUnusable``, also if there is no room for the copy: the file is then as it was.
    """
    with translating_errors(path):
        if schema_version(connection, path) == len(MIGRATIONS):
            check_tables(connection, path)
            return
        with transaction(connection):
            # Read again: another program may have migrated the file while this one waited for the lock.
            version = schema_version(connection, path)
            if 0 < version < len(MIGRATIONS) and connection.execute("PRAGMA database_list").fetchone()[2]:
                from adapters.sqlite.copy import keep_copy  # noqa: PLC0415 - for an upgrade alone

                keep_copy(path, version)
            for step in MIGRATIONS[version:]:
                for statement in step:
                    if not _has_column(connection, statement):
                        connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
