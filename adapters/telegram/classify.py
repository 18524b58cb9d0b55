"""Turns exceptions into typed events by one table, tried from the top; what Telegram refuses is in ``refusals``.

The order of the rows matters. Telethon maps RPC errors by their text, and its class tree says little: every 406
subclasses ``AuthKeyError``, a ban is an ``UnauthorizedError``, ``RandomIdDuplicateError`` is a ``ServerError``, and a
connection that the server closed is an ``EOFError``. Each row is measured against Telethon 1.45.
"""

import asyncio
import math
import re
from collections.abc import Callable
from typing import Any

import attrs
from attrs import frozen
from telethon import errors, utils
from telethon.tl import TLRequest

from adapters.redaction import redacted
from adapters.session.errors import (
    LoginInUse,
    NotADatabase,
    NotASession,
    SessionDamaged,
    SessionEmpty,
    SessionError,
    SessionFixed,
    SessionHeld,
    SessionTaken,
    SessionTooNew,
    SessionWithoutKey,
)
from adapters.sqlite.errors import DatabaseUnusable, database_failure
from adapters.system.descriptors import exhaustion, is_exhaustion
from adapters.telegram.protocol_watch import ProtocolStuck
from adapters.telegram.refusals import limit_of, meaning_of
from adapters.tl_reader import HostileData
from states.clock import LONGEST_WAIT
from states.events import (
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
    TimedOut,
    TransportFlood,
    Unexpected,
)

MAX_CHAIN = 8
"""Exceptions of a cause chain that are kept; a longer chain says nothing more."""

TRANSPORT_ERRORS = (404, 429, 444)
"""Codes, without their minus, that a datacenter sends in place of a packet; any other number is garbage.

Source: https://core.telegram.org/mtproto/mtproto-transports#transport-errors
"""

SESSION_SETTING = "accounts.session"
"""The setting that is wrong where a file is another program's session, or none."""

MAX_TEXT = 300
"""Characters of one exception's message that are kept."""

UNREADABLE_WAIT = 60.0
"""Seconds to wait where a server demands a wait and its number cannot be read."""

WAIT_ERRORS = (
    errors.FloodWaitError,
    errors.FloodPremiumWaitError,
    errors.SlowModeWaitError,
    errors.FloodTestPhoneWaitError,
    errors.TakeoutInitDelayError,
    errors.TwoFaConfirmWaitError,
    errors.PreviousChatImportActiveWaitMinError,
)
"""Errors that say how long to wait before the same request may be sent again."""

_NAMES_A_WAIT = re.compile(r"(WAIT|DELAY)(_|$)", re.IGNORECASE)
_NUMBER_AT_END = re.compile(r"_(?P<number>[0-9]+)(?P<minutes>MIN)?$", re.IGNORECASE)
MAX_DIGITS = 12
"""Digits of a number in an error's text that are computed with; more are more than ``LONGEST_WAIT`` anyway."""


class NotLoggedIn(Exception):
    """The session holds no key: it was never logged in. The message, if there is one, says more."""


class Unanswered(TimeoutError):
    """A request had no answer within its deadline. The datacenter may have carried it out all the same."""


class RequestDropped(ConnectionError):
    """Telethon cancelled a request that was in flight, because its link went down."""


class RequestHeld(errors.FloodWaitError):  # type: ignore[misc]  # Telethon ships no types
    """The request is of a kind that is held until the flood wait is over; nothing was sent."""

    def __init__(self, request: Any, seconds: int, kind: str) -> None:
        super().__init__(request, seconds)
        self.kind = kind
        """What is held: a kind of request, or a kind in one chat."""


class Migrated(Exception):
    """The account lives in another datacenter than the one whose key the session holds."""

    def __init__(self, here: int, there: int) -> None:
        super().__init__(f"the account lives in datacenter {there}, and this session's key is of datacenter {here}")


class MissedPong(Exception):
    """Telethon closed the link without an error, which it does when a pong is missing."""


class ClosedInside(ConnectionError):
    """Something in this process closed the link, neither the engine nor the other side."""


class LinkAborted(ConnectionAbortedError):
    """The engine dropped the link at once: the node may not act for its account any more."""

    def __init__(self) -> None:
        super().__init__("the link was dropped, because this node may not act for the account any more")


class DatacenterLost(ConnectionError):
    """The connection to another datacenter than the account's own was not made or was lost; the link still stands."""


class ProxyFailed(ConnectionError):
    """A proxy did not make the connection. The text names the proxy and says why, without any secret."""

    refused = False
    """Whether the proxy answered that it does not let us through: the same question would get the same answer."""


@frozen
class ErrorRule:
    """Exceptions of these ``classes`` become ``event``, with these ``fields``, if ``test`` accepts them."""

    classes: tuple[type[BaseException], ...]
    event: type[Failure]
    fields: Callable[[Any], dict[str, Any]] = lambda _: {}
    test: Callable[[Any], bool] = lambda _: True


def _transport_code(code: int) -> Callable[[Any], bool]:
    return lambda exc: exc.code == code


def _flood(exc: Any) -> dict[str, Any]:
    # Slow mode concerns one chat, every other flood wait all requests of the kind.
    slow_mode = isinstance(exc, errors.SlowModeWaitError) or str(exc.message).upper().startswith("SLOWMODE")
    return {"seconds": demanded_seconds(exc), "request": (kind_in_chat if slow_mode else kind_of)(exc.request)}


def demanded_seconds(exc: BaseException) -> float:
    """Return the wait that a server demands, in seconds: what every other part computes with.

    The server's number may be anything. It is from 0 to ``LONGEST_WAIT``, and ``UNREADABLE_WAIT`` if there is none; the
    error's own text keeps the number as it came.
    """
    number: Any = getattr(exc, "seconds", None)
    if number is None and (minutes := getattr(exc, "minutes", None)) is not None:
        number = minutes * 60
    if number is None:
        number = _seconds_in(str(getattr(exc, "message", "")))
    # Compared before it is converted: an integer of 400 digits is no float.
    if not isinstance(number, int | float) or (isinstance(number, float) and math.isnan(number)):
        return UNREADABLE_WAIT
    return float(min(max(number, 0), LONGEST_WAIT))


def _seconds_in(text: str) -> float | None:
    """Return the seconds in the text of an error that Telethon does not know; None if it has no number.

    A number that is not said to be a wait may be anything; it counts only as a longer one than ``UNREADABLE_WAIT``.
    """
    if (found := _NUMBER_AT_END.search(text)) is None:
        return None
    seconds = float(found["number"][:MAX_DIGITS]) * (60 if found["minutes"] else 1)
    return seconds if _NAMES_A_WAIT.search(text) else max(seconds, UNREADABLE_WAIT)


def _is_plain(exc: Any) -> bool:
    """Return whether a flood error says no more than that there is one."""
    return str(exc.message) == "FLOOD"


def kind_of(request: Any) -> str:
    """Return the kind of a request as its class name without ``Request``; ``any`` if it is not known."""
    while isinstance(request, TLRequest) and isinstance(getattr(request, "query", None), TLRequest):
        request = request.query  # invokeWithLayer and the like only wrap the request
    return type(request).__name__.removesuffix("Request") if request is not None else "any"


def kind_in_chat(request: Any) -> str:
    """Return the kind of a request to one chat, as ``SendMessage in -1001234``; without a chat, its kind."""
    peer = getattr(request, "peer", None)
    try:
        return f"{kind_of(request)} in {utils.get_peer_id(peer)}"
    except TypeError:  # no peer, or one that is not resolved yet
        return kind_of(request)


def is_of_chat(kind: str) -> bool:
    """Return whether a kind of request concerns a single chat, see ``kind_in_chat``."""
    return " in " in kind


# Refusals (401, 403, 406, limits) have a table of their own, ``refusals.MEANING``, which is tried first.
TABLE: tuple[ErrorRule, ...] = (
    ErrorRule((ClosedInside,), Unexpected),  # never the network's doing
    ErrorRule((NotLoggedIn, Migrated, errors.UserMigrateError), AuthRejected),
    # of the application: the fault is the config's, not the account's
    ErrorRule(
        (errors.ApiIdInvalidError, errors.ApiIdPublishedFloodError, errors.ConnectionApiIdInvalidError),
        ConfigRefused,
        lambda _: {"setting": "telegram.api_id"},
    ),
    ErrorRule((errors.AuthKeyNotFound,), AuthKeyUnknown),
    # 6. floods: a wait for that kind of request, whatever the text; only a bare FLOOD is the account's
    ErrorRule(WAIT_ERRORS, FloodWait, _flood),
    ErrorRule((errors.FloodError,), AccountLimited, test=_is_plain),
    ErrorRule((errors.FloodError,), FloodWait, _flood),
    # 9. the transport
    ErrorRule((errors.InvalidBufferError,), AuthKeyUnknown, test=_transport_code(404)),
    ErrorRule((errors.InvalidBufferError,), TransportFlood, test=_transport_code(429)),
    # −444 (another datacenter than it is taken for) comes in clear text, like −404: no proof, so it is not final
    ErrorRule(
        (
            errors.InvalidBufferError,
            errors.SecurityError,
            errors.BadMessageError,
            errors.TypeNotFoundError,
            errors.InvalidChecksumError,
            ProtocolStuck,
            HostileData,
        ),
        ProtocolBroken,
    ),
    # 12. before the timeouts: Telethon's own TimeoutError (−503) is a TimedOutError, a server's fault
    ErrorRule((errors.RandomIdDuplicateError, errors.NeedMemberInvalidError), Unexpected),
    ErrorRule((errors.ServerError, errors.TimedOutError), ServerFault),
    # 10. silence
    ErrorRule((TimeoutError, MissedPong, RequestDropped, asyncio.CancelledError), TimedOut),
    # 11. the network: a FIN is an IncompleteReadError, an EOFError but not an OSError; ProxyFailed is an OSError
    ErrorRule((OSError, EOFError), NetworkLost),
)
"""7. Telethon handles other migrations (303); one that it does not handle is 13. unexpected. 8. SQLite's
errors have a table of their own."""

_SENTENCES: tuple[tuple[type[BaseException], str], ...] = (
    (NotLoggedIn, "nobody has logged in with this session file yet"),
    (MissedPong, "the datacenter stopped answering pings"),
    (ClosedInside, "code in this process closed the connection behind the engine's back; look at what jobs do"),
    (errors.AuthKeyNotFound, "the datacenter does not know this session's key (−404)"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection reset"),
    (EOFError, "the other side closed the connection"),
    (RequestDropped, "the link was dropped with the request in flight"),
    (asyncio.CancelledError, "cancelled with the request in flight"),
)


def _message(exc: BaseException) -> str:
    """Return the text of an exception, without the request that it carries and without what was received."""
    if isinstance(exc, errors.BadMessageError):
        return f"{exc.args[-1]} (bad_msg {exc.code})"
    # These quote what was received.
    if isinstance(exc, errors.TypeNotFoundError):
        return f"Telethon does not know constructor {exc.invalid_constructor_id:08x}; update Telethon"
    if isinstance(exc, errors.InvalidBufferError):
        return "transport error" if exc.code is None else f"transport error −{exc.code}"
    if isinstance(exc, BufferError):
        return "what was received ends too early for Telethon; update Telethon"
    return redacted(str(exc))


def describe(exc: BaseException) -> str:
    """Return what happened in a few words, without data of the request and limited in length."""
    if isinstance(exc, HostileData) or (isinstance(exc, NotLoggedIn) and str(exc)):
        return str(exc)
    for kind, text in _SENTENCES:
        if isinstance(exc, kind):
            return text
    if isinstance(exc, errors.InvalidBufferError):
        if exc.code == 444:
            return "transport error −444 (another datacenter than expected; if it stays, see telegram.datacenter)"
        return f"transport error −{exc.code}" if exc.code in TRANSPORT_ERRORS else "what came is not MTProto"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror[:MAX_TEXT].lower()
    if isinstance(exc, errors.RPCError):
        text = redacted(str(exc)).partition(" (caused by ")[
            0
        ]  # says more than ``message``, which all errors of a class share
        return f"{text.removeprefix(f'RPCError {exc.code}: ') or type(exc).__name__} ({exc.code})"[:MAX_TEXT]
    if isinstance(exc, ConnectionError) and str(exc) == "Not connected":  # Telethon's word for a FIN while connecting
        return "the other side closed the connection"
    lines = _message(exc).strip().splitlines()
    return (lines[0] if lines else type(exc).__name__)[:MAX_TEXT]


def chain_of(exc: BaseException) -> tuple[str, ...]:
    """Return the cause chain, outermost first, each as ``Class: message``."""
    chain: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = exc
    while link is not None and id(link) not in seen and len(chain) < MAX_CHAIN:
        seen.add(id(link))
        text = " ".join(_message(link).split())[:MAX_TEXT]
        chain.append(f"{type(link).__name__}: {text}" if text else type(link).__name__)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return tuple(chain)


def forget_frames(exc: BaseException) -> None:
    """Drop the frames of an error and of its causes: they hold all of a link, which would live until a collection."""
    left, seen = [exc], set[int]()
    while left and len(seen) < MAX_CHAIN:
        link = left.pop()
        if id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            left += [error for error in (link.__cause__, link.__context__) if error is not None]


def _of_storage(exc: BaseException) -> Failure | None:
    """Return the event that an error of a session file means; None if ``exc`` is not one."""
    if isinstance(exc, SessionHeld):  # another program uses the file now, but not for ever
        return DatabaseLocked(detail=str(exc))
    if isinstance(exc, SessionDamaged | SessionWithoutKey | NotADatabase):
        return DatabaseCorrupt(detail=str(exc))
    if isinstance(exc, SessionEmpty):
        return AuthRejected(detail=str(exc))
    # Nothing is damaged: it is a wrong file, or somebody else's now.
    if isinstance(exc, NotASession | SessionTooNew | SessionFixed | SessionTaken | LoginInUse):
        return ConfigRefused(setting=SESSION_SETTING, detail=str(exc))
    if isinstance(exc, SessionError):  # it could not be saved in time, or has changed meanwhile
        return DatabaseUnavailable(detail=str(exc))
    if isinstance(exc, DatabaseUnusable):
        return attrs.evolve(exc.failure, detail=str(exc))
    return database_failure(exc)


def classify(exc: BaseException, *, link: int = 0, what: str = "request") -> Failure:
    """Return the event that ``exc`` means; never raises.

    ``what`` says what was waited for in case of a silence: ``connect``, ``probe`` or ``request``.
    """
    if isinstance(exc, OverflowError) and isinstance(exc.__context__, WAIT_ERRORS):
        exc = exc.__context__  # Telethon could not add the server's number to the time of day
    common: dict[str, Any] = {"link": link, "chain": chain_of(exc), "detail": describe(exc)}
    # Telethon reports a failed TCP connect in its own words; the socket's own error says more, a proxy's says it all.
    in_full = isinstance(exc, ProxyFailed | DatacenterLost | ClosedInside)
    if isinstance(exc, ConnectionError) and exc.__cause__ is not None and not in_full:
        common["detail"] = describe(exc.__cause__)
    if is_exhaustion(exc):  # neither the network's nor a file's fault
        return Unexpected(link=link, chain=common["chain"], detail=exhaustion(exc))
    if (database := _of_storage(exc)) is not None:
        return attrs.evolve(database, link=link, chain=common["chain"])
    if isinstance(exc, errors.RPCError) and (refused := meaning_of(exc)) is not None:
        if refused is AccountLimited:
            return AccountLimited(**common, limit=limit_of(exc))
        return refused(**common)
    for row in TABLE:
        if isinstance(exc, row.classes) and row.test(exc):
            fields = row.fields(exc)
            if row.event is TimedOut:
                fields["what"] = what
            return row.event(**common, **fields)
    return Unexpected(**common)
