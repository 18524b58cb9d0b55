"""channels: joining, leaving, and what can be asked about one. Every channel of the sandbox is public."""

from typing import Any, Final

from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services import peers, views
from adapters.sandbox.services.context import MAX_SLICE, RequestContext
from adapters.sandbox.services.messages import number_of
from adapters.sandbox.store.channels import Channel, Member
from adapters.sandbox.store.database import StoredAccount

MAX_PARTICIPANTS: Final = 200


def join_channel(context: RequestContext, request: Any) -> Any:
    channel = peers.channel(context, request.channel)
    context.store.channels.join(channel, context.me.id)
    return _changed(context, channel)


def leave_channel(context: RequestContext, request: Any) -> Any:
    channel = peers.channel(context, request.channel)
    if context.store.channels.member(channel, context.me.id) is None:
        raise RpcRefusal(400, "USER_NOT_PARTICIPANT")
    context.store.channels.leave(channel, context.me.id)
    return _changed(context, channel)


def _changed(context: RequestContext, channel: Channel) -> Any:
    chats = [views.channel(context.store, channel, context.me.id)]
    return types.Updates([types.UpdateChannel(channel.id)], [], chats, context.now(), 0)


def get_channels(context: RequestContext, request: Any) -> Any:
    found = [peers.channel(context, name) for name in request.id[:MAX_SLICE]]
    return types.messages.Chats([views.channel(context.store, channel, context.me.id) for channel in found])


def get_full_channel(context: RequestContext, request: Any) -> Any:
    channel = peers.channel(context, request.channel)
    full = views.full_channel(context.store, channel, context.me.id)
    return types.messages.ChatFull(full, [views.channel(context.store, channel, context.me.id)], [])


def get_messages(context: RequestContext, request: Any) -> Any:
    """Return messages of a channel by their ids; an unknown id is answered with an empty message."""
    channel = peers.channel(context, request.channel)
    ids = [number_of(name) for name in request.id[:MAX_SLICE]]
    found = [(id_, context.store.channels.message(channel, id_)) for id_ in ids]
    return views.channel_messages(context.store, channel, context.me.id, found, len(found))


def read_history(context: RequestContext, request: Any) -> Any:
    channel = peers.channel(context, request.channel)
    member = peers.member(context, channel)
    newest = channel.last_message
    context.store.channels.mark_read(member, min(request.max_id, newest) if request.max_id else newest)
    return True


def get_participants(context: RequestContext, request: Any) -> Any:
    """Return the members: all, the admins, or those with a text in their names. In a broadcast only admins may ask."""
    channel = peers.channel(context, request.channel)
    mine = context.store.channels.member(channel, context.me.id)
    if not channel.megagroup and not (mine and mine.admin):
        raise RpcRefusal(400, "CHAT_ADMIN_REQUIRED")
    members = [(member, _account(context, member)) for member in context.store.channels.members(channel.id)]
    found = [(member, account) for member, account in members if _matches(request.filter, member, account)]
    start = max(request.offset, 0)
    page = found[start : start + min(max(request.limit, 0), MAX_PARTICIPANTS)]
    participants = [views.participant(member, context.me.id) for member, _ in page]
    users = [views.user(account, context.me.id) for _, account in page]
    chats = [views.channel(context.store, channel, context.me.id)]
    return types.channels.ChannelParticipants(len(found), participants, chats, users)


def get_participant(context: RequestContext, request: Any) -> Any:
    channel = peers.channel(context, request.channel)
    account = peers.peer(context, request.participant)
    member = context.store.channels.member(channel, account.id) if isinstance(account, StoredAccount) else None
    if member is None:
        raise RpcRefusal(400, "USER_NOT_PARTICIPANT")
    users = [views.user(_account(context, member), context.me.id)]
    chats = [views.channel(context.store, channel, context.me.id)]
    return types.channels.ChannelParticipant(views.participant(member, context.me.id), chats, users)


def _account(context: RequestContext, member: Member) -> StoredAccount:
    account = context.store.account_by_id(member.account)
    assert account is not None, "only accounts join, and accounts are never removed"
    return account


def _matches(wanted: Any, member: Member, account: StoredAccount) -> bool:
    match wanted:
        case types.ChannelParticipantsAdmins():
            return member.admin
        case types.ChannelParticipantsRecent():
            return True
        case types.ChannelParticipantsSearch() | types.ChannelParticipantsContacts():
            return wanted.q.casefold() in f"{views.first_name(account)} {account.username}".casefold()
        case _:
            return False  # the sandbox has no banned members and no bots in channels
