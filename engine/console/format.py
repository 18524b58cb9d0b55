"""How values are written for the operator, and which name comes nearest."""

import math
import time
from collections.abc import Iterable
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Final

LONGEST_SHOWN: Final = 100 * 365 * 86_400.0
"""Seconds above which a duration is only called very long: nobody waits for it."""
NO_TIME: Final = "no valid time"
"""What stands where a number is no time that a calendar has."""


def seconds(value: float) -> str:
    """Return a duration in words, as ``40 ms``, ``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min`` or ``32 days 9 h``.

    It never raises: a server or an old file may give any number.
    """
    if abs(value) > LONGEST_SHOWN:  # first: such an integer may be no float
        return "over 100 years" if value > 0 else "less than 0 s"
    if math.isnan(value):
        return "an unknown time"
    if value < 0:
        return f"-{seconds(-value)}"
    if 0 < value < 0.1:
        return f"{max(1, round(value * 1000))} ms"
    if value < 10:
        return f"{value:.1f} s".replace(".0 s", " s")
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    hours, rest = divmod(whole // 60, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def whole_seconds(value: float) -> str:
    """Return a duration in words, to the second, and never below 0: for what is counted from two clocks' readings."""
    if -1 < value <= LONGEST_SHOWN:
        return seconds(round(value))
    return seconds(0) if value < 0 else seconds(value)


def megabytes(count: float) -> str:
    """Return a number of bytes in MB, with a decimal; what is less than 100 kB has two digits that mean something."""
    if count >= 1e5 or not count:
        return f"{count / 1e6:,.1f}"
    return f"{count / 1e6:.2g}" if count >= 100 else f"{count / 1e6:.6f}"  # no exponent


def local(at: float) -> datetime | None:
    """Return a time (Unix seconds) in this machine's time zone; None for a number that no calendar has."""
    try:
        return datetime.fromtimestamp(at, UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def of_day(at: float) -> str:
    """Return a time (Unix seconds) as the local time of day."""
    found = local(at)
    return NO_TIME if found is None else found.strftime("%H:%M:%S")


def date_and_time(at: float) -> str:
    """Return a time (Unix seconds) as local date and time, to the second."""
    found = local(at)
    return NO_TIME if found is None else f"{found:%Y-%m-%d %H:%M:%S}"


def ahead(at: float) -> str:
    """Return a time (Unix seconds) as the local time of day, with its date if it is more than half a day ahead."""
    return of_day(at) if at < time.time() + 12 * 3600 else date_and_time(at)


def moment(at: float, now: float) -> str:
    """Return a time (Unix seconds) as the local time of day, with its date unless that is the date of ``now``."""
    found = local(at)
    if found is None:
        return NO_TIME
    return f"{found:%H:%M:%S}" if found.date() == _date(now, time.tzname) else f"{found:%Y-%m-%d %H:%M:%S}"


@lru_cache(maxsize=4)
def _date(now: float, zone: tuple[str, str]) -> date | None:
    """Return the local date; a page asks for that of the same time for each account, twice."""
    found = local(now)
    return None if found is None else found.date()


def iso(at: float | None) -> str | None:
    """Return a time (Unix seconds) as local time in ISO 8601, with its offset from UTC.

    None stands for no time, and for a number that no calendar has.
    """
    found = None if at is None else local(at)
    return None if found is None else found.isoformat(timespec="milliseconds")


def rounded(value: Any) -> Any:
    """Return a number of seconds to the millisecond, for JSON; anything else as it is."""
    return round(value, 3) if isinstance(value, float) else value


def may_show(text: str) -> bool:
    """Return False for a text that may be a misplaced secret: a phone number, a hash, a token, a key, a URL."""
    if "://" in text or (":" in text and "@" in text):  # user:password@host
        return False
    return len(text) <= 64 and text.isprintable() and sum(character.isdigit() for character in text) < 7


def nearest(wanted: str, known: Iterable[str]) -> str:
    """Return the end of a sentence: the name in ``known`` most like ``wanted``, or all names (at most eight)."""
    known = tuple(filter(may_show, known))
    if not known:
        return "check its spelling"
    import difflib  # noqa: PLC0415 - only for a mistake

    if close := difflib.get_close_matches(wanted, known, n=1):
        return f"did you mean {close[0]!r}?"
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    return f"there are: {', '.join(known[:8])}{more}"
