"""A laptop that slept: the clocks part, and every account hears of it once."""

from collections.abc import Awaitable, Callable

import anyio
import pytest
from attrs import define

from engine.fleet.clock_watch import watch_clocks
from states import State
from states.events import ClockJumped, StopRequested
from tests.engine.fakes import VirtualClock
from tests.engine.fleet.harness import FleetHarness

pytestmark = pytest.mark.virtual


@define
class SteadyVirtualClock:
    """A clock that cannot be set."""

    def now(self) -> float:
        """Return the loop's time."""
        return anyio.current_time()


async def told(play: Callable[[VirtualClock], Awaitable[None]]) -> list[float]:
    """Return the jumps that are told while ``play`` sets the time of day."""
    wall, jumps = VirtualClock(), list[float]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_clocks, wall, SteadyVirtualClock(), lambda event: jumps.append(event.seconds))
        await play(wall)
        tasks.cancel_scope.cancel()
    return jumps


async def test_a_jump_is_told_once() -> None:
    """Eight hours of sleep are one event, with its length, within a second or two."""

    async def sleep(wall: VirtualClock) -> None:
        await anyio.sleep(10)
        wall.shift += 8 * 3600
        await anyio.sleep(1.5)

    assert await told(sleep) == pytest.approx([8 * 3600])


async def test_every_jump_is_told() -> None:
    """A clock that is set back, and a second sleep, are told like the first."""

    async def set_it(wall: VirtualClock) -> None:
        for jump in (60, -3600, 60):
            await anyio.sleep(10)
            wall.shift += jump
        await anyio.sleep(100)

    assert await told(set_it) == pytest.approx([60, -3600, 60])


async def test_a_clock_that_is_slewed_is_not_a_jump() -> None:
    """A time server that corrects a minute in small steps disturbs no account, nor does a hiccup of 4 s."""

    async def slew(wall: VirtualClock) -> None:
        for _ in range(120):
            wall.shift += 0.5
            await anyio.sleep(1)
        wall.shift += 4
        await anyio.sleep(10)

    assert await told(slew) == []


async def test_after_a_jump_every_account_is_asked_at_once() -> None:
    """All healthy accounts are probed within two seconds of waking, by an event in each journal."""
    fleet = FleetHarness(30)
    wall = VirtualClock()
    async with fleet.living(), anyio.create_task_group() as tasks:
        tasks.start_soon(watch_clocks, wall, SteadyVirtualClock(), fleet.supervisor.notify_all)
        await anyio.sleep(3)
        before = [len(connector.probes) for connector in fleet.connectors.values()]
        wall.shift += 600
        await anyio.sleep(2)
        after = [len(connector.probes) for connector in fleet.connectors.values()]
        tasks.cancel_scope.cancel()
    assert [later - earlier for earlier, later in zip(before, after, strict=True)] == [1] * 30
    assert sorted(fleet.events("ClockJumped")) == sorted(fleet.connectors)


async def test_a_full_mailbox_keeps_no_account_waiting() -> None:
    """An event for all accounts is posted at once although one mailbox is full, and the others get it."""
    fleet = FleetHarness(3)
    async with fleet.living():
        deaf = fleet.supervisor.runners["A1"]
        while deaf.offer(StopRequested()):
            pass
        fleet.supervisor.notify_all(ClockJumped(seconds=60))
        await anyio.sleep(1)
        assert sorted(fleet.events("ClockJumped")) == ["A0", "A2"]
        assert fleet.state("A0") is State.HEALTHY
