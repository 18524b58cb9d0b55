"""What can be wrong with a database file: as typed events for the machine, and as one sentence for the operator."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from adapters.files import NoDatabaseFile
from adapters.system.descriptors import exhaustion, is_exhaustion, none_left
from states.exhaustion import EXHAUSTED

if TYPE_CHECKING:
    from states.events import DatabaseCorrupt, DatabaseLocked, DatabaseUnavailable, Failure


@frozen
class _Meaning:
    """What a primary result code of SQLite means here, and what the operator can do about it."""

    event: "type[DatabaseLocked | DatabaseUnavailable | DatabaseCorrupt]"
    detail: str
    advice: str


@cache
def _meanings() -> dict[int, _Meaning]:
    """Return what each primary result code means. A command whose database is well needs none of the events."""
    from states.events import DatabaseCorrupt, DatabaseLocked, DatabaseUnavailable  # noqa: PLC0415

    locked = _Meaning(DatabaseLocked, "the database is locked by another program", "close the program that holds it")
    damaged = "restore it from a backup, or move it away and start with an empty one"
    return {
        sqlite3.SQLITE_BUSY: locked,
        sqlite3.SQLITE_LOCKED: locked,
        # Several programs race for the locks of one WAL file: as transient as BUSY.
        sqlite3.SQLITE_PROTOCOL: locked,
        sqlite3.SQLITE_FULL: _Meaning(DatabaseUnavailable, "the disk is full", "free some space"),
        sqlite3.SQLITE_READONLY: _Meaning(
            DatabaseUnavailable, "the database is read-only", "make the file and its directory writable"
        ),
        sqlite3.SQLITE_CANTOPEN: _Meaning(
            DatabaseUnavailable, "the database cannot be opened", "check the path and its permissions"
        ),
        sqlite3.SQLITE_PERM: _Meaning(DatabaseUnavailable, "access to the database is denied", "check its permissions"),
        sqlite3.SQLITE_IOERR: _Meaning(
            DatabaseUnavailable, "reading or writing the database failed", "check the disk and the free space"
        ),
        sqlite3.SQLITE_CORRUPT: _Meaning(DatabaseCorrupt, "the database is damaged", damaged),
        sqlite3.SQLITE_NOTADB: _Meaning(DatabaseCorrupt, "the file is not a database", damaged),
    }


def _meaning(exc: BaseException) -> _Meaning | None:
    if not isinstance(exc, sqlite3.Error):
        return None
    # Errors of Python's own layer ("closed database") carry no code of SQLite.
    code: int | None = getattr(exc, "sqlite_errorcode", None)
    return None if code is None else _meanings().get(code & 0xFF)


def _lacks_descriptors(exc: sqlite3.Error) -> bool:
    """Return whether SQLite could not open a file because the process has no descriptor left, which it does not say."""
    return exc.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR) and none_left()


def database_failure(exc: BaseException) -> "Failure | None":
    """Return the typed event that ``exc`` stands for, or None when it is not a failure of a database file.

    SQLite's primary result code decides, never the message. ``chain`` is left empty for the caller to fill.
    """
    from states.events import DatabaseUnavailable  # noqa: PLC0415 - as above

    if isinstance(exc, MemoryError):  # what Python makes of SQLITE_NOMEM
        return DatabaseUnavailable(detail=exhaustion(exc))
    meaning = _meaning(exc)
    if meaning is None:
        return None
    assert isinstance(exc, sqlite3.Error)
    if isinstance(exc, NoDatabaseFile):
        return DatabaseUnavailable(detail=str(exc))
    if _lacks_descriptors(exc):
        return DatabaseUnavailable(detail=exhaustion(exc))
    return meaning.event(detail=f"{meaning.detail} ({exc.sqlite_errorname})")


class StorageError(Exception):
    """Base of the errors of storage; each message is one sentence with the path and what to do."""

    for_people = True


class DatabaseUnusable(StorageError):
    """A database file cannot be used; ``failure`` is the same as a typed event."""

    def __init__(self, sentence: str, failure: "Failure") -> None:
        super().__init__(sentence)
        self.failure = failure


class FileReplaced(StorageError):
    """The file lost its name while it was written to, so nobody will read what was written."""


class JournalMissing(StorageError):
    """There is no journal at this path."""


class JournalTooNew(StorageError):
    """The file was written by a newer version, whose schema this one does not know."""


class Undecodable(StorageError):
    """A stored value cannot be read back."""


class WriterClosed(StorageError):
    """The writer is closed: rows that it had not saved by then, and rows that come later, are not stored."""


class WriterFenced(StorageError):
    """The life of a node that writes is over, so nothing of it is stored any more."""

    is_expected = True
    """It is no mistake of the engine, whoever meets it first."""


class WriterBroken(StorageError):
    """The writer's thread stopped because of a bug, which is the ``__cause__``."""


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Put the path into the message of each ``Undecodable`` that the block raises."""
    try:
        yield
    except Undecodable as exc:
        raise Undecodable(f"{path}: {exc}") from exc


@contextmanager
def translating_errors(
    path: Path, kinds: tuple[type[sqlite3.Error] | type[OSError], ...] = (sqlite3.Error,)
) -> Iterator[None]:
    """Turn errors of these ``kinds`` into ``DatabaseUnusable``; those that mean a bug stay as they are.

    For the databases of this program: the version of their schema was read, so a table that is not there was taken.
    """
    try:
        yield
    except kinds as exc:
        if (error := _table_taken(path, exc) or unusable(path, exc)) is None:
            raise
        raise error from exc


def _table_taken(path: Path, exc: BaseException) -> DatabaseUnusable | None:
    """Return the error for a table that is not there, for which SQLite has no code of its own."""
    if not isinstance(exc, sqlite3.OperationalError) or not str(exc).startswith("no such table: "):
        return None
    meaning, detail = _meanings()[sqlite3.SQLITE_CORRUPT], f"the database is damaged ({exc})"
    return DatabaseUnusable(f"{path}: {detail}; {meaning.advice}", meaning.event(detail=detail))


def unusable(path: Path, exc: sqlite3.Error | OSError) -> DatabaseUnusable | None:
    """Return the error that tells the operator why ``path`` cannot be used, or None when ``exc`` means a bug."""
    from states.events import DatabaseUnavailable  # noqa: PLC0415 - as above

    if is_exhaustion(exc):
        return DatabaseUnusable(f"{path}: {exhaustion(exc, ends=True)}", DatabaseUnavailable(detail=exhaustion(exc)))
    if isinstance(exc, NoDatabaseFile):
        return DatabaseUnusable(f"{path}: {exc}", DatabaseUnavailable(detail=str(exc)))
    if isinstance(exc, OSError):
        why = exc.strerror or type(exc).__name__
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return DatabaseUnusable(
                f"{path}: the disk is full ({why}); free some space",
                DatabaseUnavailable(detail=f"the disk is full ({why})"),
            )
        sentence = f"{path}: the database cannot be opened ({why}); check the path and its permissions"
        return DatabaseUnusable(sentence, DatabaseUnavailable(detail=f"the database cannot be opened ({why})"))
    meaning, failure = _meaning(exc), database_failure(exc)
    if meaning is None or failure is None:
        return None
    if failure.detail.startswith(EXHAUSTED):
        return DatabaseUnusable(f"{path}: {exhaustion(exc, ends=True)}", failure)
    return DatabaseUnusable(f"{path}: {failure.detail}; {meaning.advice}", failure)
