"""``--since`` and ``--until``: how long ago, a time of day, a date, or both, in one way for all commands."""

import re
import time
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from typing import Annotated, Final

from attrs import frozen
from cyclopts import Parameter

from engine.cli.common import EXIT_BAD_INPUT, fail
from engine.config import parse_duration

FORMS: Final = "a duration (10s, 100ms, 5m, 1h30m, 2d), a time of day (10:05), a date, or both (2026-11-28T20:43)"
Since = Annotated[
    str | None,
    Parameter(help="Only from then on: 90m (ago), 10:05, 2026-11-28 or 2026-11-28T20:43 (local time, or with +02:00)."),
]
Until = Annotated[str | None, Parameter(help="Only before then, in the same forms.")]
_DAYS: Final = re.compile(r"(\d{1,6})d(.*)")
_TIME_OF_DAY: Final = re.compile(r"T?\d{1,2}:\d\d")


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

    A date without a time is its midnight. What has no offset is local time. Raises ``ValueError`` with a sentence.
    """
    try:
        if _is_time_of_day(text):
            return _last_time_of_day(text, now)
        if match := _DAYS.fullmatch(text):
            return now - int(match[1]) * 86_400 - (parse_duration(match[2]) if match[2] else 0)
        try:
            return now - parse_duration(text)
        except ValueError:
            return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text[:40]!r} is no time; write {FORMS}") from None


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


def _on(day: date, of_day: time_of_day) -> float:
    return datetime.combine(day, of_day).astimezone().timestamp()


def _last_time_of_day(text: str, now: float) -> float:
    of_day = _of_day(text)
    today = datetime.fromtimestamp(now, of_day.tzinfo).date()
    at = _on(today, of_day)
    return at if at <= now else _on(today - timedelta(days=1), of_day)


def _next_time_of_day(text: str, after: float) -> float:
    of_day = _of_day(text)
    first = datetime.fromtimestamp(after, of_day.tzinfo).date()
    at = _on(first, of_day)
    return at if at > after else _on(first + timedelta(days=1), of_day)
