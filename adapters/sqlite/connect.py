"""Opening a database file: the one place that knows the settings."""

import contextlib
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from adapters.sqlite.errors import unusable

BUSY_TIMEOUT_SECONDS = 30.0
"""How long SQLite waits for another program's lock before it says BUSY."""

_CACHE_KIB = 64_000
_MAX_WAL_BYTES = 16 * 1024 * 1024


def open_database(path: Path, *, busy_timeout: float = BUSY_TIMEOUT_SECONDS) -> sqlite3.Connection:
    """Open ``path`` for reading and writing; create it, and the directories above it, for this user alone.

    WAL with ``synchronous=FULL``, autocommit (transactions are begun explicitly, by ``BEGIN IMMEDIATE``: a deferred one
    that upgrades is refused at once, whatever the timeout). The connection may be handed to another thread. It can
    wait ``busy_timeout`` seconds inside any call, so never call this on an event loop.

    Raises ``DatabaseUnusable`` when the file is locked, cannot be written, is damaged or is no database.
    """
    try:
        create_privately(path)
        # An absolute path can be taken neither for a URI nor for ":memory:".
        connection = sqlite3.connect(
            os.path.abspath(path), timeout=busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            _configure(connection)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as exc:
        if (error := unusable(path, exc)) is None:
            raise
        raise error from exc
    return connection


def open_read_only(path: Path, *, busy_timeout: float = BUSY_TIMEOUT_SECONDS) -> sqlite3.Connection:
    """Open ``path`` for reading only; it sees what other programs have committed, the WAL included.

    Raises ``DatabaseUnusable`` when the file is missing, damaged or no database.
    """
    # quote leaves no "?", "#" or "%" of the path to be read as a part of the URI.
    uri = f"file:{quote(os.path.abspath(path))}?mode=ro"
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opening is lazy: touch the file now
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as exc:
        if (error := unusable(path, exc)) is None:
            raise
        raise error from exc
    return connection


def create_directories(directory: Path) -> None:
    """Create a directory, and what is missing above it, for this user alone. Raises ``OSError``."""
    for path in reversed([directory.absolute(), *directory.absolute().parents]):
        if not path.exists():
            path.mkdir(mode=0o700, exist_ok=True)


def create_privately(path: Path) -> None:
    """Create the file and the missing directories above it with permissions for this user alone.

    ``O_EXCL``, because a descriptor of an existing database must not be opened and closed here: that would drop the
    POSIX locks that another connection of this process holds. SQLite gives the WAL the permissions of the file.
    """
    create_directories(path.parent)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {_MAX_WAL_BYTES}")
