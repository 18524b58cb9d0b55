"""The accounts and channels behind Telegram's input types. A wrong access hash is refused like an unknown id."""

from typing import Any

from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services.context import RequestContext
from adapters.sandbox.store.channels import Channel, Member
from adapters.sandbox.store.database import StoredAccount


def user(context: RequestContext, name: Any) -> StoredAccount:
    """Return the account behind an InputUser. Raises RpcRefusal."""
    if isinstance(name, types.InputUserSelf):
        return context.me
    return _account(context, name, types.InputUser, "USER_ID_INVALID")


def peer(context: RequestContext, name: Any) -> StoredAccount | Channel:
    """Return the account or the channel behind an InputPeer. Raises RpcRefusal."""
    if isinstance(name, types.InputPeerChannel):
        return _channel(context, name)
    if isinstance(name, types.InputPeerSelf):
        return context.me
    return _account(context, name, types.InputPeerUser, "PEER_ID_INVALID")


def channel(context: RequestContext, name: Any) -> Channel:
    """Return the channel behind an InputChannel. Raises RpcRefusal."""
    if isinstance(name, types.InputChannel):
        return _channel(context, name)
    raise RpcRefusal(400, "CHANNEL_INVALID")


def member(context: RequestContext, where: Channel) -> Member:
    """Return the caller's membership of a channel. Raises RpcRefusal when it is not a member."""
    found = context.store.channels.member(where, context.me.id)
    if found is None:
        raise RpcRefusal(400, "CHANNEL_PRIVATE")
    return found


def _account(context: RequestContext, name: Any, kind: Any, refusal: str) -> StoredAccount:
    if isinstance(name, kind):
        account = context.store.account_by_id(name.user_id)
        if account is not None and account.access_hash_for(context.me.id) == name.access_hash:
            return account
    raise RpcRefusal(400, refusal)


def _channel(context: RequestContext, name: Any) -> Channel:
    found = context.store.channels.by_id(name.channel_id)
    if found is None or found.access_hash_for(context.me.id) != name.access_hash:
        raise RpcRefusal(400, "CHANNEL_INVALID")
    return found
