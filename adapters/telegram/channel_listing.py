"""Numbers of channels that nothing was heard of yet, from the list of the account's chats.

Telegram says after an outage which channels have news, and sends them from the number (pts) that the client has. A
channel in which nothing came while the engine ran has none, so its first news would be lost. ``messages.getDialogs``
says the numbers: once for each login and run of the engine, a page at a proof, never while a flood wait holds it, and
not for bots, which may not ask. Nothing waits for it.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from attrs import define, field
from telethon import errors, utils
from telethon.tl import types
from telethon.tl.functions.messages import GetDialogsRequest
from telethon.tl.types import messages

from adapters.log_events import event_logger
from adapters.telegram.cancellation import begin_request
from adapters.telegram.classify import classify
from adapters.telegram.lean import number_channels
from states.events import Event, FloodWait

EVERY: Final = 55.0
"""The least seconds between two pages. Proofs, which they go with, are 60 s apart."""
PAGE: Final = 100
"""Chats in a page; Telegram sends no more."""
MAX_PAGES: Final = 10
"""Pages that are asked for; a channel further down has a number from its first update on."""
TIMEOUT: Final = 15.0
"""Seconds that a page may take."""

log = event_logger("holdfast.handlers")


@define(eq=False)
class ListingMemory:
    """How far the chats of one account were listed, beyond a link."""

    login: str = ""
    """The fingerprint of the login whose chats these are."""
    pages: int = 0
    is_over: bool = False
    asked_at: float = float("-inf")
    """By the loop's clock."""
    offset: tuple[Any, int, Any] = (None, 0, types.InputPeerEmpty())
    """Date and number of the last message of the last page, and the last chat."""

    def begin(self, login: str) -> None:
        """Forget all but when a page was asked for: another login has other chats."""
        self.login, self.pages, self.is_over, self.offset = login, 0, False, (None, 0, types.InputPeerEmpty())


@define(eq=False)
class ChannelListing:
    """The list of chats that one link's client asks for. It has no task."""

    client: Any
    number: int
    account: str
    memory: ListingMemory
    report: Callable[[Event], None]
    send: Callable[[Any], Any]
    is_held: Callable[[str], bool]
    _give_up: Callable[[], None] | None = field(default=None, init=False)

    def ask(self) -> None:
        """Ask for the next page, if there is one and it is time for it."""
        now, login = asyncio.get_running_loop().time(), self.client.session.login
        if self.memory.login != login:
            self.memory.begin(login)
        memory = self.memory
        if memory.is_over or self._give_up is not None or now < memory.asked_at + EVERY:
            return
        if self.client._mb_entity_cache.self_bot or self.is_held("GetDialogs"):
            return
        memory.asked_at = now
        date, message, peer = memory.offset
        request = GetDialogsRequest(date, message, peer, PAGE, 0, exclude_pinned=memory.pages > 0)
        self._give_up = begin_request(partial(self.send, request), TIMEOUT, self._take)

    def close(self) -> None:
        """Forget the request that is under way."""
        if self._give_up is not None:
            self._give_up()
            self._give_up = None

    def _take(self, answer: Callable[[], Any]) -> None:
        """Begin the channels of a page. Without an answer it is asked for again; a refusal is the last word."""
        self._give_up = None
        try:
            found = answer()
        except Exception as exc:
            if isinstance(event := classify(exc, link=self.number, what="request"), FloodWait):
                self.report(event)
            elif isinstance(exc, errors.RPCError):
                self.memory.is_over = True
            return
        self.memory.pages += 1
        if isinstance(found, messages.Dialogs | messages.DialogsSlice):
            self._begin(found)
        offset = offset_after(found) if isinstance(found, messages.DialogsSlice) else None
        self.memory.is_over = offset is None or offset == self.memory.offset or self.memory.pages >= MAX_PAGES
        self.memory.offset = offset or self.memory.offset

    def _begin(self, found: Any) -> None:
        known = self.client._message_box.map
        numbers = {channel: pts for channel, pts in numbers_in(found).items() if channel not in known}
        if numbers:
            begin_channels(self.client, numbers, found.chats)
            log.info("channels_begun", account=self.account, count=len(numbers))


def numbers_in(found: Any) -> dict[int, int]:
    """Return the numbers of the channels in a list of chats, but for those that the account has left."""
    left = {chat.id for chat in found.chats if getattr(chat, "left", False)}
    return {
        dialog.peer.channel_id: dialog.pts
        for dialog in found.dialogs
        if isinstance(dialog.peer, types.PeerChannel)
        and getattr(dialog, "pts", None)
        and dialog.peer.channel_id not in left
    }


def begin_channels(client: Any, numbers: dict[int, int], chats: Iterable[Any]) -> None:
    """Have a client go on from these numbers in channels of which it has none, once it has counted what has arrived.

    Their access hashes are needed to ask for what comes after the numbers.
    """
    client._updates_queue.put_nowait(number_channels(numbers, [chat for chat in chats if chat.id in numbers]))


def offset_after(found: Any) -> tuple[Any, int, Any] | None:
    """Return where the next page begins, as Telethon's ``iter_dialogs`` has it; None if there is no next page."""
    if not found.dialogs:
        return None
    tops = {(utils.get_peer_id(each.peer_id), each.id): each for each in found.messages if each.peer_id is not None}
    shown = ((utils.get_peer_id(each.peer), each.top_message) for each in reversed(found.dialogs))
    last = next((tops[each] for each in shown if each in tops), None)
    names = {utils.get_peer_id(each): each for each in (*found.users, *found.chats)}
    try:
        peer = utils.get_input_peer(names.get(utils.get_peer_id(found.dialogs[-1].peer)))
    except TypeError:  # of a chat that the account cannot address
        return None
    return (getattr(last, "date", None), last.id if last is not None else 0, peer)
