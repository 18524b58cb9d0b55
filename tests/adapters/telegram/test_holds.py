"""Requests that wait in place for their hold, in virtual time: nothing is sent into a hold, and every wait ends."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import anyio
import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from telethon import errors

from adapters.telegram.classify import RequestDropped, RequestHeld
from adapters.telegram.holds import MAX_FLOODS, MAX_WAITING, SLACK_SECONDS, RequestHolds
from tests.virtual_time import virtually

pytestmark = pytest.mark.virtual

ROUND_TRIP = 0.1
"""Seconds from a request to its answer."""


@define(eq=False)
class Server:
    """A server that answers, or floods, each request by a script for its kind; it watches what is sent when."""

    holds: RequestHolds = field(factory=lambda: RequestHolds(lambda: asyncio.get_running_loop().time()))
    floods: dict[str, list[int | None]] = field(factory=dict)
    """The waits, in seconds, that it answers the next requests of a kind with; None is an answer."""
    sent: list[tuple[float, str]] = field(factory=list)
    out: Counter[str] = field(factory=Counter)
    most_out: int = 0
    into_holds: int = 0

    async def ask(self, kind: str, bound: float) -> float:
        """Send a request of a kind as a client does; return when it was answered."""
        return await self.holds.send(kind, ["any", kind], bound, lambda: self._answer(kind))

    async def _answer(self, kind: str) -> float:
        now = asyncio.get_running_loop().time()
        self.sent.append((now, kind))
        self.into_holds += any(self.holds._until.get(each, 0.0) > now for each in ("any", kind))
        self.out[kind] += 1
        self.most_out = max(self.most_out, self.out[kind])
        await asyncio.sleep(ROUND_TRIP)
        self.out[kind] -= 1
        if (waits := self.floods.get(kind)) and (seconds := waits.pop(0)) is not None:
            self.holds.flood(kind, seconds)
            raise errors.FloodWaitError(kind, seconds)
        return asyncio.get_running_loop().time()

    def times(self, kind: str) -> list[float]:
        """Return when requests of a kind were sent."""
        return [round(at, 3) for at, sent in self.sent if sent == kind]


async def outcomes(asked: list[Callable[[], Awaitable[float]]]) -> list[float | BaseException]:
    """Return what becomes of requests that are made at once."""
    return await asyncio.gather(*(each() for each in asked), return_exceptions=True)


async def test_a_short_flood_is_waited_for_and_sent_once_more() -> None:
    """A flood wait within the bound costs its caller the time, and the server two requests."""
    server = Server(floods={"Send": [30]})
    answered = await server.ask("Send", 60)
    assert answered == pytest.approx(30 + SLACK_SECONDS + 2 * ROUND_TRIP)
    assert len(server.sent) == 2


@pytest.mark.parametrize(("seconds", "bound"), [(61, 60), (10, 5), (1, 0)])
async def test_a_longer_flood_is_raised_as_it_came(seconds: int, bound: float) -> None:
    """Beyond the bound, and with none at all, the caller gets Telethon's own error at once after one request."""
    server = Server(floods={"Send": [seconds]})
    with pytest.raises(errors.FloodWaitError) as raised:
        await server.ask("Send", bound)
    assert type(raised.value) is errors.FloodWaitError
    assert (raised.value.seconds, len(server.sent)) == (seconds, 1)


async def test_who_meets_a_hold_that_lasts_longer_is_told_and_nothing_is_sent() -> None:
    """A hold is respected by those who do not wait."""
    server = Server()
    server.holds.flood("Send", 100)
    with pytest.raises(RequestHeld):
        await server.ask("Send", 60)
    assert not server.sent


async def test_one_goes_ahead_and_the_others_follow_one_by_one() -> None:
    """When a hold is over one request is sent; the next follows when it was answered, and other kinds never wait."""
    server = Server()
    server.holds.flood("Send", 10)
    asked = [lambda: server.ask("Send", 60)] * 5
    assert not any(isinstance(each, BaseException) for each in await outcomes([*asked, lambda: server.ask("Read", 60)]))
    first = 10 + SLACK_SECONDS
    assert server.times("Send") == [pytest.approx(first + n * ROUND_TRIP) for n in range(5)]
    assert server.times("Read") == [0.0]
    assert server.most_out == 1


async def test_if_the_first_is_flooded_again_the_others_wait_on() -> None:
    """A hold that comes back costs one request, however many wait."""
    server = Server(floods={"Send": [20]})
    server.holds.flood("Send", 10)
    await outcomes([lambda: server.ask("Send", 60)] * 5)
    assert len(server.sent) == 6
    assert server.times("Send")[1] - server.times("Send")[0] == pytest.approx(20 + SLACK_SECONDS + ROUND_TRIP)


async def test_those_that_cannot_wait_as_long_end_at_once() -> None:
    """A hold that comes back for longer ends those whose bound it exceeds, and only those."""
    server = Server(floods={"Send": [50]})
    server.holds.flood("Send", 10)
    patient, hasty = await outcomes([lambda: server.ask("Send", 60), lambda: server.ask("Send", 20)])
    assert isinstance(hasty, RequestHeld)
    assert patient == pytest.approx(60 + 2 * SLACK_SECONDS + 2 * ROUND_TRIP)


async def test_who_comes_after_the_way_was_proven_need_not_wait() -> None:
    """Parallel requests are parallel again once one was answered, also while others still wait."""
    server = Server()
    server.holds.flood("Send", 10)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(server.ask, "Send", 60)
        await asyncio.sleep(10 + SLACK_SECONDS + 2.5 * ROUND_TRIP)
        assert await server.ask("Send", 60) == pytest.approx(10 + SLACK_SECONDS + 3.5 * ROUND_TRIP)


async def test_who_comes_while_the_first_is_out_waits_for_its_answer() -> None:
    """The first request after a hold is the only one until it was answered."""
    server = Server(floods={"Send": [5]})
    server.holds.flood("Send", 10)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.ask, "Send", 60)
        await asyncio.sleep(10 + SLACK_SECONDS + ROUND_TRIP / 2)
        await server.ask("Send", 60)
    assert len(server.times("Send")) == 3
    assert server.most_out == 1


async def test_a_hold_that_begins_anew_is_proven_anew() -> None:
    """Where the second request is flooded, those that come later wait until one was answered once more."""
    server = Server(floods={"Send": [None, 5]})
    server.holds.flood("Send", 10)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.ask, "Send", 60)
        tasks.start_soon(server.ask, "Send", 60)
        await asyncio.sleep(15 + 2 * SLACK_SECONDS + 2.5 * ROUND_TRIP)
        assert len(server.sent) == 3
        await server.ask("Send", 60)
    assert server.most_out == 1


async def test_the_end_of_the_link_ends_every_wait() -> None:
    """Those that wait get the error of a lost link, at the moment at which it is over."""
    server = Server()
    server.holds.flood("Send", 10)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_close_after, server, 3.0)
        found = await outcomes([lambda: server.ask("Send", 60)] * 3)
        assert asyncio.get_running_loop().time() == 3.0
    assert [type(each) for each in found] == [RequestDropped] * 3
    assert not server.sent


async def _close_after(server: Server, seconds: float) -> None:
    await asyncio.sleep(seconds)
    server.holds.close()


async def test_one_that_gives_up_costs_the_others_nothing() -> None:
    """A caller that is cancelled, first in line or sent already, lets the next one go on."""
    server = Server()
    server.holds.flood("Send", 10)
    async with anyio.create_task_group() as tasks:
        first = asyncio.ensure_future(server.ask("Send", 60))
        second = asyncio.ensure_future(server.ask("Send", 60))
        await asyncio.sleep(1)
        first.cancel()
        tasks.start_soon(server.ask, "Send", 60)
        await asyncio.sleep(9 + SLACK_SECONDS + ROUND_TRIP / 2)
        second.cancel()
    assert len(server.sent) == 2
    assert not server.holds._lines


async def test_only_so_many_wait() -> None:
    """Beyond the bound of those that wait a request is refused at once, as without waiting."""
    server = Server()
    server.holds.flood("Send", 10)
    found = await outcomes([lambda: server.ask("Send", 60)] * (MAX_WAITING + 3))
    assert sum(isinstance(each, RequestHeld) for each in found) == 3


async def test_a_request_does_not_wait_for_ever() -> None:
    """A server that floods each try gets as many as Telethon would make, and the caller its error."""
    server = Server(floods={"Send": [10] * 50})
    with pytest.raises(errors.FloodWaitError):
        await server.ask("Send", 60)
    assert len(server.sent) == MAX_FLOODS + 1


async def test_nobody_waits_through_more_floods_than_one_request_meets() -> None:
    """Those behind the first count its floods as theirs: all of them end together, however many wait."""
    server = Server(floods={"Send": [10] * 500})
    found = await outcomes([lambda: server.ask("Send", 60)] * 10)
    assert all(isinstance(each, errors.FloodWaitError) for each in found)
    assert len(server.sent) == 10 + MAX_FLOODS
    assert asyncio.get_running_loop().time() < (MAX_FLOODS + 1) * (10 + SLACK_SECONDS + ROUND_TRIP) + 1


async def test_a_hold_that_is_lifted_early_lets_one_go_first_too() -> None:
    """Those that wait look again when the account decides otherwise, and follow one by one."""
    server = Server()
    server.holds.flood("Send", 50)
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(server.ask, "Send", 60)
        await asyncio.sleep(1)
        server.holds.hold("Send", asyncio.get_running_loop().time())
    assert server.times("Send") == [pytest.approx(1 + n * ROUND_TRIP) for n in range(4)]


async def test_what_waits_can_be_seen() -> None:
    """The kind, how many wait, and no entry for one that was sent."""
    server = Server()
    server.holds.flood("Send", 10)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(server.ask, "Send", 60)
        await asyncio.sleep(1)
        assert [(each.request, each.count) for each in server.holds.waits()] == [("Send", 3)]
        assert len(list(server.holds.contexts())) == 3
        await asyncio.sleep(9 + SLACK_SECONDS + ROUND_TRIP / 2)
        assert [(each.request, each.count) for each in server.holds.waits()] == [("Send", 2)]
    assert not server.holds.waits()


KINDS = ("Send", "Read", "any")
REQUESTS = st.lists(
    st.tuples(st.sampled_from(KINDS[:2]), st.floats(0, 100), st.sampled_from([0.0, 5.0, 60.0]), st.booleans()),
    min_size=1,
    max_size=25,
)
"""What is asked: the kind, when, the bound, and whether its caller gives up half a second later."""


@given(
    asked=REQUESTS,
    floods=st.dictionaries(st.sampled_from(KINDS[:2]), st.lists(st.none() | st.integers(0, 40), max_size=12)),
    told=st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0, 100), st.integers(0, 70)), max_size=5),
    closes=st.none() | st.floats(0, 100),
)
def test_nothing_is_sent_into_a_hold_and_every_wait_ends(
    asked: list[tuple[str, float, float, bool]],
    floods: dict[str, list[int | None]],
    told: list[tuple[str, float, int]],
    closes: float | None,
) -> None:
    """For any interleaving of requests, floods, holds that the account decides, callers that give up, and the end."""

    async def main() -> None:
        server = Server(floods={kind: list(waits) for kind, waits in floods.items()})
        async with asyncio.TaskGroup() as tasks:
            for kind, at, bound, hasty in asked:
                tasks.create_task(_ask_later(server, kind, at, bound, hasty=hasty))
            for kind, at, seconds in told:
                tasks.create_task(_hold_later(server, kind, at, seconds))
            if closes is not None:
                tasks.create_task(_close_after(server, closes))
        assert server.into_holds == 0
        assert not server.holds._lines
        assert asyncio.get_running_loop().time() < 100 + (MAX_FLOODS + 1) * (60 + 2 * SLACK_SECONDS) * 2

    virtually(main)


async def _ask_later(server: Server, kind: str, at: float, bound: float, *, hasty: bool) -> None:
    await asyncio.sleep(at)
    try:
        async with asyncio.timeout(0.5 if hasty else None):
            await server.ask(kind, bound)
    except (errors.FloodWaitError, RequestDropped, TimeoutError):
        pass


async def _hold_later(server: Server, kind: str, at: float, seconds: float) -> None:
    await asyncio.sleep(at)
    server.holds.hold(kind, asyncio.get_running_loop().time() + seconds)
