"""help, auth and account: what a client asks before, while and after it logs in with a code or a token of a bot.

Source: https://core.telegram.org/api/auth
"""

from typing import Any, Final

from telethon.tl import types

from adapters.sandbox import views
from adapters.sandbox.credentials import NumberStatus, TokenStatus
from adapters.sandbox.errors import RpcRefusal, SandboxError
from adapters.sandbox.logins import Code
from adapters.sandbox.phones import BOT_ID, CODE_LENGTH, login_code, number
from adapters.sandbox.services import entrance
from adapters.sandbox.services.call import Call

WAYS: Final = (types.auth.SentCodeTypeApp, types.auth.SentCodeTypeSms, types.auth.SentCodeTypeCall)
"""How a code is sent: first to the app, then, when it is asked for again, in the other ways."""
NEXT_WAYS: Final = (types.auth.CodeTypeSms, types.auth.CodeTypeCall, None)
RESEND_SECONDS: Final = 60
"""After how long a client may ask for the next way; nobody checks."""


def get_config(call: Call, _: Any) -> Any:
    return views.config(call.dc_id, call.office.addresses(), call.now())


def get_nearest_dc(call: Call, _: Any) -> Any:
    return types.NearestDc("ZZ", call.dc_id, call.dc_id)


def send_code(call: Call, request: Any) -> Any:
    phone = _number(call, request.phone_number)
    return _sent(call.office.logins.new_code(phone))


def resend_code(call: Call, request: Any) -> Any:
    _, code = _code(call, request)
    if code.repeats == len(WAYS) - 1:
        raise RpcRefusal(406, "SEND_CODE_UNAVAILABLE")
    code.repeats += 1
    return _sent(code)


def cancel_code(call: Call, request: Any) -> Any:
    phone, _ = _code(call, request)
    call.office.logins.end_code(phone)
    return True


def sign_in(call: Call, request: Any) -> Any:
    if not request.phone_code:
        raise RpcRefusal(400, "PHONE_CODE_EMPTY")
    phone, _ = _code(call, request)
    if request.phone_code != login_code(phone):
        raise RpcRefusal(400, "PHONE_CODE_INVALID")
    call.office.logins.end_code(phone)
    if call.store.credentials.status(phone) is NumberStatus.UNOCCUPIED:
        return types.auth.AuthorizationSignUpRequired()
    return entrance.enter(call, call.store.account(phone))


def import_bot_authorization(call: Call, request: Any) -> Any:
    id_ = request.bot_auth_token.partition(":")[0]
    bot = call.store.account_by_id(int(id_)) if BOT_ID.fullmatch(id_) else None
    status = call.store.credentials.token_status(bot.id, request.bot_auth_token) if bot else TokenStatus.WRONG
    if bot is None or status is TokenStatus.WRONG:
        raise RpcRefusal(400, "ACCESS_TOKEN_INVALID")
    if status is TokenStatus.EXPIRED:
        raise RpcRefusal(400, "ACCESS_TOKEN_EXPIRED")
    if (home := call.office.home(bot.phone)) != call.dc_id:
        raise RpcRefusal(303, f"USER_MIGRATE_{home}")
    return entrance.admit(call, bot)


def log_out(call: Call, _: Any) -> Any:
    call.store.log_in(call.key, None)
    call.office.logins.finish(call.key.id)
    call.account = None
    return types.auth.LoggedOut()


def update_status(_: Call, __: Any) -> Any:
    return True


def _number(call: Call, phone: str) -> str:
    """The number, normalised. Raises RpcRefusal when nobody can log in with it, or not here."""
    try:
        digits = number(phone)
    except SandboxError as error:
        raise RpcRefusal(400, "PHONE_NUMBER_INVALID") from error
    if call.store.credentials.status(digits) is NumberStatus.BANNED:
        raise RpcRefusal(400, "PHONE_NUMBER_BANNED")
    if (home := call.office.home(digits)) != call.dc_id:
        raise RpcRefusal(303, f"PHONE_MIGRATE_{home}")
    return digits


def _code(call: Call, request: Any) -> tuple[str, Code]:
    """The number and the code that was sent to it. Raises RpcRefusal when that is over."""
    if not request.phone_code_hash:
        raise RpcRefusal(400, "PHONE_CODE_HASH_EMPTY")
    phone = _number(call, request.phone_number)
    code = call.office.logins.code(phone, request.phone_code_hash)
    if code is None:
        raise RpcRefusal(400, "PHONE_CODE_EXPIRED")
    return phone, code


def _sent(code: Code) -> Any:
    following = NEXT_WAYS[code.repeats]
    way = WAYS[code.repeats](CODE_LENGTH)
    return types.auth.SentCode(way, code.hash, following and following(), RESEND_SECONDS if following else None)
