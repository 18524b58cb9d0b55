"""The store on PostgreSQL, for the contract: a database of its own on the server that the tests share."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import psycopg

from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreTimeouts
from adapters.postgres.journal import StoreJournal
from adapters.postgres.journal_reader import StoreRecords
from engine.journal.ports import JournalRecords, JournalStore
from tests.storage.stores import OnTrouble
from tests.timeouts import TIMEOUT

SHORT = StoreTimeouts(query=0.3)
_TABLES = "journal_batches, policies, snapshots"
_numbers = itertools.count(1)


class PostgresStore:
    """A database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.address = StoreAddress.parse(url)

    def begin_node(self) -> int:
        """Begin the life of a node, and return its number."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(
                "INSERT INTO nodes (id, name, host, epoch, lease) VALUES (%s, %s, 'here', 1, 15) RETURNING id",
                (number := next(_numbers), f"node {number}"),
            ).fetchone()
        assert row is not None
        return int(row[0])

    @asynccontextmanager
    async def journal(
        self, *, engine: str = "", on_trouble: OnTrouble | None = None, max_waiting: int | None = None
    ) -> AsyncIterator[JournalStore]:
        """Open the write side, with short timeouts, for a new life of a node."""
        async with self.journal_of(self.begin_node(), engine=engine, on_trouble=on_trouble) as journal:
            if max_waiting is not None:
                journal._writer.max_waiting = max_waiting
            yield journal

    @asynccontextmanager
    async def journal_of(
        self,
        life: int,
        *,
        engine: str = "",
        on_trouble: OnTrouble | None = None,
        on_left_out: Callable[[int], None] = lambda rows: None,
        timeouts: StoreTimeouts = SHORT,
    ) -> AsyncIterator[StoreJournal]:
        """Open the write side for this life of a node."""
        journal = await StoreJournal.open(
            self.address,
            life,
            on_trouble=on_trouble or (lambda *_: None),
            on_left_out=on_left_out,
            timeouts=timeouts,
            retry=0.05,
            engine=engine,
        )
        try:
            yield journal
        finally:
            await journal.aclose(TIMEOUT)

    def records(self) -> JournalRecords:
        """Open the read side."""
        return StoreRecords.open(self.address)

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[None]:
        async with await psycopg.AsyncConnection.connect(self.url) as other:
            await other.execute(f"LOCK TABLE {_TABLES} IN EXCLUSIVE MODE")
            yield

    def held(self) -> AbstractAsyncContextManager[Any]:
        """Hold the tables that every batch writes."""
        return self._held()

    def spoil(self, statement: str) -> None:
        """Execute SQL that another program might."""
        with psycopg.connect(self.url, autocommit=True) as other:
            other.execute(statement.encode())

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        with psycopg.connect(self.url, autocommit=True) as other:
            row = other.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        assert row is not None
        return int(row[0])
