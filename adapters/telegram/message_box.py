"""Telethon's count of updates, with a note of what each box has come to, and without what it leaves out.

Of a difference Telethon drops whatever is numbered in the box that the difference is of: edits, deletions and what was
read while the account was away. It takes them for handled, because it has just moved the box beyond them. Here they
follow the new messages.
"""

import time
from typing import Any, Final

from telethon._updates import MessageBox
from telethon._updates.messagebox import ENTRY_ACCOUNT, ENTRY_SECRET, LOG_LEVEL_TRACE, PtsInfo
from telethon.tl.types import UpdateChannelTooLong

from adapters.telegram.boxes import Advance, of_channel_difference, of_difference, of_update
from adapters.telegram.lean import AskedFor, ChannelNumbers
from states.ledger import HoleCause, Interval

MAX_AHEAD: Final = 100
"""Updates of one box that wait for an earlier one. Telethon goes through all of them again with each that comes."""

JUST_NOW: Final = 30.0
"""Seconds after its login in which an account without any channel's number has missed no news of channels."""


class NotedMessageBox(MessageBox):  # type: ignore[misc]  # Telethon ships no types
    """Telethon's count of updates, which would render its state for each line of a log that nobody reads.

    Many updates that are ahead of the count are fetched by a difference at once, and not waited for.
    """

    __slots__ = ("_asked_at", "_with_news", "advances", "begun", "own", "present", "unnumbered", "whole")

    def __init__(self, log: Any) -> None:
        super().__init__(log)
        self.advances: list[Advance] = []
        """What the boxes have come to since it was last taken, in order."""
        self._asked_at: dict[Any, float] = {}
        """When the difference of a box was asked for that is not answered yet (Unix seconds)."""
        self.own: list[Any] = []
        """Updates of what this client did itself, likewise: Telethon gives them to no handler."""
        self.begun: dict[int, int] = {}
        """Channels that are counted from now on, likewise, each with its number before anything of it was handled."""
        self.unnumbered: list[int] = []
        """Channels that have news and no number from which to ask for them, likewise: what came is lost."""
        self.present: dict[int, int] = {}
        """Their present numbers, if those are known. They go on there once what has arrived already is counted."""
        self.whole = False
        """Whether the account began at its present, or logged in just before, and its first difference is to come: no
        news of channels in it are missed."""
        self._with_news: set[int] = set()
        """Such channels of which it is not known yet where they go on."""

    def take(self) -> tuple[list[Any], list[Advance]]:
        """Return the own updates and the advances since the last call."""
        own, advances = self.own, self.advances
        self.own, self.advances = [], []
        return own, advances

    def load(self, session_state: Any, channel_states: Any) -> None:
        """Begin where a session is; if it does not say, Telethon calls this again with the account's present."""
        super().load(session_state, channel_states)
        self.whole |= self.is_empty() or (not channel_states and self.date.timestamp() >= time.time() - JUST_NOW)

    def take_begun(self) -> tuple[dict[int, int], list[int], dict[int, int]]:
        """Return ``begun``, ``unnumbered`` and ``present`` since the last call."""
        found = self.begun, self.unnumbered, self.present
        if self.begun or self.unnumbered or self.present:
            self.begun, self.unnumbered, self.present = {}, [], {}
        return found

    def lose(self, entry: int, after: int, upto: int, cause: HoleCause) -> None:
        """Note that a box goes on at another number, without what is in between; ``entry`` 0 is the account."""
        self.advances.append(Advance(entry, Interval(after, upto), lost=cause))

    def process_updates(self, updates: Any, chat_hashes: Any, result: Any) -> Any:
        """Count updates, and return the users and chats in them. Raises ``GapError``, as Telethon's."""
        found = super().process_updates(updates, chat_hashes, result)
        if self.possible_gaps:
            for entry in [entry for entry, gap in self.possible_gaps.items() if len(gap.updates) > MAX_AHEAD]:
                self.try_begin_get_diff(entry, "many updates are ahead")
        return found

    def _trace(self, msg: str, *args: Any, **kwargs: Any) -> None:
        if self._log.isEnabledFor(LOG_LEVEL_TRACE):
            super()._trace(msg, *args, **kwargs)

    def apply_pts_info(self, update: Any, *, reset_deadlines: Any) -> Any:
        """Count an update as Telethon does; return None for one that is not to be handled now."""
        if isinstance(update, ChannelNumbers):
            for channel, number in update.numbers.items():
                self._begin_quietly(channel, number)
            return None
        if isinstance(update, UpdateChannelTooLong) and update.channel_id not in self.map:
            self._note_news(update)
            return None
        boxes = len(self.map)
        applied = super().apply_pts_info(update, reset_deadlines=reset_deadlines)
        if len(self.map) > boxes and isinstance((info := PtsInfo.from_update(update)).entry, int):
            self._begin(info.entry, max(1, info.pts - (info.pts_count or 1)))  # with no count as Telethon, see there
        if applied is not None and (advance := of_update(applied)) is not None:
            self.advances.append(advance)
            if applied._self_outgoing:
                self.own.append(applied)
        return applied

    def _note_news(self, update: Any) -> None:
        """Note news of a channel that has no number, unless the engine itself asks for some."""
        channel = update.channel_id
        if isinstance(update, AskedFor) or self.whole:
            return
        if channel not in self._with_news:
            self.unnumbered.append(channel)
            self._with_news.add(channel)
        if update.pts:
            self.present[channel] = update.pts

    def _begin_quietly(self, channel: int, number: int) -> None:
        """Have a channel without a number go on from this one, which no update has brought."""
        if channel not in self.map:
            self.try_set_channel_state(channel, number)
            self._begin(channel, number)
            self.advances.append(Advance(channel, Interval(number, number)))

    def _begin(self, channel: int, number: int) -> None:
        self.begun[channel] = number
        if channel in self._with_news:
            self._with_news.remove(channel)
            self.lose(channel, number - 1, number, HoleCause.NO_NUMBER)  # that at least; nobody knows since when

    def apply_difference(self, diff: Any, chat_hashes: Any) -> Any:
        """Count the account's difference, and return all of it."""
        asked, at = self.map[ENTRY_ACCOUNT].pts, self._asked_at.pop(ENTRY_ACCOUNT, None)
        updates, users, chats = super().apply_difference(diff, chat_hashes)
        self.advances.append(of_difference(asked, diff, at))
        self.whole = False
        return self._with_dropped(updates, diff, (ENTRY_ACCOUNT, ENTRY_SECRET)), users, chats

    def apply_channel_difference(self, request: Any, diff: Any, chat_hashes: Any) -> Any:
        """Count a channel's difference, and return all of it."""
        channel = request.channel.channel_id
        at = self._asked_at.pop(channel, None)
        updates, users, chats = super().apply_channel_difference(request, diff, chat_hashes)
        self.advances.append(of_channel_difference(channel, request.pts, diff, at))
        return self._with_dropped(updates, diff, (channel,)), users, chats

    def get_difference(self) -> Any:
        """Return the next request for the account's difference."""
        if (request := super().get_difference()) is not None:
            self._asked_at[ENTRY_ACCOUNT] = time.time()
        return request

    def get_channel_difference(self, chat_hashes: Any) -> Any:
        """Return the next request for a channel's difference; note a channel that Telethon cannot ask and gives up."""
        before = {entry: self.map[entry].pts for entry in self.getting_diff_for if entry in self.map}
        request = super().get_channel_difference(chat_hashes)
        for entry in before.keys() - self.map.keys():
            self.lose(entry, before[entry], before[entry], HoleCause.NO_ADDRESS)
        if request is not None:
            self._asked_at[request.channel.channel_id] = time.time()
        return request

    def end_channel_difference(self, request: Any, reason: Any, chat_hashes: Any) -> None:
        """Give a channel's difference up; note a channel that the account cannot read any more."""
        channel = request.channel.channel_id
        self._asked_at.pop(channel, None)
        super().end_channel_difference(request, reason, chat_hashes)
        if channel not in self.map:
            self.lose(channel, request.pts, request.pts, HoleCause.NOT_SUBSCRIBED)

    @staticmethod
    def _with_dropped(updates: list[Any], diff: Any, entries: tuple[Any, ...]) -> list[Any]:
        """Return the updates of a difference together with those that Telethon has left out."""
        kept = set(map(id, updates))
        dropped = []
        for update in getattr(diff, "other_updates", None) or ():
            if id(update) not in kept and (info := PtsInfo.from_update(update)) and info.entry in entries:
                dropped.append(update)
        return [*updates, *dropped]
