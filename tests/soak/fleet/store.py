"""The store of a soak: PostgreSQL with a synchronous standby, that crashes, switches over and loses its host."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import psycopg
from attrs import define, field

from tests.postgres.patroni import PatroniCluster
from tests.postgres.server import SUPERUSER, PostgresServer
from tests.postgres.template import template_of
from tests.soak.storage import Lost

READY_SECONDS: Final = 120.0
STANDBY: Final = "standby"
SETTINGS: Final = {"max_connections": "200", "autovacuum": "on"}
"""A node has up to fifteen connections."""
STORES: Final = ("pair", "patroni")


class FleetStore(Protocol):
    """Servers, of which one is the primary at a time.

    All methods block. Those that start servers are for one thread that lives as long as they do: the kernel ends a
    server with the thread that started it.
    """

    places: int
    """How many servers there are."""
    database: str

    def place(self, number: int) -> Path | int:
        """Return the socket, or the port of 127.0.0.1, of a server."""

    def url(self) -> str:
        """Return the address of the primary, past all relays."""

    def crash(self, seconds: float) -> None:
        """Kill the server that is the primary, which is started again after so many seconds."""

    def switch_over(self, seconds: float) -> None:
        """Have another server become the primary, in order."""

    def fail_over(self, seconds: float) -> None:
        """Lose the host of the primary: another one becomes it, and the host comes back later, as a standby."""

    def keep_logs(self, directory: Path) -> None:
        """Write the servers' logs there."""


def ask(store: FleetStore, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """Return what the primary answers; it is waited for. Blocks."""
    until = time.monotonic() + READY_SECONDS
    while True:
        try:
            with psycopg.connect(store.url(), autocommit=True, connect_timeout=5) as connection:
                cursor = connection.execute(statement.encode(), list(values))
                return cursor.fetchall() if cursor.description else []
        except psycopg.OperationalError as exc:
            if time.monotonic() > until:
                raise Lost(f"the store does not answer: {exc}") from exc
            time.sleep(0.2)


@define(eq=False)
class ServerPair:
    """Two servers in two places; one is the primary, the other one a standby for which it waits."""

    servers: list[PostgresServer]
    database: str = "postgres"
    places: int = field(default=2, init=False)
    first: int = field(default=0, init=False)
    """The place of the primary."""

    @property
    def primary(self) -> PostgresServer:
        """The server that takes writes."""
        return self.servers[self.first]

    def place(self, number: int) -> Path:
        """Return the socket of a server."""
        return self.servers[number].socket

    def url(self) -> str:
        """Return the address of the primary."""
        return self.primary.url(self.database)

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

    def switch_over(self, seconds: float) -> None:
        """End the primary in order; the standby becomes it after so many seconds."""
        self._replace(seconds, signal.SIGINT)

    def fail_over(self, seconds: float) -> None:
        """Kill the primary; the standby becomes it after so many seconds."""
        self._replace(seconds, signal.SIGKILL)

    def _replace(self, seconds: float, how: signal.Signals) -> None:
        """End the primary, promote the standby after so many seconds, and have a new standby in the former's place."""
        former = self.primary
        former.stop(how)
        time.sleep(seconds)
        self.first = 1 - self.first
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


@define(eq=False)
class PatroniStore:
    """Three servers under Patroni."""

    cluster: PatroniCluster
    database: str = "postgres"
    places: int = field(default=3, init=False)

    def place(self, number: int) -> int:
        """Return the port of a server."""
        return self.cluster.ports[self.cluster.names[number]]

    def url(self) -> str:
        """Return the address of all servers, of which the primary is taken."""
        return self.cluster.url(self.database)

    def crash(self, seconds: float) -> None:
        """Kill the server that is the primary; Patroni starts it again when it likes."""
        self.cluster.crash()
        time.sleep(seconds)
        self.cluster.until_whole()

    def switch_over(self, seconds: float) -> None:
        """Ask Patroni for it."""
        self.cluster.until_whole()
        self.cluster.switchover()
        time.sleep(seconds)
        self.cluster.until_whole()

    def fail_over(self, seconds: float) -> None:
        """Kill the host, or stop it, by the length of the trouble; it is back after another one is the primary."""
        self.cluster.lose_host(stopped=seconds > 1)
        self.cluster.primary()
        time.sleep(seconds)
        self.cluster.heal()

    def keep_logs(self, directory: Path) -> None:
        """Write the members' logs."""
        for name in self.cluster.names:
            (directory / f"store-{name}.log").write_text(self.cluster.log(name), encoding="utf-8")


@contextmanager
def fleet_store(kind: str, directory: Path) -> Iterator[FleetStore]:
    """Have a store for the length of the block, and its logs in a directory afterwards. Blocks."""
    if kind == "pair":
        with _pair() as pair:
            try:
                yield pair
            finally:
                pair.keep_logs(directory)
        return
    cluster = PatroniCluster(durable=True)
    cluster._settings["max_connections"] = SETTINGS["max_connections"]
    try:
        cluster.start()
        store = PatroniStore(cluster, cluster.clone("template0"))
        try:
            yield store
        finally:
            with suppress(OSError):
                store.keep_logs(directory)
    finally:
        cluster.remove()


@contextmanager
def _pair() -> Iterator[ServerPair]:
    pair = ServerPair([PostgresServer(durable=True, settings=SETTINGS) for _ in range(2)])
    first, second = pair.servers
    try:
        first.create()
        first.start()
        pair.database = first.clone(template_of(first))
        second.copy(first, STANDBY)
        second.start()
        pair.synchronous()
        yield pair
    finally:
        pair.remove()


def address(store: FleetStore, ports: list[int]) -> str:
    """Return the address of the store by way of these ports, for a config."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"postgresql://{SUPERUSER}@{hosts}/{store.database}?target_session_attrs=read-write"
