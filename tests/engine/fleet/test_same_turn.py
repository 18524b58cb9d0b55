"""Two things in one turn of the loop: whichever comes first, no turn to connect, no event and no link is lost."""

import asyncio
from collections.abc import Sequence

import anyio
import pytest
from attrs import define, field

from engine.fleet.connect_limiter import ConnectLimiter
from engine.fleet.mailbox import Mailbox
from states import Event
from states.events import Connected, NetworkRestored, RetryRequested, StopRequested
from states.snapshot import Hold
from tests.engine.fakes import FakeConnector, FakeLink, MemoryJournal, runner_for

pytestmark = pytest.mark.virtual


async def test_a_waiter_that_is_cancelled_as_it_gets_its_turn_gives_it_back() -> None:
    """Otherwise one account less could connect from then on, and in the end none."""
    limiter = ConnectLimiter(1, 0.0)
    granted: list[int] = []

    async def attempt(number: int, ends: anyio.Event) -> None:
        async with limiter.turn():
            granted.append(number)
            await ends.wait()

    ends = anyio.Event()
    first, second, third = (asyncio.create_task(attempt(number, ends)) for number in (1, 2, 3))
    await anyio.wait_all_tasks_blocked()
    ends.set()
    await anyio.lowlevel.checkpoint()  # the first has left: the second has its turn, and does not know
    second.cancel()  # by asyncio itself; anyio would wait until it knows
    with anyio.fail_after(1):
        await asyncio.wait((first, second, third))
    assert second.cancelled()
    assert granted == [1, 3]


async def test_an_event_that_others_overtake_again_and_again_waits_on() -> None:
    """Room that was made for one writer may be taken by another before the first one notices."""
    mailbox = Mailbox(1)
    assert mailbox.offer(NetworkRestored())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mailbox.post, StopRequested())
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
            mailbox._events.pop()
            mailbox._room.notify()
            assert mailbox.offer(RetryRequested())  # in this very turn
        await anyio.wait_all_tasks_blocked()
        assert await mailbox.take() == RetryRequested()
        with anyio.fail_after(1):
            assert await mailbox.take() == StopRequested()


@define
class GatedLink(FakeLink):
    """A link that is open when its connector says so."""

    async def open(self, *, timeout: float) -> Sequence[Event]:
        """Wait for that."""
        assert isinstance(self.connector, GatedConnector)
        self.connector.opened.append((anyio.current_time(), self.number))
        self.connector.open_now += 1
        self.connector.begun.set()
        await self.connector.gate.wait()
        return [Connected(link=self.number)]


@define(eq=False)
class GatedConnector(FakeConnector):
    """A connector whose links are open when the test says so."""

    begun: anyio.Event = field(factory=anyio.Event)
    gate: anyio.Event = field(factory=anyio.Event)

    def link(self, number: int, holds: tuple[Hold, ...] = ()) -> FakeLink:
        """Return the next link."""
        return GatedLink(number, self)


@pytest.mark.parametrize("turns", range(4))
async def test_a_link_that_opens_as_its_close_is_decided_is_closed(turns: int) -> None:
    """However many turns of the loop lie between the two, the life ends, and no link is left open."""
    connector = GatedConnector()
    runner = runner_for(connector, MemoryJournal())
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.live)
            await connector.begun.wait()
            await anyio.wait_all_tasks_blocked()
            assert runner.offer(StopRequested())
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            connector.gate.set()
    assert connector.open_now == 0
    assert len(connector.closed) == len(connector.opened)
