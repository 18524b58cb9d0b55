"""The connect limiter in random interleavings: never too many, no account starves, one that left blocks none."""

import asyncio
import time
from itertools import pairwise

import anyio
import pytest
from attrs import define, field
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.fleet.connect_limiter import ConnectLimiter
from engine.fleet.turns import CANARY_GRACE, CANARY_PAUSES
from tests.virtual_time import virtually


@define
class Attempt:
    """Begins at a time, takes so long once it has a turn, and may be cancelled at another time, wherever it is then."""

    begins: float
    takes: float
    cancelled: float | None
    granted: float | None = None
    left: float | None = None
    ended: bool = False


@define
class Run:
    """What happened at a connect limiter in one simulation."""

    attempts: list[Attempt]
    inside: int = 0
    most: int = 0
    arrivals: list[int] = field(factory=list)
    switched: list[float] = field(factory=list)
    grants: list[tuple[float, int, bool]] = field(factory=list)
    """When each got its turn, which one, and whether it was a canary's."""


TIMES = st.integers(0, 200).map(lambda tenths: tenths / 10)
ATTEMPTS = st.lists(
    st.builds(Attempt, begins=TIMES, takes=st.sampled_from([0.0, 0.1, 1.0, 7.0, 60.0]), cancelled=st.none() | TIMES),
    min_size=1,
    max_size=25,
)
SWITCHES = st.lists(TIMES, max_size=6, unique=True).map(sorted)
"""When the limiter turns to one at a time, back, to one at a time again, …"""


def simulate(limiter: ConnectLimiter, attempts: list[Attempt], switches: list[float]) -> Run:
    """Let the attempts come and go; each must be over, or cancelled, within a virtual day."""
    run = Run(attempts)

    async def connect(number: int, attempt: Attempt) -> None:
        await anyio.sleep(attempt.begins)
        away = float("inf") if attempt.cancelled is None else max(0.0, attempt.cancelled - attempt.begins)
        run.arrivals.append(number)
        with anyio.move_on_after(away):
            async with limiter.turn() as canary:
                attempt.granted = anyio.current_time()
                run.grants.append((attempt.granted, number, canary))
                run.inside += 1
                run.most = max(run.most, run.inside)
                try:
                    await anyio.sleep(attempt.takes)
                finally:
                    run.inside -= 1
                    attempt.left = anyio.current_time()
        attempt.ended = True

    async def switch() -> None:
        before, one_by_one = 0.0, False
        for at in switches:
            await anyio.sleep(at - before)
            before, one_by_one = at, not one_by_one
            run.switched.append(anyio.current_time())
            (limiter.one_by_one if one_by_one else limiter.all_go)()

    async def main() -> None:
        with anyio.fail_after(86_400):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(switch)
                for number, attempt in enumerate(attempts):
                    tasks.start_soon(connect, number, attempt)

    virtually(main)
    return run


@settings(max_examples=300)
@given(ATTEMPTS, SWITCHES, st.integers(1, 4), st.sampled_from([0.0, 0.1, 2.0]))
@example([Attempt(0, 60, None), Attempt(0, 1, 5.0), Attempt(0, 1, None)], [], 1, 0.0)
def test_never_more_than_the_limit_and_no_attempt_starves(
    attempts: list[Attempt], switches: list[float], at_once: int, stagger: float
) -> None:
    """The limit holds and every attempt gets its turn, whenever attempts begin, end or are cancelled."""
    limiter = ConnectLimiter(at_once, stagger)
    run = simulate(limiter, attempts, switches)
    assert run.most <= at_once
    assert all(attempt.ended for attempt in attempts)
    assert all(attempt.granted is not None for attempt in attempts if attempt.cancelled is None)
    assert limiter.waiting == 0
    assert limiter._turns.connecting == 0


@settings(max_examples=200)
@given(ATTEMPTS, st.integers(1, 4), st.sampled_from([0.0, 0.1, 2.0]))
def test_first_come_first_served(attempts: list[Attempt], at_once: int, stagger: float) -> None:
    """Turns are granted in the order of arrival, each at least the stagger after the one before."""
    run = simulate(ConnectLimiter(at_once, stagger), attempts, [])
    went_in = [number for _, number, _ in run.grants]
    assert went_in == [number for number in run.arrivals if number in went_in]
    times = [at for at, _, _ in run.grants]
    assert all(later - earlier >= stagger - 1e-6 for earlier, later in pairwise(times))


@settings(max_examples=200)
@given(ATTEMPTS, SWITCHES, st.integers(2, 4))
@example([*(Attempt(0, takes, None) for takes in (0, 0, 0, 0, 0.1, 1.0, 0.1, 0, 0))], [0, 10.1, 10.3], 2)
def test_one_by_one_a_canary_has_its_time(attempts: list[Attempt], switches: list[float], at_once: int) -> None:
    """Beside one that has a turn another gets its own only after the grace, and after a failure only after a pause."""
    run = simulate(ConnectLimiter(at_once, 0.0), attempts, switches)
    pairs = [
        (earlier, number, later)
        for (earlier, number, earlier_alone), (later, _, later_alone) in pairwise(run.grants)
        if earlier_alone and later_alone and not any(earlier < at <= later for at in run.switched)
    ]
    for earlier, number, later in pairs:
        left = attempts[number].left
        pause = CANARY_PAUSES[0] if left is not None and left <= later else CANARY_GRACE
        assert later - earlier >= pause - 1e-6


@settings(max_examples=100)
@given(st.integers(2, 60), st.integers(1, 8), st.integers(0, 59))
def test_a_cancelled_attempt_delays_none_behind_it(count: int, at_once: int, who: int) -> None:
    """Cancelling any waiter, at the moment of its turn or before, delays none behind it."""
    attempts = [Attempt(0.0, 1.0, None) for _ in range(count)]
    attempts[who % count].cancelled = float(who // max(1, at_once))
    simulate(ConnectLimiter(at_once, 0.0), attempts, [])
    last = max(attempt.granted for attempt in attempts if attempt.granted is not None)
    assert last <= (count - 1) // at_once + 1e-6


async def _stay(limiter: ConnectLimiter) -> None:
    async with limiter.turn():
        await anyio.sleep_forever()


@pytest.mark.slow
@pytest.mark.virtual
async def test_ten_thousand_leave_the_queue_at_once() -> None:
    """A fleet that is stopped while it waits ends in a moment, because each account waits on an event of its own."""
    limiter = ConnectLimiter(1, 0.0)
    used: list[float] = []

    async with anyio.create_task_group() as tasks:
        for _ in range(10_000):
            tasks.start_soon(_stay, limiter)
        await anyio.sleep(1)
        assert limiter.waiting == 9_999
        used.append(time.process_time())
        tasks.cancel_scope.cancel()
    used.append(time.process_time())
    assert limiter.waiting == 0
    assert used[1] - used[0] < 5


@pytest.mark.virtual
async def test_no_timer_stays_for_a_queue_that_all_have_left() -> None:
    """A fleet that is stopped between two turns leaves nothing in the loop."""
    limiter = ConnectLimiter(1, 60.0)
    async with anyio.create_task_group() as tasks:
        async with limiter.turn():
            tasks.start_soon(_stay, limiter)
            await anyio.sleep(1)
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()
    scheduled: list[asyncio.TimerHandle] = vars(asyncio.get_running_loop())["_scheduled"]
    assert [each for each in scheduled if not each.cancelled()] == []
