"""Whose state is stored under which name, and how it gets another name: all of it in one transaction.

What an account has stored belongs to its login. The operator may call the account something else, swap two names, or
give a name to another login; the engine then gives the rows their new names before it begins.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from adapters.sqlite import rename_schema
from adapters.sqlite.connect import open_database, open_read_only, read_rows, transaction
from adapters.sqlite.errors import translating_errors
from adapters.sqlite.reader import JournalReader
from states.snapshot import Snapshot

_MAX_NAME_BYTES = 255
"""The longest name that a file can have."""
FileMove = tuple[str, str]
"""A file's name before and after, in one directory."""


@frozen(kw_only=True)
class StoredLogin:
    """Whose state is stored under a name: the fingerprints of the login, and its user; empty or None if unknown."""

    credentials: str
    """Fingerprint of key, application and datacenter, as the snapshot has it."""
    login: str = ""
    """Fingerprint of the key alone."""
    user: int | None = None
    at: float = 0.0
    """When the state was stored (Unix seconds)."""


@frozen(kw_only=True)
class Rename:
    """A name whose state gets another name; its jobs stay with the name that the operator gave them, or go along."""

    former: str
    name: str
    with_jobs: bool = True


def stored_logins(path: Path) -> dict[str, StoredLogin]:
    """Return whose state is stored, by name. Blocks. Raises ``StorageError``."""
    with JournalReader.open(path) as reader:
        reader.on_unreadable = lambda row: None  # opening the journal for writing has repaired what can be
        return logins_in(reader)


class KnownLogins(Protocol):
    """A journal, as far as it knows whose login each account has; ``JournalReader`` is one."""

    def logins(self) -> dict[str, tuple[str, int | None]]:
        """Return the fingerprint of each account's key, and its user if known."""

    def last_seen(self) -> dict[str, float]:
        """Return when each account last had an event (Unix seconds)."""

    def snapshots(self) -> dict[str, tuple[Snapshot, int]]:
        """Return each account's snapshot and the number of its last entry before it."""


def logins_in(reader: KnownLogins) -> dict[str, StoredLogin]:
    """Return the same from an open journal, which an older version may have written. Blocks."""
    logins, seen = reader.logins(), reader.last_seen()
    found = {}
    for name, (at, _) in reader.snapshots().items():
        login, user = logins.get(name, ("", None))
        found[name] = StoredLogin(credentials=at.credentials, login=login, user=user, at=seen.get(name, 0.0))
    return found


def rename(path: Path, renames: Sequence[Rename], files: Iterable[FileMove], now: float) -> None:
    """Give stored state other names, and note the files that are to be renamed with it: all or nothing.

    Only while none of these accounts runs. Blocks. Raises ``DatabaseUnusable``.
    """
    with _transaction(path) as connection:
        connection.execute(rename_schema.MAKE_MOVES)
        values = [(each.former, each.name, each.with_jobs) for each in renames]
        connection.executemany(rename_schema.ADD_MOVE, values)
        connection.execute(rename_schema.NAME_BOTH)
        for statement in rename_schema.MOVE:
            connection.execute(statement)
        told = [(now, each.former, each.name) for each in renames]
        connection.executemany("INSERT INTO renames VALUES (?, ?, ?)", told)
        connection.executemany("INSERT OR REPLACE INTO file_moves VALUES (?, ?)", list(files))


def pending_files(path: Path) -> list[FileMove]:
    """Return the files that are still to be renamed. Blocks. Raises ``DatabaseUnusable``."""
    with closing(open_read_only(path)) as connection, translating_errors(path):
        rows = read_rows(connection, "SELECT source, target FROM file_moves ORDER BY source")
        return [(source, target) for source, target in rows if _names_file(source) and _names_file(target)]


def _names_file(value: Any) -> bool:
    """Return whether a value is the name of a file in the directory; anything else was not written by an engine."""
    if not isinstance(value, str) or value in ("", ".", "..") or set(value) & {"/", "\0"}:
        return False
    return len(os.fsencode(value)) <= _MAX_NAME_BYTES


def forget_files(path: Path) -> None:
    """Store that no file is to be renamed any more. Blocks. Raises ``DatabaseUnusable``."""
    with _transaction(path) as connection:
        connection.execute("DELETE FROM file_moves")


@contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    with translating_errors(path), closing(open_database(path)) as connection, transaction(connection):
        yield connection
