"""channels: joining, leaving, and what there is to know about one. Every channel of the sandbox is public."""

from typing import Any, Final

from telethon.tl import types

from adapters.sandbox import views
from adapters.sandbox.channels import Channel, Member
from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services import peers
from adapters.sandbox.services.call import SLICE, Call
from adapters.sandbox.services.messages import number_of
from adapters.sandbox.store import Account

MOST_PARTICIPANTS: Final = 200


def join_channel(call: Call, request: Any) -> Any:
    channel = peers.channel(call, request.channel)
    call.store.channels.join(channel, call.me.id)
    return _changed(call, channel)


def leave_channel(call: Call, request: Any) -> Any:
    channel = peers.channel(call, request.channel)
    if call.store.channels.member(channel, call.me.id) is None:
        raise RpcRefusal(400, "USER_NOT_PARTICIPANT")
    call.store.channels.leave(channel, call.me.id)
    return _changed(call, channel)


def _changed(call: Call, channel: Channel) -> Any:
    chats = [views.channel(call.store, channel, call.me.id)]
    return types.Updates([types.UpdateChannel(channel.id)], [], chats, call.now(), 0)


def get_channels(call: Call, request: Any) -> Any:
    found = [peers.channel(call, name) for name in request.id[:SLICE]]
    return types.messages.Chats([views.channel(call.store, channel, call.me.id) for channel in found])


def get_full_channel(call: Call, request: Any) -> Any:
    channel = peers.channel(call, request.channel)
    full = views.full_channel(call.store, channel, call.me.id)
    return types.messages.ChatFull(full, [views.channel(call.store, channel, call.me.id)], [])


def get_messages(call: Call, request: Any) -> Any:
    """Messages of a channel by their ids; an id that is not there is answered with an empty message."""
    channel = peers.channel(call, request.channel)
    ids = [number_of(name) for name in request.id[:SLICE]]
    found = [(id_, call.store.channels.message(channel, id_)) for id_ in ids]
    return views.channel_messages(call.store, channel, call.me.id, found, len(found))


def read_history(call: Call, request: Any) -> Any:
    channel = peers.channel(call, request.channel)
    member = peers.member(call, channel)
    newest = channel.last_message
    call.store.channels.mark_read(member, min(request.max_id, newest) if request.max_id else newest)
    return True


def get_participants(call: Call, request: Any) -> Any:
    """Who is in it: everybody, the admins, or those with a text in their names. A broadcast tells only admins."""
    channel = peers.channel(call, request.channel)
    mine = call.store.channels.member(channel, call.me.id)
    if not channel.megagroup and not (mine and mine.admin):
        raise RpcRefusal(400, "CHAT_ADMIN_REQUIRED")
    everybody = [(member, _account(call, member)) for member in call.store.channels.members(channel.id)]
    found = [(member, account) for member, account in everybody if _matches(request.filter, member, account)]
    start = max(request.offset, 0)
    page = found[start : start + min(max(request.limit, 0), MOST_PARTICIPANTS)]
    participants = [views.participant(member, call.me.id) for member, _ in page]
    users = [views.user(account, call.me.id) for _, account in page]
    chats = [views.channel(call.store, channel, call.me.id)]
    return types.channels.ChannelParticipants(len(found), participants, chats, users)


def get_participant(call: Call, request: Any) -> Any:
    channel = peers.channel(call, request.channel)
    account = peers.peer(call, request.participant)
    member = call.store.channels.member(channel, account.id) if isinstance(account, Account) else None
    if member is None:
        raise RpcRefusal(400, "USER_NOT_PARTICIPANT")
    users = [views.user(_account(call, member), call.me.id)]
    chats = [views.channel(call.store, channel, call.me.id)]
    return types.channels.ChannelParticipant(views.participant(member, call.me.id), chats, users)


def _account(call: Call, member: Member) -> Account:
    account = call.store.account_by_id(member.account)
    assert account is not None, "only accounts join, and accounts are never removed"
    return account


def _matches(wanted: Any, member: Member, account: Account) -> bool:
    match wanted:
        case types.ChannelParticipantsAdmins():
            return member.admin
        case types.ChannelParticipantsRecent():
            return True
        case types.ChannelParticipantsSearch() | types.ChannelParticipantsContacts():
            return wanted.q.casefold() in f"{views.first_name(account)} {account.username}".casefold()
        case _:
            return False  # nobody is banned and nobody is a bot
