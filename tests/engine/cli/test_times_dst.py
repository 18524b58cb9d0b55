"""Times that a person writes, in the nights in which the clocks change, and numbers that are no durations."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from adapters.telegram.chat_history import moment_of
from engine.cli.jobs import _time_of
from engine.cli.session_backup import _parse_time
from engine.cli.times import parse_moment, parse_period
from tests.time_zone import in_time_zone

SKIPPED = "2026-03-29T02:30"
"""A time that does not exist in Berlin: at 02:00 it is 03:00."""


@pytest.fixture(autouse=True)
def berlin() -> Iterator[None]:
    """Be where the clocks change on 29 March and on 25 October 2026."""
    with in_time_zone("Europe/Berlin"):
        yield


def at(text: str) -> float:
    """Return the Unix time of an ISO text with an offset."""
    return datetime.fromisoformat(text).timestamp()


def test_a_time_that_the_change_skips_is_as_much_later() -> None:
    """Half an hour after the change, everywhere where a time may be written: a job never begins before its time."""
    right = at("2026-03-29T03:30+02:00")
    restored = _parse_time(SKIPPED)
    assert restored is not None
    assert parse_moment(SKIPPED, right + 9e6) == right
    assert (_time_of(SKIPPED), restored.timestamp(), moment_of(SKIPPED).timestamp()) == (right, right, right)


def test_the_last_time_of_day_may_be_the_second_of_its_night() -> None:
    """At 02:45 after the clocks went back, 02:40 was five minutes ago, not an hour and five minutes."""
    assert parse_moment("02:40", at("2026-10-25T02:45+01:00")) == at("2026-10-25T02:40+01:00")
    assert parse_moment("02:50", at("2026-10-25T02:45+01:00")) == at("2026-10-25T02:50+02:00")


def test_a_night_in_which_the_clocks_change_has_its_two_ends() -> None:
    """22:00 to 06:00 is nine hours long in October."""
    period = parse_period("22:00", "06:00", now=at("2026-10-25T12:00+01:00"))
    assert (period.since, period.until) == (at("2026-10-24T22:00+02:00"), at("2026-10-25T06:00+01:00"))


def test_a_date_without_hyphens_is_no_number_of_seconds() -> None:
    """ISO 8601 writes a date in this way, too."""
    assert parse_moment("20260401", at("2026-11-01T00:00Z")) == at("2026-04-01T00:00+02:00")


@pytest.mark.parametrize("text", ["1795900000", "20261399", "\u0665d", "\u0661\u0660m"])
def test_what_could_be_meant_otherwise_is_refused(text: str) -> None:
    """Unix seconds are no duration; digits of other scripts are refused in each form alike."""
    with pytest.raises(ValueError, match="is no time"):
        parse_moment(text, 2e9)


def test_the_moment_of_a_read_is_in_utc() -> None:
    """Telethon takes a time with its zone."""
    assert moment_of("2026-07-01T12:00") == datetime(2026, 7, 1, 10, tzinfo=UTC)
