"""help, auth and account: what a client asks before, while and after it logs in."""

import secrets
from hmac import compare_digest
from typing import Any, Final

from telethon.tl import types

from adapters.sandbox import views
from adapters.sandbox.errors import RpcRefusal, SandboxError
from adapters.sandbox.phones import CODE_LENGTH, login_code
from adapters.sandbox.services.call import Call

CODE_LIFETIME_SECONDS: Final = 300.0


def get_config(call: Call, _: Any) -> Any:
    return views.config(call.office.dc_id, call.office.address(), call.now())


def get_nearest_dc(call: Call, _: Any) -> Any:
    return types.NearestDc("ZZ", call.office.dc_id, call.office.dc_id)


def send_code(call: Call, request: Any) -> Any:
    try:
        account = call.store.account(request.phone_number)
    except SandboxError as error:
        raise RpcRefusal(400, "PHONE_NUMBER_INVALID") from error
    code_hash = secrets.token_hex(9)
    call.office.codes[account.phone] = (code_hash, call.office.clock() + CODE_LIFETIME_SECONDS)
    return types.auth.SentCode(types.auth.SentCodeTypeApp(CODE_LENGTH), code_hash)


def sign_in(call: Call, request: Any) -> Any:
    if not request.phone_code:
        raise RpcRefusal(400, "PHONE_CODE_EMPTY")
    if not request.phone_code_hash:
        raise RpcRefusal(400, "PHONE_CODE_HASH_EMPTY")
    try:
        account = call.store.account(request.phone_number)
    except SandboxError as error:
        raise RpcRefusal(400, "PHONE_NUMBER_INVALID") from error
    code_hash, until = call.office.codes.get(account.phone, ("", 0.0))
    if not compare_digest(code_hash, request.phone_code_hash) or call.office.clock() > until:
        raise RpcRefusal(400, "PHONE_CODE_EXPIRED")
    if request.phone_code != login_code(account.phone):
        raise RpcRefusal(400, "PHONE_CODE_INVALID")
    del call.office.codes[account.phone]
    call.store.log_in(call.key, account.id)
    call.account = account
    return types.auth.Authorization(views.user(account, account.id))


def log_out(call: Call, _: Any) -> Any:
    call.store.log_in(call.key, None)
    call.account = None
    return types.auth.LoggedOut()


def update_status(_: Call, __: Any) -> Any:
    return True
