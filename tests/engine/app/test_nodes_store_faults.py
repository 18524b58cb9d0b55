"""``run`` as a node whose database refuses, loses its connections, fills up, or is cut off for less than the lease."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from attrs import define

from adapters.postgres.migrate import migrate
from adapters.sandbox import Sandbox
from tests.engine.harness import EngineHarness
from tests.engine.nodes import PATIENT, PHONES, Nodes, Sender, clean
from tests.postgres.relay import Relay, relay
from tests.postgres.server import GUARDED, PostgresServer, private_server
from tests.postgres.support import connected

pytestmark = pytest.mark.slow


PASSWORD = "a-secret-of-the-node"
TRIGGER = """
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'could not extend file: No space left on device'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION full_disk()"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Return a server at which the node is a user of its own, with a password."""
    with private_server() as it:
        it.execute(f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}'")
        yield it


Work = Callable[[], Awaitable[None]]


@define
class OneAtWork:
    """A node whose accounts send what a sender adds, over a way to the database that can be cut."""

    nodes: Nodes
    node: EngineHarness
    sender: Sender
    server: PostgresServer
    database: str
    wire: Relay

    async def say(self, *statements: str) -> None:
        """Execute statements as the server's superuser; ``{db}`` is the database."""
        for statement in statements:
            text = statement.replace("{db}", self.database)
            where = "postgres" if "DATABASE" in text else self.database  # it may take no connections, or no writes
            await anyio.to_thread.run_sync(partial(self.server.execute, text, database=where))

    async def drop_connections(self) -> None:
        """Have the server end all of the node's connections."""
        await self.say(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{GUARDED}'")

    def told(self, text: str) -> int:
        """Return how often the node has said something."""
        return " ".join(self.node.text.split()).count(text)

    @property
    def is_silent(self) -> bool:
        """Whether the node has said last that the store gives no answer."""
        said = " ".join(self.node.text.split())
        return said.rfind("this node closes its connections") > said.rfind("The store answers again")

    async def passes(self, begin: Work, told: str, end: Work) -> None:
        """Let the database be hurt until the node has told it, and expect that it does not busy itself meanwhile."""
        before, lines, connections = self.told(told), self.node.text.count("\n"), self.wire.connections
        await begin()
        await self.node.until(lambda _: self.told(told) > before)
        await end()
        done = self.nodes.jobs().count("done")
        await self.nodes.until(lambda: self.nodes.jobs().count("done") > done, self.node)
        await self.node.until(lambda at: not self.is_silent)
        assert self.node.text.count("\n") - lines < 60, self.node.text
        assert self.wire.connections - connections < 150, self.node.text


@asynccontextmanager
async def one_at_work(directory: Path, server: PostgresServer) -> AsyncIterator[OneAtWork]:
    """Run a node that goes on through the block: the same life, the same connections, each message sent once."""
    database = await anyio.to_thread.run_sync(server.clone, "template0")
    await anyio.to_thread.run_sync(server.execute, f"ALTER DATABASE {database} OWNER TO {GUARDED}")
    async with Sandbox() as dc, relay(server.socket) as wire:
        nodes = Nodes(directory, server.url(database), dc)
        url = f"postgresql://{GUARDED}:{PASSWORD}@{wire.address}/{database}"
        async with connected(url) as connection:
            await migrate(connection)
        node = await nodes.node("one", lease="60s", states=PATIENT, url=url)
        nodes.settle()
        sender = await Sender.of(nodes, pause=0.5)
        async with node.running() as process, anyio.create_task_group() as tasks:
            await nodes.until(nodes.all_healthy, node)
            tasks.start_soon(sender.run)
            await sender.goes_on()
            lives, accepted = nodes.lives(), dc.stats()["accepted"]
            yield OneAtWork(nodes, node, sender, server, database, wire)
            await sender.goes_on()
            tasks.cancel_scope.cancel()
            await sender.check(node)
            assert (dc.stats()["accepted"], dc.stats()["connections"]) == (accepted, len(PHONES)), node.text
            assert nodes.lives() == lives
            code, said = await node.command("log", "replay", "config.yaml")
            assert code == 0, said
            assert await node.finish(process, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert clean(node), node.text
    assert PASSWORD not in node.text
    await anyio.to_thread.run_sync(server.drop, database)


async def test_what_a_database_refuses_for_a_while_is_told_and_passes(tmp_path: Path, server: PostgresServer) -> None:
    """In a sentence for each kind, without a traceback; nobody is disconnected, and nothing is lost or sent twice."""
    async with one_at_work(tmp_path, server) as it:

        def saying(*statements: str, drop: bool = True) -> Work:
            async def work() -> None:
                await it.say(*statements)
                if drop:
                    await it.drop_connections()

            return work

        await it.passes(
            saying("ALTER DATABASE {db} SET default_transaction_read_only = on"),
            "the server only reads",
            saying("ALTER DATABASE {db} RESET default_transaction_read_only"),
        )
        await it.passes(
            saying("ALTER DATABASE {db} CONNECTION LIMIT 0"),
            "the server takes no more connections",
            saying("ALTER DATABASE {db} CONNECTION LIMIT -1", drop=False),
        )
        await it.passes(
            saying(f"ALTER ROLE {GUARDED} PASSWORD 'another'"),
            "the server refuses this user or password",
            saying(f"ALTER ROLE {GUARDED} PASSWORD '{PASSWORD}'", drop=False),
        )
        await it.passes(
            saying(TRIGGER.format(table="journal"), drop=False),
            "the server has no room left",
            saying("DROP FUNCTION full_disk CASCADE", drop=False),
        )
        await it.passes(
            saying("ALTER SCHEMA public RENAME TO away", drop=False),
            "the tables of the database are not there",
            saying("ALTER SCHEMA away RENAME TO public", drop=False),
        )


async def test_connections_that_are_lost_or_swallowed_for_less_than_a_lease(
    tmp_path: Path, server: PostgresServer
) -> None:
    """Whether the server ends them, they are cut, or nothing comes through them or back."""
    async with one_at_work(tmp_path, server) as it:

        async def cut() -> None:
            it.wire.cut()

        async def swallow() -> None:
            it.wire.swallow()

        async def swallow_answers() -> None:
            it.wire.swallow_answers()

        async def restore() -> None:
            it.wire.restore()

        for _ in range(2):
            await it.drop_connections()
            await it.sender.goes_on(1)
        await it.passes(cut, "The store answers again", restore)
        await it.passes(swallow, "the store has not answered within 3 s", restore)
        await it.passes(swallow_answers, "the store has not answered within 3 s", restore)
