"""A primary with a synchronous standby, both real: what is acknowledged outlives the primary, and nodes notice it."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator

import pytest

from adapters.postgres.accounts import AccountRows
from adapters.postgres.address import StoreAddress
from adapters.postgres.checks import durability
from adapters.postgres.connect import StorePool
from adapters.postgres.nodes import NodeRows
from tests.postgres.server import SUPERUSER, PostgresServer, private_server
from tests.postgres.support import connected, node
from tests.postgres.template import template_of
from tests.timeouts import TIMEOUT


@pytest.fixture
def primary() -> Iterator[PostgresServer]:
    with private_server(durable=True) as server:
        yield server


@pytest.fixture
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    """Return a standby for which the primary waits."""
    server = PostgresServer(durable=True)
    try:
        server.copy(primary, "standby")
        server.start()
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (standby)'")
        primary.execute("SELECT pg_reload_conf()")
        yield server
    finally:
        server.remove()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when the condition is true."""
    async with asyncio.timeout(TIMEOUT):
        while not await condition():
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_failover_keeps_what_was_acknowledged_and_is_another_server_to_every_node(
    primary: PostgresServer, standby: PostgresServer
) -> None:
    """One address names both; a death that was to be declared on the first, and what it noted, do not count there."""
    name = primary.clone(template_of(primary))
    url = (
        f"postgresql://{SUPERUSER}@/{name}?host={primary.directory},{standby.directory}&target_session_attrs=read-write"
    )
    pool = StorePool(StoreAddress.parse(url))
    async with node(url, "a") as a, node(url, "b") as b:

        async def is_synchronous() -> bool:
            return (await durability(a.connection)).keeps

        await until(is_synchronous)
        assert (await durability(a.connection)).sentence == (
            "replication is synchronous: a commit waits for 1 of 1 standbys"
        )
        await a.accounts.set_accounts({"Account 1": "*"})
        assert await a.claim() == {"Account 1": 1}
        before = await a.beat()
        await a.nodes.note_settled(before.server)
        assert await pool.execute("SELECT 1") == [(1,)]
        primary.stop(signal.SIGKILL)
        standby.execute("SELECT pg_promote()")
    assert await pool.execute("SELECT count(*) FROM accounts") == [(1,)]
    pool.close()
    async with connected(url) as connection:
        rows = NodeRows(connection)
        after = await rows.beat(a.life)
        assert after is not None
        assert (after.beat, after.accounts, after.epochs, after.settled) == (before.beat + 1, 1, 1, False)
        assert [at.server.split()[1] for at in (before, after)] == ["00000001", "00000002"], "the timelines"
        assert not await rows.declare_dead(b.life, after.others[b.life], before.server)
        assert await AccountRows(connection).owned(a.life) == {"Account 1": 1}
        assert "replication is not synchronous" in (await durability(connection)).sentence


async def test_a_standby_that_is_gone_is_named_because_every_write_waits_for_it(primary: PostgresServer) -> None:
    """A doctor has to find it without a write of its own."""
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (standby)'")
    primary.execute("SELECT pg_reload_conf()")

    async def is_named() -> bool:
        async with connected(primary.url()) as connection:
            found = await durability(connection)
        return not found.keeps and found.sentence == (
            "replication is synchronous and no standby takes part, so every write waits"
        )

    await until(is_named)
