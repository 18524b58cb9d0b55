"""account.getPassword and auth.checkPassword: the second step of a login; account.updatePasswordSettings: changing it.

Source: https://core.telegram.org/api/srp
"""

import secrets
from typing import Any, Final

from telethon.tl import types

from adapters.sandbox import srp
from adapters.sandbox.credentials import LONGEST_HINT, Password
from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services import entrance
from adapters.sandbox.services.call import Call
from adapters.sandbox.srp import Challenge
from adapters.sandbox.store import Account

RANDOM_BYTES: Final = 256


def get_password(call: Call, _: Any) -> Any:
    """What the client needs to prove that it knows the password; each time another challenge."""
    password = call.store.credentials.password(_account(call).id)
    told: dict[str, Any] = {}
    if password is not None:
        verifier = password.verifier
        challenge = Challenge.fresh(verifier)
        call.office.logins.challenge(call.key.id, challenge)
        told = {
            "has_password": True,
            "current_algo": srp.algorithm(verifier.salt1, verifier.salt2),
            "srp_B": challenge.public,
            "srp_id": challenge.id,
            "hint": password.hint or None,
        }
    new_algo = srp.algorithm(*srp.fresh_salts())
    secure_algo = types.SecurePasswordKdfAlgoPBKDF2HMACSHA512iter100000(secrets.token_bytes(srp.SALT1_BYTES))
    return types.account.Password(new_algo, secure_algo, secrets.token_bytes(RANDOM_BYTES), **told)


def check_password(call: Call, request: Any) -> Any:
    account = _account(call)
    password = call.store.credentials.password(account.id)
    if password is not None:
        _check(call, password, request.password)
    return entrance.admit(call, account)


def update_password_settings(call: Call, request: Any) -> Any:
    """Sets, changes or takes away the password of whoever is logged in; it takes the old one, if there is one."""
    credentials, account, wanted = call.store.credentials, call.me, request.new_settings
    old = credentials.password(account.id)
    if old is not None:
        _check(call, old, request.password)
    if wanted.email:
        raise RpcRefusal(400, "EMAIL_INVALID")  # there is no mail here
    if wanted.new_password_hash is None:
        raise RpcRefusal(400, "NEW_SETTINGS_EMPTY")
    if not wanted.new_password_hash:
        credentials.set_password(account.id, None)
        return True
    verifier, hint = srp.verifier_of(wanted.new_algo, wanted.new_password_hash), wanted.hint or ""
    if verifier is None or len(hint) > LONGEST_HINT:
        raise RpcRefusal(400, "NEW_SETTINGS_INVALID")
    credentials.set_password(account.id, Password(verifier, hint))
    return True


def _check(call: Call, password: Password, answer: Any) -> None:
    """Raises RpcRefusal unless the client knows the password."""
    if not isinstance(answer, types.InputCheckPasswordSRP):
        raise RpcRefusal(400, "PASSWORD_HASH_INVALID")
    challenge = call.office.logins.take_challenge(call.key.id, answer.srp_id)
    if challenge is None:
        raise RpcRefusal(400, "SRP_ID_INVALID")
    if not srp.proves(password.verifier, challenge, answer.A, answer.M1):
        raise RpcRefusal(400, "PASSWORD_HASH_INVALID")


def _account(call: Call) -> Account:
    """The account that is logged in, or the one whose password is missing. Raises RpcRefusal when there is neither."""
    awaited = call.office.logins.awaited(call.key.id)
    account = None if awaited is None else call.store.account_by_id(awaited)
    return account or call.me
