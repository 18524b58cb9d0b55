"""Small parts that take the place of Telethon's larger ones, of which each account would have several.

They hold nothing while nothing waits: an empty ``asyncio.Queue`` takes 1.6 kB, an ``asyncio.Event`` 0.8 kB.
"""

import asyncio
import weakref
from array import array
from collections import deque
from collections.abc import Callable, Container
from typing import Any, Final

from telethon._updates.messagebox import epoch
from telethon.tl import types

from adapters.telegram.boxes import ACCOUNT, of_envelope

MAX_WAITING: Final = 1_000
"""Messages with updates that wait for Telethon's update loop; numbered ones are then left at the datacenter."""
MAX_WAITING_OBJECTS: Final = 20_000
"""Objects in them, of 0.9 kB each; one message with two users has seven."""
MAX_IN_TURN: Final = 20
"""Messages of one account that are counted until all others have their turn; each takes a tenth of a millisecond."""
MAX_UNNUMBERED: Final = 4 * MAX_WAITING
"""Messages that wait at the most, whatever is in them."""
MAX_RECENT: Final = 500
"""Numbers of messages that are remembered, as many as Telethon's."""
MAX_ACKS: Final = 4
"""Acknowledgements that are remembered after they were sent: the datacenter may ask for them with another salt."""


class Idle(asyncio.CancelledError):
    """There is nothing to do for one of Telethon's loops. It ends as upon a cancellation, and its task with it."""


class UpdateQueue:
    """Updates that wait for Telethon's update loop, which ends when there are none.

    While handlers do not keep up, that loop waits for them. So what arrives then is bounded: updates that have a number
    are left at the datacenter, from the first one for which there is no room until nothing waits any more, and are then
    asked for as what they are, a difference. Telegram sends no other update a second time, so there is more room for
    those, and for the updates of a channel that is not counted yet.
    """

    known: Container[Any] = ()
    """Telethon's count: a channel whose number it has can be asked for what was left."""

    def __init__(self) -> None:
        self._items: deque[Any] | None = None
        self.begin: Callable[[], None] | None = None
        """Lets the loop begin again if it has ended."""
        self.idle = False
        """Whether the loop has found nothing when it looked last."""
        self.objects = 0
        """Objects in what waits, and in what has come since something last waited."""
        self.left = 0
        """How many messages with updates were left at the datacenter."""
        self._left_boxes: set[int] = set()
        """The account (0) and channels that are to be asked for."""
        self._taken = 0
        """Since all other accounts had their turn."""

    @property
    def waiting(self) -> int:
        """How many messages with updates wait."""
        return len(self._items or ())

    def empty(self) -> bool:
        """Return whether nothing waits."""
        return not self._items

    def take(self, envelope: Any) -> None:
        """Let what arrived wait, or leave it at the datacenter."""
        waiting = self.waiting
        if self._left_boxes or waiting >= MAX_WAITING or (waiting and self.objects > MAX_WAITING_OBJECTS):
            boxes = {advance.box for advance in of_envelope(envelope)}
            if waiting >= MAX_UNNUMBERED or (boxes and all(box == ACCOUNT or box in self.known for box in boxes)):
                self._leave(boxes)
                return
        self.put_nowait(envelope)

    def put_nowait(self, update: Any) -> None:
        """Let an update wait, and the loop run; what this client did itself is bounded here."""
        if self.waiting >= MAX_UNNUMBERED and getattr(update, "_self_outgoing", False):
            self._leave({advance.box for advance in of_envelope(update)})
            return
        if self._items is None:
            self._items = deque()
        self._items.append(update)
        if self.begin is not None:
            self.begin()

    def _leave(self, boxes: set[int]) -> None:
        self.left += 1
        self._left_boxes |= boxes

    async def put(self, update: Any) -> None:
        """Do the same; Telethon awaits it."""
        self.put_nowait(update)

    def get(self) -> "asyncio.Future[Any]":
        """Return the next update, for ``asyncio.wait_for``. Raises ``Idle`` if there is none.

        Before Python 3.12 that drops a cancellation which comes in the same turn: the loop ends one update later.
        """
        if not self._items and self._left_boxes:
            self._items = deque(ask_for(box) for box in sorted(self._left_boxes))
            self._left_boxes.clear()
        self.idle = not self._items
        if not self._items:
            raise Idle
        update = asyncio.get_running_loop().create_future()
        update.set_result(self._items.popleft())
        self._taken += 1
        if not self._items:
            self._items, self.objects = None, 0
        return update

    def ends_turn(self) -> bool:
        """Return whether the loop that takes updates has to let all others run now, and begin another turn if so."""
        ends = self._taken >= MAX_IN_TURN
        self._taken = 0 if ends else self._taken
        return ends


class AskedFor(types.UpdateChannelTooLong):  # type: ignore[misc]  # Telethon ships no types
    """The engine's own wish for a channel's difference: nobody has said that there is anything in it."""


class ChannelNumbers:
    """Numbers (pts) that the datacenter has said of channels. Whatever came before is counted first."""

    def __init__(self, numbers: dict[int, int]) -> None:
        self.numbers = numbers


def ask_for(box: int) -> Any:
    """Return an update that has Telethon's update loop ask for the difference of the account (0) or of a channel."""
    return types.UpdateShort(AskedFor(box), epoch()) if box else types.UpdatesTooLong()


def number_channels(numbers: dict[int, int], chats: list[Any]) -> Any:
    """Return an update that begins the boxes of channels at these numbers, unless Telethon counts them already."""
    return types.Updates([ChannelNumbers(numbers)], [], chats, epoch(), 0)


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
