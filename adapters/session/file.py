"""Telethon's session file: its schema, and how it is created, read, upgraded and written."""

import json
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from adapters.file_names import EXTENSION, IMPORT, name_problem
from adapters.session.contents import Changes, Contents, Identity
from adapters.session.errors import NotASession, SessionTooNew
from adapters.sqlite.connect import create_privately
from adapters.sqlite.errors import translating_errors

VERSION: Final = 8
"""The schema of Telethon 1.45 (``telethon.sessions.sqlite.CURRENT_VERSION``)."""
OPEN_TIMEOUT: Final = 5.0
"""Seconds that reading a file may wait for another program's lock."""

TABLES: Final = (
    "create table version (version integer primary key)",
    "create table sessions (dc_id integer primary key, server_address text, port integer, auth_key blob, "
    "takeout_id integer, tmp_auth_key blob)",
    "create table entities (id integer primary key, hash integer not null, username text, phone integer, name text, "
    "date integer)",
    "create table sent_files (md5_digest blob, file_size integer, type integer, id integer, hash integer, "
    "primary key(md5_digest, file_size, type))",
    "create table update_state (id integer primary key, pts integer, qts integer, date integer, seq integer)",
)

_MIN_BYTES: Final = 512
"""SQLite's smallest page: a database has at least one of them."""

_UPGRADES: Final[dict[int, tuple[str, ...]]] = {
    1: (),
    2: ("drop table if exists sent_files", TABLES[3]),
    3: (TABLES[4],),
    4: ("alter table sessions add column takeout_id integer",),
    5: ("delete from entities",),  # access hashes of users and channels may be wrong
    6: ("alter table entities add column date integer",),
    7: ("alter table sessions add column tmp_auth_key blob",),
}
"""What Telethon does to a file of each older version to bring it to the next."""

_ENTITIES = "insert or replace into entities select {} from json_each(?)".format(
    ", ".join(f"json_extract(value, '$[{column}]')" for column in range(6))
)
_STATES = "insert or replace into update_state values (?, ?, ?, ?, ?)"
_FILES = "insert or replace into sent_files values (?, ?, ?, ?, ?)"
StatStamp = tuple[tuple[int, int, int, int] | None, ...]
"""What the file system says of a file, then of the log beside it: device, inode, size in bytes, time of change in
nanoseconds. None stands for a file that does not exist."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


def session_path(name: str | os.PathLike[str]) -> Path:
    """Return the file that Telethon means by a session's name.

    Raises ``NotASession`` for a text that can be no name. It does not quote it, because it may be a whole login.
    """
    if not isinstance(name, str | os.PathLike):
        raise NotASession(f"a session must be the path of a file, not a {type(name).__name__}; {IMPORT}")
    text = os.fspath(name)
    path = Path(text if text.endswith(EXTENSION) else text + EXTENSION)
    if (problem := name_problem(path)) is not None:
        raise NotASession(f"the session {problem}")
    return path


def connect(path: Path, *, mode: str, timeout: float) -> sqlite3.Connection:
    """Open an existing file, ``mode`` being ro or rw; a missing file is never created. Raises ``sqlite3`` errors."""
    uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}"  # a name is bytes, and need not be UTF-8
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def create(path: Path) -> None:
    """Create a file without an account in it, for this user alone, with all directories above it.

    The file gets its name only when it is complete, so a crash leaves no empty file. Raises ``DatabaseUnusable``.
    """
    unfinished = path.with_name(f".{path.name}.new")
    with translating_errors(path, (sqlite3.Error, OSError)):
        unfinished.unlink(missing_ok=True)
        create_privately(unfinished)
        with closing(connect(unfinished, mode="rw", timeout=OPEN_TIMEOUT)) as database:
            database.execute("pragma journal_mode = wal")
            database.execute("begin immediate")
            for table in TABLES:
                database.execute(table)
            database.execute("insert into version values (?)", (VERSION,))
            database.execute("insert into sessions values (0, null, null, x'', null, x'')")
            database.execute("commit")
        unfinished.rename(path)
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable. Raises ``OSError``."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def version_of(database: sqlite3.Connection, path: Path) -> int:
    """Return the schema's version.

    Raises ``NotASession`` or ``SessionTooNew`` for a file that cannot be used here, and ``sqlite3`` errors.
    """
    size = os.stat(path).st_size
    if size == 0:
        raise NotASession(f"{path}: the file is empty; restore a backup of it, or move it away and log in again")
    no_database = NotASession(
        f"{path}: the file is neither a session nor any other SQLite database; name the right file, or move it away "
        "and log in again"
    )
    if size < _MIN_BYTES:  # SQLite takes it for an empty database
        raise no_database
    try:
        tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
    except sqlite3.DatabaseError as exc:
        if exc.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
            raise
        raise no_database from exc
    if {"sessions", "peers"} <= tables:
        raise NotASession(
            f"{path}: this is a session of Pyrogram, not of Telethon; give another name and log in there once"
        )
    if not {"sessions", "version", "entities"} <= tables:
        raise NotASession(f"{path}: this is an SQLite database, but not a session of Telethon; name the right file")
    row = database.execute("select version from version").fetchone()
    version = int(row[0]) if row else 0
    if version > VERSION:
        raise SessionTooNew(
            f"{path}: a newer Telethon wrote this session (schema {version}, known here is {VERSION}); update "
            "Holdfast, or restore an earlier backup"
        )
    if version < 1:
        raise NotASession(f"{path}: this session does not say which schema it has; restore a backup, or log in again")
    return version


def stat_stamp(path: Path) -> StatStamp:
    """Return what changes whenever a file, or its ``-wal``, is written to or replaced. Reads directories only.

    The time is that of the last change of the inode, which no program can set back.
    """
    return _stat_one(path), _stat_one(path.with_name(f"{path.name}-wal"))


def _stat_one(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns


def load(database: sqlite3.Connection) -> Contents:
    """Return everything that a file of the present schema holds. Raises ``sqlite3`` errors."""
    database.text_factory = lambda text: text.decode(errors="replace")  # one bad name is no reason to refuse a file
    row = database.execute(
        "select dc_id, server_address, port, auth_key, takeout_id, tmp_auth_key from sessions"
    ).fetchone()
    return Contents(
        Identity(row[0], row[1], row[2], row[3] or b"", row[4], row[5] or b"") if row else Identity(),
        {row[0]: row[1:] for row in database.execute("select id, hash, username, phone, name, date from entities")},
        {row[0]: row[1:] for row in database.execute("select id, pts, qts, date, seq from update_state")},
        {row[:3]: row[3:] for row in database.execute("select md5_digest, file_size, type, id, hash from sent_files")},
    )


def upgrade(database: sqlite3.Connection, version: int) -> None:
    """Bring an older file to the present schema, as Telethon does, in one transaction. Raises ``sqlite3`` errors."""
    database.execute("begin immediate")
    try:
        for step in range(version, VERSION):
            for statement in _UPGRADES[step]:
                database.execute(statement)
        database.execute("delete from version")
        database.execute("insert into version values (?)", (VERSION,))
        database.execute("commit")
    except BaseException:
        if database.in_transaction:
            database.execute("rollback")
        raise


def write(database: sqlite3.Connection, changes: Changes, expected: tuple[bytes, ...]) -> bool:
    """Write changes in one transaction; return False, and write nothing, if the file's key is none of ``expected``.

    Raises ``sqlite3`` errors, and has then written nothing. Nothing waits longer than the connection's own timeout.
    """
    database.execute("begin immediate")
    try:
        row = database.execute("select auth_key from sessions").fetchone()
        found = bytes(row[0] or b"") if row else b""
        if found in expected:
            _write(database, changes)
        database.execute("commit")
        return found in expected
    except BaseException:
        if database.in_transaction:  # many errors of SQLite roll back by themselves
            database.execute("rollback")
        raise


def _write(database: sqlite3.Connection, changes: Changes) -> None:
    if changes.identity is not None:
        mine = changes.identity
        database.execute("delete from sessions")
        database.execute(
            "insert into sessions values (?, ?, ?, ?, ?, ?)",
            (mine.dc_id, mine.address, mine.port, mine.key, mine.takeout_id, mine.temporary_key),
        )
    _write_entities(database, changes.entities)
    for sql, rows in ((_STATES, changes.states), (_FILES, changes.files)):
        if rows:
            database.executemany(sql, rows)


def _write_entities(database: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write entities by one statement: each statement releases the GIL, and a busy loop is slow to give it back."""
    plain = []
    for row in rows:
        if any(isinstance(value, str) and "\0" in value for value in row):  # SQLite's JSON ends a text there
            database.execute("insert or replace into entities values (?, ?, ?, ?, ?, ?)", row)
        else:
            plain.append(row)
    if plain:
        database.execute(_ENTITIES, (_encode(plain),))
