"""``--since`` and ``--until``: how long ago, a time of day, a date, or both, in one way for all commands."""

import re
import time
from datetime import datetime, timedelta
from datetime import time as time_of_day
from typing import Annotated, Final

from attrs import frozen

from engine.cli.common import EXIT_BAD_INPUT, fail
from engine.cli.declared import Parameter
from engine.config import parse_duration

FORMS: Final = "a duration (10s, 100ms, 5m, 1h30m, 2d), a time of day (10:05), a date, or both (2026-11-28T20:43)"
Since = Annotated[
    str | None,
    Parameter(help="Only from then on: 90m (ago), 10:05, 2026-11-28 or 2026-11-28T20:43 (local time, or with +02:00)."),
]
Until = Annotated[str | None, Parameter(help="Only before then, in the same forms.")]
_DAYS: Final = re.compile(r"([0-9]{1,6})d(.*)")
_TIME_OF_DAY: Final = re.compile(r"T?[0-9]{1,2}:[0-9]{2}")
_LONG_NUMBER: Final = re.compile(r"[0-9]{8,}(?:\.[0-9]*)?")
"""A date without hyphens, or Unix seconds; nobody writes four months and more as a number of seconds."""


@frozen
class Period:
    """From ``since`` to before ``until``, both Unix seconds; None for no limit."""

    since: float | None = None
    until: float | None = None


def parse_period(since: str | None, until: str | None, *, now: float | None = None) -> Period:
    """Return the period that the two options name; exit if one is no time, or if the end is before the start.

    A time of day is the last one that has been. Where both are times of day, the end is the first after the start:
    22:00 to 02:00 is a night.
    """
    now = time.time() if now is None else now
    start = None if since is None else _parse("--since", since, now)
    end = None if until is None else _parse("--until", until, now)
    if since is not None and until is not None and _is_time_of_day(since) and _is_time_of_day(until):
        assert start is not None, "it was given"
        end = _next_time_of_day(until, start)
    if start is not None and end is not None and end <= start:
        fail(EXIT_BAD_INPUT, f"--until {until!r} is not after --since {since!r}; nothing lies between them")
    return Period(start, end)


def parse_moment(text: str, now: float) -> float:
    """Return the time (Unix seconds) that a text names; a duration is that long ago.

    A date without a time is its midnight. What has no offset is local time; a time that the change to summer time skips
    is as much later. Raises ``ValueError`` with a sentence.
    """
    try:
        if _is_time_of_day(text):
            return _last_time_of_day(text, now)
        if match := _DAYS.fullmatch(text):
            return now - int(match[1]) * 86_400 - (parse_duration(match[2]) if match[2] else 0)
        if _LONG_NUMBER.fullmatch(text):
            return _of_calendar(text)
        try:
            return now - parse_duration(text)
        except ValueError:
            return _of_calendar(text)
    except (ValueError, OverflowError, OSError):
        shown = repr(text) if len(text) <= 40 else "what is written here"  # which may be a secret
        raise ValueError(f"{shown} is no time; write {FORMS}") from None


def _of_calendar(text: str) -> float:
    at = datetime.fromisoformat(text).timestamp()  # ``astimezone`` would err in the hour that DST skips
    datetime.fromtimestamp(at)  # raises if an offset leads out of the calendar
    return at


def _parse(option: str, text: str, now: float) -> float:
    try:
        return parse_moment(text.strip(), now)
    except ValueError as exc:
        fail(EXIT_BAD_INPUT, f"{option}: {exc}")


def _is_time_of_day(text: str) -> bool:
    return _TIME_OF_DAY.match(text.strip()) is not None


def _of_day(text: str) -> time_of_day:
    hour, colon, rest = text.strip().removeprefix("T").partition(":")
    return time_of_day.fromisoformat(f"{hour:0>2}{colon}{rest}")


def _times_around(text: str, moment: float) -> list[float]:
    """Return when it is this time of day on the day of a moment, the day before and the day after, in order.

    In the night in which the clocks go back, some times of day are twice.
    """
    of_day = _of_day(text)
    day = datetime.fromtimestamp(moment, of_day.tzinfo).date()
    times = []
    for shift in (-1, 0, 1):
        first = datetime.combine(day + timedelta(days=shift), of_day)
        times += [first.timestamp(), max(first.timestamp(), first.replace(fold=1).timestamp())]
    return times


def _last_time_of_day(text: str, now: float) -> float:
    return max(at for at in _times_around(text, now) if at <= now)


def _next_time_of_day(text: str, after: float) -> float:
    return min(at for at in _times_around(text, after) if at > after)
