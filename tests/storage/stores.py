"""The stores that the contract of storage is asked of, each behind the same few methods."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any, Protocol

from adapters.sqlite import JournalReader, JournalWriter
from engine.journal.ports import JournalRecords, JournalStore
from states.events import Failure
from tests.adapters.sqlite.support import TIMEOUTS, locked
from tests.timeouts import TIMEOUT

Told = list[tuple[Failure | None, int]]
OnTrouble = Callable[[Failure | None, int], None]


class StoreUnderTest(Protocol):
    """One empty store, which its tests fill; all that is opened is closed by whoever opened it."""

    def journal(
        self, *, engine: str = "", on_trouble: OnTrouble | None = None, max_waiting: int | None = None
    ) -> AbstractAsyncContextManager[JournalStore]:
        """Open the write side."""

    def records(self) -> JournalRecords:
        """Open the read side."""

    def held(self) -> AbstractAsyncContextManager[Any]:
        """Let nothing be written in the block."""

    def spoil(self, statement: str) -> None:
        """Execute SQL that another program might."""

    def count(self, table: str) -> int:
        """Return how many rows a table has."""


class SqliteStore:
    """A file."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "engine.db"

    @asynccontextmanager
    async def journal(
        self, *, engine: str = "", on_trouble: OnTrouble | None = None, max_waiting: int | None = None
    ) -> AsyncIterator[JournalStore]:
        """Open the write side, with short timeouts."""
        journal = await JournalWriter.open(
            self.path, on_trouble=on_trouble or (lambda *_: None), timeouts=TIMEOUTS, engine=engine
        )
        if max_waiting is not None:
            journal._writer.max_waiting = max_waiting
        try:
            yield journal
        finally:
            await journal.aclose(TIMEOUT)

    def records(self) -> JournalRecords:
        """Open the read side."""
        return JournalReader.open(self.path)

    def held(self) -> AbstractAsyncContextManager[Any]:
        """Hold the write lock by another connection."""
        return locked(self.path)

    def spoil(self, statement: str) -> None:
        """Execute SQL that another program might."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute(statement)

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        with closing(sqlite3.connect(self.path)) as other:
            return int(other.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
