"""What updates and differences change in one chat. Pure."""

from collections.abc import Iterable
from typing import Any, Final

from attrs import define, field, frozen
from telethon import utils
from telethon.tl import types
from telethon.tl.types import updates

from adapters.sqlite.messages import Deletion, Stored
from adapters.telegram.boxes import ACCOUNT
from adapters.telegram.stored_messages import SHORT, to_stored, whole_message

NEW: Final = (types.UpdateNewMessage, types.UpdateNewChannelMessage)
EDITED: Final = (types.UpdateEditMessage, types.UpdateEditChannelMessage)


@frozen
class Box:
    """A chat, and the box in which its events are numbered."""

    number: int
    """The channel's id, or 0 for the account's own box."""
    chat: int
    owner: str
    """Empty where all members see a message under one number; else the account."""

    @property
    def channel(self) -> bool:
        """Whether it is a channel's own box."""
        return self.number != ACCOUNT

    @classmethod
    def of(cls, peer: Any, chat: int, account: str) -> "Box":
        """Return the box of an input peer."""
        if isinstance(peer, types.InputPeerChannel | types.InputPeerChannelFromMessage):
            return cls(int(peer.channel_id), chat, "")
        return cls(ACCOUNT, chat, account)


@define
class ChatChanges:
    """What is to be stored."""

    stored: list[Stored] = field(factory=list)
    new: int = 0
    """How many new messages are among it."""
    last: int = 0
    """The number of the last one; 0 if there is none."""
    at: float | None = None
    """When it was sent, in Unix seconds."""


def changes_in(content: Any, box: Box, *, me: int | None, now: float, raw: bool) -> ChatChanges:
    """Return what an update or a difference changes in the chat of this box, at ``now`` (Unix seconds)."""
    found = ChatChanges()
    if isinstance(content, updates.Difference | updates.DifferenceSlice | updates.ChannelDifference):
        state = getattr(content, "intermediate_state", None) or getattr(content, "state", content)
        for message in content.new_messages:
            _add(found, message, box, state.pts, raw=raw, new=True)
        _add_updates(found, content.other_updates, box, me=me, now=now, raw=raw)
    else:
        _add_updates(found, (content,), box, me=me, now=now, raw=raw)
    return found


def _add_updates(found: ChatChanges, among: Iterable[Any], box: Box, *, me: int | None, now: float, raw: bool) -> None:
    for update in among:
        if isinstance(update, SHORT):
            _add(found, whole_message(update, me), box, update.pts, raw=raw, new=True)
        elif isinstance(update, NEW + EDITED):
            _add(found, update.message, box, update.pts, raw=raw, new=isinstance(update, NEW))
        elif isinstance(update, types.UpdateDeleteChannelMessages):
            if box.number == update.channel_id:
                found.stored += [Deletion(chat=box.chat, id=id_, at=now) for id_ in update.messages]
        elif isinstance(update, types.UpdateDeleteMessages) and not box.channel:
            # It does not say in which chat: the numbers are the account's, and only those of this chat are stored here.
            found.stored += [Deletion(chat=box.chat, id=id_, at=now, owner=box.owner) for id_ in update.messages]


def _add(found: ChatChanges, message: Any, box: Box, version: int, *, raw: bool, new: bool) -> None:
    peer = getattr(message, "peer_id", None)
    if isinstance(message, types.MessageEmpty) or peer is None or utils.get_peer_id(peer) != box.chat:
        return
    stored = to_stored(message, box.chat, box.owner, version, raw=raw)
    found.stored.append(stored)
    if new:
        found.new += 1
        found.last, found.at = max(found.last, stored.id), stored.at
