"""Connections to a real server: settings, deadlines in a black hole, transactions, the pool."""

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator

import anyio
import pytest

from adapters.postgres import connect as connect_module
from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreConnection, StorePool, StoreTimeouts
from adapters.postgres.errors import StoreUnusable
from states.events import DatabaseLocked, DatabaseUnavailable
from tests.postgres.relay import Relay, relay
from tests.postgres.server import SUPERUSER, PostgresServer, private_server
from tests.timeouts import TIMEOUT

SHORT = StoreTimeouts(connect=TIMEOUT, query=0.2, idle=TIMEOUT, turn=0.2)


async def connect(url: str, timeouts: StoreTimeouts | None = None) -> StoreConnection:
    return await StoreConnection.open(StoreAddress.parse(url), application="test", timeouts=timeouts)


@pytest.fixture
async def wire(postgres: PostgresServer) -> AsyncIterator[Relay]:
    async with relay(postgres.socket) as it:
        yield it


def through(wire: Relay, url: str) -> str:
    """Return the address that goes through a relay."""
    return f"postgresql://{SUPERUSER}@{wire.address}/{url.partition('?')[0].rpartition('/')[2]}"


async def test_a_connection_has_the_settings_on_which_the_rest_relies(empty_store_url: str) -> None:
    """A server that would commit without writing is told to write, and ends transactions that stand still."""
    connection = await connect(empty_store_url, StoreTimeouts(query=7, idle=3))
    names = ("synchronous_commit", "idle_in_transaction_session_timeout", "statement_timeout", "TimeZone")
    values = [(await connection.execute("SELECT current_setting(%s)", (name,)))[0][0] for name in names]
    connection.close()
    assert values == ["on", "3s", "7s", "UTC"]


async def test_a_query_in_a_black_hole_ends_at_its_deadline(
    wire: Relay, empty_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails without a cancellation, which would need a second connection through the same hole."""
    monkeypatch.setattr(connect_module, "_END", 10 * TIMEOUT)  # it notices that its socket was shut down
    connection = await connect(through(wire, empty_store_url), SHORT)
    wire.swallow()
    with pytest.raises(StoreUnusable, match="does not answer") as caught:
        await asyncio.wait_for(connection.execute("SELECT 1"), TIMEOUT)
    assert caught.value.uncertain
    assert isinstance(caught.value.failure, DatabaseUnavailable)
    assert wire.connections == 1
    assert connection.raw.pgconn.status != 0
    with pytest.raises(StoreUnusable, match="is closed"):
        await connection.execute("SELECT 1")


async def test_a_cancelled_query_is_not_cancelled_at_the_server(wire: Relay, empty_store_url: str) -> None:
    """Its task ends at once although nothing comes from the server, and psycopg opens no second connection."""
    connection = await connect(through(wire, empty_store_url), StoreTimeouts(query=TIMEOUT))
    wire.swallow()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connection.execute, "SELECT 1")
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert wire.connections == 1
    assert not connection.is_usable


async def test_a_connection_is_closed_under_a_query(wire: Relay, empty_store_url: str) -> None:
    """The query fails at once, whatever its deadline, and only then is the descriptor free."""
    connection = await connect(through(wire, empty_store_url), StoreTimeouts(query=10 * TIMEOUT))
    number = connection.raw.pgconn.socket
    wire.swallow()
    errors: list[StoreUnusable] = []

    async def query() -> None:
        with pytest.raises(StoreUnusable) as caught:
            await connection.execute("SELECT 1")
        errors.append(caught.value)

    async with asyncio.timeout(TIMEOUT), anyio.create_task_group() as tasks:
        tasks.start_soon(query)
        await anyio.lowlevel.checkpoint()
        connection.close()
        assert stat.S_ISSOCK(os.fstat(number).st_mode), "the loop watches a descriptor that is free"
    assert [error.uncertain for error in errors] == [True]
    assert connection.raw.closed


async def test_a_commit_without_an_answer_is_uncertain(wire: Relay, empty_store_url: str) -> None:
    """It may have been committed, and here it was: only reading tells."""
    connection = await connect(through(wire, empty_store_url), SHORT)
    other = await connect(empty_store_url)
    await other.execute("CREATE TABLE t (x int)")

    async def write() -> None:
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
            wire.swallow_answers()

    with pytest.raises(StoreUnusable) as caught:
        await write()
    assert caught.value.uncertain
    while await other.execute("SELECT count(*) FROM t") != [(1,)]:
        await asyncio.sleep(0.01)
    other.close()


async def test_a_statement_in_a_transaction_is_never_uncertain(wire: Relay, empty_store_url: str) -> None:
    """Without its COMMIT nothing of it stays."""
    connection = await connect(through(wire, empty_store_url), SHORT)

    async def write() -> None:
        async with connection.transaction():
            wire.swallow()
            await connection.execute("SELECT 1")

    with pytest.raises(StoreUnusable) as caught:
        await write()
    assert not caught.value.uncertain


async def test_an_error_in_a_transaction_rolls_back_and_the_connection_goes_on(empty_store_url: str) -> None:
    """What the block raises comes out of it as it was."""
    connection = await connect(empty_store_url)
    await connection.execute("CREATE TABLE t (x int)")

    async def write() -> None:
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write()
    assert await connection.execute("SELECT count(*) FROM t") == [(0,)]
    connection.close()


async def test_a_lock_that_another_holds_is_waited_for_and_then_named(empty_store_url: str) -> None:
    """The server gives up by itself, so the connection stays; the failure is one that passes."""
    holder, waiter = await connect(empty_store_url), await connect(empty_store_url)
    await holder.execute("CREATE TABLE t (x int)")
    async with holder.transaction():
        await holder.execute("LOCK TABLE t")
        await waiter.execute("SELECT set_config('lock_timeout', '20ms', false)")
        with pytest.raises(StoreUnusable, match="another program holds") as caught:
            await waiter.execute("INSERT INTO t VALUES (1)")
    assert isinstance(caught.value.failure, DatabaseLocked)
    assert not caught.value.uncertain
    await waiter.execute("INSERT INTO t VALUES (1)")
    holder.close()
    waiter.close()


async def test_the_pool_gives_a_connection_to_one_at_a_time_and_says_when_there_is_none(empty_store_url: str) -> None:
    """Its size is a bound, and its wait has a deadline."""
    pool = StorePool(StoreAddress.parse(empty_store_url), size=1, timeouts=SHORT)
    async with pool.connection() as first:
        with pytest.raises(StoreUnusable, match="all connections to the server are in use"):
            await pool.execute("SELECT 1")
    async with pool.connection() as second:
        assert second is first
    pool.close()
    with pytest.raises(StoreUnusable, match="closed"):
        await pool.execute("SELECT 1")


async def test_the_pool_does_not_lend_a_connection_that_the_server_has_closed() -> None:
    """After a restart of the server the first query works, without an error for the one that asks."""
    with private_server() as server:
        pool = StorePool(StoreAddress.parse(server.url()), size=2)
        async with pool.connection() as one, pool.connection() as two:
            assert one is not two
        await asyncio.to_thread(server.restart, signal.SIGKILL)
        assert await pool.execute("SELECT 1") == [(1,)]
        pool.close()
