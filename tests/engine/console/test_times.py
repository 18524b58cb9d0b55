"""How times and durations are written: readable, local with the offset, and never an exception."""

import math
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from engine.console.format import ahead, date_and_time, iso, moment, of_day, seconds, whole_seconds
from tests.time_zone import in_time_zone

NOW = 1_800_000_000.0
ODD_NUMBERS = (0, -5, -1e300, 1e300, 253_000_000_000, 10**400, math.inf, -math.inf, math.nan)


@pytest.fixture
def kolkata() -> Iterator[None]:
    with in_time_zone("Asia/Kolkata"):
        yield


@pytest.mark.parametrize("write", [seconds, whole_seconds, of_day, ahead, date_and_time, moment, iso])
@pytest.mark.parametrize("number", ODD_NUMBERS)
def test_no_number_makes_a_formatter_raise(write: Callable[..., object], number: float) -> None:
    """Whatever number stands in a file or comes from a server, its text is a text."""
    written = write(number, NOW) if write is moment else write(number)
    assert written is None or (isinstance(written, str) and len(written) < 40)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.04, "40 ms"), (0.4, "0.4 s"), (59.6, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min"),
        (47.5 * 3600, "47 h 30 min"), (777 * 3600, "32 days 9 h"), (48 * 3600, "2 days"), (1e12, "over 100 years"),
        (-200, "-3 min 20 s"),
    ],
)  # fmt: skip
def test_long_durations_are_in_days(number: float, text: str) -> None:
    """A duration of more than two days says how many days it has."""
    assert seconds(number) == text


def test_a_count_from_two_clocks_is_never_below_zero() -> None:
    """A time that lies in the future, because a clock was set back, is 0 s ago."""
    assert whole_seconds(-3600.0) == "0 s"


@pytest.mark.usefixtures("kolkata")
def test_iso_is_local_time_with_its_offset() -> None:
    """ISO 8601 in the outputs is local time and says so."""
    assert iso(1_800_000_000.25) == "2027-01-15T13:30:00.250+05:30"
    assert datetime.fromisoformat(iso(1_800_000_000.25) or "").timestamp() == 1_800_000_000.25


@pytest.mark.usefixtures("kolkata")
def test_a_moment_of_another_day_has_its_date() -> None:
    """A time of day without its date would be taken for today's."""
    assert moment(NOW + 60, NOW) == "13:31:00"
    assert moment(NOW + 86_400, NOW) == "2027-01-16 13:30:00"
