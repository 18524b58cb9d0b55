"""Looks into a session file without changing it, for who wants to know what is wrong."""

import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from attrs import field, frozen

from adapters.session import file as files
from adapters.session.errors import SessionError
from adapters.session.owner import Owner, OwnerLock, owner_of
from adapters.sqlite.errors import unusable

PATIENCE_SECONDS: Final = 2.0
"""How long a look may wait for somebody's lock."""
KEY_BYTES: Final = 256
OPEN_TO_OTHERS: Final = 0o077


@frozen(kw_only=True)
class Inspection:
    """What was found; what could not be found out is None."""

    problem: str = ""
    """Why it is no session that can be used, in a sentence."""
    version: int | None = None
    journal: str | None = None
    sound: bool | None = None
    key: bool | None = field(default=None)
    """Whether somebody has logged in with it."""
    owner: Owner | None = None
    locked: bool = False
    """Whether a program that is no owner holds SQLite's lock."""


def inspect(path: Path) -> Inspection:
    """Look into a session file. Blocks, for some seconds at the most; raises nothing but ``OSError``."""
    owner = owner_of(path)
    try:
        with closing(files.connect(path, mode="ro", timeout=PATIENCE_SECONDS)) as database:
            version = files.version_of(database, path)
            journal = str(database.execute("pragma journal_mode").fetchone()[0])
            sound = database.execute("pragma quick_check(1)").fetchone()[0] == "ok"
            row = database.execute("select auth_key from sessions").fetchone()
    except SessionError as exc:
        return Inspection(problem=str(exc).removeprefix(f"{path}: "), owner=owner)
    except sqlite3.Error as exc:
        sentence = str(unusable(path, exc) or exc).removeprefix(f"{path}: ")
        return Inspection(problem=sentence, owner=owner)
    key = bool(row and row[0] and len(row[0]) == KEY_BYTES)
    return Inspection(
        version=version, journal=journal, sound=sound, key=key, owner=owner, locked=owner is None and is_locked(path)
    )


def is_locked(path: Path) -> bool:
    """Say whether somebody holds the write lock of a database for longer than a moment."""
    with closing(files.connect(path, mode="rw", timeout=0.2)) as database:
        try:
            database.execute("begin immediate")
            database.execute("rollback")
        except sqlite3.OperationalError as exc:
            return exc.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return False


def turn_wal_on(path: Path) -> None:
    """Give a session file that nobody uses a write-ahead log. Raises ``SessionHeld`` and ``DatabaseUnusable``."""
    lock = OwnerLock(path)
    lock.acquire()
    try:
        with closing(files.connect(path, mode="rw", timeout=PATIENCE_SECONDS)) as database:
            database.execute("pragma journal_mode = wal")
    except sqlite3.Error as exc:
        raise unusable(path, exc) or exc from exc
    finally:
        lock.release()


def loose_permissions(path: Path) -> int | None:
    """Return the permissions of a file or directory if others than its owner have any; None if all is well."""
    with suppress(OSError):
        mode = stat.S_IMODE(path.stat().st_mode)
        return mode if mode & OPEN_TO_OTHERS else None
    return None
