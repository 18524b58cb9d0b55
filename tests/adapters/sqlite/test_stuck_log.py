"""A log that cannot be moved into the file: the disk is full or broken when the engine begins."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from adapters.sqlite.connect import open_database
from adapters.sqlite.open_file import Loss, OpenFile


class StuckConnection(sqlite3.Connection):
    """A connection on a disk that has no room for the file to grow."""

    stuck = True

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Run a statement."""
        if self.stuck and "wal_checkpoint" in sql:
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(sql, *parameters)


def test_a_log_that_cannot_be_moved_is_no_loss_of_the_file(tmp_path: Path) -> None:
    """The file is still the one that is open, and a real loss is seen."""
    path = tmp_path / "engine.db"
    open_database(path).close()
    with closing(sqlite3.connect(path, isolation_level=None, factory=StuckConnection)) as connection:
        connection.execute("CREATE TABLE rows (number)")
        opened = OpenFile(path, connection)
        opened.begin()
        opened.begin()
        assert opened.look() is None
        connection.stuck = False
        assert opened.look() is None
        path.rename(tmp_path / "elsewhere.db")
        assert opened.look() is Loss.GONE
        opened.close()
