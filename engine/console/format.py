"""How values are written for the operator, and which name comes nearest."""

import difflib
from collections.abc import Iterable
from datetime import UTC, datetime


def seconds(value: float) -> str:
    """Return a duration in words, as ``40 ms``, ``0.4 s``, ``12 s``, ``3 min 20 s`` or ``2 h 5 min``."""
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
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def of_day(at: float) -> str:
    """Return a time (Unix seconds) as the local time of day."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def iso(at: float | None) -> str | None:
    """Return a time (Unix seconds) as ISO 8601 in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


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
    if close := difflib.get_close_matches(wanted, known, n=1):
        return f"did you mean {close[0]!r}?"
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    return f"there are: {', '.join(known[:8])}{more}"
