"""messages.getDialogs: the list of chats, the one with the newest message first."""

from typing import Any, Final

import attrs
from telethon.tl import types

from adapters.sandbox import views
from adapters.sandbox.channels import Channel, ChannelMessage, Member
from adapters.sandbox.services.call import SLICE, Call, seconds
from adapters.sandbox.store import Message

ARCHIVE: Final = 1
"""The id of the folder, which is always empty here."""


@attrs.frozen
class Private:
    """A chat of two."""

    top: Message

    @property
    def peer(self) -> int:
        return self.top.peer

    @property
    def place(self) -> tuple[int, int, int]:
        return self.top.date, self.top.id, self.peer


@attrs.frozen
class Joined:
    """A channel that the account is in; an empty one stands where it was joined."""

    channel: Channel
    member: Member
    top: ChannelMessage | None

    @property
    def peer(self) -> int:
        return self.channel.id

    @property
    def place(self) -> tuple[int, int, int]:
        return (self.top.date, self.top.id, self.peer) if self.top else (self.member.date, 0, self.peer)


Chat = Private | Joined


def get_dialogs(call: Call, request: Any) -> Any:
    chats = [] if request.folder_id == ARCHIVE else _chats(call)
    rest = _below(chats, request, call.me.id)
    page = rest[: min(max(request.limit, 1), SLICE)]
    store, me = call.store, call.me.id
    private = [chat for chat in page if isinstance(chat, Private)]
    joined = [chat for chat in page if isinstance(chat, Joined)]
    written = [chat.top for chat in joined if chat.top]
    users = {
        u.id: u for u in views.users_of(store, [c.top for c in private], me) + views.senders_of(store, written, me)
    }
    answer = (
        [_dialog(call, chat) for chat in page],
        [_top(chat, me) for chat in page if chat.top],
        [views.channel(store, chat.channel, me) for chat in joined],
        list(users.values()),
    )
    if len(page) == len(chats):
        return types.messages.Dialogs(*answer)
    return types.messages.DialogsSlice(len(chats), *answer)


def _chats(call: Call) -> list[Chat]:
    """All chats of the account, the newest first."""
    store, me = call.store, call.me.id
    chats: list[Chat] = [Private(top) for top in store.tops(me)]
    for channel in store.channels.of(me):
        member = store.channels.member(channel, me)
        assert member is not None
        chats.append(Joined(channel, member, store.channels.top(channel)))
    return sorted(chats, key=lambda chat: chat.place, reverse=True)


def _below(chats: list[Chat], request: Any, me: int) -> list[Chat]:
    """The chats below the offset: date and message of the last chat that the client has, and its peer.

    A client takes date and message from the last chat that has a message, which may stand above the peer; and
    the peer may have risen since. Whichever is lower is the place to go on from: chats may then be told twice,
    but none is left out.
    """
    peer = _peer_id(request.offset_peer, me)
    places = [chat.place for chat in chats if chat.peer == peer]
    if date := seconds(request.offset_date):
        places.append((date, request.offset_id, peer))
    return [chat for chat in chats if chat.place < min(places)] if places else chats


def _peer_id(peer: Any, me: int) -> int:
    match peer:
        case types.InputPeerUser():
            return int(peer.user_id)
        case types.InputPeerChannel():
            return int(peer.channel_id)
        case types.InputPeerSelf():
            return me
    return 0


def _dialog(call: Call, chat: Chat) -> Any:
    store, me = call.store, call.me.id
    if isinstance(chat, Joined):
        return views.channel_dialog(chat.channel, chat.member, store.channels.unread(chat.member))
    return views.dialog(chat.top, store.read_up_to(me, chat.peer), store.unread(me, chat.peer))


def _top(chat: Chat, me: int) -> Any:
    if isinstance(chat, Private):
        return views.message(chat.top)
    assert chat.top is not None
    return views.channel_message(chat.top, chat.channel, me)
