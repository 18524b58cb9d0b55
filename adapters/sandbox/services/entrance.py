"""The door that all ways of logging in lead to."""

from typing import Any

from telethon.tl import types

from adapters.sandbox import views
from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services.call import Call
from adapters.sandbox.store import Account


def enter(call: Call, account: Account) -> Any:
    """The first step is done. Raises RpcRefusal (SESSION_PASSWORD_NEEDED) when the account has a second one."""
    if call.store.credentials.password(account.id) is not None:
        call.office.logins.await_password(call.key.id, account.id)
        raise RpcRefusal(401, "SESSION_PASSWORD_NEEDED")
    return admit(call, account)


def admit(call: Call, account: Account) -> Any:
    """The key is logged in as the account from now on."""
    call.store.log_in(call.key, account.id)
    call.office.logins.finish(call.key.id)
    call.account = account
    return types.auth.Authorization(views.user(account, account.id))
