"""account.getPassword and auth.checkPassword: the second step of a login; account.updatePasswordSettings: changing it.

Source: https://core.telegram.org/api/srp
"""

import secrets
from typing import Any, Final

from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.mtproto import srp
from adapters.sandbox.mtproto.srp import Challenge
from adapters.sandbox.services import login_steps
from adapters.sandbox.services.context import RequestContext
from adapters.sandbox.store.credentials import MAX_HINT, Password
from adapters.sandbox.store.database import StoredAccount

RANDOM_BYTES: Final = 256


def get_password(context: RequestContext, _: Any) -> Any:
    """Return what the client needs to prove that it knows the password; the challenge is new each time."""
    password = context.store.credentials.password(_account(context).id)
    current: dict[str, Any] = {}
    if password is not None:
        verifier = password.verifier
        challenge = Challenge.fresh(verifier)
        context.shared.logins.challenge(context.key.id, challenge)
        current = {
            "has_password": True,
            "current_algo": srp.algorithm(verifier.salt1, verifier.salt2),
            "srp_B": challenge.public,
            "srp_id": challenge.id,
            "hint": password.hint or None,
        }
    new_algo = srp.algorithm(*srp.fresh_salts())
    secure_algo = types.SecurePasswordKdfAlgoPBKDF2HMACSHA512iter100000(secrets.token_bytes(srp.SALT1_BYTES))
    return types.account.Password(new_algo, secure_algo, secrets.token_bytes(RANDOM_BYTES), **current)


def check_password(context: RequestContext, request: Any) -> Any:
    account = _account(context)
    password = context.store.credentials.password(account.id)
    if password is not None:
        _check_password(context, password, request.password)
    return login_steps.log_in_key(context, account)


def update_password_settings(context: RequestContext, request: Any) -> Any:
    """Set, change or remove the caller's password; an existing password has to be proven first."""
    credentials, account, wanted = context.store.credentials, context.me, request.new_settings
    old = credentials.password(account.id)
    if old is not None:
        _check_password(context, old, request.password)
    if wanted.email:
        raise RpcRefusal(400, "EMAIL_INVALID")  # the sandbox has no mail
    if wanted.new_password_hash is None:
        raise RpcRefusal(400, "NEW_SETTINGS_EMPTY")
    if not wanted.new_password_hash:
        credentials.set_password(account.id, None)
        return True
    verifier, hint = srp.verifier_of(wanted.new_algo, wanted.new_password_hash), wanted.hint or ""
    if verifier is None or len(hint) > MAX_HINT:
        raise RpcRefusal(400, "NEW_SETTINGS_INVALID")
    credentials.set_password(account.id, Password(verifier, hint))
    return True


def _check_password(context: RequestContext, password: Password, answer: Any) -> None:
    """Check that the client knows the password. Raises RpcRefusal if it does not."""
    if not isinstance(answer, types.InputCheckPasswordSRP):
        raise RpcRefusal(400, "PASSWORD_HASH_INVALID")
    challenge = context.shared.logins.take_challenge(context.key.id, answer.srp_id)
    if challenge is None:
        raise RpcRefusal(400, "SRP_ID_INVALID")
    if not srp.verify_proof(password.verifier, challenge, answer.A, answer.M1):
        raise RpcRefusal(400, "PASSWORD_HASH_INVALID")


def _account(context: RequestContext) -> StoredAccount:
    """Return the account that is logged in, or the one whose password is missing. Raises RpcRefusal without either."""
    pending_account = context.shared.logins.pending_account(context.key.id)
    account = None if pending_account is None else context.store.account_by_id(pending_account)
    return account or context.me
