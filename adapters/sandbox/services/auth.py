"""help, auth and account: requests before, during and after a login by a code or by a bot's token.

Source: https://core.telegram.org/api/auth
"""

import secrets
from typing import Any, Final

from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal, SandboxError
from adapters.sandbox.phones import BOT_ID, CODE_LENGTH, login_code, normalise_number
from adapters.sandbox.services import login_steps, views
from adapters.sandbox.services.context import RequestContext
from adapters.sandbox.store.credentials import NumberStatus, TokenStatus
from adapters.sandbox.store.logins import LoginCode

DELIVERY_METHODS: Final = (types.auth.SentCodeTypeApp, types.auth.SentCodeTypeSms, types.auth.SentCodeTypeCall)
"""How a code is sent: first to the app and then, each time it is asked for again, in the next way."""
NEXT_METHODS: Final = (types.auth.CodeTypeSms, types.auth.CodeTypeCall, None)
MAX_EXPORTED: Final = 1000
"""Tokens for other datacenters that are kept until they are used."""
RESEND_SECONDS: Final = 60
"""After how long a client may ask for the next way; this is not enforced."""


def get_config(context: RequestContext, _: Any) -> Any:
    return views.config(context.dc_id, context.shared.addresses(), context.now())


def get_nearest_dc(context: RequestContext, _: Any) -> Any:
    return types.NearestDc("ZZ", context.dc_id, context.dc_id)


def send_code(context: RequestContext, request: Any) -> Any:
    phone = _number(context, request.phone_number)
    return _sent(context.shared.logins.new_code(phone))


def resend_code(context: RequestContext, request: Any) -> Any:
    _, code = _code(context, request)
    if code.repeats == len(DELIVERY_METHODS) - 1:
        raise RpcRefusal(406, "SEND_CODE_UNAVAILABLE")
    code.repeats += 1
    return _sent(code)


def cancel_code(context: RequestContext, request: Any) -> Any:
    phone, _ = _code(context, request)
    context.shared.logins.end_code(phone)
    return True


def sign_in(context: RequestContext, request: Any) -> Any:
    if not request.phone_code:
        raise RpcRefusal(400, "PHONE_CODE_EMPTY")
    phone, _ = _code(context, request)
    if request.phone_code != login_code(phone):
        raise RpcRefusal(400, "PHONE_CODE_INVALID")
    context.shared.logins.end_code(phone)
    if context.store.credentials.status(phone) is NumberStatus.UNOCCUPIED:
        return types.auth.AuthorizationSignUpRequired()
    return login_steps.finish_first_step(context, context.store.account(phone))


def import_bot_authorization(context: RequestContext, request: Any) -> Any:
    id_ = request.bot_auth_token.partition(":")[0]
    bot = context.store.account_by_id(int(id_)) if BOT_ID.fullmatch(id_) else None
    status = context.store.credentials.token_status(bot.id, request.bot_auth_token) if bot else TokenStatus.WRONG
    if bot is None or status is TokenStatus.WRONG:
        raise RpcRefusal(400, "ACCESS_TOKEN_INVALID")
    if status is TokenStatus.EXPIRED:
        raise RpcRefusal(400, "ACCESS_TOKEN_EXPIRED")
    if (home := context.shared.home_dc(bot.phone)) != context.dc_id:
        raise RpcRefusal(303, f"USER_MIGRATE_{home}")
    return login_steps.log_in_key(context, bot)


def export_authorization(context: RequestContext, request: Any) -> Any:
    """Give out a token by which a key of another datacenter is logged in as the caller."""
    if request.dc_id == context.dc_id or request.dc_id not in context.shared.addresses():
        raise RpcRefusal(400, "DC_ID_INVALID")
    exported = context.shared.exported
    while len(exported) >= MAX_EXPORTED:
        exported.pop(next(iter(exported)))
    token = secrets.token_bytes(32)
    exported[token] = context.me.id
    return types.auth.ExportedAuthorization(context.me.id, token)


def import_authorization(context: RequestContext, request: Any) -> Any:
    account = context.shared.exported.pop(request.bytes, None)
    found = None if account is None else context.store.account_by_id(account)
    if found is None or found.id != request.id:
        raise RpcRefusal(400, "AUTH_BYTES_INVALID")
    return login_steps.log_in_key(context, found)


def log_out(context: RequestContext, _: Any) -> Any:
    context.store.log_in(context.key, None)
    context.shared.logins.finish(context.key.id)
    context.account = None
    return types.auth.LoggedOut()


def update_status(_: RequestContext, __: Any) -> Any:
    return True


def _number(context: RequestContext, phone: str) -> str:
    """Return the normalised number. Raises RpcRefusal when it cannot log in, or not in this datacenter."""
    try:
        digits = normalise_number(phone)
    except SandboxError as error:
        raise RpcRefusal(400, "PHONE_NUMBER_INVALID") from error
    if context.store.credentials.status(digits) is NumberStatus.BANNED:
        raise RpcRefusal(400, "PHONE_NUMBER_BANNED")
    if (home := context.shared.home_dc(digits)) != context.dc_id:
        raise RpcRefusal(303, f"PHONE_MIGRATE_{home}")
    return digits


def _code(context: RequestContext, request: Any) -> tuple[str, LoginCode]:
    """Return the number and the code that was sent to it. Raises RpcRefusal when the code has expired."""
    if not request.phone_code_hash:
        raise RpcRefusal(400, "PHONE_CODE_HASH_EMPTY")
    phone = _number(context, request.phone_number)
    code = context.shared.logins.code(phone, request.phone_code_hash)
    if code is None:
        raise RpcRefusal(400, "PHONE_CODE_EXPIRED")
    return phone, code


def _sent(code: LoginCode) -> Any:
    following = NEXT_METHODS[code.repeats]
    way = DELIVERY_METHODS[code.repeats](CODE_LENGTH)
    return types.auth.SentCode(way, code.hash, following and following(), RESEND_SECONDS if following else None)
