"""The store of a soak: PostgreSQL with a synchronous standby, that crashes, switches over and loses its host."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
from attrs import define, field

from tests.postgres.server import SUPERUSER, PostgresServer
from tests.postgres.template import template_of
from tests.soak.storage import Lost

READY_SECONDS: Final = 60.0
STANDBY: Final = "standby"
SETTINGS: Final = {"max_connections": "200", "autovacuum": "on"}
"""A node has up to fifteen connections."""


@define(eq=False)
class FleetStore:
    """Two servers in two places; one is the primary, the other one a standby for which it waits.

    All methods block. Those that start servers are for one thread that lives as long as they do: the kernel ends a
    server with the thread that started it.
    """

    servers: list[PostgresServer]
    database: str
    first: int = field(default=0, init=False)
    """The place of the primary."""

    @property
    def primary(self) -> PostgresServer:
        """The server that takes writes."""
        return self.servers[self.first]

    def socket(self, place: int) -> Path:
        """Return the socket of the server in a place."""
        return self.servers[place].socket

    def ask(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Return what the primary answers."""
        with psycopg.connect(self.primary.url(self.database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def synchronous(self) -> None:
        """Make the primary wait for the standby, and return when that takes part."""
        self.primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({STANDBY})'")
        self.primary.execute("SELECT pg_reload_conf()")
        until = time.monotonic() + READY_SECONDS
        while self.primary.execute("SELECT sync_state FROM pg_stat_replication") not in ([("quorum",)], [("sync",)]):
            if time.monotonic() > until:
                raise Lost(f"the standby does not take part:\n{self.servers[1 - self.first].log()[-2000:]}")
            time.sleep(0.05)

    def crash(self, seconds: float) -> None:
        """Kill the primary, and start it again after so many seconds."""
        self.primary.stop(signal.SIGKILL)
        time.sleep(seconds)
        self.primary.start()
        self.synchronous()

    def fail_over(self, seconds: float, how: signal.Signals) -> None:
        """End the primary, promote the standby after so many seconds, and have a new standby in the former's place."""
        former = self.primary
        former.stop(how)
        time.sleep(seconds)
        self.first = 1 - self.first
        # What was to be confirmed by a standby is not confirmed before there is one again.
        self.primary.execute("SELECT pg_promote()")
        self.servers[1 - self.first] = follower = PostgresServer(durable=True, settings=SETTINGS)
        former.remove()
        follower.copy(self.primary, STANDBY)
        follower.start()
        self.synchronous()

    def keep_logs(self, directory: Path) -> None:
        """Write the servers' logs there."""
        for place, server in enumerate(self.servers):
            (directory / f"store-{place + 1}.log").write_text(server.log(), encoding="utf-8")

    def remove(self) -> None:
        """End both servers, and delete their data."""
        for server in self.servers:
            server.remove()


@contextmanager
def fleet_store() -> Iterator[FleetStore]:
    """Have a store for the length of the block. Blocks."""
    servers = [PostgresServer(durable=True, settings=SETTINGS) for _ in range(2)]
    store = FleetStore(servers, "postgres")
    try:
        servers[0].create()
        servers[0].start()
        store.database = servers[0].clone(template_of(servers[0]))
        servers[1].copy(servers[0], STANDBY)
        servers[1].start()
        store.synchronous()
        yield store
    finally:
        store.remove()


def address(store: FleetStore, ports: list[int]) -> str:
    """Return the address of the store by way of these ports, for a config."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"postgresql://{SUPERUSER}@{hosts}/{store.database}?target_session_attrs=read-write"
