"""The connect limiter: how many accounts connect at once, how far apart, and one by one during an outage."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from attrs import Factory, define, field

from engine.fleet.stagger import AutoStagger
from engine.fleet.turns import Turns

_Waiter = asyncio.Future[bool]
"""Gets a turn, and whether that is a canary's."""


@define(eq=False)
class ConnectLimiter:
    """Lets ``at_once`` accounts connect at a time, each at least ``stagger`` seconds after the one before.

    First come, first served. An account keeps its turn for the whole attempt, so the attempt's patience limits it.
    During an outage (``one_by_one``) only a canary may connect, and the queue waits for it. The limiter needs no task
    of its own: whatever changes, it gives turns to the first waiters, or sets one timer for the next turn. When a turn
    is due is decided in ``turns``.
    """

    at_once: int
    stagger: float | AutoStagger
    _turns: Turns = field(default=Factory(lambda self: Turns(self.at_once, self.stagger), takes_self=True), init=False)
    _queue: OrderedDict[_Waiter, None] = field(factory=OrderedDict, init=False)
    """What each waiter waits for: one for all of them would be slow to cancel."""
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    @property
    def waiting(self) -> int:
        """How many accounts wait for a turn."""
        return len(self._queue)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Wait for a turn, and keep it until the block ends; yields whether it is a canary's."""
        canary = await self._enter()
        try:
            yield canary
        finally:
            self._leave(canary)

    def one_by_one(self) -> None:
        """From now on let one account connect at a time, the first at once; attempts under way continue."""
        self._turns.begin_outage(anyio.current_time())
        self._give_turns()

    def all_go(self) -> None:
        """Go back to the limit and the stagger."""
        self._turns.end_outage(anyio.current_time())
        self._give_turns()

    def change(self, at_once: int, stagger: float | AutoStagger) -> None:
        """Go by another limit and another stagger from the next turn on; attempts under way continue."""
        self.at_once = self._turns.at_once = at_once
        self.stagger = self._turns.stagger = stagger
        self._give_turns()

    async def _enter(self) -> bool:
        """Wait for a turn; return whether it is a canary's."""
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        self._queue[waiter] = None
        self._give_turns()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._queue.pop(waiter, None)
                if not self._queue:
                    self._give_turns()  # nobody is left for whom the timer would fire
            else:  # its turn had come in the same moment
                self._leave(waiter.result())
            raise

    def _give_turns(self) -> None:
        """Give a turn to each waiter whose time has come; the next one gets a timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue and (start := self._turns.next_start()) is not None:
            now = anyio.current_time()
            if start > now:
                self._timer = asyncio.get_running_loop().call_at(start, self._on_time, start)
                return
            waiter, _ = self._queue.popitem(last=False)
            if waiter.done():
                continue  # it is cancelled, and has not noticed yet
            waiter.set_result(self._turns.give(now))

    def _on_time(self, due: float) -> None:
        self._timer = None
        self._turns.note_late(anyio.current_time() - due)
        self._give_turns()

    def _leave(self, canary: bool) -> None:
        self._turns.take_back(canary=canary, now=anyio.current_time())
        self._give_turns()
