"""How a command opens ``engine.db`` to read it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.sqlite.connect import open_read_only
from adapters.sqlite.errors import JournalMissing, naming_file, translating_errors
from adapters.sqlite.schema import schema_version


@contextmanager
def reading(path: Path, first: str = "run the engine first") -> Iterator[tuple[sqlite3.Connection, int]]:
    """Open a file for the block, and yield it with the version of its schema; ``first`` says what makes one.

    Raises ``JournalMissing``, ``JournalTooNew`` and ``DatabaseUnusable``; every ``Undecodable`` of the block gets the
    path.
    """
    if not path.exists():
        raise JournalMissing(f"{path}: there is no such file yet; {first}")
    with translating_errors(path), naming_file(path):
        db = open_read_only(path)
        try:
            yield db, schema_version(db, path)
        finally:
            db.close()
