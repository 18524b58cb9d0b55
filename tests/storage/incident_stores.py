"""The stores of incidents and alerts that the contract is asked of: a file of one engine, and a database of a fleet."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from adapters.sqlite.incident_reader import IncidentReader
from adapters.sqlite.incidents import acknowledge
from engine.alerts.ports import AlertOutbox
from engine.incidents.ports import IncidentStorage
from states.incident import Incident
from states.incidents import Book, Change
from tests.adapters.sqlite.support import a_journal
from tests.states.incident_support import Told


class RestoredIncidents(IncidentStorage, Protocol):
    """What an engine has of the store."""

    async def restore(self, now: float) -> Book:
        """Return the book with which this engine begins."""

    async def prune(self, before: float) -> int:
        """Delete the oldest incidents that were over before then."""


@frozen
class EngineParts:
    """What a running engine has of the store."""

    incidents: RestoredIncidents
    outbox: AlertOutbox

    async def keep(self, law: Told | Sequence[Change], seen: int = 0) -> None:
        """Store what a law has said since then, durably."""
        changes = law.changes if isinstance(law, Told) else law
        await self.incidents.keep(changes[seen:])
        await self.incidents.flush()


class IncidentsUnderTest(Protocol):
    """One empty store."""

    def engine(self) -> AbstractAsyncContextManager[EngineParts]:
        """Run an engine. One at a time; the last one is dead then."""

    def reader(self) -> AbstractContextManager[Any]:
        """Open what commands read incidents with."""

    def acknowledge(self, number: int, now: float) -> tuple[Incident | None, bool]:
        """Acknowledge as a command does."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return what another program reads."""

    def execute(self, statement: str) -> None:
        """Do what another program does."""


class SqliteIncidents:
    """A file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[EngineParts]:
        """Run the writer of a journal."""
        async with a_journal(self.path) as journal:
            yield EngineParts(journal.incidents, journal.outbox)

    def reader(self) -> AbstractContextManager[Any]:
        """Open the file for reading."""
        return IncidentReader.open(self.path)

    def acknowledge(self, number: int, now: float) -> tuple[Incident | None, bool]:
        """Acknowledge as a command does."""
        return acknowledge(self.path, number, now)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read by a connection of its own."""
        with closing(sqlite3.connect(self.path)) as other:
            return other.execute(query).fetchall()

    def execute(self, statement: str) -> None:
        """Execute SQL by a connection of its own."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute(statement)


def stored_incidents(store: IncidentsUnderTest, *, open_only: bool = False) -> list[Incident]:
    """Return the incidents as commands read them."""
    with store.reader() as reader:
        found: list[Incident] = reader.incidents(open_only=open_only)
    return found
