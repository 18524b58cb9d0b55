"""Small parts that take the place of Telethon's larger ones, of which each account would have several.

They hold nothing while nothing waits: an empty ``asyncio.Queue`` takes 1.6 kB, an ``asyncio.Event`` 0.8 kB.
"""

import asyncio
import weakref
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, Final

MAX_RECENT: Final = 500
"""Numbers of messages that are remembered, as many as Telethon's."""
MAX_ACKS: Final = 4
"""Acknowledgements that are remembered after they were sent: the datacenter may ask for them with another salt."""


class Idle(asyncio.CancelledError):
    """There is nothing to do for one of Telethon's loops. It ends as upon a cancellation, and its task with it."""


class UpdateQueue:
    """Updates that wait for Telethon's update loop, which ends when there are none.

    The number of objects in what waits is bounded by ``InboundAccount``.
    """

    def __init__(self) -> None:
        self._items: deque[Any] | None = None
        self.begin: Callable[[], None] | None = None
        """Lets the loop begin again if it has ended."""
        self.idle = False
        """Whether the loop has found nothing when it looked last."""

    def empty(self) -> bool:
        """Return whether nothing waits."""
        return not self._items

    def put_nowait(self, update: Any) -> None:
        """Let an update wait, and the loop run."""
        if self._items is None:
            self._items = deque()
        self._items.append(update)
        if self.begin is not None:
            self.begin()

    async def put(self, update: Any) -> None:
        """Do the same; Telethon awaits it."""
        self.put_nowait(update)

    def get(self) -> "asyncio.Future[Any]":
        """Return the next update, for ``asyncio.wait_for``. Raises ``Idle`` if there is none.

        Before Python 3.12 that drops a cancellation which comes in the same turn: the loop ends one update later.
        """
        self.idle = not self._items
        if not self._items:
            raise Idle
        update = asyncio.get_running_loop().create_future()
        update.set_result(self._items.popleft())
        self._items = self._items or None
        return update


class SendSignal:
    """Has the sender begin when there is something to send; Telethon uses it as an ``asyncio.Event``."""

    __slots__ = ("_sender",)

    def __init__(self, sender: Any) -> None:
        self._sender = weakref.ref(sender)

    def set(self) -> None:
        """Let the sender send."""
        sender = self._sender()
        if sender is not None:
            sender.begin_sending()

    def clear(self) -> None:
        """Do nothing: nobody waits."""


class ShortList(list[Any]):
    """A list with the calls of a deque that Telethon uses, which takes 700 bytes more when it is empty."""

    __slots__ = ()

    def popleft(self) -> Any:
        """Take the first item out."""
        return self.pop(0)

    def appendleft(self, item: Any) -> None:
        """Put an item before all others."""
        self.insert(0, item)


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
