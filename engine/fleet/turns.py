"""The arithmetic of turns to connect: how many at once, how far apart, and one by one during an outage.

It knows neither who waits nor a clock: the connect limiter asks it in the time of the event loop, and a simulation in
virtual time. All times are seconds of one clock.
"""

from typing import Final

from attrs import define, field

from engine.fleet.stagger import AutoStagger

CANARY_PAUSES: Final = (1.0, 2.0, 4.0, 5.0)
"""Seconds from the end of the first, second, … failed canary to the next one; the last value repeats."""

CANARY_GRACE: Final = 5.0
"""Seconds that the queue waits for a canary. Then another one starts beside it: only the first may be in trouble."""

FOREVER: Final = float("inf")


@define(eq=False)
class Turns:
    """When the next turn may be given, and what a turn that ends means. Whoever waits longest gets the next one."""

    at_once: int
    stagger: float | AutoStagger
    connecting: int = field(default=0, init=False)
    """How many turns are out."""
    outage: bool = field(default=False, init=False)
    """Whether each turn is a canary's."""
    _canaries: int = field(default=0, init=False)
    _next_start: float = field(default=-FOREVER, init=False)
    _failed_canaries: int = field(default=0, init=False)
    _given_at: float = field(default=-FOREVER, init=False)
    """When the last turn was given."""

    def begin_outage(self, now: float) -> None:
        """From now on give one turn at a time, the first as soon as the stagger lets it."""
        self.outage, self._failed_canaries = True, 0
        self._next_start = self._soonest(now)

    def end_outage(self, now: float) -> None:
        """Go back to the limit and the stagger."""
        self.outage = False
        self._next_start = self._soonest(now)

    def _soonest(self, now: float) -> float:
        """Return when a turn may be given that waits for nothing else: several routes may answer in one moment."""
        return max(now, self._given_at + float(self.stagger))

    def next_start(self) -> float | None:
        """Return from when on the next turn may be given; None while all turns are out."""
        return self._next_start if self.connecting < self.at_once else None

    def give(self, now: float) -> bool:
        """Give a turn to the first who waits; return whether it is a canary's. ``next_start`` has come."""
        self._given_at = now
        self.connecting += 1
        self._canaries += self.outage
        self._next_start = now + (CANARY_GRACE if self.outage else float(self.stagger))
        return self.outage

    def take_back(self, *, canary: bool, now: float) -> None:
        """Take a turn back when its attempt is over."""
        self.connecting -= 1
        self._canaries -= canary
        if canary and self.outage and not self._canaries:  # the outage goes on, so the canary has failed
            pause = CANARY_PAUSES[min(self._failed_canaries, len(CANARY_PAUSES) - 1)]
            self._failed_canaries += 1
            self._next_start = min(self._next_start, now + pause)

    def note_late(self, late: float) -> None:
        """Take into account by how many seconds a turn that was due came late."""
        if isinstance(self.stagger, AutoStagger):
            self.stagger.note_late(late)
