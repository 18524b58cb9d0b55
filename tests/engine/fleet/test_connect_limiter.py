"""The connect limiter in random interleavings: never too many, no account starves, one that left blocks none."""

import time
from itertools import pairwise

import anyio
import pytest
from attrs import define, field
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.fleet.connect_limiter import CANARY_GRACE, CANARY_PAUSES, ConnectLimiter
from tests.virtual_time import virtually


@define
class Passenger:
    """Comes at a time, wants to stay for so long, and may be called away at another time, wherever it is then."""

    comes: float
    stays: float
    called_away: float | None
    went_in: float | None = None
    went_out: float | None = None
    ended: bool = False


@define
class Day:
    """What happened at a connect limiter."""

    passengers: list[Passenger]
    inside: int = 0
    most: int = 0
    arrivals: list[int] = field(factory=list)
    entries: list[tuple[float, int, bool]] = field(factory=list)
    """When each went in, which one, and whether it was dark."""


TIMES = st.integers(0, 200).map(lambda tenths: tenths / 10)
PASSENGERS = st.lists(
    st.builds(Passenger, comes=TIMES, stays=st.sampled_from([0.0, 0.1, 1.0, 7.0, 60.0]), called_away=st.none() | TIMES),
    min_size=1,
    max_size=25,
)
DARKNESS = st.lists(TIMES, max_size=6, unique=True).map(sorted)
"""When the light goes out, comes back, goes out again, …"""


def spend(turns: ConnectLimiter, passengers: list[Passenger], switches: list[float]) -> Day:
    """Let the passengers come and go; every one must be through, or away, within a virtual day."""
    day = Day(passengers)
    dark = False

    async def travel(number: int, passenger: Passenger) -> None:
        await anyio.sleep(passenger.comes)
        away = float("inf") if passenger.called_away is None else max(0.0, passenger.called_away - passenger.comes)
        day.arrivals.append(number)
        with anyio.move_on_after(away):
            async with turns.turn():
                passenger.went_in = anyio.current_time()
                day.entries.append((passenger.went_in, number, dark))
                day.inside += 1
                day.most = max(day.most, day.inside)
                try:
                    await anyio.sleep(passenger.stays)
                finally:
                    day.inside -= 1
                    passenger.went_out = anyio.current_time()
        passenger.ended = True

    async def switch() -> None:
        nonlocal dark
        before = 0.0
        for at in switches:
            await anyio.sleep(at - before)
            before, dark = at, not dark
            (turns.one_by_one if dark else turns.all_go)()

    async def main() -> None:
        with anyio.fail_after(86_400):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(switch)
                for number, passenger in enumerate(passengers):
                    tasks.start_soon(travel, number, passenger)

    virtually(main)
    return day


@settings(max_examples=300, deadline=None)
@given(PASSENGERS, DARKNESS, st.integers(1, 4), st.sampled_from([0.0, 0.1, 2.0]))
@example([Passenger(0, 60, None), Passenger(0, 1, 5.0), Passenger(0, 1, None)], [], 1, 0.0)
def test_never_more_than_the_limit_and_nobody_starves(
    passengers: list[Passenger], switches: list[float], at_once: int, stagger: float
) -> None:
    """Whoever comes, goes or is called away at whatever moment, in the light and in the dark."""
    turns = ConnectLimiter(at_once, stagger)
    day = spend(turns, passengers, switches)
    assert day.most <= at_once
    assert all(passenger.ended for passenger in passengers)
    assert all(passenger.went_in is not None for passenger in passengers if passenger.called_away is None)
    assert turns.waiting == 0
    assert turns._inside == 0


@settings(max_examples=200, deadline=None)
@given(PASSENGERS, st.integers(1, 4), st.sampled_from([0.0, 0.1, 2.0]))
def test_first_come_first_served(passengers: list[Passenger], at_once: int, stagger: float) -> None:
    """In the order in which they came, and each at least the stagger after the one before."""
    day = spend(ConnectLimiter(at_once, stagger), passengers, [])
    went_in = [number for _, number, _ in day.entries]
    assert went_in == [number for number in day.arrivals if number in went_in]
    times = [at for at, _, _ in day.entries]
    assert all(later - earlier >= stagger - 1e-6 for earlier, later in pairwise(times))


@settings(max_examples=200, deadline=None)
@given(PASSENGERS, DARKNESS, st.integers(2, 4))
def test_in_the_dark_a_canary_has_its_time(passengers: list[Passenger], switches: list[float], at_once: int) -> None:
    """Beside one that is inside another goes in only after the grace, and after a failure only after a pause."""
    day = spend(ConnectLimiter(at_once, 0.0), passengers, switches)
    nights = [
        (earlier, number, later)
        for (earlier, number, was_dark), (later, _, is_dark) in pairwise(day.entries)
        if was_dark and is_dark and not any(earlier < at <= later for at in switches)
    ]
    for earlier, number, later in nights:
        left = passengers[number].went_out
        pause = CANARY_PAUSES[0] if left is not None and left <= later else CANARY_GRACE
        assert later - earlier >= pause - 1e-6


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 60), st.integers(1, 8), st.integers(0, 59))
def test_one_who_is_called_away_loses_no_place(count: int, at_once: int, who: int) -> None:
    """Cancelling any waiter, at the moment of its turn or before, delays nobody behind it."""
    passengers = [Passenger(0.0, 1.0, None) for _ in range(count)]
    passengers[who % count].called_away = float(who // max(1, at_once))
    spend(ConnectLimiter(at_once, 0.0), passengers, [])
    last = max(passenger.went_in for passenger in passengers if passenger.went_in is not None)
    assert last <= (count - 1) // at_once + 1e-6


@pytest.mark.virtual
async def test_ten_thousand_leave_the_queue_at_once() -> None:
    """A fleet that is stopped while it waits ends in a moment, because each account waits on an event of its own."""
    turns = ConnectLimiter(1, 0.0)
    used: list[float] = []

    async def stay() -> None:
        async with turns.turn():
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        for _ in range(10_000):
            tasks.start_soon(stay)
        await anyio.sleep(1)
        assert turns.waiting == 9_999
        used.append(time.process_time())
        tasks.cancel_scope.cancel()
    used.append(time.process_time())
    assert turns.waiting == 0
    assert used[1] - used[0] < 5
