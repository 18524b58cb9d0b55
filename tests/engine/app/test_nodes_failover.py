"""``run`` as nodes on a real PostgreSQL cluster that crashes, is switched over, and loses the host of its primary."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from attrs import define

from adapters.sandbox import Sandbox
from tests.engine.harness import EngineHarness
from tests.engine.nodes import PATIENT, Nodes, Sender, clean, kept_running
from tests.postgres.patroni import PatroniCluster
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

PHONES = ("+9996620001", "+9996620002", "+9996620003", "+9996620004")
HALVES = ["one", "one", "two", "two"]


@define
class AtWork:
    """Two nodes, each with half of the accounts, and what was so when they had them."""

    nodes: Nodes
    one: EngineHarness
    two: EngineHarness
    sender: Sender
    ends: tuple[list[int], list[int]]
    """The exit codes of the processes of both that have ended."""
    lives: dict[str, object]
    accepted: int
    """How many connections the datacenter has accepted."""

    async def beaten(self) -> None:
        """Return when each node has beaten twice more: the first beat may have been under way."""
        before = self._beats()
        await self.nodes.until(lambda: all(beat >= before.get(name, 0) + 2 for name, beat in self._beats().items()))

    def _beats(self) -> dict[str, int]:
        rows = self.nodes.rows("SELECT name, beat FROM nodes WHERE state <> 'dead'")
        return {str(name): int(str(beat)) for name, beat in rows}

    def nobody_was_disconnected(self) -> None:
        """Expect the lives and connections of the beginning."""
        assert self.nodes.lives() == self.lives
        stats = self.nodes.dc.stats()
        assert (stats["accepted"], stats["connections"]) == (self.accepted, len(PHONES))
        assert self.ends == ([], [])


@asynccontextmanager
async def at_work(directory: Path, url: str, lease: str) -> AsyncIterator[AtWork]:
    """Run two nodes that send what a sender adds. Whatever the block does, they do all of it, each message once."""
    async with Sandbox() as dc:
        nodes = Nodes(directory, url, dc, PHONES)
        one, two = [await nodes.node(name, lease=lease, states=PATIENT) for name in ("one", "two")]
        nodes.settle()
        sender = await Sender.of(nodes)
        async with kept_running(one) as ends, kept_running(two) as others, anyio.create_task_group() as tasks:
            await nodes.until(lambda: nodes.all_healthy() and sorted(map(str, nodes.owners().values())) == HALVES)
            tasks.start_soon(sender.run)
            await sender.goes_on()
            yield AtWork(nodes, one, two, sender, (ends, others), nodes.lives(), dc.stats()["accepted"])
            await sender.goes_on()
            tasks.cancel_scope.cancel()
            await nodes.until(nodes.all_healthy, one, two)
            await sender.check(one, two)
            code, said = await two.command("log", "replay", "config.yaml")
            assert code == 0, said
        assert dc.stats()["logins_destroyed"] == 0
    assert "taken for dead" not in one.text + two.text
    assert clean(one, two), one.text + two.text


async def test_a_crash_and_a_switchover_of_the_primary_disconnect_nobody(
    tmp_path: Path, cluster: PatroniCluster, cluster_url: str
) -> None:
    """With the default lease: no connection is opened anew, and no life ends."""
    async with at_work(tmp_path, cluster_url, "15s") as it:
        await anyio.to_thread.run_sync(cluster.crash)
        await it.sender.goes_on()
        await anyio.to_thread.run_sync(cluster.heal)
        await anyio.to_thread.run_sync(cluster.switchover)
        await it.sender.goes_on()
        await it.beaten()
        it.nobody_was_disconnected()


async def test_a_lease_that_is_longer_than_a_failover_disconnects_nobody(
    tmp_path: Path, cluster: PatroniCluster, cluster_url: str
) -> None:
    """The network of the primary's host is gone, and another primary is there 20 to 22 s later."""
    async with at_work(tmp_path, cluster_url, "45s") as it:
        await anyio.to_thread.run_sync(lambda: cluster.lose_host(stopped=True))
        await it.sender.goes_on()
        await it.beaten()
        it.nobody_was_disconnected()


async def test_a_failover_that_is_longer_than_the_lease_closes_all_connections(
    tmp_path: Path, cluster: PatroniCluster, cluster_url: str
) -> None:
    """Before anybody could have the accounts; then all come back by themselves, in new lives."""
    async with at_work(tmp_path, cluster_url, "15s") as it:
        await anyio.to_thread.run_sync(cluster.lose_host)
        with anyio.fail_after(TIMEOUT):
            while it.nodes.dc.stats()["connections"]:
                await anyio.sleep(0.05)
        # The new primary has the lives and states of before until the nodes have begun anew.
        await it.nodes.until(
            lambda: not set(it.nodes.lives().values()) & set(it.lives.values()) and len(it.nodes.lives()) == 2
        )
        await it.nodes.until(it.nodes.all_healthy, it.one, it.two)
