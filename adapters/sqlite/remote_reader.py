"""Reads how far other programs are with their updates, for commands in a process of their own."""

from pathlib import Path

from attrs import frozen

from adapters.sqlite import remote_schema
from adapters.sqlite.connect import open_read_only, read_rows
from adapters.sqlite.errors import translating_errors
from adapters.sqlite.schema import schema_version


@frozen
class CursorLine:
    """A cursor for people: what it has acknowledged, when, and how many updates it is behind."""

    account: str
    program: str
    acknowledged: int
    at: float
    behind: int


def cursor_lines(path: Path) -> list[CursorLine]:
    """Return the cursors in a file; none for one of an older version. Blocks. Raises ``StorageError``."""
    if not path.exists():
        return []
    with translating_errors(path):
        db = open_read_only(path)
        try:
            if schema_version(db, path) < remote_schema.FIRST_VERSION:
                return []
            return [
                CursorLine(*row)
                for row in read_rows(db, remote_schema.SELECT_BEHIND)
                if isinstance(row[0], str) and isinstance(row[1], str) and isinstance(row[3], int | float)
            ]
        finally:
            db.close()
