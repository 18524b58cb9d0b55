"""auth.exportLoginToken, acceptLoginToken and importLoginToken: logging in by a QR code.

A client without a login shows a token; a client that is logged in accepts it; an update tells the first to ask once
more. Source: https://core.telegram.org/api/qr-login
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
    """Return a new token or, when the last one was accepted, the login that came of it."""
    if context.account is not None:
        return types.auth.LoginTokenSuccess(types.auth.Authorization(views.user(context.account, context.account.id)))
    logins = context.shared.logins
    accepted = logins.accepted(context.key.id)
    if accepted is not None:
        return _redeem(context, accepted)
    token = logins.new_token(context.key.id, request.api_id, frozenset(request.except_ids))
    return _shown(token)


def import_login_token(context: RequestContext, request: Any) -> Any:
    """Redeem a token that the client got from another datacenter."""
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
    """Accept the token as this account. Raises RpcRefusal when the token is worthless."""
    token = _token(shared, value)
    if token.account is not None:
        raise RpcRefusal(400, "AUTH_TOKEN_ALREADY_ACCEPTED")
    if account.id in token.excluded:
        raise RpcRefusal(400, "AUTH_TOKEN_EXCEPTION")
    shared.logins.accept(token, account.id)
    return token


def scanned(now: datetime) -> Any:
    """Return the update that tells the waiting client to ask once more."""
    return types.UpdateShort(types.UpdateLoginToken(), now)


def _token(shared: ServiceContext, value: bytes) -> LoginToken:
    """Return the token that a client names. Raises RpcRefusal when it is unknown or has expired."""
    token = shared.logins.token(value)
    if token is None:
        raise RpcRefusal(400, "AUTH_TOKEN_INVALID")
    if shared.logins.has_expired(token):
        raise RpcRefusal(400, "AUTH_TOKEN_EXPIRED")
    return token


def _shown(token: LoginToken) -> Any:
    return types.auth.LoginToken(datetime.fromtimestamp(int(token.until), UTC), token.value)


def _redeem(context: RequestContext, token: LoginToken) -> Any:
    """Log the caller in by an accepted token, once, where the account lives."""
    assert token.account is not None
    account = context.store.account_by_id(token.account)
    assert account is not None, "accounts are never removed"
    if (home := context.shared.home_dc(account.phone)) != context.dc_id:
        return types.auth.LoginTokenMigrateTo(home, token.value)
    context.shared.logins.use(token)
    return types.auth.LoginTokenSuccess(login_steps.finish_first_step(context, account))
