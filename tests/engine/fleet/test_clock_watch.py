"""A laptop that slept: the clocks part, and every account hears of it once."""

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import pytest
from attrs import define

from adapters.system import WatchedClock
from engine.fleet.clock_watch import watch_clocks
from states import State
from states.events import ClockJumped, FloodWait, StopRequested
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
    """An event for all accounts is posted at once although one mailbox is full; that account gets it with the rest."""
    fleet = FleetHarness(3)
    async with fleet.living():
        deaf = fleet.supervisor.runners["A1"]
        while deaf.offer(StopRequested()):
            pass
        fleet.supervisor.notify_all(ClockJumped(seconds=60))
        await anyio.sleep(1)
        assert sorted(fleet.events("ClockJumped")) == ["A0", "A1", "A2"]
        assert fleet.state("A0") is State.HEALTHY


@define
class ContinuousVirtualClock:
    """A clock that goes on while the machine sleeps."""

    slept: float = 0.0

    def now(self) -> float:
        """Return the loop's time, and the time that the machine slept."""
        return anyio.current_time() + self.slept


@pytest.mark.parametrize(
    ("set_by", "slept", "told_as"),
    [(-3600, 0, (-3600, 0)), (3600, 3600, (3600, 3600)), (3600.4, 3600, (3600.4, 3600.4)), (0, 60, (0, 60))],
)
async def test_a_sleep_and_a_clock_that_is_set_are_told_apart(
    set_by: float, slept: float, told_as: tuple[float, float]
) -> None:
    """How far the wall clock went, and how long the machine slept; a small correction after a sleep sets no clock."""
    wall, continuous, jumps, accepted = VirtualClock(), ContinuousVirtualClock(), list[ClockJumped](), list[float]()
    watching = partial(
        watch_clocks, wall, SteadyVirtualClock(), jumps.append, continuous=continuous,
        accept=lambda: accepted.append(anyio.current_time()),
    )  # fmt: skip
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watching)
        await anyio.sleep(10)
        wall.shift += set_by
        continuous.slept += slept
        await anyio.sleep(10.5)
        tasks.cancel_scope.cancel()
    assert [(jump.seconds, jump.slept) for jump in jumps] == [pytest.approx(told_as)]
    assert len(accepted) == 20


async def test_a_backoff_ends_when_it_would_have_ended() -> None:
    """The clock was three hours ahead: the fleet's waits of seconds stay waits of seconds when it is set right."""
    fleet = FleetHarness(3)
    async with fleet.living(), anyio.create_task_group() as tasks:
        wall = fleet.supervisor.runners["A0"].clock
        assert isinstance(wall, VirtualClock)
        tasks.start_soon(watch_clocks, wall, SteadyVirtualClock(), fleet.supervisor.notify_all)
        await anyio.sleep(3)
        await fleet.supervisor.runners["A0"].post(FloodWait(seconds=5, request="GetState"))
        await anyio.sleep(0.1)
        held = fleet.supervisor.snapshots["A0"].holds[0].until - wall.now()
        for runner in fleet.supervisor.runners.values():
            runner.clock.shift -= 3 * 3600  # type: ignore[attr-defined]  # a clock of the test
        await anyio.sleep(2)
        left = fleet.supervisor.snapshots["A0"].holds[0].until - wall.now()
        tasks.cancel_scope.cancel()
    assert held == pytest.approx(5.9)
    assert left == pytest.approx(3.9)


async def test_the_engine_s_time_waits_for_the_report_of_a_jump() -> None:
    """No decision sees a time that the waits do not know of yet."""
    wall, continuous = VirtualClock(), ContinuousVirtualClock()
    clock = WatchedClock(wall, continuous)
    before = clock.now()
    wall.shift -= 3600
    await anyio.sleep(1)
    assert clock.now() == pytest.approx(before + 1)
    clock.accept()
    assert clock.now() == pytest.approx(before + 1 - 3600)
    continuous.slept += 50
    assert clock.now() == pytest.approx(before + 51 - 3600)
