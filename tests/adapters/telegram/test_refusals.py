"""Every code that Telegram documents is decided: the tests go over Telethon's own table of errors."""

from typing import Any

import pytest
from telethon import errors
from telethon.errors.rpcerrorlist import rpc_errors_dict, rpc_errors_re
from telethon.tl.functions.account import SendChangePhoneCodeRequest
from telethon.tl.functions.auth import SignInRequest
from telethon.tl.functions.updates import GetStateRequest
from telethon.tl.types import CodeSettings, RpcError

from adapters.telegram.classify import classify
from adapters.telegram.job_errors import classify_job_error
from adapters.telegram.refusals import BANNED, LIMITED, LOGIN_DEAD, MEANING, OF_REQUEST
from states.events import (
    AccountBanned,
    AccountLimited,
    AuthRejected,
    ConfigRefused,
    Failure,
    FloodWait,
    ServerFault,
    SessionDuplicated,
    Unexpected,
)
from states.jobs import Flooded, Lost, Raised

PROOF = GetStateRequest()
DECIDED_CODES = (401, 403, 406)
CODES = {name: kind(PROOF).code for name, kind in rpc_errors_dict.items()}
"""Telegram's name of each error, and its code."""
CONFIG = ("API_ID_INVALID", "API_ID_PUBLISHED_FLOOD", "CONNECTION_API_ID_INVALID")
NO_FAULT = ("RANDOM_ID_DUPLICATE", "NEED_MEMBER_INVALID")
"""Errors with the code 500 that are none of the server's."""


def event_of(name: str, code: int, request: Any = PROOF) -> Failure:
    """Return what an error means that comes over the wire."""
    return classify(errors.rpc_message_to_error(RpcError(code, name), request))


def test_every_refusal_is_decided() -> None:
    """No 401, 403 or 406 of Telethon's table is left to chance, and none is listed that it does not have."""
    known = {name for name, code in CODES.items() if code in DECIDED_CODES}
    assert known - MEANING.keys() == set()
    assert MEANING.keys() - CODES.keys() == set()
    assert len(MEANING) == sum(map(len, (LOGIN_DEAD, BANNED, LIMITED, OF_REQUEST))) + 1


@pytest.mark.parametrize("name", sorted(name for name, code in CODES.items() if code == 401))
def test_every_401_on_a_link_ends_the_account_s_trying(name: str) -> None:
    """It is retried by nobody: the account waits for a login, or for an appeal."""
    assert isinstance(event_of(name, 401), AuthRejected | AccountBanned)


@pytest.mark.parametrize("name", sorted(name for name, code in CODES.items() if code in (403, 406)))
def test_every_403_and_406_but_two_concerns_one_request(name: str) -> None:
    """An account that may not write to one chat stays as it is, and the job's function gets the error."""
    exc = errors.rpc_message_to_error(RpcError(CODES[name], name), PROOF)
    event = {"AUTH_KEY_DUPLICATED": SessionDuplicated, "USER_RESTRICTED": AccountLimited}.get(name, Unexpected)
    assert type(classify(exc)) is event
    end = {Unexpected: Raised, AccountLimited: Flooded}.get(event, Lost)  # a limit holds the job with its account
    assert isinstance(classify_job_error(exc, None), end)


@pytest.mark.parametrize(("code", "event"), [(401, AuthRejected), (403, Unexpected), (406, Unexpected)])
def test_a_code_of_the_future_has_the_meaning_of_its_number(code: int, event: type[Failure]) -> None:
    """Telegram adds errors all the time."""
    assert type(event_of("SOMETHING_NEW", code)) is event


@pytest.mark.parametrize("name", sorted(name for name, code in CODES.items() if code == 400))
def test_a_400_concerns_its_request_or_is_listed(name: str) -> None:
    """Of several hundred errors a few say something about the account or the config."""
    event = {**dict.fromkeys(CONFIG, ConfigRefused), **MEANING}.get(name, Unexpected)
    assert type(event_of(name, 400)) is event


@pytest.mark.parametrize("name", sorted(name for name, code in CODES.items() if code in (500, 503)))
def test_a_500_is_the_server_s(name: str) -> None:
    """It is waited out, but for two that say something else."""
    assert type(event_of(name, CODES[name])) is (Unexpected if name in NO_FAULT else ServerFault)


@pytest.mark.parametrize(("pattern", "kind"), rpc_errors_re, ids=str)
def test_errors_with_a_number(pattern: str, kind: Any) -> None:
    """Whatever makes one wait is a wait, a migration is no failure of the network, and the rest is the request's."""
    event = type(classify(kind(PROOF, 7)))
    if "WAIT" in pattern or "DELAY" in pattern:
        assert event is FloodWait
    elif kind.code == 500:
        assert event is ServerFault
    else:
        assert event is (AuthRejected if "USER_MIGRATE" in pattern else Unexpected)


def test_a_password_that_is_asked_for_on_a_link_needs_a_login() -> None:
    """SESSION_PASSWORD_NEEDED as the answer to a proof: the login never came to its end."""
    failure = event_of("SESSION_PASSWORD_NEEDED", 401)
    assert type(failure) is AuthRejected
    assert failure.detail


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("SESSION_PASSWORD_NEEDED", SignInRequest("+9996620009", "hash", "22222")),
        ("PHONE_NUMBER_BANNED", SendChangePhoneCodeRequest("+9996620009", CodeSettings())),
    ],
)
def test_a_job_that_asks_about_another_number_hurts_no_account(name: str, request_: Any) -> None:
    """The refusal is about that number, not about the account whose link it came on."""
    assert type(event_of(name, CODES[name], request_)) is Unexpected
