"""messages: sending, reading and marking as read, in chats of two and in channels."""

from typing import Any, Final

import attrs
from telethon.tl import types

from adapters.sandbox import views
from adapters.sandbox.channels import Channel
from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.paging import EVERYTHING, Criteria, Window
from adapters.sandbox.services import peers
from adapters.sandbox.services.call import SLICE, Call, seconds
from adapters.sandbox.store import Account

LONGEST_TEXT: Final = 4096
NOBODY: Final = 0


def send_message(call: Call, request: Any) -> Any:
    peer = peers.peer(call, request.peer)
    if not request.message.strip():
        raise RpcRefusal(400, "MESSAGE_EMPTY")
    if len(request.message) > LONGEST_TEXT:
        raise RpcRefusal(400, "MESSAGE_TOO_LONG")
    if not request.random_id:
        raise RpcRefusal(400, "RANDOM_ID_EMPTY")
    if isinstance(peer, Channel):
        return _send_to_channel(call, peer, request)
    sent = call.store.send(call.me.id, peer.id, request.message, request.random_id)
    call.deliveries += [copy for copy in (sent.mine, sent.theirs) if copy is not None]
    mine = sent.mine
    return types.UpdateShortSentMessage(mine.id, mine.pts, 1, views.date(mine.date), out=True)


def _send_to_channel(call: Call, channel: Channel, request: Any) -> Any:
    """Members write in a megagroup, admins in a broadcast. All channels here are public, so whoever may not write
    can still read, and is told CHAT_WRITE_FORBIDDEN (CHANNEL_PRIVATE is for what only members may ask).
    """
    member = call.store.channels.member(channel, call.me.id)
    if member is None or not (channel.megagroup or member.admin):
        raise RpcRefusal(403, "CHAT_WRITE_FORBIDDEN")
    sent = call.store.channels.send(channel, call.me.id, request.message, request.random_id)
    call.deliveries.append(sent)
    pushed = views.new_channel_message(call.store, sent, channel, call.me.id)
    pushed.updates.insert(0, types.UpdateMessageID(sent.id, request.random_id))
    return pushed


def get_history(call: Call, request: Any) -> Any:
    peer = peers.peer(call, request.peer)
    window = Window(
        limit=min(request.limit, SLICE) if request.limit > 0 else SLICE,
        offset_id=request.offset_id,
        offset_date=seconds(request.offset_date),
        add_offset=request.add_offset,
        min_id=request.min_id,
        max_id=request.max_id,
    )
    return _channel_page(call, peer, window) if isinstance(peer, Channel) else _page(call, peer, window)


def search(call: Call, request: Any) -> Any:
    """What was written in a chat with a text, by somebody, in a time. In chats of two the author does not count, as
    in Telegram; and as there, a limit of 0 tells how many there are.
    """
    peer = peers.peer(call, request.peer)
    if not isinstance(request.filter, types.InputMessagesFilterEmpty):
        raise RpcRefusal(400, "FILTER_NOT_IN_SANDBOX")
    window = Window(
        limit=min(max(request.limit, 0), SLICE),
        offset_id=request.offset_id,
        add_offset=request.add_offset,
        min_id=request.min_id,
        max_id=request.max_id,
    )
    sought = Criteria(request.q, None, seconds(request.min_date), seconds(request.max_date))
    if not isinstance(peer, Channel):
        return _page(call, peer, window, sought)
    if request.from_id is not None:
        author = peers.peer(call, request.from_id)
        sought = attrs.evolve(sought, author=_author(call, peer, author))
    return _channel_page(call, peer, window, sought)


def _author(call: Call, channel: Channel, author: Account | Channel) -> int | None:
    """Whose messages are looked for; None is anybody. A broadcast does not tell who wrote, only what was one's own."""
    if channel.megagroup or author == call.me:
        return author.id
    return None if author.id == channel.id else NOBODY


def _page(call: Call, peer: Account, window: Window, sought: Criteria = EVERYTHING) -> Any:
    me = call.me.id
    page = call.store.history(me, peer.id, window, sought)
    count = call.store.count_history(me, peer.id, sought)
    messages = [views.message(m) for m in page]
    users = views.users_of(call.store, page, me)
    if len(page) == count:
        return types.messages.Messages(messages, [], [], users)
    return types.messages.MessagesSlice(count, messages, [], [], users)


def _channel_page(call: Call, channel: Channel, window: Window, sought: Criteria = EVERYTHING) -> Any:
    page = call.store.channels.history(channel, window, sought)
    count = call.store.channels.count_messages(channel, sought)
    return views.channel_messages(call.store, channel, call.me.id, [(m.id, m) for m in page], count)


def get_messages(call: Call, request: Any) -> Any:
    """Messages of chats of two by their ids; an id that is not there is answered with an empty message."""
    me = call.me.id
    found = [(name, call.store.message(me, number_of(name))) for name in request.id[:SLICE]]
    messages = [views.message(m) if m else types.MessageEmpty(number_of(name)) for name, m in found]
    users = views.users_of(call.store, [m for _, m in found if m], me)
    return types.messages.Messages(messages, [], [], users)


def number_of(name: Any) -> int:
    """The id that an InputMessage carries, or 0: the pinned message and answers are not in the sandbox."""
    return int(name.id) if isinstance(name, types.InputMessageID) else 0


def read_history(call: Call, request: Any) -> Any:
    peer = peers.peer(call, request.peer)
    if isinstance(peer, Channel):
        raise RpcRefusal(400, "PEER_ID_INVALID")  # as in Telegram: channels have a method of their own
    top = call.store.history(call.me.id, peer.id, Window(limit=1))
    newest = top[0].id if top else 0
    call.store.mark_read(call.me.id, peer.id, min(request.max_id, newest) if request.max_id else newest)
    return types.messages.AffectedMessages(call.store.pts(call.me.id), 0)
