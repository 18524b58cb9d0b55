"""``Mailbox``: the events that wait for one account."""

import asyncio

from attrs import define, field

from engine.wakeup import Wakeup
from states import Event


@define(eq=False)
class Mailbox:
    """At most ``size`` events, oldest first, for the one task that reads them.

    An account is idle nearly always, so an empty mailbox is little more than a list, which takes a tenth of a deque's
    memory: the reader waits for a future, and what writers wait for is made when one of them has to.
    """

    size: int
    closed: bool = field(default=False, init=False)
    _events: list[Event] = field(factory=list, init=False)
    _reader: "asyncio.Future[None] | None" = field(default=None, init=False)
    """What the reader waits for, if it does."""
    _room: Wakeup = field(factory=Wakeup, init=False)

    def offer(self, event: Event) -> bool:
        """Put an event in without waiting; return False if there is no room. A closed mailbox drops it."""
        if self.closed:
            return True
        if len(self._events) >= self.size:
            return False
        self._events.append(event)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        return True

    async def post(self, event: Event) -> None:
        """Put an event in, waiting for room. A closed mailbox drops it."""
        while not self.offer(event):
            await self._room.wait()

    async def take(self) -> Event:
        """Return the oldest event, waiting for one; each call lets other tasks run."""
        if self._events:
            await asyncio.sleep(0)
        while not self._events:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        event = self._events.pop(0)
        self._room.notify()
        return event

    def close(self) -> None:
        """Drop what is there, and all that comes."""
        self.closed = True
        self._events.clear()
        self._room.notify()
