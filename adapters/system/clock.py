"""The time of day."""

import time

from attrs import frozen


@frozen
class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Return Unix time in seconds."""
        return time.time()
