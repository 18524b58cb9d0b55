"""What a session file is, and what it lacks, by its tables and columns.

Its version number is only what it says of itself: converters write schema 7 without half of its tables, other programs
call their files ``.session``, too, and a file that two versions of Telethon have written has something of both.
"""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from adapters.file_names import is_string_session
from adapters.session.errors import NotADatabase, NotASession, SessionEmpty, SessionTooNew

VERSION: Final = 8
"""The schema of Telethon 1.45 (``telethon.sessions.sqlite.CURRENT_VERSION``)."""
KEY_BYTES: Final = 256
NO_KEY: Final = f"what stands where its key belongs has not {KEY_BYTES} bytes; restore a backup of it, or log in again"

_DESKTOP: Final = ("key_datas", "key_data", "D877F83D5D9AC9C0")
"""Names in Telegram Desktop's directory."""
_KINDS_BY_HEAD: Final = {
    b"TDF$": "of Telegram Desktop",
    b"PK\3\4": "a zip archive, which has to be unpacked first",
    b"\x1f\x8b": "a gzip archive, which has to be unpacked first",
    b"<?php": "a session of MadelineProto",
    b"\xff\xfe": "a text",
    b"\xfe\xff": "a text",
}
_MIN_BYTES: Final = 512
"""SQLite's smallest page: a database has at least one of them."""
_HEADER: Final = b"SQLite format 3\0"
_WRONG_HASHES: Final = 5
"""The last schema in which the access hashes of users and channels may be wrong: Telethon deletes them, too."""


@frozen
class Table:
    """A table of the present schema."""

    name: str
    columns: dict[str, str]
    """The type of each column by its name, in Telethon's order."""
    key: tuple[str, ...]
    rest: str = ""
    """What stands after the columns."""

    @property
    def create(self) -> str:
        """The statement that creates it."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        return f"create table {self.name} ({columns}{self.rest})"


_TABLES: Final = (
    Table("version", {"version": "integer primary key"}, ("version",)),
    Table(
        "sessions",
        {
            "dc_id": "integer primary key",
            "server_address": "text",
            "port": "integer",
            "auth_key": "blob",
            "takeout_id": "integer",
            "tmp_auth_key": "blob",
        },
        ("dc_id",),
    ),
    Table(
        "entities",
        {
            "id": "integer primary key",
            "hash": "integer not null",
            "username": "text",
            "phone": "integer",
            "name": "text",
            "date": "integer",
        },
        ("id",),
    ),
    Table(
        "sent_files",
        {"md5_digest": "blob", "file_size": "integer", "type": "integer", "id": "integer", "hash": "integer"},
        ("md5_digest", "file_size", "type"),
        ", primary key(md5_digest, file_size, type)",
    ),
    Table(
        "update_state",
        {"id": "integer primary key", "pts": "integer", "qts": "integer", "date": "integer", "seq": "integer"},
        ("id",),
    ),
)
CREATE: Final = tuple(table.create for table in _TABLES)
"""The statements that create all tables."""

_COLUMNS: Final = (
    "select lower(master.name), master.type, lower(found.name), found.pk "
    "from sqlite_master as master, pragma_table_info(master.name) as found where master.type in ('table', 'view')"
)
Columns = dict[str, dict[str, int]]
"""For each table the columns, each with its place in the primary key, or 0."""
_ESSENTIAL: Final = ("dc_id", "server_address", "port", "auth_key")
"""Columns without which a table ``sessions`` is not Telethon's."""


@frozen
class Schema:
    """What a session file has."""

    version: int
    """What the file says of itself; 0 if it says nothing that is a number."""
    statements: tuple[str, ...]
    """What brings it to the present schema; none for a file that has everything."""
    columns: Columns
    """What its tables have before that."""


def check_is_file(path: Path) -> None:
    """Raise ``NotASession`` for a directory, a pipe and the like, and ``OSError``. A missing file passes."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode) and any((path / name).exists() for name in _DESKTOP):
        raise NotASession(
            f"{path}: this is a tdata directory of Telegram Desktop, which cannot be used here; give another name and "
            "log in there once"
        )
    if stat.S_ISDIR(mode):
        raise NotASession(f"{path}: this is a directory; name the session file in it, or another file")
    if not stat.S_ISREG(mode):
        raise NotASession(f"{path}: this is a pipe, a socket or a device, and no file; name a session file")


def _check_size(path: Path) -> None:
    """Raise ``NotASession`` for a file that is too small for a database, and ``OSError``."""
    size = os.stat(path).st_size
    if size == 0:
        raise SessionEmpty(f"{path}: the file is empty; restore a backup of it, or log in")
    if size < _MIN_BYTES:  # SQLite takes it for an empty database
        raise _no_database(path)


def _no_database(path: Path) -> NotADatabase:
    """Return the error that says what a file is instead of a database.

    It is read, which is safe for such a file only: when a descriptor of a database is closed, all locks that this
    process has on it are gone.
    """
    with path.open("rb") as file:
        head = file.read(_MIN_BYTES)
    if head.startswith(_HEADER):
        return NotADatabase(f"{path}: only the first bytes of a session are left in the file; restore a backup of it")
    if len(head) < _MIN_BYTES and is_string_session(head.decode("ascii", errors="replace")):
        return NotADatabase(
            f"{path}: the file holds a login as text, and no session; give another name, and take the login over with "
            "'session import'"
        )
    return NotADatabase(
        f"{path}: the file is {_describe(head)}, and neither a session nor any other SQLite database; name the right "
        "file, or move it away and log in again"
    )


def _describe(head: bytes) -> str:
    """Return what kind of data a file begins with."""
    if not head.strip(b"\0"):
        return "nothing but zeros"
    for start, kind in _KINDS_BY_HEAD.items():
        if head.startswith(start):
            return kind
    with suppress(UnicodeDecodeError):
        text = head[:-3].decode() if len(head) == _MIN_BYTES else head.decode()  # the cut may be within a letter
        if all(letter.isprintable() or letter.isspace() for letter in text):
            return "a text"
    return "encrypted or of another program"


def schema_of(database: sqlite3.Connection, path: Path) -> Schema:
    """Return what a file has and lacks.

    Raises ``NotASession`` or ``SessionTooNew`` for a file that cannot be used here, ``OSError`` and ``sqlite3`` errors.
    """
    _check_size(path)
    try:
        found = database.execute(_COLUMNS).fetchall()
    except sqlite3.DatabaseError as exc:
        if exc.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
            raise
        raise _no_database(path) from exc
    kinds: dict[str, str] = {}
    columns: Columns = {}
    for table, kind, column, place in found:
        kinds[table] = kind
        columns.setdefault(table, {})[column] = place
    _check_program(path, columns)
    version = _version(database, columns.get("version", {}))
    if kinds["sessions"] == "view":
        raise NotASession(f"{path}: its table sessions is a view, which cannot be written; make a table of it")
    if version > VERSION:
        raise SessionTooNew(
            f"{path}: a newer Telethon wrote this session (schema {version}, known here is {VERSION}); update "
            "Holdfast, or restore an earlier backup"
        )
    return Schema(version, tuple(_complete(kinds, columns, version)), columns)


def columns_of(database: sqlite3.Connection, table: str) -> dict[str, int]:
    """Return the columns of a table, each with its place in the primary key, or 0."""
    quoted = table.replace('"', '""')
    return {row[1].lower(): row[5] for row in database.execute(f'pragma table_info("{quoted}")')}


def _check_program(path: Path, columns: Columns) -> None:
    """Raise ``NotASession`` unless the tables are those of Telethon 1; name the program whose they are."""
    if all(name in columns.get("sessions", ()) for name in _ESSENTIAL):
        return
    take_over = "; give another name and log in there once, or take the login over with 'session import'"
    text = "this is an SQLite database, but not a session of Telethon; name the right file"
    if "peers" in columns or {"test_mode", "auth_key"} <= set(columns.get("sessions", ())):
        text = f"this is a session of Pyrogram, not of Telethon (Kurigram and Pyrofork have the same){take_over}"
    elif "datacenter" in columns:
        text = (
            "this is a session of Telethon 2 (schema 10), which Telethon 1 cannot read; give another name and log in "
            "there once"
        )
    elif {"dc_home", "dc_option"} <= set(columns):
        text = "this is a session of grammers, not of Telethon; give another name and log in there once"
    elif {"auth_keys", "key_value"} <= set(columns):
        text = "this is a session of mtcute, not of Telethon; give another name and log in there once"
    elif {"journal", "snapshots"} <= set(columns):
        text = "this is Holdfast's own engine.db, and no session; name a session file"
    elif not columns:
        raise SessionEmpty(f"{path}: the database has no tables; restore a backup of it, or log in")
    raise NotASession(f"{path}: {text}")


def _version(database: sqlite3.Connection, columns: dict[str, int]) -> int:
    """Return the version that a file names, the highest if it names several."""
    if "version" not in columns:
        return 0
    rows = database.execute("select version from version").fetchall()
    return max((int(row[0]) for row in rows if isinstance(row[0], int)), default=0)


def _complete(kinds: dict[str, str], columns: Columns, version: int) -> Iterator[str]:
    """Yield the statements that give a file what it lacks. No row of ``sessions`` is touched, and no column goes."""
    for table in _TABLES:
        there = columns.get(table.name)
        if there is None:
            yield table.create
            continue
        if table.name == "version":
            continue  # written anew below
        missing = [name for name in table.columns if name not in there]
        if table.name == "sessions":
            yield from (f"alter table sessions add column {name} {table.columns[name]}" for name in missing)
        elif kinds[table.name] == "view" or not _has_key(table, there) or "hash" in missing:
            yield from _rebuild(table, kinds[table.name], there)
        else:
            yield from (f"alter table {table.name} add column {name} {table.columns[name]}" for name in missing)
        if table.name == "entities" and 0 < version <= _WRONG_HASHES and "date" in missing:
            yield "delete from entities"
    if version != VERSION or "version" not in columns.get("version", {}):
        if "version" in columns:
            yield f"drop {kinds['version']} version"
            yield _TABLES[0].create
        yield f"insert into version values ({VERSION})"


def _has_key(table: Table, there: dict[str, int]) -> bool:
    """Return whether a table tells its rows apart as Telethon's does: "insert or replace" depends on it."""
    return tuple(sorted((name for name, place in there.items() if place), key=there.__getitem__)) == table.key


def _rebuild(table: Table, kind: str, there: dict[str, int]) -> Iterator[str]:
    """Yield the statements that put a cache into a table of the right form, with the rows that fit there."""
    if not all(name in there for name in (*table.key, *(("hash",) if "hash" in table.columns else ()))):
        yield f"drop {kind} {table.name}"  # an older form, which Telethon throws away, too
        yield table.create
        return
    common = ", ".join(name for name in table.columns if name in there)
    whole = [f"typeof({name}) = 'integer'" for name in table.key if table.columns[name].startswith("integer")]
    if "hash" in table.columns:
        whole.append("hash is not null")
    new = f"holdfast_{table.name}"
    yield f"drop table if exists {new}"
    yield table.create.replace(f"create table {table.name} ", f"create table {new} ", 1)
    yield f"insert or replace into {new} ({common}) select {common} from {table.name} where {' and '.join(whole)}"
    yield f"drop {kind} {table.name}"
    yield f"alter table {new} rename to {table.name}"


def read_table(database: sqlite3.Connection, name: str, columns: Columns | None = None) -> list[Any]:
    """Return the rows of a table with Telethon's columns in Telethon's order; None stands for what the file lacks.

    ``columns`` is what its tables have, if that is known.
    """
    table = next(table for table in _TABLES if table.name == name)
    there = columns_of(database, name) if columns is None else columns.get(name, {})
    if not all(key in there for key in table.key):
        return []
    chosen = ", ".join(column if column in there else "null" for column in table.columns)
    return database.execute(f"select {chosen} from {name}").fetchall()


def choose_row(rows: list[Any]) -> Any:
    """Return the row of ``sessions`` that is the account's: the first with a whole key. None if there is no row."""
    return next((row for row in rows if len(as_bytes(row[3])) == KEY_BYTES), rows[0] if rows else None)


def as_number(value: Any) -> int | None:
    """Return a column's value as a whole number, however a converter has stored it; None if it is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bytes | str):
        text = value.decode("ascii", errors="replace") if isinstance(value, bytes) else value
        text = text.strip()
        return int(text) if text.isascii() and text.removeprefix("-").isdigit() and len(text) < 19 else None
    return value if isinstance(value, int) else None


def as_text(value: Any) -> str:
    """Return a column's value as text, however a converter has stored it."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def as_bytes(value: Any) -> bytes:
    """Return a column's value as bytes: a converter may have stored them as text."""
    if isinstance(value, str):
        return value.encode("latin-1", errors="replace")
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else b""
