"""The store of incidents and alerts of a fleet, in a database of a real server."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

from attrs import field, frozen

from adapters.postgres.group_writer import StoreWriter
from adapters.postgres.incident_reader import PostgresIncidentReader
from adapters.postgres.incidents import PostgresIncidents, acknowledge_stored
from adapters.postgres.outbox import PostgresOutbox
from states.incident import Incident
from tests.storage.incident_stores import EngineParts
from tests.storage.postgres_jobs import PostgresJobsDatabase

_DEATH = """WITH d AS (SELECT id FROM nodes WHERE id = {0} FOR UPDATE) UPDATE nodes SET state = 'dead',
    ended_at = clock_timestamp() - make_interval(secs => {1}) FROM d WHERE nodes.id = d.id"""


@frozen
class NodeParts(EngineParts):
    """What a running node has of the store."""

    incidents: PostgresIncidents
    outbox: PostgresOutbox
    writer: StoreWriter = field(kw_only=True)
    life: int = field(kw_only=True)


class PostgresIncidentDatabase:
    """A database of its own, and the lives of nodes that write into it."""

    def __init__(self, url: str) -> None:
        self.nodes = PostgresJobsDatabase(url)
        self.address = self.nodes.address
        self.url = url

    @asynccontextmanager
    async def engine(self, name: str = "one") -> AsyncIterator[NodeParts]:
        """Run a node; the life that it had before is dead."""
        async with self.nodes.engine(name, ()) as jobs:
            parts = {"writer": jobs.writer, "link": jobs.link, "life": jobs.life, "node": name}
            incidents, outbox = PostgresIncidents(**parts), PostgresOutbox(**parts)  # type: ignore[arg-type]
            yield NodeParts(incidents, outbox, writer=jobs.writer, life=jobs.life)

    def die(self, life: int, seconds_ago: float = 0.0) -> None:
        """Declare the life of a node dead."""
        self.execute(_DEATH.format(life, seconds_ago))

    def reader(self) -> AbstractContextManager[Any]:
        """Connect for reading."""
        return PostgresIncidentReader.open(self.address)

    def acknowledge(self, number: int, now: float) -> tuple[Incident | None, bool]:
        """Acknowledge as a command does."""
        return acknowledge_stored(self.address, number, now)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read by a connection of its own."""
        return self.nodes.rows(query)

    def execute(self, statement: str) -> None:
        """Execute SQL by a connection of its own."""
        self.nodes.execute(statement)
