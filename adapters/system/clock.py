"""The time of day, and the times that only go forward."""

import time
from typing import Final, Protocol

from attrs import define, field, frozen

_SLEEPS_TOO: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""The system's clock that cannot be set and goes on while the machine sleeps: on Linux a clock of its own, on macOS the
monotonic one (whose name in Python is another clock's, which stops)."""


class _Clock(Protocol):
    def now(self) -> float:
        """Return seconds."""


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


@frozen
class ContinuousClock:
    """A clock that cannot be set, and that goes on while the machine sleeps."""

    def now(self) -> float:
        """Return seconds since an arbitrary moment."""
        return time.clock_gettime(_SLEEPS_TOO)


@define
class WatchedClock:
    """The time of day by which the engine decides: when somebody sets the machine's clock, it goes on as before.

    It takes the machine's time at each ``accept``. The engine accepts a jump in the moment in which it reports it, so
    that no decision sees the new time before it is known that waits have to be moved.
    """

    wall: _Clock = field(factory=SystemClock)
    continuous: _Clock = field(factory=ContinuousClock)
    _apart: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.accept()

    def accept(self) -> None:
        """Take the machine's time, whatever it is."""
        self._apart = self.wall.now() - self.continuous.now()

    def now(self) -> float:
        """Return Unix time in seconds."""
        return self.continuous.now() + self._apart
