"""updates: the state of an account and of its channels, and what a client missed.

The account and each channel are numbered apart (pts). A client that comes back asks for the account's difference; that
names the account's channels with news since the client's date, and the client then asks for their differences. Source:
https://core.telegram.org/api/updates#fetching-difference
"""

from typing import Any

from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services import peers, views
from adapters.sandbox.services.context import MAX_SLICE, RequestContext, seconds


def get_state(context: RequestContext, _: Any) -> Any:
    return views.state(context.store.pts(context.me.id), context.now())


def get_difference(context: RequestContext, request: Any) -> Any:
    """Return what the client missed.

    A client that is ahead (its datacenter lost its memory) gets our number: the answer 'nothing new' would make it
    ignore every message until we catch up.
    """
    me = context.me.id
    pts = context.store.pts(me)
    known = max(request.pts, 0)
    if known > pts or pts - known > context.shared.max_missed:
        return types.updates.DifferenceTooLong(pts)
    limit = min(MAX_SLICE, request.pts_total_limit or MAX_SLICE, request.pts_limit or MAX_SLICE)
    missed = context.store.messages_since(me, known, max(limit, 1))
    channels = context.store.channels.news(me, seconds(request.date))
    if not missed and not channels:
        return types.updates.DifferenceEmpty(context.now(), views.SEQ)
    users = views.users_of(context.store, missed, me)
    chats = [views.channel(context.store, channel, me) for channel in channels]
    news = [types.UpdateChannelTooLong(channel.id, channel.pts) for channel in channels]
    messages = [views.message(m) for m in missed]
    state = views.state(missed[-1].pts if missed else pts, context.now())
    kind = types.updates.Difference if state.pts == pts else types.updates.DifferenceSlice
    return kind(messages, [], news, chats, users, state)


def get_channel_difference(context: RequestContext, request: Any) -> Any:
    """Return what a member missed in one channel. A client that is ahead gets our number, as in ``get_difference``."""
    channel = peers.channel(context, request.channel)
    member = peers.member(context, channel)
    if request.pts <= 0:
        raise RpcRefusal(400, "PERSISTENT_TIMESTAMP_EMPTY")
    store, me = context.store, context.me.id
    chats = [views.channel(store, channel, me)]
    limit = min(max(request.limit, 1), MAX_SLICE)
    if request.pts >= channel.pts:
        return types.updates.ChannelDifferenceEmpty(channel.pts, final=True)
    if channel.pts - request.pts > context.shared.max_missed_in_channel:
        top = store.channels.top(channel)
        shown = [top] if top else []
        dialog = views.channel_dialog(channel, member, store.channels.unread(member))
        messages = [views.channel_message(m, channel, me) for m in shown]
        return types.updates.ChannelDifferenceTooLong(
            dialog, messages, chats, views.senders_of(store, shown, me), final=True
        )
    missed = store.channels.messages_since(channel, request.pts, limit)
    reached = missed[-1].pts
    messages = [views.channel_message(m, channel, me) for m in missed]
    users = views.senders_of(store, missed, me)
    return types.updates.ChannelDifference(reached, messages, [], chats, users, final=reached == channel.pts)
