"""The list of chats, the one with the newest message first (messages.getDialogs), and chats by their peers."""

from typing import Any, Final

from attrs import frozen
from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services import peers, views
from adapters.sandbox.services.context import MAX_SLICE, RequestContext, seconds
from adapters.sandbox.store.channels import Channel, ChannelMessage, Member
from adapters.sandbox.store.database import PrivateMessage

ARCHIVE: Final = 1
"""The id of the archive folder, which is always empty here."""


@frozen
class PrivateChat:
    """A private chat of two accounts."""

    top: PrivateMessage

    @property
    def peer(self) -> int:
        return self.top.peer

    @property
    def sort_key(self) -> tuple[int, int, int]:
        return self.top.date, self.top.id, self.peer


@frozen
class ChannelChat:
    """A channel that the account is in; an empty one is sorted by the date of joining."""

    channel: Channel
    member: Member
    top: ChannelMessage | None

    @property
    def peer(self) -> int:
        return self.channel.id

    @property
    def sort_key(self) -> tuple[int, int, int]:
        return (self.top.date, self.top.id, self.peer) if self.top else (self.member.date, 0, self.peer)


Chat = PrivateChat | ChannelChat


def get_dialogs(context: RequestContext, request: Any) -> Any:
    chats = [] if request.folder_id == ARCHIVE else _chats(context)
    rest = _below(chats, request, context.me.id)
    page = rest[: min(max(request.limit, 1), MAX_SLICE)]
    store, me = context.store, context.me.id
    private = [chat for chat in page if isinstance(chat, PrivateChat)]
    joined = [chat for chat in page if isinstance(chat, ChannelChat)]
    written = [chat.top for chat in joined if chat.top]
    users = {
        u.id: u for u in views.users_of(store, [c.top for c in private], me) + views.senders_of(store, written, me)
    }
    answer = (
        [_dialog(context, chat) for chat in page],
        [_top(chat, me) for chat in page if chat.top],
        [views.channel(store, chat.channel, me) for chat in joined],
        list(users.values()),
    )
    if len(page) == len(chats):
        return types.messages.Dialogs(*answer)
    return types.messages.DialogsSlice(len(chats), *answer)


def get_peer_dialogs(context: RequestContext, request: Any) -> Any:
    """Return the chats with these peers, with the numbers of channels, and the account's state.

    A channel that the account is not in is refused, and so are all that were asked for together with it.
    """
    if not request.peers:
        raise RpcRefusal(400, "INPUT_PEERS_EMPTY")
    if len(request.peers) > MAX_SLICE:
        raise RpcRefusal(400, "PEERS_LIST_TOO_LONG")
    store, me = context.store, context.me.id
    tops = {chat.peer: chat for chat in map(PrivateChat, store.chat_tops(me))}
    chats: list[Chat] = []
    for name in request.peers:
        found = peers.peer(context, getattr(name, "peer", None))
        if isinstance(found, Channel):
            chats.append(ChannelChat(found, peers.member(context, found), store.channels.top(found)))
        elif found.id in tops:
            chats.append(tops[found.id])
    joined = [chat for chat in chats if isinstance(chat, ChannelChat)]
    users = views.users_of(store, [chat.top for chat in chats if isinstance(chat, PrivateChat)], me)
    senders = views.senders_of(store, [chat.top for chat in joined if chat.top], me)
    return types.messages.PeerDialogs(
        [_dialog(context, chat) for chat in chats],
        [_top(chat, me) for chat in chats if chat.top],
        [views.channel(store, chat.channel, me) for chat in joined],
        list({user.id: user for user in users + senders}.values()),
        views.state(store.pts(me), context.now()),
    )


def _chats(context: RequestContext) -> list[Chat]:
    """Return all chats of the account, the newest first."""
    store, me = context.store, context.me.id
    chats: list[Chat] = [PrivateChat(top) for top in store.chat_tops(me)]
    for channel in store.channels.of(me):
        member = store.channels.member(channel, me)
        assert member is not None
        chats.append(ChannelChat(channel, member, store.channels.top(channel)))
    return sorted(chats, key=lambda chat: chat.sort_key, reverse=True)


def _below(chats: list[Chat], request: Any, me: int) -> list[Chat]:
    """Return the chats below the offset: date and message of the last chat that the client has, and its peer.

    A client takes date and message from the last chat that has a message, which may stand above the peer; and the peer
    may have risen since. The lower of the two is where to go on: a chat may then be sent twice, but none is left out.
    """
    peer = _peer_id(request.offset_peer, me)
    bounds = [chat.sort_key for chat in chats if chat.peer == peer]
    if date := seconds(request.offset_date):
        bounds.append((date, request.offset_id, peer))
    return [chat for chat in chats if chat.sort_key < min(bounds)] if bounds else chats


def _peer_id(peer: Any, me: int) -> int:
    match peer:
        case types.InputPeerUser():
            return int(peer.user_id)
        case types.InputPeerChannel():
            return int(peer.channel_id)
        case types.InputPeerSelf():
            return me
    return 0


def _dialog(context: RequestContext, chat: Chat) -> Any:
    store, me = context.store, context.me.id
    if isinstance(chat, ChannelChat):
        return views.channel_dialog(chat.channel, chat.member, store.channels.unread(chat.member))
    return views.dialog(chat.top, store.read_up_to(me, chat.peer), store.unread(me, chat.peer))


def _top(chat: Chat, me: int) -> Any:
    if isinstance(chat, PrivateChat):
        return views.message(chat.top)
    assert chat.top is not None
    return views.channel_message(chat.top, chat.channel, me)
