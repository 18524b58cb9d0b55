"""Whom a request names: accounts and channels behind Telegram's input types. A wrong access hash names nobody."""

from typing import Any

from telethon.tl import types

from adapters.sandbox.channels import Channel, Member
from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services.call import Call
from adapters.sandbox.store import Account


def user(call: Call, name: Any) -> Account:
    """The account behind an InputUser. Raises RpcRefusal."""
    if isinstance(name, types.InputUserSelf):
        return call.me
    return _account(call, name, types.InputUser, "USER_ID_INVALID")


def peer(call: Call, name: Any) -> Account | Channel:
    """The account or the channel behind an InputPeer. Raises RpcRefusal."""
    if isinstance(name, types.InputPeerChannel):
        return _channel(call, name)
    if isinstance(name, types.InputPeerSelf):
        return call.me
    return _account(call, name, types.InputPeerUser, "PEER_ID_INVALID")


def channel(call: Call, name: Any) -> Channel:
    """The channel behind an InputChannel. Raises RpcRefusal."""
    if isinstance(name, types.InputChannel):
        return _channel(call, name)
    raise RpcRefusal(400, "CHANNEL_INVALID")


def member(call: Call, where: Channel) -> Member:
    """The caller's place in a channel. Raises RpcRefusal when it has none."""
    place = call.store.channels.member(where, call.me.id)
    if place is None:
        raise RpcRefusal(400, "CHANNEL_PRIVATE")
    return place


def _account(call: Call, name: Any, kind: Any, refusal: str) -> Account:
    if isinstance(name, kind):
        account = call.store.account_by_id(name.user_id)
        if account is not None and account.access_hash_for(call.me.id) == name.access_hash:
            return account
    raise RpcRefusal(400, refusal)


def _channel(call: Call, name: Any) -> Channel:
    found = call.store.channels.by_id(name.channel_id)
    if found is None or found.access_hash_for(call.me.id) != name.access_hash:
        raise RpcRefusal(400, "CHANNEL_INVALID")
    return found
