"""The stores of jobs that the contract is asked of: a file of one engine, and a database of many nodes."""

import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from adapters.sqlite.job_reader import JobReader
from adapters.sqlite.jobs import NewJob, add, change
from adapters.sqlite.message_reader import MessageReader
from engine.work.ports import WorkStorage
from states.jobs import Job, JobEvent
from tests.adapters.sqlite.support import a_journal

NOW = 1_700_000_000.0
ACCOUNTS = ("A", "B", "Account 1", "Account 2")
"""Those that the engine of a test has."""


class JobsUnderTest(Protocol):
    """One empty store of jobs."""

    def engine(self) -> AbstractAsyncContextManager[WorkStorage]:
        """Run an engine, which has ``ACCOUNTS``: what it has of the store. One at a time; the last one is dead then."""

    def add(self, jobs: Iterable[NewJob]) -> range:
        """Add jobs as a command does."""

    def change(self, numbers: Iterable[int], event: JobEvent) -> list[tuple[Job, Job] | int | str]:
        """Change jobs as a command does."""

    def reader(self) -> AbstractContextManager[Any]:
        """Open what commands read jobs with."""

    def messages(self) -> AbstractContextManager[Any]:
        """Open what commands read messages with."""

    def killed(self) -> "JobsUnderTest":
        """Return what the next engine finds if this one is killed now."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return what another program reads."""

    def execute(self, statement: str) -> None:
        """Do what another program does."""

    def refuse(self, event: str, table: str, when: str = "") -> None:
        """Make this kind of statement fail on a table, for rows that are so."""


class SqliteJobs:
    """A file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[WorkStorage]:
        """Run the writer of a journal."""
        async with a_journal(self.path) as journal:
            jobs = journal.jobs
            try:
                yield jobs
            finally:
                await jobs.aclose()

    def add(self, jobs: Iterable[NewJob]) -> range:
        """Add jobs as a command does."""
        return add(self.path, jobs)

    def change(self, numbers: Iterable[int], event: JobEvent) -> list[tuple[Job, Job] | int | str]:
        """Change jobs as a command does."""
        return change(self.path, numbers, event)

    def reader(self) -> AbstractContextManager[Any]:
        """Open the file for reading."""
        return JobReader.open(self.path)

    def messages(self) -> AbstractContextManager[Any]:
        """Open the file for reading."""
        return MessageReader.open(self.path)

    def killed(self) -> "SqliteJobs":
        """Return a copy of the file as it lies on the disk."""
        copy = self.path.with_name("killed") / self.path.name
        copy.parent.mkdir()
        for part in ("", "-wal"):
            shutil.copy(f"{self.path}{part}", f"{copy}{part}")
        return SqliteJobs(copy)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read by a connection of its own."""
        with closing(sqlite3.connect(self.path)) as other:
            return other.execute(query).fetchall()

    def execute(self, statement: str) -> None:
        """Execute SQL by a connection of its own."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute(statement)

    def refuse(self, event: str, table: str, when: str = "") -> None:
        """Make a trigger that raises."""
        condition = f" WHEN {when}" if when else ""
        self.execute(f"CREATE TRIGGER no BEFORE {event} ON {table}{condition} BEGIN SELECT RAISE(ABORT, 'no'); END")


def new(kind: str = "k", **given: Any) -> NewJob:
    """Return a job to be added."""
    return NewJob(kind=kind, **{"data": {}} | given)


def stored(store: JobsUnderTest, number: int = 1) -> Job:
    """Return a job as commands read it."""
    with store.reader() as reader:
        job = reader.job(number)
    assert isinstance(job, Job)
    return job


def put(store: JobsUnderTest, job: Job) -> int:
    """Add a job in the middle of its life; return its number."""
    (number,) = store.add([new(job.kind, account=job.account)])
    names = ("state", "due", "attempts", "losses", "paid", "worker", "ended")
    cells = ", ".join(f"{name} = {_literal(getattr(job, name))}" for name in names)
    store.execute(f"UPDATE jobs SET {cells} WHERE id = {number}")
    return number


def _literal(value: Any) -> str:
    return "NULL" if value is None else f"'{value}'" if isinstance(value, str) else repr(value)


@contextmanager
def sqlite_jobs(directory: Path) -> Iterator[SqliteJobs]:
    """Return a store in a file that is not there yet, or is empty."""
    store = SqliteJobs(directory / "engine.db")
    store.add([new()])
    store.execute("DELETE FROM jobs")
    store.execute("DELETE FROM sqlite_sequence")
    yield store
