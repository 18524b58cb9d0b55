"""What the tests of the SQLite adapter share: real files, short timeouts, and events of every class."""

import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio

from adapters.sqlite import GroupWriter, JournalWriter, Statement, WriterTimeouts, open_database
from states import Policy, Snapshot, Step, step
from states.events import Event, Failure
from tests.timeouts import TIMEOUT

TIMEOUTS = WriterTimeouts(busy=0.05, slice=0.05, retry=0.05)
ROW = Statement(
    "row",
    "INSERT INTO rows (name, number) SELECT column1, column2 FROM rows",
    width=2,
)
LATEST = Statement(
    "latest",
    """INSERT INTO latest (name, number)
    SELECT column1, column2 FROM rows WHERE true
    ON CONFLICT (name) DO UPDATE SET number = excluded.number""",
    width=2,
    order=1,
    latest=True,
)
Told = list[tuple[Failure | None, int]]
OpenWriter = Callable[..., AbstractAsyncContextManager["WriterHarness"]]


class WriterHarness:
    """A writer on a file of its own, what its ``on_trouble`` was told, and a second look at the file."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.told: Told = []
        self._heard = anyio.Event()
        self.connection = open_database(path)
        self.connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT, number INTEGER)")
        self.connection.execute("CREATE TABLE latest (name TEXT PRIMARY KEY, number INTEGER)")
        options.setdefault("timeouts", TIMEOUTS)
        self.writer = GroupWriter(path=str(path), connection=self.connection, on_trouble=self._hear, **options)

    def _hear(self, failure: Failure | None, waiting: int) -> None:
        self.told.append((failure, waiting))
        self._heard.set()
        self._heard = anyio.Event()

    def stored(self, table: str = "rows") -> list[tuple[str, int]]:
        """Return what another connection sees."""
        with closing(sqlite3.connect(self.path)) as other:
            return other.execute(f"SELECT name, number FROM {table} ORDER BY rowid").fetchall()

    def events(self) -> list[str]:
        """Return the names of the reported events; 'recovered' for None."""
        return [type(failure).__name__ if failure else "recovered" for failure, _ in self.told]

    async def until_told(self, count: int = 1) -> None:
        """Wait until ``on_trouble`` was called ``count`` times."""
        with anyio.fail_after(TIMEOUT):
            while len(self.told) < count:
                await self._heard.wait()


@asynccontextmanager
async def a_journal(path: Path, on_trouble: Any = None) -> AsyncIterator[JournalWriter]:
    """Open a journal with short timeouts and close it whatever happens."""
    journal = await JournalWriter.open(path, on_trouble=on_trouble or (lambda *_: None), timeouts=TIMEOUTS)
    try:
        yield journal
    finally:
        await journal.aclose(TIMEOUT)


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[sqlite3.Connection]:
    """Hold the write lock of ``path`` by another connection."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield other
        finally:
            if other.in_transaction:
                other.execute("ROLLBACK")


def decide(snapshot: Snapshot, event: Event, now: float) -> Step:
    """Make one real step with the default policy."""
    return step(snapshot, event, now=now, rng=random.Random(7), policy=Policy())
