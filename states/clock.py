"""What a clock that was set does to stored waits. Pure arithmetic; times are Unix seconds.

A wait is stored as the time of day at which it ends, together with its own length. When the clock is set, the end moves
with it, so that what is left of the wait stays the same. However the clock was set, and whatever a restart finds
stored, no wait is longer than its own length from now on.
"""

from typing import Final

LONGEST_WAIT: Final = 366 * 86_400.0
"""Seconds of the longest wait that is believed, a year. Telegram's own are minutes, seldom days; a greater number is a
fault or an attack, and the end of such a wait is no date that this machine can name."""

NOTICED_WITHIN: Final = 4.0
"""Seconds within which a clock that was set is noticed. A wait that began so recently, by the new time, began after the
clock was set, and its end is right already. It is less than the smallest jump that is reported."""


def move_end(end: float, length: float | None, shift: float, now: float) -> float:
    """Return when a wait ends, now that the clock was set by ``shift`` seconds; ``now`` is the new time.

    ``length`` is None for a wait that was stored without it.
    """
    if length is not None and 0 <= now - (end - length) < NOTICED_WITHIN:
        return end
    return cap_end(end + shift, length, now)


def cap_end(end: float, length: float | None, now: float) -> float:
    """Return when a wait ends that may not last longer than its own length; without one, than any wait."""
    return min(end, now + (LONGEST_WAIT if length is None else length))
