"""The time of day, and the time that only goes forward."""

import time

from attrs import frozen


@frozen
class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Return Unix time in seconds."""
        return time.time()


@frozen
class SteadyClock:
    """A clock that cannot be set. It stands still while the machine sleeps (Linux, macOS)."""

    def now(self) -> float:
        """Return seconds since an arbitrary moment."""
        return time.monotonic()
