"""Backups of session files: whole, single files, which Telethon opens; rotated, and for this user alone.

All copies go through SQLite's backup API: it sees what is still in the log of a file in use, and it changes a file in
one transaction, so that other programs that have it open see the old content or the new one.
"""

import re
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from attrs import frozen

from adapters.session import file as files
from adapters.session.errors import NotASession, SessionDamaged, SessionError
from adapters.sqlite.connect import create_privately
from adapters.sqlite.errors import database_failure, unusable
from states.events import DatabaseCorrupt

KEEP: Final = 7
"""How many backups of a session are kept."""
_STAMP: Final = "%Y%m%dT%H%M%S"
_NAME: Final = re.compile(r"(?P<name>.+)-(?P<at>\d{8}T\d{6})(?:-\d+)?Z\.session")
_COMPANIONS: Final = ("-wal", "-shm", "-journal")


@frozen
class Backup:
    """One backup of a session."""

    path: Path
    at: datetime
    size: int
    """In bytes."""

    @property
    def good(self) -> bool:
        """Whether it is whole and has a key. Reads it."""
        return _flaw(self.path) is None


def safe_name(name: str) -> str:
    """Return a name for files that stands for an account and for no other: letters, digits, and the rest encoded."""
    return "".join(letter if letter.isalnum() or letter in " ._-" else f"%{ord(letter):02X}" for letter in name)


def backups_of(directory: Path, name: str) -> list[Backup]:
    """Return the backups of a session, newest first."""
    found = []
    with suppress(FileNotFoundError):
        for path in directory.iterdir():
            match = _NAME.fullmatch(path.name)
            if match and match["name"] == safe_name(name):
                at = datetime.strptime(match["at"], _STAMP).replace(tzinfo=UTC)
                found.append((at, path.stat().st_mtime_ns, path))
    return [Backup(path, at, path.stat().st_size) for at, _, path in sorted(found, reverse=True)]


def last_good(directory: Path, name: str) -> Backup | None:
    """Return the newest backup that can be used."""
    return next((backup for backup in backups_of(directory, name) if backup.good), None)


def back_up(session: Path, directory: Path, *, name: str | None = None, keep: int = KEEP) -> Path:
    """Copy a session, also one in use, and return the copy. The oldest copies beyond ``keep`` are deleted.

    Nothing is deleted for a copy that is no good. Raises ``SessionDamaged`` or ``NotASession`` for a source that is not
    worth a copy, ``DatabaseUnusable`` if it cannot be read or the copy not be written.
    """
    name = name or session.stem
    if not session.exists():
        raise NotASession(f"{session}: there is no such session file; nothing is backed up")
    try:
        unfinished = directory / f".{safe_name(name)}.unfinished"
        unfinished.unlink(missing_ok=True)
        create_privately(unfinished)
        _copy(session, unfinished)
        if (flaw := _flaw(unfinished)) is not None:
            unfinished.unlink()
            raise SessionDamaged(f"{session}: {flaw}, so it is not backed up; the backups that there are stay")
        backup = _named(directory, safe_name(name))
        unfinished.rename(backup)
        files.sync_directory(directory)
        for old in backups_of(directory, name)[keep:]:
            old.path.unlink(missing_ok=True)
    except (sqlite3.Error, OSError) as exc:
        raise _sentence(session, exc) from exc
    return backup


def put_in_place(source: Path, session: Path) -> None:
    """Give a session file the content of another one, in one transaction; make it if it is missing.

    A file that is damaged is set aside first. The directory entry is as before, and so is what others have open. Raises
    ``SessionDamaged`` if the source is no good, and ``DatabaseUnusable``.
    """
    if (flaw := _flaw(source)) is not None:
        raise SessionDamaged(f"{source}: {flaw}; choose another one")
    try:
        if session.exists() and _flaw(session) is not None and not _is_database(session):
            set_aside(session)
        if session.exists():
            _copy(source, session)
        else:
            unfinished = session.with_name(f".{session.name}.new")
            unfinished.unlink(missing_ok=True)
            create_privately(unfinished)
            _copy(source, unfinished)
            unfinished.rename(session)
        session.chmod(0o600)
        files.sync_directory(session.parent)
    except (sqlite3.Error, OSError) as exc:
        raise _sentence(session, exc) from exc


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


def _copy(source: Path, target: Path) -> None:
    """Copy a database into an existing file, whatever is in that, and make it durable; raises ``sqlite3.Error``."""
    with (
        closing(files.connect(source, mode="ro", timeout=files.OPENING_SECONDS)) as read,
        closing(files.connect(target, mode="rw", timeout=files.OPENING_SECONDS)) as written,
    ):
        written.execute("pragma synchronous = full")
        _page_through(read, written)
        if not target.name.startswith("."):
            return
        written.execute("pragma journal_mode = delete")  # a single file, wherever it is carried


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


def _named(directory: Path, name: str) -> Path:
    stamp = datetime.now(UTC).strftime(_STAMP)
    path = directory / f"{name}-{stamp}Z.session"
    number = 1
    while path.exists():
        number += 1
        path = directory / f"{name}-{stamp}-{number}Z.session"
    return path


def _flaw(path: Path) -> str | None:
    """Return why a file cannot serve as a session; None if it can."""
    try:
        with closing(files.connect(path, mode="ro", timeout=files.OPENING_SECONDS)) as database:
            files.version_of(database, path)
            if database.execute("pragma quick_check(1)").fetchone()[0] != "ok":
                return "the file is damaged"
            row = database.execute("select auth_key from sessions").fetchone()
    except SessionError as exc:
        return str(exc).partition(": ")[2].partition(";")[0]
    except sqlite3.Error as exc:
        failure = database_failure(exc)
        return "the file is damaged" if isinstance(failure, DatabaseCorrupt) else f"the file cannot be read ({exc})"
    return None if row and row[0] else "nobody has logged in with it"


def _is_database(path: Path) -> bool:
    """Say whether its content can be replaced where it is."""
    try:
        with closing(files.connect(path, mode="ro", timeout=files.OPENING_SECONDS)) as database:
            database.execute("select count(*) from sqlite_master").fetchone()
            return bool(database.execute("pragma quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.Error as exc:
        return not isinstance(database_failure(exc), DatabaseCorrupt)


def _sentence(session: Path, exc: sqlite3.Error | OSError) -> Exception:
    where = Path(exc.filename) if isinstance(exc, OSError) and exc.filename else session
    return unusable(where, exc) or exc
