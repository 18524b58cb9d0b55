"""Backups of session files: single, complete files that Telethon opens, rotated, and readable by this user alone.

All copies go through SQLite's backup API: it sees what is still in the log of a file in use, and it changes a file in
one transaction, so that other programs that have the file open see either the old content or the new.
"""

import filecmp
import glob
import hashlib
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from attrs import frozen

from adapters.session import file as files
from adapters.session.errors import NotASession, SessionDamaged, SessionError
from adapters.session.schema import KEY_BYTES, as_bytes, choose_row, read_table, schema_of
from adapters.sqlite.connect import create_directories, create_privately
from adapters.sqlite.errors import database_failure, unusable
from states.events import DatabaseCorrupt

KEEP: Final = 7
"""How many backups of a session are kept."""
UNFINISHED: Final = ".unfinished"
ABANDONED_SECONDS: Final = 3600.0
"""Age at which an unfinished copy is taken for one that a dead process has left."""
_STAMP: Final = "%Y%m%dT%H%M%S"
_BACKUP: Final = re.compile(r"(?P<name>.+)-(?P<at>\d{8}T\d{6})(?:-(?P<number>\d+))?Z\.session")
COMPANIONS: Final = ("-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite keeps beside a database."""
_MAX_NAME_BYTES: Final = 160
"""Length of an account's part of a file name: file systems have 255 bytes for the whole."""
NO_LOGIN: Final = "the session holds no login"
BROUGHT: Final = "brought"
"""Stands in the name of a file whose login was moved into a database, see ``set_aside``."""


@frozen
class Backup:
    """One backup of a session."""

    path: Path
    at: datetime
    """When the backup was made."""
    number: int
    """The place of the backup among those of the same second."""
    size: int
    """In bytes."""
    confirmed_at: datetime
    """When the session was last found to be the same as the backup."""

    @property
    def good(self) -> bool:
        """Whether the backup is intact and has a key. Reads the file."""
        return flaw_of(self.path) is None


def safe_name(name: str) -> str:
    """Return a file name that stands for one account only: letters and digits as they are, the rest encoded."""
    safe = "".join(
        letter if letter.isalnum() or letter in " ._-" else "".join(f"%{byte:02X}" for byte in letter.encode())
        for letter in name
    )
    if len(safe.encode()) <= _MAX_NAME_BYTES:
        return safe
    return f"{safe.encode()[:_MAX_NAME_BYTES].decode(errors='ignore')}%{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def backups_of(directory: Path, name: str) -> list[Backup]:
    """Return the backups of a session, newest first."""
    found, safe = [], safe_name(name)
    with suppress(FileNotFoundError):
        for path in directory.iterdir():
            match = _BACKUP.fullmatch(path.name)
            if match is None or match["name"] != safe:
                continue
            with suppress(OSError, ValueError):  # deleted in this moment, or named by a date that does not exist
                at = datetime.strptime(match["at"], _STAMP).replace(tzinfo=UTC)
                status = path.stat()
                confirmed_at = max(at, datetime.fromtimestamp(status.st_mtime, UTC))
                found.append(Backup(path, at, int(match["number"] or 1), status.st_size, confirmed_at))
    return sorted(found, key=lambda backup: (backup.at, backup.number), reverse=True)


def last_good(directory: Path, name: str) -> Backup | None:
    """Return the newest backup that can be used."""
    return next((backup for backup in backups_of(directory, name) if backup.good), None)


def back_up(session: Path, directory: Path, *, name: str | None = None, keep: int = KEEP) -> Path:
    """Copy a session, even one in use, and return the copy. The oldest copies beyond ``keep`` are deleted.

    A session that equals its newest backup is not copied again; that backup is returned. Nothing is deleted for a copy
    that cannot be used. Raises ``SessionDamaged`` or ``NotASession`` for a source that is not worth a copy, and
    ``DatabaseUnusable`` if the source cannot be read or the copy cannot be written.
    """
    name = name or session.stem
    if not session.exists():
        raise NotASession(f"{session}: there is no such session file; nothing is backed up")
    unfinished: Path | None = None
    try:
        unfinished = _make_unfinished(directory, safe_name(name))
        copy_session(session, unfinished)  # the copy keeps its journal mode: a single file, wherever it is carried
        if (flaw := flaw_of(unfinished)) is not None:
            raise SessionDamaged(f"{session}: {flaw}, so it is not backed up; the backups that there are stay")
        return _publish(unfinished, directory, name, keep)
    except (sqlite3.Error, OSError) as exc:
        if isinstance(database_failure(exc), DatabaseCorrupt):
            text = f"{session}: the file is damaged, so it is not backed up; the backups that there are stay"
            raise SessionDamaged(text) from exc
        raise _translate(session, exc) from exc
    finally:
        if unfinished is not None:
            for suffix in ("", *COMPANIONS):
                unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)


def plan_moves(directory: Path, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return which backups of these sessions get which file names when the sessions get other names.

    No new name is that of a file that is there: so two sessions can swap their names, and ``move`` can be repeated.
    """
    moves: list[tuple[str, str]] = []
    taken: set[str] = set()
    with suppress(FileNotFoundError):
        taken = {path.name for path in directory.iterdir()}
    for former, name in names.items():
        for backup in reversed(backups_of(directory, former)):
            number = backup.number
            while (target := _file_name(safe_name(name), backup.at, number)) in taken:
                number += 1
            taken.add(target)
            moves.append((backup.path.name, target))
    return moves


def move(directory: Path, moves: Iterable[tuple[str, str]]) -> None:
    """Give files of a directory their new names; those that have them already are left alone, and none overwritten.

    Raises ``OSError``.
    """
    for source, target in moves:
        if not (directory / target).exists():
            with suppress(FileNotFoundError):  # renamed before, or rotated away
                (directory / source).rename(directory / target)
    with suppress(FileNotFoundError):
        files.sync_directory(directory)


def put_in_place(source: Path, session: Path) -> Path | None:
    """Give a session file the content of another one, in one transaction; create it if it is missing.

    A session that is there now is overwritten. Any other file (damaged, another program's, a newer Telethon's) is set
    aside first, and its new path is returned. A session that other programs have open stays the same file. Raises
    ``SessionDamaged`` if the source cannot be used, and ``DatabaseUnusable``.
    """
    if (flaw := flaw_of(source)) is not None:
        raise SessionDamaged(f"{source}: {flaw}; choose another one")
    try:
        aside = set_aside(session) if session.exists() and _find_flaw(session) not in (None, NO_LOGIN) else None
        if session.exists():
            copy_session(source, session)
        else:
            _create(source, session)
        session.chmod(0o600)
        files.sync_directory(session.parent)
    except (sqlite3.Error, OSError) as exc:
        raise _translate(session, exc) from exc
    return aside


def set_aside(session: Path, why: str = "damaged") -> Path:
    """Rename a file and its companions, so that another one can take its place; return the new path.

    ``why`` is a word of the new name. Nothing is ever overwritten. Raises ``OSError``.
    """
    stamp = datetime.now(UTC).strftime(_STAMP)
    aside = session.with_name(f"{session.name}.{why}-{stamp}Z")
    number = 1
    while any(aside.with_name(aside.name + each).exists() for each in ("", *COMPANIONS)):
        number += 1
        aside = session.with_name(f"{session.name}.{why}-{stamp}-{number}Z")
    for companion in COMPANIONS:  # first, because without its file one would be deleted, or taken for another file's
        with suppress(FileNotFoundError):
            session.with_name(session.name + companion).rename(aside.with_name(aside.name + companion))
    session.rename(aside)
    return aside


def moved_away(session: Path) -> str | None:
    """Return why there is no file, as the rest of a sentence, if its login was moved into a database."""
    with suppress(OSError):
        if not session.exists():
            pattern = f"{glob.escape(session.name)}.{BROUGHT}-*Z"
            if found := max((each.name for each in session.parent.glob(pattern)), default=None):
                return f"its login was moved into a database, and the file is {found} now; use a config with it"
    return None


def take_name(unfinished: Path, path: Path) -> None:
    """Rename a copy, but never over another file; raises ``FileExistsError``."""
    try:
        os.link(unfinished, path)  # a program that is killed at any moment leaves no empty file under the name
    except FileExistsError:
        raise
    except OSError:  # no hard links here: reserve the name, which must not be another program's either
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        unfinished.rename(path)
    else:
        unfinished.unlink()


# --- names -----------------------------------------------------------------------------------------------------------


def _make_unfinished(directory: Path, safe: str) -> Path:
    """Create a file for a copy, and remove those that dead processes left.

    Each copy has a file of its own, because two programs may back up the same session at the same time.
    """
    create_directories(directory)
    for abandoned in directory.glob(f".{glob.escape(safe)}-*{UNFINISHED}*"):
        with suppress(OSError):
            if time.time() - abandoned.stat().st_mtime > ABANDONED_SECONDS:
                abandoned.unlink()
    descriptor, name = tempfile.mkstemp(prefix=f".{safe}-", suffix=UNFINISHED, dir=directory)
    os.close(descriptor)
    return Path(name)


def _publish(unfinished: Path, directory: Path, name: str, keep: int) -> Path:
    """Give a good copy its name, and delete the oldest backups; return the newest backup if the copy equals it."""
    known = backups_of(directory, name)
    if known and filecmp.cmp(unfinished, known[0].path, shallow=False):
        os.utime(known[0].path)
        return known[0].path
    backup = _name(unfinished, directory, safe_name(name), known[0] if known else None)
    files.sync_directory(directory)
    _rotate(known, keep)
    return backup


def _rotate(known: Iterable[Backup], keep: int) -> None:
    """Delete the oldest backups: those behind ``keep`` good ones, of which the new one is the first.

    One that cannot be used takes no good one's place: a killed program can leave an empty one, a bad disk a half one.
    """
    good = 1
    for old in known:
        if good >= keep:
            old.path.unlink(missing_ok=True)
        elif old.good:
            good += 1


def _file_name(safe: str, at: datetime, number: int) -> str:
    return f"{safe}-{at.strftime(_STAMP)}{f'-{number}' if number > 1 else ''}Z.session"


def _name(unfinished: Path, directory: Path, safe: str, newest: Backup | None) -> Path:
    """Give a good copy a name that sorts after all others of this session, even after the clock was set back."""
    at, number = datetime.now(UTC).replace(microsecond=0), 1
    if newest is not None and at <= newest.at:
        at, number = newest.at, newest.number + 1
    while True:
        path = directory / _file_name(safe, at, number)
        try:
            take_name(unfinished, path)
        except FileExistsError:  # another program has just taken it
            number += 1
        else:
            return path


# --- copies ----------------------------------------------------------------------------------------------------------


def open_recovered(path: Path) -> sqlite3.Connection:
    """Open a file for reading; if its last writer was killed, have SQLite undo the unfinished transaction."""
    database = files.open_quietly(path, timeout=files.OPEN_TIMEOUT)
    try:
        database.execute("select count(*) from sqlite_master").fetchone()
    except sqlite3.DatabaseError as exc:
        if exc.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            return database  # ``schema_of`` has a better sentence for it
        database.close()
        if exc.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        return files.connect(path, mode="rw", timeout=files.OPEN_TIMEOUT)
    return database


def copy_session(source: Path, target: Path) -> None:
    """Copy a session into an existing file, which is a database or empty, and make it durable.

    Raises ``sqlite3.Error``, and ``SessionError`` for a source that is not a session.
    """
    with (
        closing(open_recovered(source)) as read,
        closing(files.connect(target, mode="rw", timeout=files.OPEN_TIMEOUT)) as written,
    ):
        schema_of(read, source)
        written.execute("pragma synchronous = full")
        mode = written.execute("pragma journal_mode").fetchone()[0]
        sizes = [database.execute("pragma page_size").fetchone()[0] for database in (read, written)]
        if mode == "wal" and sizes[0] != sizes[1]:  # under a write-ahead log, pages keep their size
            written.execute("pragma journal_mode = delete")
        _copy_pages(read, written)
        written.execute(f"pragma journal_mode = {mode}")


def _copy_pages(read: sqlite3.Connection, written: sqlite3.Connection) -> None:
    """Copy all pages at once; retry a busy file for a while, because the backup API does not wait by itself."""
    give_up = time.monotonic() + files.OPEN_TIMEOUT
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


def _create(source: Path, session: Path) -> None:
    """Create a session file, which gets its name only when it is complete. Raises as ``copy_session`` does."""
    unfinished = session.with_name(f".{session.name}.new")
    files.remove(unfinished)
    create_privately(unfinished)
    copy_session(source, unfinished)
    with closing(files.connect(unfinished, mode="rw", timeout=files.OPEN_TIMEOUT)) as database:
        database.execute("pragma journal_mode = wal")
    files.free_place(session)
    unfinished.rename(session)


# --- flaws -----------------------------------------------------------------------------------------------------------


def flaw_of(path: Path) -> str | None:
    """Return why a file cannot serve as a session; None if it can."""
    try:
        return _find_flaw(path)
    except (sqlite3.Error, OSError) as exc:
        return f"the file cannot be read ({exc})"


def _find_flaw(path: Path) -> str | None:
    """Return what is wrong with a session; None if it is intact and has a key. Raises if it cannot be read."""
    try:
        with closing(open_recovered(path)) as database:
            schema_of(database, path)
            if database.execute("pragma quick_check(1)").fetchone()[0] != "ok":
                return "the file is damaged"
            row = choose_row(read_table(database, "sessions"))
    except SessionError as exc:
        return str(exc).partition(": ")[2].partition(";")[0]
    except sqlite3.Error as exc:
        if not isinstance(database_failure(exc), DatabaseCorrupt):
            raise
        return "the file is damaged"
    key = as_bytes(row[3]) if row else b""
    return NO_LOGIN if not key else None if len(key) == KEY_BYTES else "its key is not whole"


def _translate(session: Path, exc: sqlite3.Error | OSError) -> Exception:
    """Return the error that tells the operator what ``exc`` means; ``exc`` itself if it is a bug."""
    where = Path(exc.filename) if isinstance(exc, OSError) and exc.filename else session
    return unusable(where, exc) or exc
