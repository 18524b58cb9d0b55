"""The values that say how fast work may go: budgets, hours, and the rules of a kind."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from states.jobs import RETRY
from states.pace import Budget, Hours, KindPolicy, WorkPolicy

BERLIN = ZoneInfo("Europe/Berlin")
DAY = Hours(9 * 60, 18 * 60)
NIGHT = Hours(22 * 60, 6 * 60)


def at(text: str, zone: Any = None) -> datetime:
    """Return a time of a Tuesday in spring."""
    return datetime.fromisoformat(f"2026-05-05T{text}").replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"at_most": 0}, "at_most must be from 1 to 10000"),
        ({"at_most": 10_001}, "at_most must be from 1 to 10000"),
        ({"per": 0.0}, "per must be more than 0 s"),
        ({"per": float("inf")}, "per must be more than 0 s"),
        ({"per": float("nan")}, "per must be more than 0 s"),
        ({"jitter": -0.1}, "jitter must be from 0 to 1"),
        ({"jitter": 1.1}, "jitter must be from 0 to 1"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    """Counts and times outside their ranges are refused in a sentence."""
    with pytest.raises(ValueError, match=said):
        Budget(**{"at_most": 3, "per": 60.0} | wrong)


@pytest.mark.parametrize(("draw", "until"), [(0.0, 60.0), (0.5, 63.0), (0.999, 65.994)])
def test_a_place_comes_back_after_its_time_and_some_jitter(draw: float, until: float) -> None:
    """A place is taken for the whole time, and by chance for up to a tenth more."""
    assert Budget(at_most=3, per=60.0).taken_until(0.0, draw) == pytest.approx(until)


@given(per=st.floats(0.1, 1e6), jitter=st.floats(0, 1), draw=st.floats(0, 1, exclude_max=True))
def test_jitter_never_gives_a_place_back_early(per: float, jitter: float, draw: float) -> None:
    """Whatever the draw, no place is free before its time is over, nor long after the jitter."""
    until = Budget(at_most=1, per=per, jitter=jitter).taken_until(0.0, draw)
    assert per <= until <= per * (1 + jitter)


@pytest.mark.parametrize(
    ("hours", "within", "outside"),
    [
        (DAY, ("09:00", "12:00", "17:59:59.9"), ("00:00", "08:59:59.9", "18:00", "23:59")),
        (NIGHT, ("22:00", "23:59:59", "00:00", "05:59:59"), ("06:00", "12:00", "21:59:59")),
        (Hours(0, 12 * 60), ("00:00", "11:59"), ("12:00", "23:59")),
        (Hours(12 * 60, 0), ("12:00", "23:59"), ("00:00", "11:59")),
    ],
    ids=str,
)
def test_hours_hold_what_they_say(hours: Hours, within: tuple[str, ...], outside: tuple[str, ...]) -> None:
    """The first minute belongs to the hours, the last does not, and hours may go over midnight."""
    assert [text for text in within if hours.opening(at(text)) is not None] == []
    assert [text for text in outside if hours.opening(at(text)) is None] == []


@pytest.mark.parametrize(
    ("hours", "now", "opening"),
    [
        (DAY, "08:15:30.5", "2026-05-05T09:00"),
        (DAY, "18:00", "2026-05-06T09:00"),
        (NIGHT, "06:00", "2026-05-05T22:00"),
        (Hours(0, 60), "23:00", "2026-05-06T00:00"),
    ],
)
def test_the_next_opening_is_today_or_tomorrow(hours: Hours, now: str, opening: str) -> None:
    """Outside the hours their next begin is told, to the second."""
    assert hours.opening(at(now)) == datetime.fromisoformat(opening)


@given(
    opens=st.integers(0, 1439),
    length=st.integers(1, 1439),
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
)
def test_an_opening_lies_ahead_within_a_day_and_opens(opens: int, length: int, now: datetime) -> None:
    """Whatever the hours, the opening that is told lies ahead, a day away at most, and is their first moment."""
    hours = Hours(opens, (opens + length) % 1440)
    opening = hours.opening(now)
    if opening is not None:
        assert timedelta(0) < opening - now <= timedelta(days=1)
        assert hours.opening(opening) is None
        assert hours.opening(opening - timedelta(microseconds=1)) is not None


@pytest.mark.parametrize(
    ("now", "opening"),
    [
        ("2026-03-28T20:00", "2026-03-29T07:00+00:00"),  # the night loses an hour: 09:00 is 07:00 UTC
        ("2026-10-24T20:00", "2026-10-25T08:00+00:00"),  # and gets it back
    ],
)
def test_hours_open_by_the_clock_on_the_wall_when_it_is_changed(now: str, opening: str) -> None:
    """After a night in which summer time begins or ends, hours open at nine by the local clock."""
    local = DAY.opening(datetime.fromisoformat(now).replace(tzinfo=BERLIN))
    assert local is not None
    assert local.astimezone(UTC) == datetime.fromisoformat(opening)


def test_hours_read_as_they_are_written() -> None:
    """Their text is the config's."""
    assert (str(DAY), str(Hours(22 * 60 + 30, 0))) == ("09:00-18:00", "22:30-00:00")


@pytest.mark.parametrize("name", ["at_once", "per_account"])
@pytest.mark.parametrize("value", [0, -1, 10_001])
def test_a_limit_is_at_least_one(name: str, value: int) -> None:
    """A kind that may never run is a mistake; so is a limit that limits nothing."""
    with pytest.raises(ValueError, match=f"{name} must be from 1 to 10000"):
        KindPolicy(**{name: value})


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_patience_has_an_end(value: float) -> None:
    """Every job has a deadline, and it lies in the future."""
    with pytest.raises(ValueError, match="patience must be more than 0 s"):
        KindPolicy(patience=value)


def test_a_kind_without_rules_has_the_default_ones() -> None:
    """One job at a time with an account, ten minutes of patience, no budget and no hours."""
    mine = KindPolicy(per_account=2)
    work = WorkPolicy(kinds={"send": mine})
    assert work.of("send") is mine
    assert work.of("other") == KindPolicy()
    assert (KindPolicy().per_account, KindPolicy().at_once, KindPolicy().patience) == (1, None, 600.0)
    assert (work.per_account, work.retry) == (4, RETRY)
