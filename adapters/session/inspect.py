"""Inspects a session file without changing it: what it holds, and what is wrong with it."""

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
from adapters.session.address import address_of
from adapters.session.errors import NotADatabase, SessionEmpty, SessionError
from adapters.session.owner import Owner, OwnerLock, owner_of
from adapters.session.schema import KEY_BYTES, NO_KEY, schema_of
from adapters.sqlite.errors import unusable
from adapters.sqlite.integrity import is_intact
from states.events import DatabaseCorrupt

READ_TIMEOUT: Final = 2.0
"""Seconds that reading may wait for another program's lock, and that SQLite's integrity check may take."""
LOCK_TIMEOUT: Final = 0.2
"""Seconds that a lock must last to be reported: every commit holds it for a moment."""
OPEN_TO_OTHERS: Final = 0o077
"""Permission bits of the group and of all others."""


@frozen(kw_only=True)
class Inspection:
    """What was found in a session file; None stands for what could not be found out."""

    problem: str = ""
    """Why the file is not a session that can be used, in a sentence."""
    damaged: bool = False
    """Whether the problem is damage, which a backup repairs."""
    version: int | None = None
    """The schema that the file names; 0 if it names none."""
    outdated: bool = False
    """Whether the file lacks something of the present schema, which the next run adds."""
    journal: str | None = None
    intact: bool | None = None
    """Whether SQLite finds no fault in the file."""
    key: bool | None = None
    """Whether the session holds a login."""
    login: str = field(default="", repr=False)
    """A fingerprint that tells this login from others and reveals nothing else; empty without a login."""
    address: tuple[int, str, int] | None = None
    """Number, host and port of the datacenter that the session names."""
    owner: Owner | None = None
    locked: bool = False
    """Whether a program that is not the owner holds SQLite's lock."""
    interrupted: bool = False
    """Whether the last writer was killed and its unfinished transaction still has to be undone."""


def inspect(path: Path) -> Inspection:
    """Inspect a session file; neither it nor its log is changed. Blocks, for some seconds at the most.

    Raises nothing but ``OSError``.
    """
    owner = owner_of(path)
    try:
        return evolve(_inspect(path, probe=owner is None), owner=owner)
    except SessionError as exc:
        damaged = isinstance(exc, SessionEmpty | NotADatabase)
        return Inspection(problem=str(exc).removeprefix(f"{path}: "), damaged=damaged, owner=owner)
    except sqlite3.Error as exc:
        if exc.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK:
            return evolve(_inspect_copy(path), owner=owner, interrupted=True)
        if exc.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            with suppress(OSError):  # on a read-only mount SQLite cannot read a log, and a copy can be read
                return evolve(_inspect_copy(path), owner=owner)
        error = unusable(path, exc)
        sentence = str(error or exc).removeprefix(f"{path}: ")
        damaged = error is not None and isinstance(error.failure, DatabaseCorrupt)
        return Inspection(problem=sentence, damaged=damaged, owner=owner)


def _inspect(path: Path, *, probe: bool) -> Inspection:
    """Inspect a file, its lock only if ``probe``. Raises ``SessionError``, ``sqlite3.Error`` and ``OSError``."""
    with closing(files.open_quietly(path, timeout=READ_TIMEOUT)) as database:
        schema = schema_of(database, path)
        journal = str(database.execute("pragma journal_mode").fetchone()[0])
        intact = is_intact(database, timeout=READ_TIMEOUT)
        identity = files.load_identity(database)
        locked = probe and is_locked(path)
    whole = len(identity.key) == KEY_BYTES
    if identity.key and not whole:
        return Inspection(version=schema.version, journal=journal, intact=intact, key=False, problem=NO_KEY)
    return Inspection(
        version=schema.version,
        outdated=bool(schema.statements),
        journal=journal,
        intact=intact,
        key=whole,
        login=hashlib.sha256(identity.key).hexdigest()[:16] if whole else "",
        address=address_of(identity),
        locked=locked,
    )


def _inspect_copy(path: Path) -> Inspection:
    """Inspect what SQLite will make of a file whose writer was killed; on a copy, because SQLite repairs by writing."""
    try:
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory, "copy.session")
            for suffix in ("", "-journal", "-wal"):
                if not suffix or path.with_name(path.name + suffix).exists():
                    shutil.copyfile(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
            with closing(files.connect(copy, mode="rw", timeout=READ_TIMEOUT)) as database:
                database.execute("select count(*) from sqlite_master").fetchone()
            return _inspect(copy, probe=False)
    except (SessionError, sqlite3.Error) as exc:
        sentence = f"it was left half written and cannot be repaired ({exc}); restore a backup, or log in again"
        return Inspection(problem=sentence, damaged=True, interrupted=True)


def is_locked(path: Path) -> bool:
    """Return whether another program holds the write lock of a database for longer than a moment.

    Call it only while another connection to the file is open: the last one to close moves the log into the file.
    """
    with closing(files.connect(path, mode="rw", timeout=LOCK_TIMEOUT)) as database:
        try:
            database.execute("begin immediate")
            database.execute("rollback")
        except sqlite3.OperationalError as exc:
            return exc.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return False


def enable_wal(path: Path) -> bool:
    """Give a session file that is not in use a write-ahead log; return whether it has one now.

    Raises ``SessionHeld``, ``DatabaseUnusable`` and ``OSError``.
    """
    lock = OwnerLock(path)
    lock.acquire()
    try:
        with closing(files.connect(path, mode="rw", timeout=READ_TIMEOUT)) as database:
            return bool(database.execute("pragma journal_mode = wal").fetchone()[0] == "wal")
    except sqlite3.Error as exc:
        raise unusable(path, exc) or exc from exc
    finally:
        lock.release()


def loose_permissions(path: Path) -> int | None:
    """Return the permissions of a file or directory if users other than its owner have any; None otherwise."""
    with suppress(OSError):
        mode = stat.S_IMODE(path.stat().st_mode)
        return mode if mode & OPEN_TO_OTHERS else None
    return None


def is_shared(directory: Path) -> bool:
    """Return whether a directory must not be closed to other users: /tmp, a home, another user's, a mount point."""
    with suppress(OSError):
        found = directory.stat()
        homes = [Path("/")]
        with suppress(RuntimeError):  # a user without a home
            homes.append(Path.home())
        return (
            found.st_uid != os.geteuid()
            or bool(found.st_mode & (stat.S_ISVTX | stat.S_ISGID))
            or directory.resolve() in homes
            or os.path.ismount(directory)
        )
    return True
