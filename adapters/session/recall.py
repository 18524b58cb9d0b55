"""Entities that a session file has and memory has not: found there by id, username, phone or name, in bounded time.

Telethon's table has its key alone as an index, and no other is written into a file that is Telethon's own: among
200,000 entities an id is found in 10 µs, and any other value by a scan of 15 ms, for which SQLite releases the GIL.
What is found stays in memory, as does that there is nothing.
"""

import sqlite3
import time
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any, Final

from adapters.session.contents import ID, NAME, PHONE, USERNAME, Contents
from adapters.sqlite.errors import DatabaseUnusable, database_failure, unusable
from states.events import DatabaseLocked

if TYPE_CHECKING:
    from adapters.session.live import LiveFile
    from adapters.session.store import SessionStore

MAX_HOLDERS: Final = 100
"""Entities with one username that are read; those that were seen last count."""
RETRY_SECONDS: Final = 0.02
"""Between two tries while another program holds the file locked."""

_SELECT: Final = "select id, hash, username, phone, name, date from entities where hash is not null and "
_WHERE: Final = {
    USERNAME: f"username = ? order by date desc, id desc limit {MAX_HOLDERS}",
    PHONE: "phone = ? order by id",
    NAME: "name = ? order by id",
}
_NO_VALUE: Final = (OverflowError, UnicodeEncodeError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
"""What SQLite says of a value that no row can have."""


def recall(contents: Contents, store: "SessionStore", column: int, values: Sequence[Any], timeout: float) -> None:
    """Have memory know what its store says of these values, within ``timeout`` seconds. Blocks.

    Call it within ``contents.lookup()``. Raises ``StorageError`` for one that cannot be read now, and
    ``SessionError`` for one that is damaged or of another login: that nothing is known is not the same as that there is
    nothing.
    """
    lacking = contents.lacks(column, values)
    if lacking:
        contents.merge(column, lacking, store.read_entities(column, lacking, contents.entities, timeout))


def read_from_file(
    live: "LiveFile", column: int, values: Sequence[Any], known: Container[int], timeout: float
) -> list[tuple[Any, ...]]:
    """Return the entities of a session file that decide about these values; see ``SessionStore.read_entities``."""
    give_up = time.monotonic() + timeout
    while True:
        try:
            with live.reading(max(0.0, give_up - time.monotonic())) as database:
                return _query(database, column, values, known)
        except (sqlite3.Error, OSError, MemoryError) as exc:
            late = time.monotonic() + RETRY_SECONDS > give_up
            if late or not isinstance(database_failure(exc), DatabaseLocked):
                raise _refusal(live, exc) from exc
        time.sleep(RETRY_SECONDS)


def _refusal(live: "LiveFile", exc: Exception) -> Exception:
    """Return the error that says why nothing is known."""
    error = unusable(live.path, exc) if isinstance(exc, sqlite3.Error | OSError) else None
    failure = database_failure(exc)
    if error is None and failure is not None:
        error = DatabaseUnusable(f"{live.path}: {failure.detail}", failure)
    return error or exc


def _query(
    database: sqlite3.Connection, column: int, values: Sequence[Any], known: Container[int]
) -> list[tuple[Any, ...]]:
    """Return the rows that decide: all with such a number or username, the first with such a phone or name."""
    try:
        if column == ID:
            return database.execute(f"{_SELECT}id in ({', '.join('?' * len(values))})", values).fetchall()
        found = database.execute(_SELECT + _WHERE[column], values)
        if column == USERNAME:
            return found.fetchall()
        first = next((row for row in found if row[0] not in known), None)
        found.close()
        return [] if first is None else [first]
    except _NO_VALUE:
        return []
