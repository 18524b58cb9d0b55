"""The network probe: waiting accounts hear once that the network is back, and nothing is probed in vain."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import pytest

from engine.fleet.network_probe import NetworkProbe
from engine.fleet.probe_plan import LEAST_PAUSE
from engine.fleet.runner import Runner
from engine.fleet.supervisor import Supervisor
from states import State
from states.events import NetworkLost, NetworkRestored, ProtocolBroken
from tests.engine.fakes import FakeConnector, MemoryJournal, runner_for, until
from tests.engine.fleet.harness import FakeNetwork

pytestmark = pytest.mark.virtual


@asynccontextmanager
async def fleet(*connectors: FakeConnector) -> AsyncIterator[list[Runner]]:
    """Run accounts with a network probe for the length of the block; all of them have been stable for long."""
    supervisor = Supervisor({}, anyio.Event(), grace=15)
    by_name = {f"A{number}": connector for number, connector in enumerate(connectors)}

    def restored(names: object) -> None:
        supervisor.notify(names, NetworkRestored())  # type: ignore[arg-type]

    probe = NetworkProbe(by_name, restored)  # type: ignore[arg-type]
    supervisor.listeners.append(probe.observe)
    journal = MemoryJournal()
    for name, connector in by_name.items():
        supervisor.add(runner_for(connector, journal, account=name))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await anyio.sleep(100)
        tasks.start_soon(probe.run)
        yield list(supervisor.runners.values())
        supervisor.stop.set()
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()


def connector_in(network: FakeNetwork) -> FakeConnector:
    """Return the connector of an account in this network."""
    return FakeConnector(outcomes=network)  # type: ignore[arg-type]


async def test_an_account_alone_comes_back_with_the_network() -> None:
    """After an outage of a minute it does not wait for its schedule's seventy seconds, but for the next probe."""
    network = FakeNetwork()
    only = connector_in(network)
    async with fleet(only) as (runner,):
        network.up = False
        only.lose()
        await anyio.sleep(60)
        network.up = True
        began = anyio.current_time()
        await until(runner, State.HEALTHY)
        took = anyio.current_time() - began
    assert took < 20


async def test_a_short_outage_costs_two_seconds() -> None:
    """In the first ten seconds the probe is sent every two."""
    network = FakeNetwork()
    only = connector_in(network)
    async with fleet(only) as (runner,):
        network.up = False
        only.lose()
        await anyio.sleep(6)
        network.up = True
        began = anyio.current_time()
        await until(runner, State.HEALTHY)
        took = anyio.current_time() - began
    assert took < LEAST_PAUSE + 0.5


async def test_nothing_is_probed_while_no_account_waits() -> None:
    """A healthy fleet, and one whose outage is over, costs the datacenter nothing."""
    network = FakeNetwork()
    only = connector_in(network)
    async with fleet(only) as (runner,):
        await anyio.sleep(1000)
        assert not only.probed
        network.up = False
        only.lose()
        await anyio.sleep(5)
        network.up = True
        await until(runner, State.HEALTHY)
        looks = len(only.probed)
        await anyio.sleep(1000)
        looks_after = len(only.probed) - looks
    assert looks_after == 0


async def test_one_looks_for_all_on_the_same_way() -> None:
    """However many wait, the way is probed by one; another way has its own probes."""
    network = FakeNetwork()
    same, other = [connector_in(network) for _ in range(5)], connector_in(network)
    other.route = "another way"
    async with fleet(*same, other):
        network.up = False
        for each in (*same, other):
            each.lose()
        await anyio.sleep(20)
    assert 4 < sum(len(each.probed) for each in same) <= 6
    assert 4 < len(other.probed) <= 6


async def test_an_account_whose_trouble_is_its_own_keeps_to_its_schedule() -> None:
    """Where the datacenter answers and only this account's attempts fail, it gets one attempt more, not a storm."""
    only = FakeConnector(outcomes=[])
    async with fleet(only):
        only.outcomes = [NetworkLost(detail="connection reset")] * 1000
        only.lose()
        await anyio.sleep(300)
    attempts = [at for at, _ in only.opened if at > 100]
    assert len(attempts) == 6
    assert attempts[1] - attempts[0] < 1
    assert attempts[-1] - attempts[-2] > 70


async def test_an_outage_after_the_news_is_news_again() -> None:
    """When the network comes and goes, an account that was told too early is told once more when it is really back."""
    network = FakeNetwork()
    only = connector_in(network)
    async with fleet(only) as (runner,):
        network.up = False
        only.lose()
        await anyio.sleep(5)
        network.up = True
        await anyio.sleep(0.3)
        network.up = False
        await anyio.sleep(20)
        network.up = True
        began = anyio.current_time()
        await until(runner, State.HEALTHY)
        took = anyio.current_time() - began
    assert took < 20


async def test_other_waits_are_not_cut() -> None:
    """Nothing is probed for a wait that is not for the network."""
    only = FakeConnector(outcomes=[])
    async with fleet(only):
        only.outcomes = [ProtocolBroken(detail="garbage")] * 3
        only.lose(ProtocolBroken(detail="garbage"))
        await anyio.sleep(60)
    assert not only.probed


async def test_a_server_that_takes_connections_is_spared() -> None:
    """A backend that accepts and dies is asked a handful of times in ten seconds, not twenty times."""
    network = FakeNetwork(up=False)
    only = connector_in(network)

    class Sick(FakeConnector):
        async def probe_datacenter(self, *, timeout: float) -> str:
            self.probed.append((anyio.current_time(), "accepts"))
            return "accepts"

    sick = Sick(outcomes=network)  # type: ignore[arg-type]
    network.up = True
    async with fleet(sick):
        network.up = False
        sick.lose()
        await anyio.sleep(60)
    times = [at for at, _ in sick.probed]
    assert all(later - earlier >= LEAST_PAUSE for earlier, later in pairwise(times))
    assert not only.probed
