"""Schedules as values: the laws that every one of them keeps."""

from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from states.pace import WorkPolicy
from states.schedules import (
    Backoff,
    BackoffSchedules,
    FileBackoff,
    Health,
    Patience,
    ServerGiven,
    ShuttingDown,
    Suspicion,
)

MIDDLE = 0.5
"""The draw that jitter does not shift."""

DRAWS = st.floats(0, 1, exclude_max=True)
FIRST = st.floats(0.001, 1000)


@st.composite
def backoffs(draw: st.DrawFn) -> Backoff:
    """Return any back-off that a config may ask for."""
    first = draw(FIRST)
    cap = first * draw(st.floats(1, 1000))
    return Backoff(
        first=first, cap=cap, factor=draw(st.floats(1, 10)), jitter=draw(st.floats(0, 1, exclude_max=True)), tries=3
    )


def test_the_guide_s_waits_are_exact() -> None:
    """Without jitter the default waits are 10, 20, 40, 80, 120 seconds, and 120 from then on."""
    steady = Backoff(jitter=0)
    assert [steady.delay(nth, MIDDLE) for nth in range(1, 8)] == [10, 20, 40, 80, 120, 120, 120]


@given(backoffs(), st.integers(1, 60))
def test_waits_grow_up_to_the_cap(schedule: Backoff, nth: int) -> None:
    """A later wait is never shorter than an earlier one, none is longer than the cap, and the first is the first."""
    waits = [schedule.steady(number) for number in range(1, nth + 2)]
    assert all(earlier <= later for earlier, later in pairwise(waits))
    assert max(waits) <= schedule.cap
    assert waits[0] == schedule.first


@given(backoffs(), st.integers(1, 60), DRAWS)
def test_jitter_keeps_within_its_share(schedule: Backoff, nth: int, draw: float) -> None:
    """Whatever is drawn, the wait is at most the jitter's share of itself away from the steady one."""
    steady = schedule.delay(nth, MIDDLE)
    assert abs(schedule.delay(nth, draw) - steady) <= steady * (schedule.jitter + 1e-9)


@given(backoffs(), DRAWS)
def test_the_ten_thousandth_attempt_still_has_a_wait(schedule: Backoff, draw: float) -> None:
    """However long an outage lasts, the wait is a number within its bounds: 2.0 ** 1025 would not be one."""
    assert 0 <= schedule.delay(10_000, draw) <= schedule.cap


@given(backoffs(), st.integers(1, 60), DRAWS)
def test_the_cap_is_the_most_that_is_ever_waited(schedule: Backoff, nth: int, draw: float) -> None:
    """Whatever is drawn: jitter makes no wait longer than the cap, nor shorter than its share of the steady wait."""
    wait = schedule.delay(nth, draw)
    steady = attrs.evolve(schedule, jitter=0).delay(nth, MIDDLE)
    assert steady * (1 - schedule.jitter) * (1 - 1e-9) <= wait <= schedule.cap


@pytest.mark.parametrize(
    "schedule",
    [each for each in attrs.asdict(BackoffSchedules(), recurse=False).values() if isinstance(each, Backoff)]
    + [WorkPolicy().retry],
    ids=repr,
)
def test_at_the_cap_waits_still_differ(schedule: Backoff) -> None:
    """Of every default schedule: the longest draw is not beyond the cap, and accounts do not wait equally long."""
    draws = [number / 100 for number in range(100)]
    waits = [schedule.delay(100, draw) for draw in draws]
    assert max(waits) <= schedule.cap
    assert len(set(waits)) == (100 if schedule.jitter else 1)


@given(st.lists(FIRST, min_size=1, max_size=5), st.integers(1, 10_000))
def test_patience_goes_through_its_list_and_stays_at_the_last(values: list[float], nth: int) -> None:
    """The nth time gets the nth entry, and every later time the last one."""
    assert Patience(patience=tuple(values)).nth(nth) == (values[nth - 1] if nth <= len(values) else values[-1])


@given(st.floats(0, 1e9), st.floats(0, 100))
def test_what_a_server_asks_for_is_a_floor(seconds: float, slack: float) -> None:
    """A flood wait is never shorter than what the server said."""
    assert ServerGiven(slack=slack).delay(seconds) >= seconds


@pytest.mark.parametrize(
    "make",
    [
        lambda: Backoff(first=0),
        lambda: Backoff(first=float("inf")),
        lambda: Backoff(first=20, cap=10),
        lambda: Backoff(factor=0.5),
        lambda: Backoff(jitter=1),
        lambda: Backoff(tries=0),
        lambda: FileBackoff(alert_after=-1),
        lambda: FileBackoff(first=200),
        lambda: ServerGiven(slack=-1),
        lambda: Patience(patience=()),
        lambda: Patience(patience=(1, 0)),
        lambda: Suspicion(patience=()),
        lambda: Health(probe_every=0),
        lambda: ShuttingDown(grace=float("nan")),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(make: type) -> None:
    """Nonsense is a ``ValueError`` with a sentence, wherever it comes from."""
    with pytest.raises(ValueError, match="must"):
        make()


def test_each_cause_has_a_schedule() -> None:
    """The defaults are those of the design."""
    schedules = BackoffSchedules()
    assert (schedules.database.first, schedules.database.factor, schedules.database.jitter) == (5, 1, 0)
    assert schedules.database.alert_after == 30
    assert (schedules.auth_key.first, schedules.auth_key.cap) == (5, 900)
    assert (schedules.transport_flood.first, schedules.transport_flood.cap) == (30, 900)
    assert schedules.flood.slack == 1
