"""When a worker that has ended is started again: pure."""

from typing import Final

from attrs import define, field

FIRST_DELAY: Final = 1.0
"""Seconds before a worker that has ended is started again."""
FACTOR: Final = 2.0
LONGEST_DELAY: Final = 60.0
ENOUGH_FAILURES: Final = 64
"""Further ones make no difference; without a bound the factor would have no number after a day of them."""
STABLE_SECONDS: Final = 60.0
"""A worker that has lived for so long has proven itself: what was before does not count any more."""


@define
class Restarts:
    """The starts of one worker."""

    _failures: int = field(default=0, init=False)

    def delay(self, lived: float) -> float:
        """Return the seconds until a worker is started again that has ended after so many."""
        if lived >= STABLE_SECONDS:
            self._failures = 0
        before = self._failures
        self._failures = min(before + 1, ENOUGH_FAILURES)
        return float(min(FIRST_DELAY * FACTOR**before, LONGEST_DELAY))
