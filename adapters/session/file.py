"""Telethon's session file: its schema, and how it is created, read, upgraded and written."""

import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from adapters.file_names import EXTENSION, IMPORT, name_problem
from adapters.files import COMPANIONS, check_database
from adapters.session.contents import MAX_ENTITIES, SELF, Changes, Contents, Identity
from adapters.session.errors import NotASession
from adapters.session.schema import (
    CREATE,
    VERSION,
    Columns,
    as_bytes,
    as_number,
    check_is_file,
    choose_row,
    columns_of,
    read_table,
)
from adapters.sqlite.connect import create_privately
from adapters.sqlite.errors import translating_errors
from adapters.system import forks

OPEN_TIMEOUT: Final = 5.0
"""Seconds that reading a file may wait for another program's lock."""

_ENTITY = "insert or replace into entities (id, hash, username, phone, name, date)"  # a file may have more columns
_ENTITIES = "{} select {} from json_each(?)".format(
    _ENTITY, ", ".join(f"json_extract(value, '$[{column}]')" for column in range(6))
)
_STATES = "insert or replace into update_state (id, pts, qts, date, seq) values (?, ?, ?, ?, ?)"
_FILES = "insert or replace into sent_files (md5_digest, file_size, type, id, hash) values (?, ?, ?, ?, ?)"
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
    """Open an existing file, ``mode`` being ro or rw; a missing file is never created.

    Raises ``sqlite3`` errors, ``NotASession`` for what is no file, and ``OSError``.
    """
    check_is_file(path)
    check_database(path, follow=True)
    forks.withhold_database(path)
    uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}"  # a name is bytes, and need not be UTF-8
    database = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
    database.text_factory = lambda text: text.decode(errors="replace")  # one bad name is no reason to refuse a file
    return database


def create(path: Path) -> None:
    """Create a file without an account in it, for this user alone, with all directories above it.

    The file gets its name only when it is complete, so a crash leaves no empty file. Raises ``DatabaseUnusable``.
    """
    unfinished = path.with_name(f".{path.name}.new")
    with translating_errors(path, (sqlite3.Error, OSError)):
        remove(unfinished)
        create_privately(unfinished)
        with closing(connect(unfinished, mode="rw", timeout=OPEN_TIMEOUT)) as database:
            database.execute("pragma journal_mode = wal")
            database.execute("begin immediate")
            for table in CREATE:
                database.execute(table)
            database.execute("insert into version values (?)", (VERSION,))
            database.execute("insert into sessions values (0, null, null, x'', null, x'')")
            database.execute("commit")
        free_place(path)
        unfinished.rename(path)
        sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a file and its companions, as far as they exist. Raises ``OSError``."""
    for suffix in ("", *COMPANIONS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def free_place(path: Path) -> None:
    """Set aside the log that a file has left here which was moved away or deleted: call it before another comes here.

    SQLite takes such a log for the new file's and writes its rows into it, the former key among them. It is kept, since
    the rows may be nowhere else. Raises ``OSError``.
    """
    if path.exists():
        return
    for suffix in COMPANIONS:
        companion = path.with_name(path.name + suffix)
        if suffix == "-shm" or not _has_content(companion):
            companion.unlink(missing_ok=True)
            continue
        number = 1
        while os.path.lexists(aside := path.with_name(f"{companion.name}.left-{number}")):
            number += 1
        companion.rename(aside)


def _has_content(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return path.lstat().st_size > 0
    return False


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable. Raises ``OSError``."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stat_stamp(path: Path) -> StatStamp:
    """Return what changes whenever a file, or its ``-wal``, is written to or replaced. Reads directories only.

    The time is that of the last change of the inode, which no program can set back.
    """
    name = str(path)  # text, because a Path would be made anew at each of the many looks
    return _stat_one(name), _stat_one(name + "-wal")


def _stat_one(path: str) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns


def inode_of(stamp: StatStamp) -> tuple[int, int] | None:
    """Return device and inode of the file that had a stamp; None if there was no file."""
    return stamp[0] and stamp[0][:2]


def load(database: sqlite3.Connection, columns: Columns | None = None, *, bounded: bool = False) -> Contents:
    """Return everything that a session file holds, of whatever schema; ``columns`` if they are known.

    If ``bounded``, a file with more entities than memory is to have gives only those of the account itself. Raises
    ``sqlite3`` errors.
    """
    complete = not (bounded and has_many_entities(database))
    entities = read_table(database, "entities", columns) if complete else _own_entities(database)
    return Contents(
        load_identity(database, columns),
        {row[0]: row[1:] for row in entities if row[1] is not None},
        {row[0]: row[1:] for row in read_table(database, "update_state", columns) if _are_numbers(row)},
        {row[:3]: row[3:] for row in read_table(database, "sent_files", columns) if None not in row},
        complete=complete,
        bounded=bounded,
    )


def has_many_entities(database: sqlite3.Connection) -> bool:
    """Return whether a file has more entities than stay in memory. Raises ``sqlite3`` errors."""
    return database.execute(f"select 1 from entities limit 1 offset {MAX_ENTITIES}").fetchone() is not None


def _own_entities(database: sqlite3.Connection) -> list[Any]:
    return database.execute(
        "select id, hash, username, phone, name, date from entities "
        f"where id = {SELF} or id = (select hash from entities where id = {SELF})"
    ).fetchall()


def open_quietly(path: Path, *, timeout: float) -> sqlite3.Connection:
    """Open a file for reading so that reading neither changes it nor leaves a new file beside it.

    A connection without write access leaves an empty log behind where there was none. One with write access moves the
    contents of a log into the file when it is the last to close, and undoes the unfinished transaction of a dead
    program. Raises ``sqlite3`` errors.
    """
    log, journal = _stat_one(f"{path}-wal"), path.with_name(f"{path.name}-journal")
    mode = "ro" if (log is not None and log[2]) or journal.exists() else "rw"
    database = connect(path, mode=mode, timeout=timeout)
    database.execute("pragma query_only = on")
    return database


def load_identity(database: sqlite3.Connection, columns: Columns | None = None) -> Identity:
    """Return the account's row; ``columns`` if they are known. Raises ``sqlite3`` errors."""
    row = choose_row(read_table(database, "sessions", columns))
    if row is None:
        return Identity()
    dc_id, address, port, key, takeout_id, temporary_key = row
    return Identity(dc_id or 0, address, as_number(port), as_bytes(key), takeout_id, as_bytes(temporary_key))


def _are_numbers(row: Iterable[Any]) -> bool:
    """Return whether an update state can be used: a column of SQLite's may hold anything."""
    return all(isinstance(value, int | float) and abs(value) < 2**63 for value in row)


def upgrade(database: sqlite3.Connection, statements: Sequence[str]) -> None:
    """Give an older file what it lacks, see ``schema_of``, in one transaction. Raises ``sqlite3`` errors."""
    database.execute("pragma legacy_alter_table = on")  # or a view of a cache would forbid to give that another form
    database.execute("begin immediate")
    try:
        before = read_table(database, "sessions")
        for statement in statements:
            database.execute(statement)
        _check_logins(before, read_table(database, "sessions"))
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
        columns = {"sessions": columns_of(database, "sessions")}
        rows = read_table(database, "sessions", columns)
        row = choose_row(rows)
        found = as_bytes(row[3]) if row else b""
        if found in expected:
            _write(database, changes, row)
            if changes.identity is None or _is_same_login(changes.identity, row):
                _check_logins(rows, read_table(database, "sessions", columns))
        database.execute("commit")
        return found in expected
    except BaseException:
        if database.in_transaction:  # many errors of SQLite roll back by themselves
            database.execute("rollback")
        raise


def _check_logins(before: list[Any], after: list[Any]) -> None:
    """Raise ``sqlite3.IntegrityError`` if a write changed more than it says: a file may have triggers."""
    if _logins(before) != _logins(after):
        raise sqlite3.IntegrityError("a trigger in the file changes the login at each write; remove it from the file")


def _logins(rows: list[Any]) -> list[Any]:
    """Return what no upgrade and no change of other rows may touch."""
    return sorted((row[:4] for row in rows), key=repr)


def _write(database: sqlite3.Connection, changes: Changes, row: Any) -> None:
    if changes.identity is not None:
        _write_identity(database, changes.identity, row)
    _write_entities(database, changes.entities)
    for sql, rows in ((_STATES, changes.states), (_FILES, changes.files)):
        if rows:
            database.executemany(sql, rows)


def _is_same_login(mine: Identity, row: Any) -> bool:
    """Return whether a row has the key of an account, and the place where it is known."""
    if row is None or not mine.key or as_bytes(row[3]) != mine.key:
        return False
    return (row[0] or 0, row[1]) == (mine.dc_id, mine.address)


def _write_identity(database: sqlite3.Connection, mine: Identity, row: Any) -> None:
    """Write the account's row; ``row`` is the one that the file has of it now.

    Of a row with the same login, only what is not the login is written: its key and address stay as they are, to the
    letter, and other rows are nobody's business. Another login takes the place of all rows, as Telethon does it.
    """
    if _is_same_login(mine, row):
        database.execute(
            "update sessions set takeout_id = ?, tmp_auth_key = ? where dc_id is ?",
            (mine.takeout_id, mine.temporary_key, row[0]),
        )
        return
    database.execute("delete from sessions")
    database.execute(
        "insert into sessions (dc_id, server_address, port, auth_key, takeout_id, tmp_auth_key) "
        "values (?, ?, ?, ?, ?, ?)",
        (mine.dc_id, mine.address, mine.port, mine.key, mine.takeout_id, mine.temporary_key),
    )


def _write_entities(database: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write entities by one statement: each statement releases the GIL, and a busy loop is slow to give it back."""
    plain = []
    for row in rows:
        if any(isinstance(value, str) and "\0" in value for value in row):  # SQLite's JSON ends a text there
            database.execute(f"{_ENTITY} values (?, ?, ?, ?, ?, ?)", row)
        else:
            plain.append(row)
    if plain:
        database.execute(_ENTITIES, (_encode(plain),))
