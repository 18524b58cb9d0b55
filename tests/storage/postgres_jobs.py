"""The store of jobs of a fleet, in a database of a real server."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

import anyio
import psycopg

from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StorePool
from adapters.postgres.fenced import FencedLink
from adapters.postgres.group_writer import StoreWriter
from adapters.postgres.job_commands import add_jobs, change_jobs
from adapters.postgres.job_reader import PostgresJobReader, PostgresMessageReader
from adapters.postgres.jobs import PostgresJobs
from adapters.sqlite.jobs import NewJob
from states.jobs import Job, JobEvent
from tests.postgres.pool import pool_of
from tests.postgres.server import PostgresServer
from tests.postgres.support import new_life
from tests.storage.job_stores import ACCOUNTS
from tests.timeouts import TIMEOUT

_REGISTER = """INSERT INTO nodes (id, name, host, epoch, lease)
    SELECT {life}, '{name}', 'here', count(*) + 1, 15 FROM nodes WHERE name = '{name}'"""

_DEATH = """WITH d AS (SELECT id FROM nodes WHERE id = {0} AND state <> 'dead' FOR UPDATE)
    UPDATE nodes SET state = 'dead' FROM d WHERE nodes.id = d.id"""


class PostgresJobsDatabase:
    """A database of its own, and the lives of nodes that write into it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.address = StoreAddress.parse(url)

    @asynccontextmanager
    async def engine(
        self, name: str = "one", accounts: Sequence[str] = ACCOUNTS, life: int | None = None
    ) -> AsyncIterator[PostgresJobs]:
        """Run a node, which has these accounts; the life that it had before is dead."""
        life = life or self.register(name, accounts)
        pool = StorePool(self.address)
        link = FencedLink(pool, life)
        writer = StoreWriter(store=link, retry=0.05, constants={"life": life, "clock": name})
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(writer.run)
                try:
                    yield PostgresJobs(writer=writer, link=link, life=life, node=name)
                finally:
                    await writer.aclose(TIMEOUT)
        finally:
            pool.close()

    def register(self, name: str, accounts: Sequence[str]) -> int:
        """Begin a life of a node, which owns these accounts."""
        self.execute(f"UPDATE nodes SET state = 'dead' WHERE name = '{name}' AND state <> 'dead'")
        life = new_life()
        self.execute(_REGISTER.format(name=name, life=life))
        for account in accounts:
            self.execute(
                f"INSERT INTO accounts (name, owner, epoch) VALUES ('{account}', {life}, 1) "
                "ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, epoch = accounts.epoch + 1"
            )
        return life

    def end(self, life: int) -> None:
        """End a life, as whoever sees that its process is gone."""
        self.execute(_DEATH.format(life))

    @property
    def holder(self) -> Sequence[str]:
        """The words by which a process is started that claims jobs and keeps them."""
        return "tests.postgres.job_holder", self.url

    def add(self, jobs: Iterable[NewJob]) -> range:
        """Add jobs as a command does."""
        return add_jobs(self.address, jobs)

    def change(self, numbers: Iterable[int], event: JobEvent) -> list[tuple[Job, Job] | int | str]:
        """Change jobs as a command does."""
        return change_jobs(self.address, numbers, event)

    def reader(self) -> AbstractContextManager[Any]:
        """Connect for reading."""
        return PostgresJobReader.open(self.address)

    def messages(self) -> AbstractContextManager[Any]:
        """Connect for reading."""
        return PostgresMessageReader.open(self.address)

    def killed(self) -> "PostgresJobsDatabase":
        """Return the same database, which knows nothing of what a killed node had not committed."""
        return PostgresJobsDatabase(self.url)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read by a connection of its own."""
        with psycopg.connect(self.url, autocommit=True) as other:
            cursor = other.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def execute(self, statement: str) -> None:
        """Execute SQL by a connection of its own."""
        self.rows(statement)

    def refuse(self, event: str, table: str, when: str = "") -> None:
        """Make a trigger that raises."""
        self.execute("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$")
        condition = f"WHEN ({when})" if when else ""
        self.execute(f"CREATE TRIGGER no BEFORE {event} ON {table} FOR EACH ROW {condition} EXECUTE FUNCTION no()")


@contextmanager
def postgres_jobs(server: PostgresServer) -> Iterator[PostgresJobsDatabase]:
    """Make an empty store of jobs for the block."""
    with pool_of(server).database() as name:
        yield PostgresJobsDatabase(server.url(name))
