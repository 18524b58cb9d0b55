"""Which jobs may begin now: counts, holds, hours and budgets, and that no order of asking breaks a budget."""

import os
import random
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.work.pace import WHEN_ONE_ENDS, Pace
from states.pace import Budget, Hours, KindPolicy, WorkPolicy

NOW = 1_700_000_000.0


def pace(**kinds: KindPolicy) -> Pace:
    """Return a pace with rules for some kinds."""
    return Pace(WorkPolicy(kinds=kinds), random.Random(1))


def begin(at: Pace, kind: str, account: str, now: float) -> None:
    """Let a job begin, as the dispatcher does."""
    assert at.opening(kind, account, now) is None
    if (until := at.taken_until(kind, now)) is not None:
        at.charge(kind, account, until)
    at.begun(kind, account)


def test_one_job_of_a_kind_at_a_time_with_an_account() -> None:
    """Without rules the second job waits for the end of the first, and no other does."""
    at = pace()
    begin(at, "k", "A", NOW)
    assert at.opening("k", "A", NOW) == WHEN_ONE_ENDS
    assert at.opening("k", "B", NOW) is None
    assert at.opening("other", "A", NOW) is None
    at.ended("k", "A")
    assert at.opening("k", "A", NOW) is None


def test_per_account_counts_each_account_by_itself() -> None:
    """As many as the rules say run with one account, and the same again with the next."""
    at = pace(k=KindPolicy(per_account=2))
    for account in "AABB":
        begin(at, "k", account, NOW)
    assert [at.opening("k", account, NOW) for account in "AB"] == [WHEN_ONE_ENDS, WHEN_ONE_ENDS]


def test_at_once_counts_the_whole_fleet() -> None:
    """The limit of a kind holds over all accounts, and an end anywhere makes room."""
    at = pace(k=KindPolicy(at_once=2))
    begin(at, "k", "A", NOW)
    begin(at, "k", "B", NOW)
    assert at.opening("k", "C", NOW) == WHEN_ONE_ENDS
    at.ended("k", "A")
    assert at.opening("k", "C", NOW) is None


def test_a_hold_is_for_one_kind_with_one_account_and_ends() -> None:
    """The hold says until when, and is over at that time."""
    at = pace()
    at.hold("k", "A", NOW + 30)
    assert at.opening("k", "A", NOW) == NOW + 30
    assert at.opening("k", "B", NOW) is None
    assert at.opening("other", "A", NOW) is None
    assert at.opening("k", "A", NOW + 30) is None


def test_a_shorter_hold_does_not_end_a_longer_one() -> None:
    """What the server said first stays true."""
    at = pace()
    at.hold("k", "A", NOW + 30)
    at.hold("k", "A", NOW + 5)
    assert at.opening("k", "A", NOW + 10) == NOW + 30


def test_a_budget_tells_when_its_next_place_is_free() -> None:
    """Places come back one by one, each after its own time."""
    at = pace(k=KindPolicy(per_account=9, budget=Budget(at_most=2, per=60, jitter=0)))
    begin(at, "k", "A", NOW)
    begin(at, "k", "A", NOW + 10)
    assert at.opening("k", "A", NOW + 20) == NOW + 60
    assert at.opening("k", "B", NOW + 20) is None
    assert at.opening("k", "A", NOW + 60) is None
    begin(at, "k", "A", NOW + 60)
    assert at.opening("k", "A", NOW + 60) == NOW + 70


def test_what_is_paid_needs_no_place() -> None:
    """A job that goes on with the attempt that it has paid for passes a full budget, but not the other limits."""
    at = pace(k=KindPolicy(budget=Budget(at_most=1, per=60, jitter=0)))
    begin(at, "k", "A", NOW)
    assert at.opening("k", "A", NOW, paid=True) == WHEN_ONE_ENDS
    at.ended("k", "A")
    assert at.opening("k", "A", NOW) == NOW + 60
    assert at.opening("k", "A", NOW, paid=True) is None


def test_places_taken_before_a_restart_are_taken_after_it() -> None:
    """The charges of the file count like those of this life, and where the budget was larger then, all have to go."""
    at = pace(k=KindPolicy(budget=Budget(at_most=2, per=60)))
    at.restore(("k", "A", NOW + left) for left in (40, 10, 30, 20))
    assert at.opening("k", "A", NOW) == NOW + 30
    assert at.opening("k", "A", NOW + 30) is None


def test_a_kind_without_a_budget_costs_nothing() -> None:
    """There is no place to take."""
    assert pace().taken_until("k", NOW) is None


@pytest.fixture
def wall() -> Iterator[Callable[[str], None]]:
    """Set the time zone of the process for one test."""
    before = os.environ.get("TZ")

    def set_to(zone: str) -> None:
        os.environ["TZ"] = zone
        time.tzset()

    yield set_to
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def test_hours_are_local(wall: Callable[[str], None]) -> None:
    """Nine o'clock is that of the place where the engine runs, and hours close what is paid, too."""
    at = pace(k=KindPolicy(hours=Hours(9 * 60, 18 * 60)))
    eight = datetime(2026, 5, 5, 8, tzinfo=ZoneInfo("America/New_York")).timestamp()
    wall("America/New_York")
    assert at.opening("k", "A", eight, paid=True) == eight + 3600
    assert at.opening("k", "A", eight + 3600) is None
    wall("Europe/Berlin")
    assert at.opening("k", "A", eight) is None


@pytest.mark.parametrize("evening", ["2026-03-28", "2026-10-24"])
def test_hours_open_at_nine_after_the_clock_was_changed(wall: Callable[[str], None], evening: str) -> None:
    """The opening that is told the evening before is nine o'clock of the next day, however long the night is."""
    wall("Europe/Berlin")
    at = pace(k=KindPolicy(hours=Hours(9 * 60, 18 * 60)))
    now = datetime.fromisoformat(f"{evening}T20:00").replace(tzinfo=ZoneInfo("Europe/Berlin"))
    nine = (now + timedelta(days=1)).replace(hour=9)
    assert at.opening("k", "A", now.timestamp()) == nine.timestamp()


asks = st.lists(
    st.tuples(st.floats(0, 40), st.sampled_from("AB"), st.sampled_from(["k", "other"]), st.booleans(), st.booleans()),
    max_size=80,
)


@given(
    asks=asks,
    at_most=st.integers(1, 4),
    per=st.floats(1, 100),
    jitter=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_never_more_than_the_budget_begin_in_any_window(
    asks: list[tuple[float, str, str, bool, bool]], at_most: int, per: float, jitter: float, seed: int
) -> None:
    """However jobs ask, and over restarts, a budget holds, and a job that comes when it was told to may begin.

    At most ``at_most`` of a kind begin with an account in any ``per`` seconds.
    """
    budget = Budget(at_most=at_most, per=per, jitter=jitter)
    policy = WorkPolicy(kinds={kind: KindPolicy(per_account=99, budget=budget) for kind in ("k", "other")})
    at, now = Pace(policy, random.Random(seed)), 0.0
    begun: dict[tuple[str, str], list[float]] = {}
    charges: list[tuple[str, str, float]] = []
    for pause, account, kind, restarts, waits in asks:
        now += pause
        if restarts:
            at = Pace(policy, random.Random(seed))
            at.restore(charge for charge in charges if charge[2] >= now)
        if (opening := at.opening(kind, account, now)) is not None:
            assert opening > now
            if not waits:
                continue
            now = opening
            assert at.opening(kind, account, now) is None
        until = at.taken_until(kind, now)
        assert until is not None
        at.charge(kind, account, until)
        charges.append((kind, account, until))
        begun.setdefault((kind, account), []).append(now)
    for times in begun.values():
        for first, too_many in zip(times, times[at_most:], strict=False):
            assert too_many - first >= per * 0.999_999
