"""users and contacts: accounts by id, by number and by username."""

from typing import Any, Final

from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services import peers, views
from adapters.sandbox.services.context import RequestContext
from adapters.sandbox.store import channels
from adapters.sandbox.store.database import StoredAccount

MAX_USERS: Final = 200


def get_users(context: RequestContext, request: Any) -> Any:
    return [views.user(peers.user(context, item), context.me.id) for item in request.id[:MAX_USERS]]


def get_full_user(context: RequestContext, request: Any) -> Any:
    account = peers.user(context, request.id)
    return types.users.UserFull(views.full_user(account), [], [views.user(account, context.me.id)])


def get_contacts(context: RequestContext, _: Any) -> Any:
    others = [a for a in context.store.accounts() if a.id != context.me.id and not a.is_bot][:MAX_USERS]
    contacts = [types.Contact(account.id, mutual=True) for account in others]
    return types.contacts.Contacts(contacts, 0, [views.user(account, context.me.id) for account in others])


def resolve_phone(context: RequestContext, request: Any) -> Any:
    found = context.store.account_by_name(request.phone.lstrip("+"))
    return _resolved(context, None if found is None or found.is_bot else found, "PHONE_NOT_OCCUPIED")


def resolve_username(context: RequestContext, request: Any) -> Any:
    name = request.username.lower()
    if context.shared.lookups is not None:
        context.shared.lookups.charge(context.me.id)
    if not channels.USERNAME.fullmatch(name):
        raise RpcRefusal(400, "USERNAME_INVALID")
    channel = context.store.channels.by_username(name)
    if channel is not None:
        chats = [views.channel(context.store, channel, context.me.id)]
        return types.contacts.ResolvedPeer(types.PeerChannel(channel.id), chats, [])
    found = context.store.account_by_name(name.removeprefix("user").removesuffix("_bot"))
    return _resolved(context, found if found and found.username == name else None, "USERNAME_NOT_OCCUPIED")


def _resolved(context: RequestContext, found: StoredAccount | None, refusal: str) -> Any:
    if found is None:
        raise RpcRefusal(400, refusal)
    user = views.user(found, context.me.id)
    return types.contacts.ResolvedPeer(types.PeerUser(user.id), [], [user])
