"""Many accounts lose the network together: one tries for all, its success releases the others, and one is only one."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import anyio
import pytest
import structlog
from structlog.testing import CapturingLogger

from engine.console.messages import render
from engine.fleet.turns import CANARY_GRACE
from states import State
from states.events import NetworkLost
from tests.engine.fleet.harness import FakeNetwork, FleetHarness

pytestmark = pytest.mark.virtual


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Return the lines that are logged."""
    lines: list[str] = []

    def keep(_: Any, __: str, event: Any) -> str:
        lines.append(render(event["event"], event))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[keep], logger_factory=lambda *_: CapturingLogger(), cache_logger_on_first_use=False)
    yield lines
    structlog.configure(**before)


async def _outage(fleet: FleetHarness, length: float) -> tuple[float, float]:
    """Take the network away for a while; return when that was, and how long the healing took after its end."""
    began = anyio.current_time()
    fleet.network.up = False
    fleet.lose()
    await anyio.sleep(length)
    fleet.network.up = True
    return began, await fleet.until_healthy()


async def test_in_an_outage_one_at_a_time_tries() -> None:
    """Of forty accounts that lose the network together, at most one is under way, at 0, 1, 3, 7, 12, 17 … s."""
    async with FleetHarness(40, at_once=2).living() as fleet:
        fleet.network.up = False
        began = anyio.current_time()
        fleet.lose()
        await anyio.sleep(0.05)
        fleet.most = 0
        await anyio.sleep(29)
        most, tries = fleet.most, [at - began for at in fleet.opened_since(began + 0.01)]
    assert most == 1
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps == pytest.approx([1.1, 2.1, 4.1, 5.0, 5.0, 5.0, 5.0][: len(gaps)], abs=0.15)
    assert len(tries) >= 7


async def test_the_first_that_gets_through_releases_all() -> None:
    """After an outage of 30 s all accounts are back within the pause of the canary, far below their own 40 s."""
    async with FleetHarness(100).living() as fleet:
        _, healing = await _outage(fleet, 30)
    assert healing < 6


async def test_waits_are_cut_short_by_the_return() -> None:
    """Those whose attempts failed in the outage hear of its end once, and do not wait for their own deadline."""
    async with FleetHarness(20).living() as fleet:
        began, _ = await _outage(fleet, 30)
        tried = [
            name for name, connector in fleet.connectors.items() if sum(at >= began for at, _ in connector.opened) > 1
        ]
        told = fleet.events("NetworkRestored")
    assert told
    assert sorted(told) == sorted(set(told)), "once each"
    assert set(told) <= set(tried)


async def test_the_release_keeps_the_limit_and_the_stagger() -> None:
    """The others go on at most four at a time, and each a little after the one before."""
    async with FleetHarness(60, at_once=4, stagger=0.02).living() as fleet:
        fleet.network.up = False
        fleet.lose()
        await anyio.sleep(30)
        fleet.network.up, fleet.most = True, 0
        await fleet.until_healthy()
        most, tries = fleet.most, fleet.opened_since(anyio.current_time() - 60)
    assert most <= 4
    assert all(later - earlier >= 0.0199 for earlier, later in pairwise(tries[-50:]))


async def test_a_mass_reset_heals_at_once() -> None:
    """When the network is there, a reset of all costs the canary's attempt and no pause."""
    async with FleetHarness(100).living() as fleet:
        fleet.lose()
        await anyio.sleep(0.02)
        healing = await fleet.until_healthy()
    assert healing < 1


async def test_a_silent_network_is_an_outage_too() -> None:
    """Attempts that hang get 5 s each, then another goes beside; so the end of the silence is noticed within 5 s."""
    async with FleetHarness(40, network=FakeNetwork(silent=True)).living() as fleet:
        fleet.network.up = False
        began = anyio.current_time()
        fleet.lose()
        await anyio.sleep(58)
        fleet.network.up = True
        tries = [at - began for at in fleet.opened_since(began)]
        healing = await fleet.until_healthy(*[f"A{number}" for number in range(15, 40)])
    assert len(tries) == 12
    assert all(later - earlier >= CANARY_GRACE - 0.11 for earlier, later in pairwise(tries))
    assert healing < CANARY_GRACE + 1


async def test_a_hanging_canary_does_not_keep_the_fleet() -> None:
    """When the first that tries has a trouble of its own and hangs, the others are healthy after the grace of 5 s."""
    async with FleetHarness(30).living() as fleet:
        fleet.connectors["A0"].outcomes = ["hang"] * 9
        fleet.limiter.one_by_one()  # no other account is let in before the canary
        fleet.detector.suspected = True
        fleet.lose()
        await anyio.sleep(0.02)
        healing = await fleet.until_healthy(*[name for name in fleet.connectors if name != "A0"])
    assert healing < CANARY_GRACE + 2


async def test_a_trouble_of_one_is_its_own() -> None:
    """A refused account keeps to 10, 20, 40, 80 s while others lose links and come back, and none waits for it."""
    async with FleetHarness(10).living() as fleet:
        fleet.connectors["A0"].outcomes = [NetworkLost(detail="connection refused")] * 100
        began = anyio.current_time()
        fleet.lose("A0")
        suspected = False
        for number in range(1, 10):
            await anyio.sleep(17)
            fleet.lose(f"A{number}")
            await anyio.sleep(1)
            suspected |= fleet.detector.suspected
            assert fleet.all_healthy(*[f"A{other}" for other in range(1, 10)])
        tries = [at - began for at, _ in fleet.connectors["A0"].opened if at >= began]
    assert tries == pytest.approx([0, 10, 30, 70, 150], abs=1)
    assert not suspected


async def test_a_dead_half_does_not_darken_the_other() -> None:
    """With five of ten behind a dead proxy, for ever, each of the others that loses a link has it back soon."""
    async with FleetHarness(10).living() as fleet:
        dead = [f"A{number}" for number in range(5)]
        for name in dead:
            fleet.connectors[name].outcomes = [NetworkLost(detail="proxy refused")] * 1000
        fleet.lose(*dead)
        took = []
        for number in range(5, 10):
            await anyio.sleep(200)
            fleet.lose(f"A{number}")
            await anyio.sleep(0.02)
            took.append(await fleet.until_healthy(f"A{number}"))
    assert max(took) < 6


async def test_one_after_the_other_is_not_together() -> None:
    """Half the fleet loses its links for good, but others show signs of life in between: nothing is suspected."""
    async with FleetHarness(6, probe_every=2).living() as fleet:
        suspected = False
        for name in ("A0", "A1", "A2"):
            fleet.connectors[name].outcomes = [NetworkLost(detail="proxy refused")] * 1000
            fleet.lose(name)
            for _ in range(250):
                await anyio.sleep(0.1)
                suspected |= fleet.detector.suspected
    assert not suspected


async def test_an_account_that_still_answers_shows_that_it_is_not_the_network(said: list[str]) -> None:
    """Four of seven lose a shared proxy at once: the next answer of another ends the suspicion, and cuts no wait."""
    async with FleetHarness(7, probe_every=2).living() as fleet:
        dead = [f"A{number}" for number in range(4)]
        for name in dead:
            fleet.connectors[name].outcomes = [NetworkLost(detail="proxy refused")] * 1000
        fleet.lose(*dead)
        await anyio.sleep(0.1)
        first = fleet.detector.suspected
        await anyio.sleep(3)
        second = fleet.detector.suspected
        await anyio.sleep(100)
        restored = fleet.events("NetworkRestored")
    assert (first, second, restored) == (True, False, [])
    assert any("It is not the network" in line for line in said)


async def test_a_wait_is_cut_once_and_not_again() -> None:
    """Outage after outage ends, and the account whose port is refused for good is told once."""
    async with FleetHarness(8).living() as fleet:
        fleet.connectors["A0"].outcomes = [NetworkLost(detail="connection refused")] * 1000
        for _ in range(4):
            fleet.network.up = False
            others = [name for name in fleet.connectors if name != "A0"]
            fleet.lose(*([*fleet.connectors] if fleet.state("A0") is State.HEALTHY else others))
            await anyio.sleep(150)
            fleet.network.up = True
            await fleet.until_healthy(*others)
            await anyio.sleep(60)
        told = fleet.events("NetworkRestored")
    assert told.count("A0") <= 1
    assert len(told) > 4


async def test_a_start_without_network_is_not_a_storm() -> None:
    """Accounts that were never connected show it, too: after three refusals one at a time tries."""
    fleet = FleetHarness(200, at_once=4)
    fleet.network.up = False
    async with anyio.create_task_group() as tasks:

        async def live() -> None:
            async with fleet.living():
                pass

        tasks.start_soon(live)
        await anyio.sleep(20)
        tries = fleet.opened_since(0)
        fleet.network.up = True
    assert len(tries) < 20


async def test_an_outage_is_told_in_two_lines(said: list[str]) -> None:
    """🔌 with how many when it begins, ✅ with how long it took when it ends, and nothing else."""
    async with FleetHarness(14).living() as fleet:
        await _outage(fleet, 30)
    lines = [line for line in said if "network" in line.lower()]
    assert len(lines) == 2, said
    assert lines[0].startswith("🔌 7 of 14 accounts lost the network together; one tries for all")
    assert lines[1].startswith("✅ The network is back after 3")
    assert lines[1].endswith("accounts go on, 32 at a time")


async def test_the_same_report_is_not_repeated(said: list[str]) -> None:
    """Outages that follow one another within ten minutes are told once."""
    async with FleetHarness(14).living() as fleet:
        for _ in range(3):
            await _outage(fleet, 10)
            await anyio.sleep(30)
    assert len([line for line in said if line.startswith("🔌")]) == 1
