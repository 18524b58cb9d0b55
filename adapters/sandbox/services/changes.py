"""messages and channels: editing and deleting. Every edit and deletion is an event with a pts of its own."""

from typing import Any

from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services import peers, views
from adapters.sandbox.services.context import MAX_SLICE, RequestContext
from adapters.sandbox.services.messages import MAX_TEXT
from adapters.sandbox.store.channels import Channel


def edit_message(context: RequestContext, request: Any) -> Any:
    """Edit a message of one's own; in a broadcast any admin may."""
    peer = peers.peer(context, request.peer)
    text = request.message or ""
    if not text.strip():
        raise RpcRefusal(400, "MESSAGE_EMPTY")
    if len(text) > MAX_TEXT:
        raise RpcRefusal(400, "MESSAGE_TOO_LONG")
    store, me = context.store, context.me.id
    if isinstance(peer, Channel):
        if not _may_change(context, peer, request.id, edit=True):
            raise RpcRefusal(403, "MESSAGE_AUTHOR_REQUIRED")
        event = store.channels.edit(peer, request.id, text)
        context.deliveries.append(event)
        return views.channel_event(store, event, peer, me)
    message = store.message(me, request.id)
    if message is not None and message.peer != peer.id:
        raise RpcRefusal(400, "MESSAGE_ID_INVALID")
    if message is not None and not message.out:
        raise RpcRefusal(403, "MESSAGE_AUTHOR_REQUIRED")
    made = store.edit(me, request.id, text)
    context.deliveries += made
    return views.account_event(store, made[0])


def delete_messages(context: RequestContext, request: Any) -> Any:
    """Delete messages of private chats, with ``revoke`` for the other side too; unknown ids are passed over."""
    made = context.store.delete(context.me.id, request.id[:MAX_SLICE], revoke=bool(request.revoke))
    context.deliveries += made
    mine = next((event for event in made if event.box == context.me.id), None)
    if mine is None:
        return types.messages.AffectedMessages(context.store.pts(context.me.id), 0)
    return types.messages.AffectedMessages(mine.pts, mine.pts_count)


def delete_channel_messages(context: RequestContext, request: Any) -> Any:
    """Delete messages of a channel: one's own, or as an admin any."""
    channel = peers.channel(context, request.channel)
    ids = request.id[:MAX_SLICE]
    store = context.store
    if not all(_may_change(context, channel, id_, edit=False) for id_ in ids if store.channels.message(channel, id_)):
        raise RpcRefusal(403, "MESSAGE_DELETE_FORBIDDEN")
    event = store.channels.delete(channel, ids)
    if event is None:
        return types.messages.AffectedMessages(channel.pts, 0)
    context.deliveries.append(event)
    return types.messages.AffectedMessages(event.pts, event.pts_count)


def _may_change(context: RequestContext, channel: Channel, id_: int, *, edit: bool) -> bool:
    member = context.store.channels.member(channel, context.me.id)
    if member is None:
        return False
    message = context.store.channels.message(channel, id_)
    author = message is not None and message.sender == context.me.id
    return (member.admin and not (edit and channel.megagroup)) or author
