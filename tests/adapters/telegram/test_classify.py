"""Every class that the taxonomy of Telethon's errors names becomes the event that it should."""

import asyncio
import sqlite3
import struct

import pytest
from telethon import errors
from telethon.tl.functions.messages import SendMessageRequest

from adapters.telegram.classify import (
    MAX_CHAIN,
    MAX_TEXT,
    MissedPong,
    NotLoggedIn,
    RequestDropped,
    chain_of,
    classify,
)
from states.events import (
    AccountBanned,
    AccountLimited,
    AuthKeyUnknown,
    AuthRejected,
    ConfigRefused,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseUnavailable,
    Failure,
    FloodWait,
    NetworkLost,
    ProtocolBroken,
    ServerFault,
    SessionDuplicated,
    TimedOut,
    TransportFlood,
    Unexpected,
)

REQUEST = SendMessageRequest("me", "text", random_id=1)


def buffer(code: int) -> errors.InvalidBufferError:
    """Return a transport error as Telethon raises it."""
    return errors.InvalidBufferError(struct.pack("<i", -code))


def database(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    """Return an SQLite error with its code."""
    exc = kind("text that must not be parsed")
    exc.sqlite_errorcode, exc.sqlite_errorname = code, "SQLITE_SOMETHING"
    return exc


CASES: list[tuple[BaseException, type[Failure]]] = [
    (errors.AuthKeyDuplicatedError(REQUEST), SessionDuplicated),
    (errors.UserDeactivatedBanError(REQUEST), AccountBanned),
    (errors.UserDeactivatedError(REQUEST), AccountBanned),
    (errors.PhoneNumberBannedError(REQUEST), AccountBanned),
    (errors.FrozenMethodInvalidError(REQUEST), AccountLimited),
    (errors.FrozenParticipantMissingError(REQUEST), AccountLimited),
    (errors.PeerFloodError(REQUEST), AccountLimited),
    (errors.SessionPasswordNeededError(REQUEST), AuthRejected),
    (errors.AuthKeyPermEmptyError(REQUEST), AuthRejected),
    (errors.AuthKeyUnregisteredError(REQUEST), AuthRejected),
    (errors.AuthKeyInvalidError(REQUEST), AuthRejected),
    (errors.SessionRevokedError(REQUEST), AuthRejected),
    (errors.SessionExpiredError(REQUEST), AuthRejected),
    (errors.UnauthorizedError(REQUEST, "SOMETHING_NEW", 401), AuthRejected),
    (NotLoggedIn(), AuthRejected),
    (errors.AuthKeyNotFound(), AuthKeyUnknown),
    (buffer(404), AuthKeyUnknown),
    (errors.FloodWaitError(REQUEST, 30), FloodWait),
    (errors.FloodPremiumWaitError(REQUEST, 30), FloodWait),
    (errors.SlowModeWaitError(REQUEST, 30), FloodWait),
    (errors.FloodTestPhoneWaitError(REQUEST, 30), FloodWait),
    (errors.FloodError(REQUEST, "FLOOD", 420), AccountLimited),
    (errors.UserMigrateError(REQUEST, 4), AuthRejected),
    (errors.NetworkMigrateError(REQUEST, 4), Unexpected),
    (database(sqlite3.SQLITE_BUSY), DatabaseLocked),
    (database(sqlite3.SQLITE_BUSY_SNAPSHOT), DatabaseLocked),
    (database(sqlite3.SQLITE_LOCKED), DatabaseLocked),
    (database(sqlite3.SQLITE_FULL), DatabaseUnavailable),
    (database(sqlite3.SQLITE_READONLY), DatabaseUnavailable),
    (database(sqlite3.SQLITE_CANTOPEN), DatabaseUnavailable),
    (database(sqlite3.SQLITE_IOERR), DatabaseUnavailable),
    (database(sqlite3.SQLITE_CORRUPT, sqlite3.DatabaseError), DatabaseCorrupt),
    (database(sqlite3.SQLITE_NOTADB, sqlite3.DatabaseError), DatabaseCorrupt),
    (buffer(429), TransportFlood),
    (buffer(444), ProtocolBroken),
    (buffer(500), ProtocolBroken),
    (errors.InvalidBufferError(b"garbage that is longer"), ProtocolBroken),
    (errors.SecurityError("wrong nonce"), ProtocolBroken),
    (errors.BadMessageError(REQUEST, 18), ProtocolBroken),
    (errors.TypeNotFoundError(0xDEADBEEF, b""), ProtocolBroken),
    (errors.InvalidChecksumError(1, 2), ProtocolBroken),
    (TimeoutError(), TimedOut),
    (MissedPong(), TimedOut),
    (RequestDropped(), TimedOut),
    (asyncio.CancelledError(), TimedOut),
    (ConnectionResetError(104, "Connection reset by peer"), NetworkLost),
    (ConnectionRefusedError(111, "Connection refused"), NetworkLost),
    (ConnectionError("Not connected"), NetworkLost),
    (OSError(113, "No route to host"), NetworkLost),
    (asyncio.IncompleteReadError(b"", 8), NetworkLost),
    (errors.ServerError(REQUEST, "INTERNAL", 500), ServerFault),
    (errors.RpcCallFailError(REQUEST), ServerFault),
    (errors.TimedOutError(REQUEST, "Timeout", -503), ServerFault),
    (errors.TimeoutError(REQUEST), ServerFault),
    (errors.RandomIdDuplicateError(REQUEST), Unexpected),
    (errors.NeedMemberInvalidError(REQUEST), Unexpected),
    (errors.ApiIdInvalidError(REQUEST), ConfigRefused),
    (errors.ApiIdPublishedFloodError(REQUEST), ConfigRefused),
    (errors.UpdateAppToLoginError(REQUEST), Unexpected),
    (errors.FreshChangePhoneForbiddenError(REQUEST), Unexpected),
    (ZeroDivisionError("a bug"), Unexpected),
]


@pytest.mark.parametrize(("exc", "event"), CASES, ids=lambda case: getattr(case, "__name__", type(case).__name__))
def test_each_class_becomes_its_event(exc: BaseException, event: type[Failure]) -> None:
    """An exception becomes exactly the event that the taxonomy gives, on the link it came from."""
    failure = classify(exc, link=7)
    assert type(failure) is event
    assert failure.link == 7


@pytest.mark.parametrize("exc", [exc for exc, _ in CASES], ids=lambda exc: type(exc).__name__)
def test_each_event_has_a_sentence_and_a_chain(exc: BaseException) -> None:
    """The sentence is short and never empty, and the exception's class is on record."""
    failure = classify(exc)
    assert 0 < len(failure.detail) <= MAX_TEXT + len(" (−404)")
    assert "\n" not in failure.detail
    assert failure.chain[0].startswith(type(exc).__name__)


def test_a_flood_names_its_seconds_and_its_request() -> None:
    """The server's number and the kind of request are taken from the error."""
    failure = classify(errors.FloodWaitError(REQUEST, 77))
    assert isinstance(failure, FloodWait)
    assert (failure.seconds, failure.request) == (77.0, "SendMessage")


def test_a_refused_setting_is_named() -> None:
    """The event names the setting that the datacenter refuses."""
    settings = [classify(exc) for exc in (errors.ApiIdInvalidError(REQUEST),)]
    assert [getattr(failure, "setting", "") for failure in settings] == ["telegram.api_id"]


def test_a_silence_says_what_was_waited_for() -> None:
    """``what`` of a ``TimedOut`` is the caller's."""
    failure = classify(TimeoutError(), what="connect")
    assert isinstance(failure, TimedOut)
    assert failure.what == "connect"


def test_the_sentence_is_the_socket_s_own_error() -> None:
    """When TCP fails, Telethon's 'failed 1 time(s)' gives way to the reason."""
    try:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as cause:
            raise ConnectionError("Connection to Telegram failed 1 time(s)") from cause
    except ConnectionError as exc:
        failure = classify(exc)
    assert failure.detail == "connection refused"
    assert [link.split(":")[0] for link in failure.chain] == ["ConnectionError", "ConnectionRefusedError"]


def test_a_chain_that_runs_in_a_circle_ends() -> None:
    """Causes that point at each other do not hang the classifier, and long chains are cut."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert chain_of(first) == ("ValueError: first", "ValueError: second")
    exc = ValueError("0")
    for number in range(1, 20):
        outer = ValueError(str(number))
        outer.__cause__ = exc
        exc = outer
    assert len(chain_of(exc)) == MAX_CHAIN


def test_the_text_of_a_request_is_not_on_record() -> None:
    """An error's request may carry a private text; neither sentence nor chain repeats it."""
    request = SendMessageRequest("me", "a private text", random_id=1)
    failure = classify(errors.FloodWaitError(request, 5))
    assert "private" not in failure.detail + "".join(failure.chain)
