"""Taps: what comes in one box of an account, numbered, for a job that stores it.

A box is the account's own or a channel's. A tap is open while a job follows a chat, and hands over the box's updates
and differences in the order in which the inbox has them. An update counts as handled only when the job has stored it.
So the session file, and what is noted as complete, do not run ahead of what a job has stored.

A tap holds nobody for long. Until its job has caught up, when the job falls behind, and when it ends, updates are let
go at once: the job's own position is stored with its messages, so it sees that numbers are missing and fetches them.
"""

from collections import deque
from typing import Any, Final

import anyio
from attrs import define, field, frozen

from adapters.telegram.boxes import ACCOUNT, of_channel_difference, of_difference, of_update
from states.ledger import Interval

MAX_WAITING: Final = 1000
"""Updates that may wait in one tap; beyond that all are let go, and fetched again when the job has time."""
MAX_FRESH: Final = 5
"""Chats that one account polls at the same time. Telegram allows ten."""


class FollowedAlready(ValueError):
    """Another job follows this chat with this account."""


@frozen(eq=False)
class Arrival:
    """An update of the box, or a whole answer with its difference."""

    interval: Interval
    content: Any
    handled: anyio.Event = field(factory=anyio.Event)


@define(eq=False)
class Tap:
    """What has come in a box and is not stored yet."""

    box: int
    chat: int
    job: int
    fresh: bool = False
    _taps: "Taps" = field(kw_only=True, repr=False)
    _waiting: deque[Arrival] = field(factory=deque, init=False)
    _changed: anyio.Event = field(factory=anyio.Event, init=False)
    _keeps: bool = field(default=False, init=False)
    _missed: bool = field(default=False, init=False)

    def keep(self, keeps: bool) -> None:
        """Keep what arrives from now on; or let it go, because a difference will bring it."""
        self._keeps = keeps
        if not keeps:
            self._let_go()

    def offer(self, interval: Interval, content: Any) -> anyio.Event | None:
        """Take something that arrived; return what is set when it is stored, None if nobody need wait."""
        if not self._keeps:
            return None
        if len(self._waiting) >= MAX_WAITING:
            self._missed = True
            self._let_go()
            self._changed.set()
            return None
        arrival = Arrival(interval, content)
        self._waiting.append(arrival)
        self._changed.set()
        return arrival.handled

    async def wait(self, seconds: float) -> None:
        """Wait until something has arrived, but no longer than this."""
        if not self._waiting and not self._missed:
            self._changed = anyio.Event()
            with anyio.move_on_after(seconds):
                await self._changed.wait()

    def take(self) -> list[Arrival]:
        """Take what has arrived, oldest first; ``done`` says when it is stored."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def take_missed(self) -> bool:
        """Return whether something was let go because too much waited, once."""
        missed, self._missed = self._missed, False
        return missed

    @property
    def waiting(self) -> int:
        """How many updates wait."""
        return len(self._waiting)

    def close(self) -> None:
        """Take nothing any more."""
        self.keep(False)
        self._taps.remove(self)

    def _let_go(self) -> None:
        done(self._waiting)
        self._waiting.clear()


def done(arrivals: Any) -> None:
    """Say that these are stored, or that nobody need wait for them."""
    for each in arrivals:
        each.handled.set()


@define(eq=False)
class Taps:
    """The open taps of one account."""

    _by_box: dict[int, list[Tap]] = field(factory=dict, init=False)

    def __bool__(self) -> bool:
        """Return whether there is one."""
        return bool(self._by_box)

    def open(self, box: int, chat: int, job: int, *, fresh: bool) -> Tap:
        """Open a tap. Raises ``FollowedAlready``, and ``ValueError`` if too many chats are polled."""
        there = [tap for taps in self._by_box.values() for tap in taps]
        for tap in there:
            if tap.chat == chat:
                raise FollowedAlready(f"job {tap.job} follows this chat with this account already; cancel one of them")
        if fresh and sum(tap.fresh for tap in there) >= MAX_FRESH:
            raise ValueError(
                f"{MAX_FRESH} chats are polled with this account already; leave `fresh` out, or cancel one"
            )
        tap = Tap(box, chat, job, fresh, taps=self)
        self._by_box.setdefault(box, []).append(tap)
        return tap

    def remove(self, tap: Tap) -> None:
        """Forget a tap."""
        taps = self._by_box.get(tap.box, [])
        if tap in taps:
            taps.remove(tap)
        if not taps:
            self._by_box.pop(tap.box, None)

    def offer(self, update: Any) -> list[anyio.Event]:
        """Hand an update to those whom it concerns; return what is set when they have stored it."""
        if not self._by_box:
            return []
        advance = of_update(update)
        return [] if advance is None else self._offer(advance.box, advance.interval, update)

    def offer_difference(self, channel: int, asked: int, answer: Any) -> None:
        """Hand over what a difference brought. Telethon leaves edits and deletions out of it, and numbers nothing."""
        if self._by_box:
            covers = of_channel_difference(channel, asked, answer) if channel else of_difference(asked, answer)
            if covers.lost is None:
                self._offer(channel or ACCOUNT, covers.interval, answer)

    def _offer(self, box: int, interval: Interval, content: Any) -> list[anyio.Event]:
        events = (tap.offer(interval, content) for tap in self._by_box.get(box, ()))
        return [event for event in events if event is not None]
