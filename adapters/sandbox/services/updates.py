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
from adapters.sandbox.store.events import EventKind


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
    missed = context.store.missed(me, known, max(limit, 1))
    channels = context.store.channels.news(me, seconds(request.date))
    if missed.reached is None and not channels:
        return types.updates.DifferenceEmpty(context.now(), views.SEQ)
    others = [update for event in missed.events if (update := views.account_update(context.store, event))]
    changed = [context.store.message(me, event.ids[0]) for event in missed.events if event.kind is EventKind.EDIT]
    users = views.users_of(context.store, [*missed.messages, *(m for m in changed if m)], me)
    chats = [views.channel(context.store, channel, me) for channel in channels]
    news = [types.UpdateChannelTooLong(channel.id, channel.pts) for channel in channels]
    messages = [views.message(m) for m in missed.messages]
    state = views.state(missed.reached or pts, context.now())
    kind = types.updates.Difference if state.pts == pts else types.updates.DifferenceSlice
    return kind(messages, [], others + news, chats, users, state)


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
    missed = store.channels.missed(channel, request.pts, limit)
    reached = missed.reached
    assert reached is not None, "every number of a channel's pts belongs to an event"
    messages = [views.channel_message(m, channel, me) for m in missed.messages]
    others = [update for event in missed.events if (update := views.channel_update(store, event, channel, me))]
    changed = [store.channels.message(channel, event.ids[0]) for event in missed.events if event.kind is EventKind.EDIT]
    users = views.senders_of(store, [*missed.messages, *(m for m in changed if m)], me)
    return types.updates.ChannelDifference(reached, messages, others, chats, users, final=reached == channel.pts)
