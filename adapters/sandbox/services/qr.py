"""auth.exportLoginToken, acceptLoginToken and importLoginToken: logging in by a QR code.

A client that is nobody shows a token; somebody who is logged in accepts it; the first is told by an update and asks
once more. Source: https://core.telegram.org/api/qr-login
"""

import secrets
from datetime import UTC, datetime
from typing import Any

from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services import login_steps, views
from adapters.sandbox.services.context import RequestContext, ServiceContext
from adapters.sandbox.store.database import StoredAccount
from adapters.sandbox.store.logins import LoginToken


def export_login_token(context: RequestContext, request: Any) -> Any:
    """A new token; or, when the last one was accepted, what came of it."""
    if context.account is not None:
        return types.auth.LoginTokenSuccess(types.auth.Authorization(views.user(context.account, context.account.id)))
    logins = context.shared.logins
    accepted = logins.accepted(context.key.id)
    if accepted is not None:
        return _redeem(context, accepted)
    token = logins.new_token(context.key.id, request.api_id, frozenset(request.except_ids))
    return _shown(token)


def import_login_token(context: RequestContext, request: Any) -> Any:
    """What came of a token that another data centre gave out, and its client brings here."""
    token = _token(context.shared, request.token)
    if token.used:
        raise RpcRefusal(400, "AUTH_TOKEN_ALREADY_ACCEPTED")
    return _shown(token) if token.account is None else _redeem(context, token)


def accept_login_token(context: RequestContext, request: Any) -> Any:
    token = accept(context.shared, context.me, request.token)
    context.notices.append((token.key, scanned(context.now())))
    return types.Authorization(
        hash=secrets.randbits(63),
        device_model="Sandbox",
        platform="",
        system_version="",
        api_id=token.api_id,
        app_name="",
        app_version="",
        date_created=context.now(),
        date_active=context.now(),
        ip=context.shared.addresses()[context.dc_id][0],
        country="",
        region="",
    )


def accept(shared: ServiceContext, account: StoredAccount, value: bytes) -> LoginToken:
    """Somebody who is logged in has scanned the token. Raises RpcRefusal when it is worth nothing."""
    token = _token(shared, value)
    if token.account is not None:
        raise RpcRefusal(400, "AUTH_TOKEN_ALREADY_ACCEPTED")
    if account.id in token.excluded:
        raise RpcRefusal(400, "AUTH_TOKEN_EXCEPTION")
    shared.logins.accept(token, account.id)
    return token


def scanned(now: datetime) -> Any:
    """The update that tells the client that waits to ask once more."""
    return types.UpdateShort(types.UpdateLoginToken(), now)


def _token(shared: ServiceContext, value: bytes) -> LoginToken:
    """The token that a client names. Raises RpcRefusal when there is none, or its time is over."""
    token = shared.logins.token(value)
    if token is None:
        raise RpcRefusal(400, "AUTH_TOKEN_INVALID")
    if shared.logins.has_expired(token):
        raise RpcRefusal(400, "AUTH_TOKEN_EXPIRED")
    return token


def _shown(token: LoginToken) -> Any:
    return types.auth.LoginToken(datetime.fromtimestamp(int(token.until), UTC), token.value)


def _redeem(context: RequestContext, token: LoginToken) -> Any:
    """An accepted token logs the caller in, once, where the account lives."""
    assert token.account is not None
    account = context.store.account_by_id(token.account)
    assert account is not None, "accounts are never removed"
    if (home := context.shared.home_dc(account.phone)) != context.dc_id:
        return types.auth.LoginTokenMigrateTo(home, token.value)
    context.shared.logins.use(token)
    return types.auth.LoginTokenSuccess(login_steps.finish_first_step(context, account))
