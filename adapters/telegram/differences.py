"""Missed updates of one link: how they are fetched, again if that is refused, and what the gap report says of them.

Telethon asks once, and then only when the next live update comes, or after a quarter of an hour. Here what was refused
is asked for again by a schedule, and the account's events say what is still missing, and when it is there.
"""

import asyncio
import random
import sqlite3
import weakref
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import define, field
from telethon import errors
from telethon._updates.messagebox import ENTRY_ACCOUNT as ACCOUNT_ENTRY
from telethon.tl.functions.channels import GetFullChannelRequest
from telethon.tl.functions.updates import GetChannelDifferenceRequest, GetDifferenceRequest, GetStateRequest
from telethon.tl.types.updates import (
    ChannelDifference,
    ChannelDifferenceEmpty,
    ChannelDifferenceTooLong,
    Difference,
    DifferenceEmpty,
    DifferenceSlice,
    DifferenceTooLong,
)

from adapters.telegram.classify import Unanswered, classify, describe, kind_of
from adapters.telegram.difference_watch import DifferenceWatch
from adapters.telegram.lean import ask_for
from adapters.telegram.protocol_watch import ProtocolStuck
from adapters.telegram.unreadable import ADVICE, UnreadableAnswer
from states.events import ASKED_AGAIN, CaughtUp, FloodWait
from states.ledger import HoleCause
from states.schedules import Backoff

DIFFERENCES: Final = (GetDifferenceRequest, GetChannelDifferenceRequest)
TIMEOUT: Final = 15.0
"""Seconds that a request for missed updates may wait: until it is answered, no other update arrives."""
RETRY: Final = Backoff(first=2.0, factor=2.0, cap=120.0, jitter=0.2)
"""The waits after a refusal; what a flood wait demands is more, if it is."""
SLACK_SECONDS: Final = 1.5
"""Added to a flood wait: by then the hold of this kind of request is over, too."""
UNREAD_PAUSE: Final = 30.0
"""Seconds between two requests for the difference because of live messages that could not be read."""
MAX_CHANNELS: Final = 100
"""Channels that are asked for their differences when the account's own could not be read, which would name them."""
MAX_NAMED: Final = 20
"""Channels without a number that are named at once; the others are counted."""
OTHERS: Final = -1
"""Where the others are counted."""
ACCOUNT: Final = 0
"""The number of the account's own updates, as in session files; the others are those of channels."""

_TOO_LONG: Final = (DifferenceTooLong, ChannelDifferenceTooLong)
_ANSWERS: Final = {
    GetDifferenceRequest: (DifferenceEmpty, Difference, DifferenceSlice, DifferenceTooLong),
    GetChannelDifferenceRequest: (ChannelDifferenceEmpty, ChannelDifference, ChannelDifferenceTooLong),
}
MAX_FAILURES: Final = 8
"""Errors in Telethon's update loop in a row after which the link ends."""
_LEFT: Final = (errors.ChannelPrivateError, errors.ChannelInvalidError)
_LOGIN: Final = (errors.UnauthorizedError, errors.AuthKeyError)


class NotYet(ValueError):
    """Missed updates were refused, and it is too early to ask again. Telethon goes on without them."""


@define(eq=False)
class Gap:
    """Updates that are missing, of the account or of one channel."""

    tries: int = 0
    retry_at: float = 0.0
    """When they may be asked for again, by the loop's clock."""
    why: str = ""
    """What is missing, and why, for the operator."""
    lost: bool = False
    """Whether there is nothing to ask for any more."""
    date: datetime | None = None
    """The account's date when it was first refused. Live updates move the date, and channels' news count from it."""
    timer: asyncio.TimerHandle | None = None


@define(eq=False)
class Differences:
    """The missed updates of one client."""

    _of: weakref.ref[Any]
    _watch: DifferenceWatch = field(factory=DifferenceWatch, init=False)
    _gaps: dict[int, Gap] = field(factory=dict, init=False)
    _catching_up: bool = field(default=True, init=False)
    _answered: bool = field(default=False, init=False)
    """Whether Telethon now processes the answer to a difference."""
    _recovered: int = field(default=0, init=False)
    _too_long: bool = field(default=False, init=False)
    _told: tuple[str, ...] = field(default=(), init=False)
    """What was last reported as missing."""
    _failures: int = field(default=0, init=False)
    """Errors in Telethon's update loop since it has last processed anything."""
    _unread_at: float = field(default=float("-inf"), init=False)

    @property
    def _client(self) -> Any:
        """The client, which has these."""
        return self._of()

    async def fetch(self, sender: Any, request: Any) -> Any:
        """Fetch missed updates for Telethon. A silence is repeated at once; a refusal is raised, and repeated later."""
        entry = request.channel.channel_id if isinstance(request, GetChannelDifferenceRequest) else ACCOUNT
        gap = self._gaps.get(entry)
        if gap is not None and asyncio.get_running_loop().time() < gap.retry_at:
            raise NotYet(gap.why)
        if gap is not None and gap.date is not None:
            request.date = gap.date
        try:
            answer = await self._ask(sender, request)
        except _LEFT as exc:
            self._forget(entry)
            self._gaps[entry] = Gap(why=f"channel {entry}, which is no longer readable ({describe(exc)})", lost=True)
            self._tell(without=entry)
            raise
        except _LOGIN:
            raise
        except (errors.RPCError, UnreadableAnswer) as exc:
            await self._refused(sender, entry, request, exc)
            raise
        await self._watch.take(answer)
        self._client.inbox.taps.offer_difference(entry, request.pts, answer)
        self._forget(entry)
        self._answered = True
        self._too_long |= isinstance(answer, _TOO_LONG)
        return answer

    async def go_on_after(self, error: Exception) -> bool:
        """Let Telethon's update loop begin again after an error in it; return False if it should not.

        The first time it fetches the difference again. When it fails once more before it has processed anything, what
        it fails on is left out: it goes on from the present, and the gap is reported.
        """
        client, box = self._client, self._client._message_box
        if self._failures >= MAX_FAILURES or isinstance(error, (*_LOGIN, ProtocolStuck, OSError, sqlite3.Error)):
            return False
        self._failures += 1
        client.note_unreadable(error)
        box.getting_diff_for.clear()
        box.possible_gaps.clear()
        client._catch_up = self._failures == 1  # or the loop would begin with the same difference each time
        if self._failures == 1:
            return True
        pts = box.map[ACCOUNT_ENTRY].pts if ACCOUNT_ENTRY in box.map else 0
        if not await self._skip(client._sender, ACCOUNT, None):
            return False
        self._forget(ACCOUNT)
        why = f"private chats and groups, after {pts} in their count (Telethon cannot process it; {ADVICE})"
        self._gaps[ACCOUNT] = Gap(why=why, lost=True)
        return True

    async def _ask(self, sender: Any, request: Any) -> Any:
        client = self._client
        while True:
            await client._check_holds(request)
            try:
                answer = await client._send(sender, request, min(TIMEOUT, client.request_timeout))
            except Unanswered:
                continue
            ends = isinstance(answer, ChannelDifference) or getattr(answer, "final", True)
            if not (ends and isinstance(answer, _ANSWERS[type(request)])):
                what = client.note_unreadable(TypeError())
                raise UnreadableAnswer(f"the answer to {kind_of(request)} is {what}; {ADVICE}")
            return answer

    async def _refused(self, sender: Any, entry: int, request: Any, exc: Exception) -> None:
        """Note a refusal, and have the request repeated when its wait is over."""
        gap = self._gaps.setdefault(entry, Gap(date=getattr(request, "date", None)))
        gap.tries += 1
        event, loop = classify(exc), asyncio.get_running_loop()
        delay = RETRY.delay(gap.tries, random.random())
        if isinstance(event, FloodWait):
            delay = max(delay, event.seconds + SLACK_SECONDS)
        where = f"channel {entry}" if entry else "private chats and groups"
        gap.why = f"{where} ({event.detail}; {ASKED_AGAIN} {delay:.0f} s)"
        gap.lost = isinstance(exc, UnreadableAnswer) and await self._skip(sender, entry, request)
        if gap.lost:
            gap.date, gap.why = None, f"{where}, after {request.pts} in their count ({exc}; read the chats for it)"
        gap.retry_at = loop.time() + delay
        if gap.timer is not None:
            gap.timer.cancel()
        gap.timer = None if gap.lost else loop.call_later(delay, self._ask_again, entry)
        self._tell(without=entry)

    async def _skip(self, sender: Any, entry: int, request: Any) -> bool:
        """Go on from the present, because no later difference could be read either; return whether that is done."""
        client, box = self._client, self._client._message_box
        known = box.map.get(entry or ACCOUNT_ENTRY)
        asked = known.pts if known is not None else 0
        try:
            if entry == ACCOUNT:
                box.set_state(await client._send(sender, GetStateRequest(), TIMEOUT), reset=False)
                for channel in [known for known in box.map if isinstance(known, int)][:MAX_CHANNELS]:
                    box.try_begin_get_diff(channel, "the account's difference cannot be read")
            else:
                full = await client._send(sender, GetFullChannelRequest(request.channel), TIMEOUT)
                box.map[entry].pts = full.full_chat.pts
        except (errors.RPCError, UnreadableAnswer, TimeoutError):
            return False
        if known is not None:
            box.lose(entry, asked, box.map[entry or ACCOUNT_ENTRY].pts, HoleCause.UNREADABLE)
        return True

    def ask(self, entries: Iterable[int]) -> None:
        """Have Telethon's update loop ask for the differences of the account (0) and of channels."""
        for entry in sorted({*entries}):
            self._ask_again(entry)

    def lose(self, entry: int, why: str) -> None:
        """Report that something is missing for which nobody can ask any more."""
        self._forget(entry)
        self._gaps[entry] = Gap(why=why, lost=True)
        self._tell()

    def _ask_again(self, entry: int) -> None:
        """Have Telethon's update loop ask for a difference."""
        self._client._updates_queue.put_nowait(ask_for(entry))

    def fetch_unread(self) -> None:
        """Ask for the account's difference because a live message could not be read, unless that was just done."""
        now = asyncio.get_running_loop().time()
        if ACCOUNT not in self._gaps and now >= self._unread_at + UNREAD_PAUSE:
            self._unread_at = now
            self._ask_again(ACCOUNT)

    def processed(self, updates: int, unnumbered: Sequence[int] = ()) -> None:
        """Count updates that Telethon has processed; report when all that can be had is there.

        Channels that are ``unnumbered`` have news for which nobody can ask.
        """
        self._failures = 0
        self._name_unnumbered(unnumbered)
        if self._answered:
            self._name_unknown()
        if (self._answered and self._catching_up) or unnumbered:
            self._recovered += updates if self._answered else 0
            self._tell()
        self._answered = False

    def _name_unnumbered(self, channels: Sequence[int]) -> None:
        """Name channels that have news which came before the engine had a number of them."""
        reason = "has news, and no number is known from which to ask for them; read its history"
        for entry in channels[:MAX_NAMED]:
            self._forget(entry)
            self._gaps[entry] = Gap(why=f"channel {entry} ({reason})", lost=True)
        if (more := len(channels) - MAX_NAMED) > 0:
            self._gaps[OTHERS] = Gap(why=f"{more} more channels (each {reason})", lost=True)

    def _name_unknown(self) -> None:
        """Name the channels that Telethon will leave out without a word, because it cannot address them."""
        known = self._client._mb_entity_cache.get
        for entry in self._client._message_box.getting_diff_for:
            if isinstance(entry, int) and known(entry) is None:
                why = f"channel {entry} (its access hash is not known; open it once with this account)"
                self._gaps[entry] = Gap(why=why, lost=True)

    def _tell(self, without: int | None = None) -> None:
        """Report once nothing is left to be asked for now, ``without`` what was just refused."""
        self._catching_up = True
        asking = {entry if isinstance(entry, int) else ACCOUNT for entry in self._client._message_box.getting_diff_for}
        if asking - {without} - self._gaps.keys():
            return
        missing = tuple(gap.why for _, gap in sorted(self._gaps.items()))
        waits = any(not gap.lost for gap in self._gaps.values())
        if not missing or self._shape(missing) != self._shape(self._told):
            self._client.report(
                CaughtUp(
                    link=self._client.number,
                    recovered=self._recovered,
                    too_long=self._too_long,
                    missing=missing,
                    late=bool(self._told),
                )
            )
        self._told = missing
        if not waits:
            self._catching_up, self._told, self._recovered, self._too_long = False, (), 0, False
            for entry, gap in list(self._gaps.items()):
                if gap.retry_at == 0.0:
                    del self._gaps[entry]

    @staticmethod
    def _shape(missing: tuple[str, ...]) -> tuple[str, ...]:
        """Return what is missing without the reasons, which change from try to try."""
        return tuple(why.partition(" (")[0] for why in missing)

    def _forget(self, entry: int) -> None:
        gap = self._gaps.pop(entry, None)
        if gap is not None and gap.timer is not None:
            gap.timer.cancel()

    def keep_date(self) -> None:
        """Set the account's date back to where its gap begins, before it is saved."""
        gap = self._gaps.get(ACCOUNT)
        if gap is not None and gap.date is not None:
            self._client._message_box.date = gap.date

    def close(self) -> None:
        """Ask for nothing any more."""
        for entry in list(self._gaps):
            self._forget(entry)
