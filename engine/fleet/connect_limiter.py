"""The connect limiter: how many accounts connect at once, how far apart, and one by one during an outage."""

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from attrs import define, field

from engine.wakeup import Wakeup

CANARY_PAUSES = (1.0, 2.0, 4.0, 5.0)
"""Seconds from the end of the first, second, … failed canary to the next one; the last value repeats."""

CANARY_GRACE = 5.0
"""Seconds that the queue waits for a canary. Then another one starts beside it: only the first may be in trouble."""

FOREVER = float("inf")


@define(eq=False)
class ConnectLimiter:
    """Lets ``at_once`` accounts connect at a time, each at least ``stagger`` seconds after the one before.

    First come, first served. An account keeps its turn for the whole attempt, so the attempt's patience limits it.
    During an outage (``one_by_one``) only a canary may connect, and the queue waits for it. The limiter needs no task
    of its own: the first waiter in the queue waits for its time itself, and is woken whenever a waiter or an attempt
    leaves.
    """

    at_once: int
    stagger: float
    _queue: OrderedDict[Wakeup, None] = field(factory=OrderedDict, init=False)
    """A wakeup for each waiter: one for all of them would be slow to cancel."""
    _connecting: int = field(default=0, init=False)
    _canaries: int = field(default=0, init=False)
    _next_start: float = field(default=-FOREVER, init=False)
    _outage: bool = field(default=False, init=False)
    _failed_canaries: int = field(default=0, init=False)

    @property
    def waiting(self) -> int:
        """How many accounts wait for a turn."""
        return len(self._queue)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and keep it until the block ends."""
        await self._enter()
        canary = self._outage
        self._canaries += canary
        try:
            yield
        finally:
            self._leave(canary)

    def one_by_one(self) -> None:
        """From now on let one account connect at a time, the first at once; attempts under way continue."""
        self._outage, self._failed_canaries = True, 0
        self._next_start = anyio.current_time()
        self._wake_first()

    def all_go(self) -> None:
        """Go back to the limit and the stagger."""
        self._outage = False
        self._next_start = anyio.current_time()
        self._wake_first()

    async def _enter(self) -> None:
        waiter = Wakeup()
        self._queue[waiter] = None
        try:
            while (wait := self._wait_of(waiter)) > 0:
                with anyio.move_on_after(wait):
                    await waiter.wait()
            self._connecting += 1
            self._next_start = anyio.current_time() + (CANARY_GRACE if self._outage else self.stagger)
        finally:
            del self._queue[waiter]
            self._wake_first()

    def _wait_of(self, waiter: Wakeup) -> float:
        """Return the seconds until a waiter's turn, as things are now; for ever means until it is woken."""
        if next(iter(self._queue)) is not waiter or self._connecting >= self.at_once:
            return FOREVER
        return self._next_start - anyio.current_time()

    def _leave(self, canary: bool) -> None:
        self._connecting -= 1
        self._canaries -= canary
        if canary and self._outage and not self._canaries:  # the outage goes on, so the canary has failed
            pause = CANARY_PAUSES[min(self._failed_canaries, len(CANARY_PAUSES) - 1)]
            self._failed_canaries += 1
            self._next_start = min(self._next_start, anyio.current_time() + pause)
        self._wake_first()

    def _wake_first(self) -> None:
        """Have the first waiter check whether its turn has come."""
        if self._queue:
            next(iter(self._queue)).notify()
