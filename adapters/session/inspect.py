"""Looks into a session file without changing it, for who wants to know what is wrong."""

import hashlib
import os
import shutil
import sqlite3
import stat
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from attrs import evolve, field, frozen

from adapters.session import file as files
from adapters.session.errors import SessionError
from adapters.session.owner import Owner, OwnerLock, owner_of
from adapters.sqlite.errors import unusable
from adapters.sqlite.integrity import is_intact
from states.events import DatabaseCorrupt

TIMEOUT_SECONDS: Final = 2.0
"""How long a look may wait for somebody's lock, and as long again for SQLite's judgement."""
PROBE_SECONDS: Final = 0.2
"""How long a lock must be held to be told: every commit holds it for a moment."""
KEY_BYTES: Final = 256
OPEN_TO_OTHERS: Final = 0o077


@frozen(kw_only=True)
class Inspection:
    """What was found; what could not be found out is None."""

    problem: str = ""
    """Why it is no session that can be used, in a sentence."""
    damaged: bool = False
    """Whether the problem is damage, which a backup mends."""
    version: int | None = None
    journal: str | None = None
    sound: bool | None = None
    key: bool | None = None
    """Whether somebody has logged in with it."""
    login: str = field(default="", repr=False)
    """What tells this login from another, and nothing else; empty for none."""
    address: tuple[int, str, int] | None = None
    """Number, host and port of the datacenter that it names."""
    owner: Owner | None = None
    locked: bool = False
    """Whether a program that is no owner holds SQLite's lock."""
    interrupted: bool = False
    """Whether who wrote it last was killed, and half of what it wrote waits to be undone."""


def inspect(path: Path) -> Inspection:
    """Look into a session file. Blocks, for some seconds at the most; raises nothing but ``OSError``.

    Neither the file nor its log is changed.
    """
    owner = owner_of(path)
    try:
        return evolve(_look(path, probe=owner is None), owner=owner)
    except SessionError as exc:
        return Inspection(problem=str(exc).removeprefix(f"{path}: "), owner=owner)
    except sqlite3.Error as exc:
        if exc.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK:
            return evolve(_look_at_copy(path), owner=owner)
        error = unusable(path, exc)
        sentence = str(error or exc).removeprefix(f"{path}: ")
        damaged = error is not None and isinstance(error.failure, DatabaseCorrupt)
        return Inspection(problem=sentence, damaged=damaged, owner=owner)


def _look(path: Path, *, probe: bool) -> Inspection:
    """Read what there is to know; raises ``SessionError``, ``sqlite3.Error`` and ``OSError``."""
    with closing(open_quietly(path, timeout=TIMEOUT_SECONDS)) as database:
        version = files.version_of(database, path)
        journal = str(database.execute("pragma journal_mode").fetchone()[0])
        sound = is_intact(database, timeout=TIMEOUT_SECONDS)
        row = database.execute("select auth_key, dc_id, server_address, port from sessions").fetchone()
        locked = probe and is_locked(path)
    key = bytes(row[0]) if row and row[0] else b""
    whole = len(key) == KEY_BYTES
    login = hashlib.sha256(key).hexdigest()[:16] if whole else ""
    address = (int(row[1]), str(row[2]), int(row[3])) if row and row[1] and row[2] and row[3] else None
    return Inspection(
        version=version, journal=journal, sound=sound, key=whole, login=login, address=address, locked=locked
    )


def open_quietly(path: Path, *, timeout: float) -> sqlite3.Connection:
    """Open a file for reading so that it is afterwards as it was, and nothing new is beside it.

    A reader that may not write leaves an empty log behind, where there was none; one that may write moves what a log
    holds into the file, when it is the last to leave, and undoes what a dead program has half written. Raises
    ``sqlite3`` errors.
    """
    log, journal = (path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-journal"))
    mode = "ro" if _has_content(log) or journal.exists() else "rw"
    database = files.connect(path, mode=mode, timeout=timeout)
    database.execute("pragma query_only = on")
    return database


def _has_content(path: Path) -> bool:
    with suppress(OSError):
        return path.stat().st_size > 0
    return False


def _look_at_copy(path: Path) -> Inspection:
    """Look at what SQLite will make of a file whose writer was killed: of a copy, because it makes it by writing."""
    try:
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory, "copy.session")
            for suffix in ("", "-journal"):
                shutil.copyfile(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
            with closing(files.connect(copy, mode="rw", timeout=TIMEOUT_SECONDS)) as database:
                database.execute("select count(*) from sqlite_master").fetchone()
            return evolve(_look(copy, probe=False), interrupted=True)
    except (SessionError, sqlite3.Error) as exc:
        sentence = f"it was left half written, and cannot be made whole ({exc}); restore a backup, or log in again"
        return Inspection(problem=sentence, damaged=True, interrupted=True)


def is_locked(path: Path) -> bool:
    """Say whether somebody holds the write lock of a database for longer than a moment.

    Only while another connection to it is open: the last one that is closed empties the log into the file.
    """
    with closing(files.connect(path, mode="rw", timeout=PROBE_SECONDS)) as database:
        try:
            database.execute("begin immediate")
            database.execute("rollback")
        except sqlite3.OperationalError as exc:
            return exc.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return False


def turn_wal_on(path: Path) -> bool:
    """Give a session file that nobody uses a write-ahead log; say whether it has one now.

    Raises ``SessionHeld``, ``DatabaseUnusable`` and ``OSError``.
    """
    lock = OwnerLock(path)
    lock.acquire()
    try:
        with closing(files.connect(path, mode="rw", timeout=TIMEOUT_SECONDS)) as database:
            return bool(database.execute("pragma journal_mode = wal").fetchone()[0] == "wal")
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


def belongs_to_many(directory: Path) -> bool:
    """Say whether a directory is not this user's own to close: /tmp, a home, what somebody else owns or has mounted."""
    with suppress(OSError):
        found = directory.stat()
        homes = (Path.home(), Path("/"))
        return (
            found.st_uid != os.geteuid()
            or bool(found.st_mode & (stat.S_ISVTX | stat.S_ISGID))
            or directory.resolve() in homes
            or os.path.ismount(directory)
        )
    return True
