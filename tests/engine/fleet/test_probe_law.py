"""The law of the network probe: never two within two seconds on a route, and later no more than gRPC makes attempts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import pytest
from attrs import define, field

from engine.fleet.network_probe import NetworkProbe
from engine.fleet.probe_plan import FIRST_PAUSE, next_probe
from engine.fleet.supervisor import Supervisor
from states import Policy, State
from states.events import NetworkLost, NetworkRestored
from states.schedules import Backoff, BackoffSchedules
from tests.engine.fakes import FakeConnector, MemoryJournal, runner_for, until
from tests.engine.fleet.harness import FakeNetwork

pytestmark = pytest.mark.virtual

HOUR = 3600.0
FIRST_SECONDS = 10.0
REFUSED = Backoff(first=30.0, cap=900.0, jitter=0)


def grpc_attempts(until: float) -> list[float]:
    """Return when gRPC's back-off attempts, without its jitter, in seconds since the first attempt failed."""
    attempts, pause = [0.0], 1.0
    while attempts[-1] + pause <= until:
        attempts.append(attempts[-1] + pause)
        pause = min(pause * 1.6, 120.0)
    return attempts


@define(slots=False)
class Sick(FakeConnector):
    """A connector whose datacenter answers the probe with what the test says."""

    found: str = "dark"
    times: list[float] = field(factory=list)

    async def probe_datacenter(self, *, timeout: float) -> Any:
        """Return what the test says."""
        self.times.append(anyio.current_time())
        return self.found


@asynccontextmanager
async def probed(*connectors: FakeConnector) -> AsyncIterator[list[Any]]:
    """Run accounts, each stable at first, and their network probe."""
    supervisor = Supervisor({}, anyio.Event(), grace=15)
    by_name = {f"A{number}": connector for number, connector in enumerate(connectors)}
    probe = NetworkProbe(by_name, lambda names: supervisor.notify(names, NetworkRestored()), REFUSED)
    supervisor.listeners.append(probe.observe)
    policy = Policy(backoff=BackoffSchedules(network=Backoff(jitter=0)))
    for name, connector in by_name.items():
        supervisor.add(runner_for(connector, MemoryJournal(), account=name, policy=policy))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        await anyio.sleep(100)
        tasks.start_soon(probe.run)
        yield list(supervisor.runners.values())
        supervisor.stop.set()
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()


def sick(found: str = "dark", route: str = "the only way") -> Sick:
    """Return a connector that connects once; see ``cut``."""
    return Sick(found=found, route=route, outcomes=["ok"])


def cut(connector: Sick, how: Any = None) -> float:
    """Cut the network for good; return when."""
    connector.outcomes = [how or NetworkLost(detail="connection refused")] * 10_000
    connector.lose()
    return anyio.current_time()


def assert_lawful(times: Sequence[float], began: float, ended: float) -> None:
    """Check the two halves of the law at each moment at which it could be broken."""
    assert all(later - earlier >= 2 - 1e-6 for earlier, later in pairwise(times))
    allowed = [at for at in grpc_attempts(ended - began) if at > FIRST_SECONDS]
    later = [at - began for at in times if at - began > FIRST_SECONDS]
    assert len(later) <= len(allowed)
    for nth, at in enumerate(later, 1):
        assert nth <= sum(1 for attempt in allowed if attempt <= at)


@pytest.mark.parametrize("found", ["dark", "accepts", "answers"])
async def test_an_hour_obeys_the_law(found: str) -> None:
    """Whatever the probe finds, it is as rare as gRPC's attempts, and not much rarer."""
    only = sick(found)
    async with probed(only):
        began = cut(only)
        await anyio.sleep(HOUR)
    assert_lawful(only.times, began, began + HOUR)
    assert len(only.times) > 0.75 * len(grpc_attempts(HOUR))


async def test_attempts_that_hang_do_not_begin_the_schedule_anew() -> None:
    """While an account attempts, nobody waits; the outage and its schedule go on."""
    only = sick()
    async with probed(only):
        cut(only, "hang")
        await anyio.sleep(HOUR)
    assert_lawful(only.times, only.times[0] - FIRST_PAUSE, only.times[-1])


async def test_accounts_that_come_and_go_share_the_schedule() -> None:
    """Accounts that begin to wait later on the same route add no probe."""
    several = [sick() for _ in range(8)]
    async with probed(*several):
        began = cut(several[0])
        for each in several[1:]:
            await anyio.sleep(37)
            cut(each)
        await anyio.sleep(HOUR)
    times = sorted(at for each in several for at in each.times)
    assert_lawful(times, began, times[-1])


async def test_an_account_that_flaps_is_probed_at_most_every_two_seconds() -> None:
    """Each connect ends an outage and each loss begins one; probes of different outages keep their distance, too."""
    only = sick("answers")
    async with probed(only):
        for _ in range(60):
            only.outcomes = [NetworkLost(detail="connection reset"), "ok"] * 3
            only.lose()
            await anyio.sleep(1.3)
    assert all(later - earlier >= 2 - 1e-6 for earlier, later in pairwise(only.times))


async def test_a_refused_probe_waits_by_the_schedule_of_refusals() -> None:
    """−429 to the probe is −429 to the address: 30 s, 60 s, 120 s, … until the next one."""
    only = sick("refuses")
    async with probed(only):
        cut(only)
        await anyio.sleep(500)
    gaps = [round(later - earlier) for earlier, later in pairwise(only.times)]
    assert gaps == [30, 60, 120, 240]


async def test_a_refusal_is_forgotten_when_it_ends() -> None:
    """After the wait, a datacenter that answers ends the waits of the accounts as ever."""
    network = FakeNetwork()
    only = Sick(outcomes=network, found="refuses")  # type: ignore[arg-type]
    async with probed(only) as (runner,):
        network.up = False
        only.lose()
        await anyio.sleep(5)
        network.up, only.found = True, "answers"
        await until(runner, State.HEALTHY)
        assert anyio.current_time() - only.times[0] <= 31


async def test_routes_do_not_wait_for_each_other() -> None:
    """A route is an address and a proxy; each has its own schedule."""
    first, second = sick(route="a"), sick("refuses", route="b")
    async with probed(first, second):
        began = cut(first)
        cut(second)
        await anyio.sleep(300)
    assert_lawful(first.times, began, began + 300)
    assert len(second.times) == 4


async def test_an_account_that_changes_its_proxy_takes_no_second_schedule_along() -> None:
    """Both routes of an account with two proxies are probed, each by the law."""
    only = sick(route="a")
    by_route: dict[str, list[float]] = {"a": [], "b": []}

    async def look(*, timeout: float) -> str:
        by_route[only.route].append(anyio.current_time())
        return "dark"

    only.probe_datacenter = look  # type: ignore[method-assign, assignment]
    async with probed(only):
        cut(only)
        for nth in range(120):
            only.route = "ab"[nth % 2]
            await anyio.sleep(7)
    for times in by_route.values():
        assert len(times) > 5
        assert_lawful(times, times[0] - FIRST_PAUSE, times[-1])


def test_the_jitter_never_makes_a_probe_sooner() -> None:
    """With the least jitter the probes are gRPC's attempts exactly, with the most they are later."""
    for draw in (0.0, 0.5, 0.999):
        elapsed, times = 0.5, [0.5]
        while elapsed < HOUR:
            elapsed = next_probe(elapsed, draw)
            times.append(elapsed)
        assert_lawful(times, 0.0, times[-1])
    assert next_probe(8.5, 0.0) == pytest.approx(15.8096)


def test_the_next_probe_of_a_very_long_outage_is_one_pause_away() -> None:
    """Its place is computed, not counted up to: of this one it would take years."""
    assert 1e15 < next_probe(1e15, 0.0) <= 1e15 + 121
