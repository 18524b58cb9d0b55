"""Whose trouble a job's exception is: the connection's, the server's wait, or the job's own."""

import re
import sqlite3
import time
from typing import Any

from telethon import errors

from adapters.telegram.classify import RequestDropped, RequestHeld, chain_of, classify, is_of_chat
from states.events import (
    AccountBanned,
    AccountLimited,
    AuthKeyUnknown,
    AuthRejected,
    ConfigRefused,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseUnavailable,
    FloodWait,
    NetworkLost,
    ProtocolBroken,
    SessionDuplicated,
    TimedOut,
    TransportFlood,
)
from states.jobs import Flooded, Lost, Raised

OF_THE_ACCOUNT = (
    AccountBanned, AccountLimited, AuthKeyUnknown, AuthRejected, ConfigRefused, DatabaseCorrupt, DatabaseLocked,
    DatabaseUnavailable, ProtocolBroken, SessionDuplicated, TransportFlood,
)  # fmt: skip
"""The account hears of these, too, and decides what to do; the job waits for it, or goes on with another."""
_PHONE = re.compile(r"\+[0-9]{7,15}")
SLACK_SECONDS = 1.0
"""More than the server asked for, as everywhere."""


def classify_job_error(exc: BaseException, client: Any) -> Lost | Flooded | Raised:
    """Return what an exception means for the job that raised it, which had ``client``.

    A connection error or a silence is the connection's only if that client's is gone: a job may talk to others, too. An
    error of SQLite's is the job's own, as the session's and the engine's say theirs in words of their own.
    """
    if isinstance(exc, errors.FloodWaitError | errors.FloodPremiumWaitError | errors.SlowModeWaitError):
        event = classify(exc)
        assert isinstance(event, FloodWait)
        request = exc.kind if isinstance(exc, RequestHeld) else event.request
        return Flooded(request, time.time() + event.seconds + SLACK_SECONDS, alone=is_of_chat(request))
    failure = classify(exc)
    gone = client is None or not client.is_connected()
    own_database = isinstance(exc, sqlite3.Error)
    of_account = isinstance(failure, OF_THE_ACCOUNT) and not own_database
    if isinstance(exc, RequestDropped) or of_account or (gone and isinstance(failure, NetworkLost | TimedOut)):
        return Lost(failure.detail)
    detail = failure.detail if isinstance(exc, errors.RPCError) else f"{type(exc).__name__}: {failure.detail}"
    return Raised(_private(detail), tuple(map(_private, chain_of(exc))))


def _private(text: str) -> str:
    """Return a text without the phone numbers in it: Telethon quotes whom it cannot find."""
    return _PHONE.sub("+…", text)
