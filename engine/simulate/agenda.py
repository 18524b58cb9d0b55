"""What comes next: one heap of numbers for all accounts, and one of calls for what concerns no account alone."""

from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil
from typing import Final

from attrs import define, field

from engine.simulate.ticks import TICKS

ACCOUNT_BITS: Final = 24
KIND_BITS: Final = 4
SHIFT: Final = ACCOUNT_BITS + KIND_BITS
ACCOUNT_MASK: Final = (1 << ACCOUNT_BITS) - 1
KIND_MASK: Final = (1 << KIND_BITS) - 1
MOST_ACCOUNTS: Final = ACCOUNT_MASK - 1


def key_of(at: int, account: int, what: int) -> int:
    """Return the key of what comes to an account at a time.

    A key is a time, an account and what comes to it as one number: keys are in the order in which things happen.
    """
    return at << SHIFT | (account + 1) << KIND_BITS | what


@define(eq=False)
class Agenda:
    """The virtual time, and all that is still to come. Nothing is called off: whoever gets a key knows if it counts."""

    tick: int = field(default=0, init=False)
    """Now."""
    reached: int = field(default=0, init=False)
    """The highest key so far: what has a lower one has happened."""
    keys: list[int] = field(factory=list, init=False)
    _calls: list[tuple[int, int, Callable[[float], None], float]] = field(factory=list, init=False)
    """When, a number, what, and its exact time in seconds."""
    _ordered: int = field(default=0, init=False)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self.tick / TICKS

    def push(self, at: int, account: int, what: int) -> int:
        """Let something come to an account; return its key."""
        key = at << SHIFT | (account + 1) << KIND_BITS | what
        heappush(self.keys, key)
        return key

    def call_at(self, seconds: float, call: Callable[[float], None]) -> None:
        """Call back at a time in seconds, with that time; before what comes to accounts at the same time."""
        self._ordered += 1
        heappush(self._calls, (max(self.tick, ceil(seconds * TICKS)), self._ordered, call, seconds))

    def next(self, end: int) -> int:
        """Go on to what comes next: return its key, 0 after a call, and -1 if nothing comes before ``end``."""
        key = self.keys[0] if self.keys else end << SHIFT
        if self._calls and self._calls[0][0] << SHIFT <= key:
            if self._calls[0][0] >= end:
                return -1
            self.tick, _, call, exact = heappop(self._calls)
            self.reached = max(self.reached, self.tick << SHIFT)
            call(exact)
            return 0
        if key >= end << SHIFT:
            return -1
        heappop(self.keys)
        self.tick = key >> SHIFT
        self.reached = max(self.reached, key)
        return key
