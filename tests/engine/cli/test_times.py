"""``--since`` and ``--until``: every form that a person writes, in local time, and what is said of others."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from engine.cli.times import Period, parse_moment, parse_period
from tests.time_zone import in_time_zone

NOW = datetime.fromisoformat("2026-11-29T12:00:00+05:30").timestamp()


@pytest.fixture(autouse=True)
def kolkata() -> Iterator[None]:
    """Be where the offset is neither zero nor whole hours."""
    with in_time_zone("Asia/Kolkata"):
        yield


def at(text: str) -> float:
    """Return the Unix time of an ISO text with an offset."""
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90m", "2026-11-29T10:30:00+05:30"),
        ("60", "2026-11-29T11:59:00+05:30"),
        ("2d", "2026-11-27T12:00:00+05:30"),
        ("1d2h", "2026-11-28T10:00:00+05:30"),
        ("10:05", "2026-11-29T10:05:00+05:30"),
        ("9:05:30", "2026-11-29T09:05:30+05:30"),
        ("13:00", "2026-11-28T13:00:00+05:30"),
        ("12:00", "2026-11-29T12:00:00+05:30"),
        ("06:00Z", "2026-11-29T11:30:00+05:30"),
        ("2026-11-28", "2026-11-28T00:00:00+05:30"),
        ("2026-11-28T20:43", "2026-11-28T20:43:00+05:30"),
        ("2026-11-28 20:43:10", "2026-11-28T20:43:10+05:30"),
        ("2026-11-28T20:43Z", "2026-11-28T20:43:00+00:00"),
        ("2026-11-28T20:43:10.500+02:00", "2026-11-28T20:43:10.500+02:00"),
    ],
)
def test_each_form_is_a_moment(text: str, moment: str) -> None:
    """How long ago, a time of day, a date or both, local unless there is an offset."""
    assert parse_moment(text, NOW) == at(moment)


@pytest.mark.parametrize(
    "text",
    ["yesterday", "25:00", "10:61", "2026-13-01", "", "-1h", "9999-12-31T23:59-23:00", "0001-01-01", "1e9d", "x" * 500],
)
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    """The sentence has the forms, and quotes little."""
    with pytest.raises(ValueError, match="is no time; write a duration") as refused:
        parse_moment(text, NOW)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("since", "until", "first", "last"),
    [
        ("22:00", "02:00", "2026-11-28T22:00:00+05:30", "2026-11-29T02:00:00+05:30"),
        ("11:00", "13:00", "2026-11-29T11:00:00+05:30", "2026-11-29T13:00:00+05:30"),
        ("2d", "10:05", "2026-11-27T12:00:00+05:30", "2026-11-29T10:05:00+05:30"),
    ],
)
def test_two_times_of_day_are_a_period(since: str, until: str, first: str, last: str) -> None:
    """The end is the first such time after the start, over midnight too."""
    assert parse_period(since, until, now=NOW) == Period(at(first), at(last))


def test_a_period_that_ends_before_it_begins_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing lies between, which is not the same as nothing having happened."""
    with pytest.raises(SystemExit) as left:
        parse_period("1h", "2h", now=NOW)
    assert left.value.code == 2
    assert "--until '2h' is not after --since '1h'" in capsys.readouterr().err
