"""What a node keeps beside its journal and its jobs, in a database of a real server."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

from adapters.postgres.ledger import PostgresLedger
from adapters.postgres.ledger_reader import PostgresLedgerReader
from adapters.postgres.remote import PostgresRemote, stored_cursor_lines
from adapters.postgres.usernames import PostgresUsernames
from adapters.sqlite.remote_reader import CursorLine
from tests.storage.job_stores import ACCOUNTS
from tests.storage.part_stores import Parts
from tests.storage.postgres_jobs import PostgresJobsDatabase


class PostgresParts:
    """A database, and the lives of nodes that write into it."""

    def __init__(self, url: str) -> None:
        self.database = PostgresJobsDatabase(url)
        self.url = url

    @asynccontextmanager
    async def node(
        self, name: str = "one", accounts: Sequence[str] = ACCOUNTS, life: int | None = None
    ) -> AsyncIterator[Parts]:
        """Run a node, which takes these accounts from whoever has them."""
        async with self.database.engine(name, accounts, life) as jobs:
            yield Parts(
                ledger=PostgresLedger(jobs.writer),
                usernames=PostgresUsernames(jobs.writer, jobs.link),
                remote=PostgresRemote(jobs.writer, jobs.link, jobs.life),
                jobs=jobs,
                flush=jobs.flush,
            )

    def ledger(self) -> AbstractContextManager[Any]:
        """Connect for reading."""
        return PostgresLedgerReader.open(self.database.address)

    def cursor_lines(self) -> list[CursorLine]:
        """Connect and read."""
        return stored_cursor_lines(self.database.address)

    def execute(self, statement: str) -> None:
        """Execute SQL by a connection of its own."""
        self.database.execute(statement)
