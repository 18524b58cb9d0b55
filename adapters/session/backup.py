"""Backups of session files: whole, single files, which Telethon opens; rotated, and for this user alone.

All copies go through SQLite's backup API: it sees what is still in the log of a file in use, and it changes a file in
one transaction, so that other programs that have it open see the old content or the new one.
"""

import filecmp
import glob
import hashlib
import os
import re
import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from attrs import frozen

from adapters.session import file as files
from adapters.session.errors import NotASession, SessionDamaged, SessionError
from adapters.session.inspect import open_quietly
from adapters.sqlite.connect import create_directories, create_privately
from adapters.sqlite.errors import database_failure, unusable
from states.events import DatabaseCorrupt

KEEP: Final = 7
"""How many backups of a session are kept."""
UNFINISHED: Final = ".unfinished"
LEFT_SECONDS: Final = 3600.0
"""After which a copy that is unfinished still is taken for what a process that died has left."""
_STAMP: Final = "%Y%m%dT%H%M%S"
_BACKUP: Final = re.compile(r"(?P<name>.+)-(?P<at>\d{8}T\d{6})(?:-(?P<number>\d+))?Z\.session")
_COMPANIONS: Final = ("-wal", "-shm", "-journal")
_NAME_BYTES: Final = 160
"""How long an account's part of a file name may be: file systems have 255 for the whole."""
NO_LOGIN: Final = "nobody has logged in with it"


@frozen
class Backup:
    """One backup of a session."""

    path: Path
    at: datetime
    """When it was made."""
    number: int
    """Its place among those of the same second."""
    size: int
    """In bytes."""
    seen: datetime
    """When the session was last found to be like it."""

    @property
    def good(self) -> bool:
        """Whether it is whole and has a key. Reads it."""
        return _flaw(self.path) is None


def safe_name(name: str) -> str:
    """Return a name for files that stands for an account and for no other: letters, digits, and the rest encoded."""
    safe = "".join(
        letter if letter.isalnum() or letter in " ._-" else "".join(f"%{byte:02X}" for byte in letter.encode())
        for letter in name
    )
    if len(safe.encode()) <= _NAME_BYTES:
        return safe
    return f"{safe.encode()[:_NAME_BYTES].decode(errors='ignore')}%{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def backups_of(directory: Path, name: str) -> list[Backup]:
    """Return the backups of a session, newest first."""
    found, safe = [], safe_name(name)
    with suppress(FileNotFoundError):
        for path in directory.iterdir():
            match = _BACKUP.fullmatch(path.name)
            if match is None or match["name"] != safe:
                continue
            with suppress(OSError, ValueError):  # somebody deletes it now, or it has a date that does not exist
                at = datetime.strptime(match["at"], _STAMP).replace(tzinfo=UTC)
                status = path.stat()
                seen = max(at, datetime.fromtimestamp(status.st_mtime, UTC))
                found.append(Backup(path, at, int(match["number"] or 1), status.st_size, seen))
    return sorted(found, key=lambda backup: (backup.at, backup.number), reverse=True)


def last_good(directory: Path, name: str) -> Backup | None:
    """Return the newest backup that can be used."""
    return next((backup for backup in backups_of(directory, name) if backup.good), None)


def back_up(session: Path, directory: Path, *, name: str | None = None, keep: int = KEEP) -> Path:
    """Copy a session, also one in use, and return the copy. The oldest copies beyond ``keep`` are deleted.

    A session that is as it was at the newest backup needs no other one, and that is returned. Nothing is deleted for a
    copy that is no good. Raises ``SessionDamaged`` or ``NotASession`` for a source that is not worth a copy,
    ``DatabaseUnusable`` if it cannot be read or the copy not be written.
    """
    name = name or session.stem
    if not session.exists():
        raise NotASession(f"{session}: there is no such session file; nothing is backed up")
    unfinished: Path | None = None
    try:
        unfinished = _unfinished(directory, safe_name(name))
        _copy(session, unfinished)  # whose mode stays: a single file, wherever it is carried
        if (flaw := _flaw(unfinished)) is not None:
            raise SessionDamaged(f"{session}: {flaw}, so it is not backed up; the backups that there are stay")
        return _publish(unfinished, directory, name, keep)
    except (sqlite3.Error, OSError) as exc:
        if isinstance(database_failure(exc), DatabaseCorrupt):
            text = f"{session}: the file is damaged, so it is not backed up; the backups that there are stay"
            raise SessionDamaged(text) from exc
        raise _sentence(session, exc) from exc
    finally:
        if unfinished is not None:
            for suffix in ("", *_COMPANIONS):
                unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)


def put_in_place(source: Path, session: Path) -> Path | None:
    """Give a session file the content of another one, in one transaction; make it if it is missing.

    What is there now is overwritten if it is a session; anything else (damaged, another program's, a newer Telethon's)
    is set aside first, and where it is then is returned. A session that others have open stays the same file. Raises
    ``SessionDamaged`` if the source is no good, and ``DatabaseUnusable``.
    """
    if (flaw := _flaw(source)) is not None:
        raise SessionDamaged(f"{source}: {flaw}; choose another one")
    try:
        aside = set_aside(session) if session.exists() and _verdict(session) not in (None, NO_LOGIN) else None
        if session.exists():
            _copy(source, session)
        else:
            _make(source, session)
        session.chmod(0o600)
        files.sync_directory(session.parent)
    except (sqlite3.Error, OSError) as exc:
        raise _sentence(session, exc) from exc
    return aside


def set_aside(session: Path) -> Path:
    """Rename a file, and what belongs to it, so that another one can take its place; nothing is ever overwritten.

    Returns the new name. Raises ``OSError``.
    """
    stamp = datetime.now(UTC).strftime(_STAMP)
    aside = session.with_name(f"{session.name}.damaged-{stamp}Z")
    number = 1
    while aside.exists():
        number += 1
        aside = session.with_name(f"{session.name}.damaged-{stamp}-{number}Z")
    session.rename(aside)
    for companion in _COMPANIONS:
        with suppress(FileNotFoundError):
            session.with_name(session.name + companion).rename(aside.with_name(aside.name + companion))
    return aside


# --- names -----------------------------------------------------------------------------------------------------------


def _unfinished(directory: Path, safe: str) -> Path:
    """Make a file for a copy, of its own: two programs may back the same session up. Remove what dead ones left."""
    create_directories(directory)
    for left in directory.glob(f".{glob.escape(safe)}-*{UNFINISHED}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                left.unlink()
    descriptor, name = tempfile.mkstemp(prefix=f".{safe}-", suffix=UNFINISHED, dir=directory)
    os.close(descriptor)
    return Path(name)


def _publish(unfinished: Path, directory: Path, name: str, keep: int) -> Path:
    """Give a good copy its name, and delete the oldest ones; return the newest if the copy says nothing new."""
    known = backups_of(directory, name)
    if known and filecmp.cmp(unfinished, known[0].path, shallow=False):
        os.utime(known[0].path)
        return known[0].path
    backup = _named(directory, safe_name(name), known[0] if known else None)
    unfinished.rename(backup)
    files.sync_directory(directory)
    for old in known[max(keep, 1) - 1 :]:
        old.path.unlink(missing_ok=True)
    return backup


def _named(directory: Path, safe: str, newest: Backup | None) -> Path:
    """Take a name that comes after all others of this session, also after the clock was set back."""
    at, number = datetime.now(UTC).replace(microsecond=0), 1
    if newest is not None and at <= newest.at:
        at, number = newest.at, newest.number + 1
    while True:
        path = directory / f"{safe}-{at.strftime(_STAMP)}{f'-{number}' if number > 1 else ''}Z.session"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:  # another program's, of this moment
            number += 1
        else:
            return path


# --- copies ----------------------------------------------------------------------------------------------------------


def _open(path: Path) -> sqlite3.Connection:
    """Open a file for reading; if whoever wrote it last was killed, have SQLite undo the half of a transaction."""
    database = open_quietly(path, timeout=files.OPENING_SECONDS)
    try:
        database.execute("select count(*) from sqlite_master").fetchone()
    except sqlite3.DatabaseError as exc:
        if exc.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            return database  # there is a better sentence for it
        database.close()
        if exc.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        return files.connect(path, mode="rw", timeout=files.OPENING_SECONDS)
    return database


def _copy(source: Path, target: Path) -> None:
    """Copy a session into an existing file, which is a database or empty, and make it durable.

    Raises ``sqlite3.Error``, and ``SessionError`` for a source that is no session.
    """
    with (
        closing(_open(source)) as read,
        closing(files.connect(target, mode="rw", timeout=files.OPENING_SECONDS)) as written,
    ):
        files.version_of(read, source)
        written.execute("pragma synchronous = full")
        mode = written.execute("pragma journal_mode").fetchone()[0]
        sizes = [database.execute("pragma page_size").fetchone()[0] for database in (read, written)]
        if mode == "wal" and sizes[0] != sizes[1]:  # under a write-ahead log, pages keep their size
            written.execute("pragma journal_mode = delete")
        _page_through(read, written)
        written.execute(f"pragma journal_mode = {mode}")


def _page_through(read: sqlite3.Connection, written: sqlite3.Connection) -> None:
    """Copy all pages at once; a busy file is tried again for a while, for the backup API does not wait by itself."""
    give_up = time.monotonic() + files.OPENING_SECONDS
    while True:
        try:
            read.backup(written)
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if time.monotonic() >= give_up:
                raise
            time.sleep(0.02)


def _make(source: Path, session: Path) -> None:
    """Make a session file, which has its name only when it is whole. Raises as ``_copy`` does."""
    unfinished = session.with_name(f".{session.name}.new")
    unfinished.unlink(missing_ok=True)
    create_privately(unfinished)
    _copy(source, unfinished)
    with closing(files.connect(unfinished, mode="rw", timeout=files.OPENING_SECONDS)) as database:
        database.execute("pragma journal_mode = wal")
    for companion in _COMPANIONS:  # of a file that is gone: SQLite would take them for this one's
        session.with_name(session.name + companion).unlink(missing_ok=True)
    unfinished.rename(session)


# --- judgement -------------------------------------------------------------------------------------------------------


def _flaw(path: Path) -> str | None:
    """Return why a file cannot serve as a session; None if it can."""
    try:
        return _verdict(path)
    except (sqlite3.Error, OSError) as exc:
        return f"the file cannot be read ({exc})"


def _verdict(path: Path) -> str | None:
    """Return what is wrong with a session; None if it is whole and has a key. Raises if that cannot be found out."""
    try:
        with closing(_open(path)) as database:
            files.version_of(database, path)
            if database.execute("pragma quick_check(1)").fetchone()[0] != "ok":
                return "the file is damaged"
            row = database.execute("select auth_key from sessions").fetchone()
    except SessionError as exc:
        return str(exc).partition(": ")[2].partition(";")[0]
    except sqlite3.Error as exc:
        if not isinstance(database_failure(exc), DatabaseCorrupt):
            raise
        return "the file is damaged"
    return None if row and row[0] else NO_LOGIN


def _sentence(session: Path, exc: sqlite3.Error | OSError) -> Exception:
    where = Path(exc.filename) if isinstance(exc, OSError) and exc.filename else session
    return unusable(where, exc) or exc
