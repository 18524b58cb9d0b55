"""The steps that all ways of logging in end with."""

from typing import Any

from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services import views
from adapters.sandbox.services.context import RequestContext
from adapters.sandbox.store.database import StoredAccount


def finish_first_step(context: RequestContext, account: StoredAccount) -> Any:
    """Finish the first step. Raises RpcRefusal (SESSION_PASSWORD_NEEDED) when the account has a second one."""
    if context.store.credentials.password(account.id) is not None:
        context.shared.logins.await_password(context.key.id, account.id)
        raise RpcRefusal(401, "SESSION_PASSWORD_NEEDED")
    return log_in_key(context, account)


def log_in_key(context: RequestContext, account: StoredAccount) -> Any:
    """Log the key in as the account."""
    context.store.log_in(context.key, account.id)
    context.shared.logins.finish(context.key.id)
    context.account = account
    return types.auth.Authorization(views.user(account, account.id))
