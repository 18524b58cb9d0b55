"""Lives of nodes in one ``engine.db`` that several of them share, for the tests of what they store."""

import itertools
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from attrs import field, frozen

from adapters.sqlite import JournalWriter
from adapters.sqlite.node_file import NodeFile, make_file
from adapters.sqlite.shared_incidents import SharedIncidents, SharedOutbox
from adapters.sqlite.shared_jobs import SharedJobs
from tests.adapters.sqlite.support import TIMEOUTS
from tests.storage.incident_stores import EngineParts, SqliteIncidents
from tests.storage.job_stores import ACCOUNTS, SqliteJobs
from tests.storage.part_stores import Parts, SqliteParts
from tests.storage.stores import OnTrouble, SqliteStore
from tests.timeouts import TIMEOUT

_lives = itertools.count(6_000_000_000_000_000_001 + (os.getpid() << 32))


def register(path: Path, name: str = "one", accounts: Sequence[str] = ()) -> int:
    """Begin a life of a node, which owns these accounts; the life that it had before is dead."""
    make_file(path)
    life = next(_lives)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE nodes SET state = 'dead' WHERE name = ?", (name,))
        db.execute(
            "INSERT INTO nodes (id, name, host, epoch, lease) SELECT ?, ?, 'here', count(*) + 1, 15 FROM nodes",
            (life, name),
        )
        for account in accounts:
            db.execute(
                """INSERT INTO node_accounts (name, owner, epoch) VALUES (?, ?, 1)
                    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, epoch = epoch + 1""",
                (account, life),
            )
    return life


def end(path: Path, life: int) -> None:
    """End a life."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE nodes SET state = 'dead' WHERE id = ?", (life,))


@asynccontextmanager
async def journal_of(path: Path, life: int, **given: Any) -> AsyncIterator[JournalWriter]:
    """Open the journal of a life."""
    journal = await JournalWriter.open(path, life=life, **{"on_trouble": lambda *_: None, "timeouts": TIMEOUTS} | given)
    try:
        yield journal
    finally:
        await journal.aclose(TIMEOUT)


class SharedFile(SqliteStore):
    """A file that other nodes have open, too."""

    @asynccontextmanager
    async def journal(
        self, *, engine: str = "", on_trouble: OnTrouble | None = None, max_waiting: int | None = None
    ) -> AsyncIterator[JournalWriter]:
        """Open the write side for a life of its own; another life writes nothing meanwhile."""
        life, other = register(self.path), register(self.path, "other")
        on = on_trouble or (lambda *_: None)
        async with (
            journal_of(self.path, other),
            journal_of(self.path, life, on_trouble=on, engine=engine) as journal,
        ):
            if max_waiting is not None:
                journal._writer.max_waiting = max_waiting
            yield journal


class SharedJobFile(SqliteJobs):
    """A file of jobs that several nodes have."""

    @asynccontextmanager
    async def engine(
        self, name: str = "one", accounts: Sequence[str] = ACCOUNTS, life: int | None = None
    ) -> AsyncIterator[SharedJobs]:
        """Run a node, which has these accounts; the life that it had before is dead."""
        life = life or register(self.path, name, accounts)
        async with journal_of(self.path, life) as journal:
            jobs = SharedJobs(
                self.path, journal.jobs.writer, link=NodeFile.open(self.path, durable=True), life=life, node=name
            )
            try:
                yield jobs
            finally:
                await jobs.aclose()

    def register(self, name: str, accounts: Sequence[str]) -> int:
        """Begin a life of a node, which owns these accounts."""
        return register(self.path, name, accounts)

    def end(self, life: int) -> None:
        """End a life, as whoever sees that its process is gone."""
        end(self.path, life)

    @property
    def holder(self) -> Sequence[str]:
        """The words by which a process is started that claims jobs and keeps them."""
        return "tests.storage.job_holder", str(self.path)

    def killed(self) -> "SharedJobFile":
        """Return a copy of the file as it lies on the disk."""
        return SharedJobFile(super().killed().path)


@frozen
class SharedParts(EngineParts):
    """What a running node has of a shared file."""

    life: int = field(kw_only=True)


class SharedIncidentFile(SqliteIncidents):
    """A file of incidents that several nodes have."""

    @asynccontextmanager
    async def engine(self, name: str = "one") -> AsyncIterator[SharedParts]:
        """Run a node; the life that it had before is dead."""
        life = register(self.path, name)
        async with journal_of(self.path, life) as journal:
            link, writer = NodeFile.open(self.path, durable=True), journal.jobs.writer
            try:
                yield SharedParts(
                    SharedIncidents(self.path, writer, link=link, life=life, node=name),
                    SharedOutbox(self.path, writer, link=link, life=life),
                    life=life,
                )
            finally:
                link.close()


class SharedPartsFile(SqliteParts):
    """A file of what nodes keep beside journal and jobs."""

    @asynccontextmanager
    async def node(self, name: str = "one", accounts: Sequence[str] = ACCOUNTS) -> AsyncIterator[Parts]:
        """Run a node, which has these accounts."""
        life = register(self.path, name, accounts)
        async with journal_of(self.path, life) as journal:
            link, writer = NodeFile.open(self.path, durable=True), journal.jobs.writer
            jobs = SharedJobs(self.path, writer, link=link, life=life, node=name)
            try:
                yield Parts(
                    ledger=journal.make_ledger(), usernames=journal.usernames, remote=journal.remote, jobs=jobs,
                    flush=journal.flush,
                )  # fmt: skip
            finally:
                await jobs.aclose()
