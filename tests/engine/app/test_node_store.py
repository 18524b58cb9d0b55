"""Nodes with a real PostgreSQL server, in real time, with a short lease: the parts of a node, put together."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from attrs import define, field

from adapters.postgres.accounts import AccountRows
from adapters.postgres.address import StoreAddress
from adapters.postgres.nodes import NodeRows
from adapters.stores.nodes import NodeEntry
from adapters.system import ContinuousClock
from engine.app.node_store import DatabaseNodes
from engine.node.assigner import Assigner
from engine.node.holder import LeaseHolder
from engine.node.ports import NodeStore
from states.lease import LeaseTimes
from tests.engine.node.fakes import FakeWork
from tests.postgres.support import connected
from tests.timeouts import TIMEOUT

TIMES = LeaseTimes.of(3.0)


class NoDeadMan:
    """Does not end the tests."""

    def arm(self, at: float) -> None:
        pass

    def disarm(self) -> None:
        pass

    def close(self) -> None:
        pass


@define(eq=False)
class ANode:
    """A node, and the scope of its process."""

    holder: LeaseHolder
    assigner: Assigner
    work: FakeWork
    process: anyio.CancelScope = field(factory=anyio.CancelScope)

    async def run(self) -> None:
        with self.process:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.assigner.run)
                await self.holder.run()
                tasks.cancel_scope.cancel()


@asynccontextmanager
async def fleet(url: str, *names: str) -> AsyncIterator[dict[str, ANode]]:
    """Run nodes for the length of the block."""
    acting: dict[str, str] = {}
    nodes: dict[str, ANode] = {}
    async with anyio.create_task_group() as tasks:
        for name in names:
            store: NodeStore = DatabaseNodes(
                StoreAddress.parse(url), NodeEntry(name=name, host=f"{name}-host", lease=TIMES.lease)
            )
            work = FakeWork(name, acting)
            holder = LeaseHolder(store, work, NoDeadMan(), ContinuousClock(), TIMES)
            nodes[name] = ANode(holder, Assigner(store, work, holder, ContinuousClock(), join_delay=0.3), work)
            tasks.start_soon(nodes[name].run)
        yield nodes
        tasks.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    with anyio.fail_after(TIMEOUT):
        while not condition():
            await anyio.sleep(0.02)


def shares(nodes: dict[str, ANode]) -> list[int]:
    """Return for how many accounts each node acts."""
    return [list(node.work.acting.values()).count(name) for name, node in nodes.items()]


@pytest.fixture
async def twenty(store_url: str) -> str:
    """Return the address of a store with 20 accounts."""
    async with connected(store_url) as connection:
        await AccountRows(connection).set_accounts({f"* {number}": "*" for number in range(20)})
    return store_url


@pytest.mark.slow
async def test_nodes_share_lose_and_leave_accounts(twenty: str) -> None:
    """Two share evenly; of one that dies, and of one that leaves, the other has all; the store says the same."""
    async with fleet(twenty, "a", "b", "c") as nodes, connected(twenty) as connection:
        await until(lambda: sum(shares(nodes)) == 20)
        assert min(shares(nodes)) >= 6
        nodes["a"].process.cancel()
        nodes["a"].work.end()
        await until(lambda: shares(nodes) == [0, 10, 10])
        nodes["b"].holder.leave()
        await until(lambda: shares(nodes) == [0, 0, 20])
        (living,) = await NodeRows(connection).living()
        assert (living.name, living.accounts) == ("c", 20)


@pytest.mark.slow
async def test_a_name_that_is_taken_and_silent_is_taken_over(twenty: str) -> None:
    """As after the crash of a machine that starts again at once."""
    async with fleet(twenty, "a") as before:
        await until(lambda: shares(before) == [20])
    async with fleet(twenty, "a") as after:
        await until(lambda: shares(after) == [20])
        assert after["a"].holder.hold.life != before["a"].holder.hold.life


async def test_a_connection_that_the_server_ends_costs_no_account(twenty: str) -> None:
    """The node connects again, and its life goes on."""
    async with fleet(twenty, "a") as nodes, connected(twenty) as connection:
        await until(lambda: shares(nodes) == [20])
        life = nodes["a"].holder.hold.life
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'holdfast a'"
        assert (await connection.execute(cut))[0][0] == 2
        confirmed = nodes["a"].holder.hold.confirmed
        await until(lambda: nodes["a"].holder.hold.confirmed > confirmed + 2 * TIMES.beat_every)
        assert nodes["a"].holder.hold.life == life
        assert shares(nodes) == [20]
        assert not [each for each in nodes["a"].work.seen if each[1] == "abort"]
