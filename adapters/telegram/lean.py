"""Small parts that take the place of Telethon's larger ones, of which each account would have several.

They hold nothing while nothing waits: an empty ``asyncio.Queue`` takes 1.6 kB, an ``asyncio.Event`` 0.8 kB.
"""

import asyncio
import sys
from array import array
from collections import deque
from collections.abc import Awaitable
from typing import Any, Final

MAX_RECENT: Final = 500
"""Numbers of messages that are remembered, as many as Telethon's."""
MAX_ACKS: Final = 4
"""Acknowledgements that are remembered after they were sent: the datacenter may ask for them with another salt."""

_WAIT_FOR_MAKES_TASKS: Final = sys.version_info < (3, 12)
"""Whether ``asyncio.wait_for`` makes a task of a coroutine. Since 3.12 it does not, but drops what a future has if its
time is over in the same turn of the loop."""


class UpdateQueue:
    """Updates that wait for Telethon's update loop, which is the only one to take them.

    Waiting needs no task: while there are none, ``get`` returns a future where a coroutine would become one. The number
    of objects in what waits is bounded by ``InboundAccount``.
    """

    def __init__(self) -> None:
        self._items: deque[Any] | None = None
        self._waiter: asyncio.Future[Any] | None = None

    def empty(self) -> bool:
        """Return whether nothing waits."""
        return not self._items

    def put_nowait(self, update: Any) -> None:
        """Give an update to who waits, or let it wait."""
        waiter, self._waiter = self._waiter, None
        waits = waiter is not None and not waiter.done()
        if not (waits and _WAIT_FOR_MAKES_TASKS):
            if self._items is None:
                self._items = deque()
            self._items.append(update)
        if waiter is not None and waits:
            waiter.set_result(update)

    async def put(self, update: Any) -> None:
        """Do the same; Telethon awaits it."""
        self.put_nowait(update)

    def get(self) -> Awaitable[Any]:
        """Return what to await for the next update. Cancelling it loses none.

        A future that is done already would not do: ``asyncio.wait_for`` swallows a cancellation upon one.
        """
        if self._items or not _WAIT_FOR_MAKES_TASKS:
            return self._take()
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    async def _take(self) -> Any:
        while not self._items:
            if _WAIT_FOR_MAKES_TASKS:
                return await self.get()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        update = self._items.popleft()
        self._items = self._items or None
        return update


class Ready:
    """Lets the one task that sends wait until there is something to send; Telethon uses it as an ``asyncio.Event``."""

    __slots__ = ("_set", "_waiter")

    def __init__(self) -> None:
        self._set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake who waits, and let nobody wait until ``clear``."""
        self._set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        """Let the next one wait."""
        self._set = False

    async def wait(self) -> None:
        """Wait until it is set."""
        if not self._set:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None


class RecentNumbers:
    """The numbers of the last messages, by which one that comes twice is known; 8 bytes each instead of 40."""

    __slots__ = ("_next", "_numbers")

    def __init__(self) -> None:
        self._numbers: array[int] = array("q")
        self._next = 0
        """Where the oldest number is, once there are ``MAX_RECENT``."""

    def append(self, number: int) -> None:
        """Remember a number, and forget the oldest if there are too many."""
        if len(self._numbers) < MAX_RECENT:
            self._numbers.append(number)
            return
        self._numbers[self._next] = number
        self._next = (self._next + 1) % MAX_RECENT

    def clear(self) -> None:
        """Forget all."""
        self._numbers, self._next = array("q"), 0

    def __contains__(self, number: int) -> bool:
        return number in self._numbers


class LastAcks(list[Any]):
    """The last few acknowledgements."""

    __slots__ = ()

    def append(self, ack: Any) -> None:
        """Add one, and forget the oldest if there are too many."""
        super().append(ack)
        del self[:-MAX_ACKS]
