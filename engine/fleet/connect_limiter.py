"""The fleet's turnstile: how many accounts connect at once, how far apart they start, and one by one in the dark."""

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from attrs import define, field

from engine.wakeup import Wakeup

CANARY_PAUSES = (1.0, 2.0, 4.0, 5.0)
"""Seconds from the end of the first, second, … failed canary to the next one; the last goes on."""

CANARY_GRACE = 5.0
"""Seconds that a canary is waited for. Then another goes beside it: what makes it hang may be its own trouble."""

NEVER = float("inf")


@define(eq=False)
class ConnectLimiter:
    """Lets ``at_once`` accounts connect at a time, each at least ``stagger`` seconds after the one before.

    First come, first served. A turn is held for the whole attempt, so it is bounded by the attempt's patience.
    While there seems to be no network (``one_by_one``), only a canary is let through, and the queue waits for it.
    The first in the queue does the waiting itself, so there is no task to run and none to forget; whoever leaves
    the queue or the turnstile rings for the first.
    """

    at_once: int
    stagger: float
    _queue: OrderedDict[Wakeup, None] = field(factory=OrderedDict, init=False)
    """A wakeup for each waiter: one for all of them would be slow to cancel."""
    _inside: int = field(default=0, init=False)
    _canaries: int = field(default=0, init=False)
    _next_start: float = field(default=-NEVER, init=False)
    _dark: bool = field(default=False, init=False)
    _failed_canaries: int = field(default=0, init=False)

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return len(self._queue)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and keep it until the block ends."""
        await self._enter()
        canary = self._dark
        self._canaries += canary
        try:
            yield
        finally:
            self._leave(canary)

    def one_by_one(self) -> None:
        """From now on let through one at a time, the first at once; attempts that are under way go on."""
        self._dark, self._failed_canaries = True, 0
        self._next_start = anyio.current_time()
        self._wake_first()

    def all_go(self) -> None:
        """Go back to the limit and the stagger."""
        self._dark = False
        self._next_start = anyio.current_time()
        self._wake_first()

    async def _enter(self) -> None:
        waiter = Wakeup()
        self._queue[waiter] = None
        try:
            while (wait := self._wait_of(waiter)) > 0:
                with anyio.move_on_after(wait):
                    await waiter.wait()
            self._inside += 1
            self._next_start = anyio.current_time() + (CANARY_GRACE if self._dark else self.stagger)
        finally:
            del self._queue[waiter]
            self._wake_first()

    def _wait_of(self, waiter: Wakeup) -> float:
        """Return how long it is until this one's turn, as things stand: for ever means until the wakeup rings."""
        if next(iter(self._queue)) is not waiter or self._inside >= self.at_once:
            return NEVER
        return self._next_start - anyio.current_time()

    def _leave(self, canary: bool) -> None:
        self._inside -= 1
        self._canaries -= canary
        if canary and self._dark and not self._canaries:  # it is dark still, so this one has failed
            pause = CANARY_PAUSES[min(self._failed_canaries, len(CANARY_PAUSES) - 1)]
            self._failed_canaries += 1
            self._next_start = min(self._next_start, anyio.current_time() + pause)
        self._wake_first()

    def _wake_first(self) -> None:
        """Let the first in the queue look again whether it is its turn."""
        if self._queue:
            next(iter(self._queue)).notify()
