"""users and contacts: who is who, by id, by number and by name."""

from typing import Any, Final

from telethon.tl import types

from adapters.sandbox import views
from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services import peers
from adapters.sandbox.services.call import Call
from adapters.sandbox.store import Account

MOST_USERS: Final = 200


def get_users(call: Call, request: Any) -> Any:
    return [views.user(peers.user(call, item), call.me.id) for item in request.id[:MOST_USERS]]


def get_full_user(call: Call, request: Any) -> Any:
    account = peers.user(call, request.id)
    return types.users.UserFull(views.full_user(account), [], [views.user(account, call.me.id)])


def get_contacts(call: Call, _: Any) -> Any:
    others = [a for a in call.store.accounts() if a.id != call.me.id and not a.is_bot][:MOST_USERS]
    contacts = [types.Contact(account.id, mutual=True) for account in others]
    return types.contacts.Contacts(contacts, 0, [views.user(account, call.me.id) for account in others])


def resolve_phone(call: Call, request: Any) -> Any:
    digits = request.phone.lstrip("+")
    found = [a for a in call.store.accounts() if a.phone == digits and not a.is_bot]
    return _resolved(call, found, "PHONE_NOT_OCCUPIED")


def resolve_username(call: Call, request: Any) -> Any:
    name = request.username.lower()
    channel = call.store.channels.by_username(name)
    if channel is not None:
        chats = [views.channel(call.store, channel, call.me.id)]
        return types.contacts.ResolvedPeer(types.PeerChannel(channel.id), chats, [])
    return _resolved(call, [a for a in call.store.accounts() if a.username == name], "USERNAME_NOT_OCCUPIED")


def _resolved(call: Call, found: list[Account], refusal: str) -> Any:
    if not found:
        raise RpcRefusal(400, refusal)
    user = views.user(found[0], call.me.id)
    return types.contacts.ResolvedPeer(types.PeerUser(user.id), [], [user])
