"""messages: sending, reading and marking as read, in private chats and in channels."""

from typing import Any, Final

from attrs import evolve
from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services import peers, views
from adapters.sandbox.services.context import MAX_SLICE, RequestContext, seconds
from adapters.sandbox.store.channels import Channel
from adapters.sandbox.store.database import StoredAccount
from adapters.sandbox.store.paging import ALL_MESSAGES, HistoryWindow, SearchCriteria

MAX_TEXT: Final = 4096
NO_AUTHOR: Final = 0


def send_message(context: RequestContext, request: Any) -> Any:
    peer = peers.peer(context, request.peer)
    if not request.message.strip():
        raise RpcRefusal(400, "MESSAGE_EMPTY")
    if len(request.message) > MAX_TEXT:
        raise RpcRefusal(400, "MESSAGE_TOO_LONG")
    if not request.random_id:
        raise RpcRefusal(400, "RANDOM_ID_EMPTY")
    if isinstance(peer, Channel):
        return _send_to_channel(context, peer, request)
    answered = _answered(request.reply_to)
    sent = context.store.send(context.me.id, peer.id, request.message, request.random_id, answered)
    context.deliveries += sent.copies
    mine = sent.mine
    return types.UpdateShortSentMessage(mine.id, mine.pts, 1, views.date(mine.date), out=True)


def _send_to_channel(context: RequestContext, channel: Channel, request: Any) -> Any:
    """Send as a member of a megagroup or an admin of a broadcast.

    All channels here are public, so an account that may not write can still read, and the error is CHAT_WRITE_FORBIDDEN
    (CHANNEL_PRIVATE is for what only members may ask).
    """
    member = context.store.channels.member(channel, context.me.id)
    if member is None or not (channel.megagroup or member.admin):
        raise RpcRefusal(403, "CHAT_WRITE_FORBIDDEN")
    answered = _answered(request.reply_to)
    sent = context.store.channels.send(channel, context.me.id, request.message, request.random_id, answered)
    context.deliveries.append(sent)
    pushed = views.new_channel_message(context.store, sent, channel, context.me.id)
    pushed.updates.insert(0, types.UpdateMessageID(sent.id, request.random_id))
    return pushed


def _answered(reply_to: Any) -> int | None:
    """Return the message that a new one answers."""
    return int(reply_to.reply_to_msg_id) if isinstance(reply_to, types.InputReplyToMessage) else None


def get_history(context: RequestContext, request: Any) -> Any:
    peer = peers.peer(context, request.peer)
    window = HistoryWindow(
        limit=min(request.limit, MAX_SLICE) if request.limit > 0 else MAX_SLICE,
        offset_id=request.offset_id,
        offset_date=seconds(request.offset_date),
        add_offset=request.add_offset,
        min_id=request.min_id,
        max_id=request.max_id,
    )
    return _channel_page(context, peer, window) if isinstance(peer, Channel) else _page(context, peer, window)


def search(context: RequestContext, request: Any) -> Any:
    """Return the messages of a chat with a text, by an author, in a span of time.

    As in Telegram, the author does not count in private chats, and a limit of 0 asks only for the number of matches.
    """
    peer = peers.peer(context, request.peer)
    if not isinstance(request.filter, types.InputMessagesFilterEmpty):
        raise RpcRefusal(400, "FILTER_NOT_IN_SANDBOX")
    window = HistoryWindow(
        limit=min(max(request.limit, 0), MAX_SLICE),
        offset_id=request.offset_id,
        add_offset=request.add_offset,
        min_id=request.min_id,
        max_id=request.max_id,
    )
    criteria = SearchCriteria(request.q, None, seconds(request.min_date), seconds(request.max_date))
    if not isinstance(peer, Channel):
        return _page(context, peer, window, criteria)
    if request.from_id is not None:
        author = peers.peer(context, request.from_id)
        criteria = evolve(criteria, author=_author(context, peer, author))
    return _channel_page(context, peer, window, criteria)


def _author(context: RequestContext, channel: Channel, author: StoredAccount | Channel) -> int | None:
    """Return whose messages are looked for; None is any author. A broadcast reveals only the caller's own messages."""
    if channel.megagroup or author == context.me:
        return author.id
    return None if author.id == channel.id else NO_AUTHOR


def _page(
    context: RequestContext, peer: StoredAccount, window: HistoryWindow, criteria: SearchCriteria = ALL_MESSAGES
) -> Any:
    me = context.me.id
    page = context.store.history(me, peer.id, window, criteria)
    count = context.store.count_history(me, peer.id, criteria)
    messages = [views.message(m) for m in page]
    users = views.users_of(context.store, page, me)
    if len(page) == count:
        return types.messages.Messages(messages, [], [], users)
    return types.messages.MessagesSlice(count, messages, [], [], users)


def _channel_page(
    context: RequestContext, channel: Channel, window: HistoryWindow, criteria: SearchCriteria = ALL_MESSAGES
) -> Any:
    page = context.store.channels.history(channel, window, criteria)
    count = context.store.channels.count_messages(channel, criteria)
    return views.channel_messages(context.store, channel, context.me.id, [(m.id, m) for m in page], count)


def get_messages(context: RequestContext, request: Any) -> Any:
    """Return messages of private chats by their ids; an unknown id is answered with an empty message."""
    me = context.me.id
    found = [(name, context.store.message(me, number_of(name))) for name in request.id[:MAX_SLICE]]
    messages = [views.message(m) if m else types.MessageEmpty(number_of(name)) for name, m in found]
    users = views.users_of(context.store, [m for _, m in found if m], me)
    return types.messages.Messages(messages, [], [], users)


def number_of(name: Any) -> int:
    """Return the id that an InputMessage carries, or 0: the sandbox has no pinned messages and finds no answers."""
    return int(name.id) if isinstance(name, types.InputMessageID) else 0


def read_history(context: RequestContext, request: Any) -> Any:
    peer = peers.peer(context, request.peer)
    if isinstance(peer, Channel):
        raise RpcRefusal(400, "PEER_ID_INVALID")  # as in Telegram: channels have a method of their own
    top = context.store.history(context.me.id, peer.id, HistoryWindow(limit=1))
    newest = top[0].id if top else 0
    context.store.mark_read(context.me.id, peer.id, min(request.max_id, newest) if request.max_id else newest)
    return types.messages.AffectedMessages(context.store.pts(context.me.id), 0)
