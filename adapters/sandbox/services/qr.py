"""auth.exportLoginToken, acceptLoginToken and importLoginToken: logging in by a QR code.

A client that is nobody shows a token; somebody who is logged in accepts it; the first is told by an update and asks
once more. Source: https://core.telegram.org/api/qr-login
"""

import secrets
from datetime import UTC, datetime
from typing import Any

from telethon.tl import types

from adapters.sandbox import views
from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.logins import LoginToken
from adapters.sandbox.services import entrance
from adapters.sandbox.services.call import Call, Office
from adapters.sandbox.store import Account


def export_login_token(call: Call, request: Any) -> Any:
    """A new token; or, when the last one was accepted, what came of it."""
    if call.account is not None:
        return types.auth.LoginTokenSuccess(types.auth.Authorization(views.user(call.account, call.account.id)))
    logins = call.office.logins
    accepted = logins.accepted(call.key.id)
    if accepted is not None:
        return _redeem(call, accepted)
    token = logins.new_token(call.key.id, request.api_id, frozenset(request.except_ids))
    return _shown(token)


def import_login_token(call: Call, request: Any) -> Any:
    """What came of a token that another data centre gave out, and its client brings here."""
    token = _token(call.office, request.token)
    if token.used:
        raise RpcRefusal(400, "AUTH_TOKEN_ALREADY_ACCEPTED")
    return _shown(token) if token.account is None else _redeem(call, token)


def accept_login_token(call: Call, request: Any) -> Any:
    token = accept(call.office, call.me, request.token)
    call.notices.append((token.key, scanned(call.now())))
    return types.Authorization(
        hash=secrets.randbits(63),
        device_model="Sandbox",
        platform="",
        system_version="",
        api_id=token.api_id,
        app_name="",
        app_version="",
        date_created=call.now(),
        date_active=call.now(),
        ip=call.office.addresses()[call.dc_id][0],
        country="",
        region="",
    )


def accept(office: Office, account: Account, value: bytes) -> LoginToken:
    """Somebody who is logged in has scanned the token. Raises RpcRefusal when it is worth nothing."""
    token = _token(office, value)
    if token.account is not None:
        raise RpcRefusal(400, "AUTH_TOKEN_ALREADY_ACCEPTED")
    if account.id in token.spared:
        raise RpcRefusal(400, "AUTH_TOKEN_EXCEPTION")
    office.logins.accept(token, account.id)
    return token


def scanned(now: datetime) -> Any:
    """The update that tells the client that waits to ask once more."""
    return types.UpdateShort(types.UpdateLoginToken(), now)


def _token(office: Office, value: bytes) -> LoginToken:
    """The token that a client names. Raises RpcRefusal when there is none, or its time is over."""
    token = office.logins.token(value)
    if token is None:
        raise RpcRefusal(400, "AUTH_TOKEN_INVALID")
    if office.logins.is_over(token):
        raise RpcRefusal(400, "AUTH_TOKEN_EXPIRED")
    return token


def _shown(token: LoginToken) -> Any:
    return types.auth.LoginToken(datetime.fromtimestamp(int(token.until), UTC), token.value)


def _redeem(call: Call, token: LoginToken) -> Any:
    """An accepted token logs the caller in, once, where the account lives."""
    assert token.account is not None
    account = call.store.account_by_id(token.account)
    assert account is not None, "accounts are never removed"
    if (home := call.office.home(account.phone)) != call.dc_id:
        return types.auth.LoginTokenMigrateTo(home, token.value)
    call.office.logins.use(token)
    return types.auth.LoginTokenSuccess(entrance.enter(call, account))
