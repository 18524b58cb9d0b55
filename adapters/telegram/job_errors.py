"""Job errors: whether an exception means a lost connection, a wait that the server imposes, or a failure of the job."""

import sqlite3
import time
from typing import Any

from telethon import errors

from adapters.sqlite.job_codec import legible
from adapters.telegram.classify import RequestDropped, RequestHeld, chain_of, classify, is_of_chat
from adapters.telegram.refusals import sentence_of
from adapters.telegram.transfer_errors import TransferFailed, TransferRefused
from adapters.telegram.usernames import MAX_CHARACTERS
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
from states.limits import LIMIT_SECONDS, OF_REQUESTS

ACCOUNT_FAILURES = (
    AccountBanned, AccountLimited, AuthKeyUnknown, AuthRejected, ConfigRefused, DatabaseCorrupt, DatabaseLocked,
    DatabaseUnavailable, ProtocolBroken, SessionDuplicated, TransportFlood,
)  # fmt: skip
"""Failures that reach the account's machine, too, which decides what to do; the job waits, or moves to another."""
SLACK_SECONDS = 1.0
"""Added to the wait that the server asked for, as everywhere."""


def classify_job_error(exc: BaseException, client: Any) -> Lost | Flooded | Raised:
    """Return what an exception means for the job that raised it, which had ``client``.

    A connection error or a silence means a lost connection only if that client is disconnected: a job may talk to other
    servers, too. An sqlite3 error is the job's own, because the session's and the engine's files have errors of their
    own.
    """
    failure = classify(exc)
    if isinstance(failure, FloodWait):
        request = exc.kind if isinstance(exc, RequestHeld) else failure.request
        wait = failure.seconds + SLACK_SECONDS
        alone = is_of_chat(request) or request in OF_REQUESTS
        return Flooded(request, time.time() + wait, alone=alone, of_chat=not is_of_chat(request), seconds=wait)
    if isinstance(failure, AccountLimited) and failure.limit in OF_REQUESTS:
        return Flooded(failure.limit, time.time() + LIMIT_SECONDS, alone=True, seconds=LIMIT_SECONDS)
    if isinstance(failure, AccountLimited):
        return Lost(failure.detail, limited=True)
    if (sentence := sentence_of(exc)) is not None:
        return Raised(f"{sentence} ({failure.detail})", chain_of(exc), final=True)
    gone = client is None or not client.is_connected()
    own_database = isinstance(exc, sqlite3.Error)
    of_account = isinstance(failure, ACCOUNT_FAILURES) and not own_database
    if isinstance(exc, RequestDropped) or of_account or (gone and isinstance(failure, NetworkLost | TimedOut)):
        return Lost(failure.detail)
    if (name := _refused_name(exc)) is not None:
        detail = f"nobody has the username @{name}; add the job again with another one"
        return Raised(detail, chain_of(exc), final=True)
    explained = isinstance(exc, errors.RPCError | TransferFailed)
    detail = failure.detail if explained else f"{type(exc).__name__}: {failure.detail}"
    return Raised(detail, chain_of(exc), final=isinstance(exc, TransferRefused))


def _refused_name(exc: BaseException) -> str | None:
    """Return the username that Telegram has refused, which makes Telethon say that it cannot find an entity."""
    refusal = exc.__cause__ if isinstance(exc, ValueError) else exc
    if not isinstance(refusal, errors.UsernameNotOccupiedError | errors.UsernameInvalidError):
        return None
    name = getattr(refusal.request, "username", None)
    return legible(name)[:MAX_CHARACTERS] if isinstance(name, str) else None
