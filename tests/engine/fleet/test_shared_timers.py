"""The timers of many probes: each goes off in time or a moment later, and many go off together."""

import asyncio
from functools import partial

import anyio
import pytest

from engine.fleet.shared_timers import FEW, LATEST, LATEST_PART, MOST, SharedTimers
from tests.timeouts import TIMEOUT

pytestmark = [pytest.mark.anyio, pytest.mark.virtual]

DELAY = 20.0


async def lateness(timers: SharedTimers, count: int, delay: float = DELAY) -> list[float]:
    """Set so many timers, spread over a delay; return by how much each went off late, in the order of their calls."""
    loop = asyncio.get_running_loop()
    late: list[float] = []

    def went_off(due: float) -> None:
        late.append(loop.time() - due)

    for _ in range(count):
        timers.call_later(delay, partial(went_off, loop.time() + delay))
        await anyio.sleep(delay / count)
    await anyio.sleep(delay + 1)
    return late


@pytest.mark.parametrize("delay", [20.0, 1.0, 300.0])
async def test_none_goes_off_early_and_none_much_later(delay: float) -> None:
    """A probe is never before its time, so that the login is proven as often as it should be."""
    timers = SharedTimers()
    late = await lateness(timers, 2000, delay)
    assert len(late) == 2000
    assert min(late) >= -1e-6
    assert max(late) <= min(LATEST, LATEST_PART * delay) + 1e-6
    assert len(timers) == 0


async def test_few_go_off_at_their_own_times() -> None:
    """With a few accounts there is nothing to gain."""
    assert max(await lateness(SharedTimers(), FEW)) < 1e-6


@pytest.mark.parametrize(("count", "wakings"), [(1000, 160), (5000, 400)])
async def test_many_wake_the_loop_together(count: int, wakings: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many times as there are places in the grid, not once for each account; and a batch is not large."""
    batches: list[int] = []
    go_off = SharedTimers._go_off

    def counted(timers: SharedTimers, due: float) -> None:
        batches.append(len(timers._slots[due].timers))
        go_off(timers, due)

    monkeypatch.setattr(SharedTimers, "_go_off", counted)
    await lateness(SharedTimers(), count)
    assert len(batches) <= wakings + FEW
    assert max(batches) <= MOST


async def test_a_cancelled_timer_is_gone() -> None:
    """It does not go off, nothing of it stays, and cancelling it again does nothing."""
    timers, called = SharedTimers(), []
    set_ = [timers.call_later(DELAY, partial(called.append, number)) for number in range(FEW + 50)]
    for timer in (*set_[1:], *set_[1:]):
        timer.cancel()
    assert (len(timers), len(timers._slots)) == (1, 1)
    await anyio.sleep(DELAY + 1)
    set_[0].cancel()
    assert (called, len(timers), timers._slots) == ([0], 0, {})


async def test_one_that_fails_is_no_other_ones_failure() -> None:
    """The loop reports it, and the others of the batch are called."""
    timers, called = SharedTimers(), asyncio.Event()
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context["exception"]))
    timers.call_later(DELAY, partial(int, "x"))
    timers.call_later(DELAY, called.set)
    with anyio.fail_after(TIMEOUT):
        await called.wait()
    assert [type(exc) for exc in failed] == [ValueError]


async def test_a_timer_that_another_of_the_same_turn_cancels_does_not_go_off() -> None:
    """As with the loop's own timers, also when both are due together."""
    timers = SharedTimers()
    went_off: list[str] = []
    second = None

    def first() -> None:
        went_off.append("first")
        assert second is not None
        second.cancel()

    for _ in range(FEW):
        timers.call_later(10 * DELAY, lambda: None)
    timers.call_later(DELAY, first)
    second = timers.call_later(DELAY, lambda: went_off.append("second"))
    await anyio.sleep(DELAY + 1)
    assert went_off == ["first"]
