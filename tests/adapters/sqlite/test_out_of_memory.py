"""Memory that does not suffice for a moment: the writer goes on when it does, and no row is lost."""

import sqlite3
from typing import Any

import pytest
from attrs import define

from states.events import DatabaseUnavailable
from states.exhaustion import NO_MEMORY
from tests.adapters.sqlite.support import ROW, OpenWriter


@define
class Poor:
    """A connection that has no memory the first times that a statement begins with ``word``."""

    real: sqlite3.Connection
    word: str
    failures: int = 2

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """Execute a statement, or fail as Python's layer does at SQLITE_NOMEM."""
        if self.failures and sql.startswith(self.word):
            self.failures -= 1
            raise MemoryError
        return self.real.execute(sql, *arguments)

    def __getattr__(self, name: str) -> Any:
        """Be the real connection otherwise."""
        return getattr(self.real, name)


@pytest.mark.parametrize("word", ["BEGIN", "WITH", "COMMIT"])
async def test_rows_wait_for_memory(open_writer: OpenWriter, word: str) -> None:
    """Whichever statement lacks it, the batch is tried again and stored once, and the cause is told."""
    async with open_writer() as b:
        b.writer._file.connection = Poor(b.connection, word)  # type: ignore[assignment]  # what the writer uses of one
        await b.writer.write(ROW, ("a", 1))
        await b.writer.flush()
        assert b.stored() == [("a", 1)]
        assert b.events() == ["DatabaseUnavailable", "DatabaseUnavailable", "recovered"]
        failure = b.told[0][0]
        assert isinstance(failure, DatabaseUnavailable)
        assert failure.detail.startswith(NO_MEMORY)


async def test_a_rollback_without_memory_is_made_up_for(open_writer: OpenWriter) -> None:
    """A transaction that could not even be rolled back does not keep the next try from its own."""
    async with open_writer() as b:
        poor = Poor(b.connection, "ROLLBACK", failures=1)
        b.writer._file.connection = Poor(poor, "COMMIT", failures=1)  # type: ignore[arg-type,assignment]  # as above
        await b.writer.write(ROW, ("a", 1))
        await b.writer.flush()
        assert b.stored() == [("a", 1)]
