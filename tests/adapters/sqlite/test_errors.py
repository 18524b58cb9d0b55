"""Errors of SQLite become typed events by their code."""

import sqlite3

import pytest

from adapters.sqlite import database_failure
from states.events import DatabaseCorrupt, DatabaseLocked, DatabaseUnavailable

LOCKED, UNAVAILABLE, CORRUPT = DatabaseLocked, DatabaseUnavailable, DatabaseCorrupt


def _error(code: int, message: str = "any message") -> sqlite3.Error:
    exc = sqlite3.OperationalError(message)
    exc.sqlite_errorcode, exc.sqlite_errorname = code, "SQLITE_ANY"
    return exc


@pytest.mark.parametrize(
    ("code", "event"),
    [
        (sqlite3.SQLITE_BUSY, LOCKED),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, LOCKED),
        (sqlite3.SQLITE_LOCKED, LOCKED),
        (sqlite3.SQLITE_FULL, UNAVAILABLE),
        (sqlite3.SQLITE_READONLY, UNAVAILABLE),
        (sqlite3.SQLITE_READONLY_DIRECTORY, UNAVAILABLE),
        (sqlite3.SQLITE_CANTOPEN, UNAVAILABLE),
        (sqlite3.SQLITE_IOERR_FSYNC, UNAVAILABLE),
        (sqlite3.SQLITE_PERM, UNAVAILABLE),
        (sqlite3.SQLITE_CORRUPT_INDEX, CORRUPT),
        (sqlite3.SQLITE_NOTADB, CORRUPT),
    ],
)
def test_code_decides(code: int, event: type) -> None:
    """Every code of a database in trouble, primary or extended, has its event with a sentence and no chain."""
    failure = database_failure(_error(code))
    assert type(failure) is event
    assert failure.detail
    assert failure.chain == ()


@pytest.mark.parametrize(
    "exc",
    [
        _error(sqlite3.SQLITE_ERROR, "database is locked"),
        _error(sqlite3.SQLITE_CONSTRAINT_UNIQUE),
        sqlite3.ProgrammingError("Cannot operate on a closed database."),
        OSError(28, "No space left on device"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_are_not_trouble_of_the_file(exc: BaseException) -> None:
    """Bugs and errors of others are not classified, whatever their message says."""
    assert database_failure(exc) is None
