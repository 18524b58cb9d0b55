"""Times that a person asks for, as a form or an address has them."""

import re
from datetime import datetime, timedelta
from typing import Final

from engine.console.format import local

_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


def time_of(text: str, now: float) -> float | None:
    """Return a time (Unix seconds) that is written as ``2026-11-29T10:05`` or ``10:05``; None if it is neither.

    A time of day is the last such one before ``now``. Both are of this machine's time zone.
    """
    text, today = text.strip()[:40], local(now)
    if not text or today is None:
        return None
    try:
        if (found := _CLOCK.fullmatch(text)) is not None:
            hour, minute, second = (int(part or 0) for part in found.groups())
            at = today.replace(hour=hour, minute=minute, second=second, microsecond=0)
            return (at if at <= today else at - timedelta(days=1)).timestamp()
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def for_input(at: float) -> str:
    """Return a time as a field for a day and a time has it."""
    found = local(at)
    return "" if found is None else f"{found:%Y-%m-%dT%H:%M}"
