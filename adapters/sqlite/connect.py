"""Opens database files: the only place that knows the settings of a connection."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from adapters.files import check_database
from adapters.sqlite.errors import translating_errors
from adapters.system import forks

BUSY_TIMEOUT = 30.0
"""Seconds that SQLite waits for another program's lock before it reports BUSY."""

_CACHE_KIB = 64_000
_MAX_WAL_BYTES = 16 * 1024 * 1024


def open_database(path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> sqlite3.Connection:
    """Open ``path`` for reading and writing; create it, and the directories above it, for this user alone.

    The file has a WAL with ``synchronous=FULL``. The connection is in autocommit mode, and transactions begin
    explicitly by ``BEGIN IMMEDIATE``: a deferred one that upgrades is refused at once, whatever the timeout. The
    connection may be handed to another thread. Any call on it can wait ``busy_timeout`` seconds, and so can this one:
    never call it on an event loop.

    Raises ``DatabaseUnusable`` when the file is locked, cannot be written, is damaged or is not a database.
    """
    with translating_errors(path, (sqlite3.Error, OSError)):
        check_database(path, follow=False)
        create_privately(path)
        forks.withhold_database(path)
        # An absolute path can be taken neither for a URI nor for ":memory:".
        connection = sqlite3.connect(
            os.path.abspath(path), timeout=busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            _configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def open_read_only(path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> sqlite3.Connection:
    """Open ``path`` for reading only; it sees what other programs have committed, the WAL included.

    A file whose writer died before there was a WAL is put back to its last transaction first: nobody can read it before
    that, and it takes the right to write.

    Raises ``DatabaseUnusable`` when the file is missing, damaged or not a database.
    """
    forks.withhold_database(path)
    with translating_errors(path):
        check_database(path, follow=False)
        try:
            return open_existing(path, "ro", busy_timeout)
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
        open_existing(path, "rw", busy_timeout).close()
        return open_existing(path, "ro", busy_timeout)


def open_existing(path: Path, mode: str, busy_timeout: float) -> sqlite3.Connection:
    """Open a file that is there; ``mode`` is ``ro`` or ``rw``. Raises ``sqlite3`` errors."""
    # Quoted, so that a "?", "#" or "%" in the path is not read as a part of the URI.
    uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}"  # a name is bytes, and need not be UTF-8
    connection = sqlite3.connect(uri, uri=True, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opening is lazy: touch the file now
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write in one transaction: it is committed at the end of the block, and rolled back if the block raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # many errors of SQLite roll back by themselves
            connection.execute("ROLLBACK")
        raise


def read_rows(
    connection: sqlite3.Connection, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()
) -> list[tuple[Any, ...]]:
    """Return the rows of a query; a text that is not UTF-8 comes with its odd bytes as half characters.

    SQLite stores any bytes as text, and Python would refuse the row, and with it all rows that are read together.
    """
    try:
        return connection.execute(sql, values).fetchall()
    except sqlite3.OperationalError as exc:
        if "decode to UTF-8" not in str(exc):
            raise
    connection.text_factory = _decode_leniently
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.text_factory = str


def _decode_leniently(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def create_directories(directory: Path) -> None:
    """Create a directory, and all missing ones above it, for this user alone. Raises ``OSError``."""
    for path in reversed([directory.absolute(), *directory.absolute().parents]):
        if not path.exists():
            path.mkdir(mode=0o700, exist_ok=True)


def create_privately(path: Path) -> None:
    """Create the file and the missing directories above it with permissions for this user alone.

    ``O_EXCL`` is needed, because a descriptor of an existing database must not be opened and closed here: that would
    drop the POSIX locks that another connection of this process holds. SQLite gives the WAL the permissions of the
    file.
    """
    create_directories(path.parent)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {_MAX_WAL_BYTES}")
