"""The fleet's manners, in virtual time: how many connect at once, and how far apart."""

from itertools import pairwise

import anyio
import pytest

from engine.fleet.connect_limiter import ConnectLimiter
from states import State
from states.events import StopRequested
from tests.engine.fakes import FakeConnector, MemoryJournal, runner_for

pytestmark = pytest.mark.virtual


async def started(at_once: int, stagger: float, *, count: int, connect_takes: float) -> list[float]:
    """Return when each of so many accounts began to connect; all of them must become healthy."""
    connectors = [FakeConnector(connect_takes=connect_takes) for _ in range(count)]
    turns = ConnectLimiter(at_once, stagger)
    runners = [
        runner_for(connector, MemoryJournal(), limiter=turns, account=str(number))
        for number, connector in enumerate(connectors)
    ]
    async with anyio.create_task_group() as tasks:
        for runner in runners:
            tasks.start_soon(runner.live)
        await anyio.sleep(1000)
        assert {runner.snapshot.state for runner in runners} == {State.HEALTHY}
        for runner in runners:
            await runner.post(StopRequested())
    return sorted(connector.opened[0][0] for connector in connectors)


async def test_a_turn_lasts_as_long_as_the_attempt() -> None:
    """With one place, the next account starts when the one before is connected, and not when it is granted."""
    starts = await started(1, 0.0, count=3, connect_takes=5.0)
    assert [round(start) for start in starts] == [0, 5, 10]


async def test_so_many_connect_at_once_and_no_more() -> None:
    """With four places, ten accounts start in waves of four."""
    starts = await started(4, 0.0, count=10, connect_takes=5.0)
    assert [round(start) for start in starts] == [0] * 4 + [5] * 4 + [10] * 2


async def test_starts_are_staggered() -> None:
    """Accounts that could all start at once start at least the stagger apart."""
    starts = await started(100, 0.5, count=20, connect_takes=0.1)
    assert all(later - earlier >= 0.499 for earlier, later in pairwise(starts))


async def test_a_link_keeps_no_turn() -> None:
    """The limit is on connecting: any number of links may be open."""
    starts = await started(1, 0.0, count=5, connect_takes=0.1)
    assert starts[-1] < 1
