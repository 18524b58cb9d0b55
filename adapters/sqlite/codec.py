"""The values of ``states`` as JSON, and back.

A decoded value equals the one that was encoded. A field that this version does not know is ignored, and a missing one
takes its default, so that files of neighbouring versions can be read.
"""

import json
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.sqlite.errors import Undecodable
from states.record import Record
from states.snapshot import Cause, Hold, Restriction, Snapshot, Stall, State, Trouble

if TYPE_CHECKING:  # commands read snapshots alone, which need neither
    from cattrs import Converter
    from msgspec.json import Encoder

    from states.events import Event
    from states.schedules import Policy

T = TypeVar("T")


@cache
def _converter() -> "Converter":
    from cattrs import Converter  # noqa: PLC0415 - as above

    return Converter(detailed_validation=False)


@cache
def _encoder() -> "Encoder":
    """Return what writes JSON several times as fast as ``json``."""
    from msgspec.json import Encoder  # noqa: PLC0415 - as above

    return Encoder()


MAX_NUMBER = 1e15
"""Beyond every time and every count: what is greater was not written by an engine."""
_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode_snapshot(snapshot: Snapshot) -> str:
    """Return ``snapshot`` as JSON."""
    at = snapshot
    # No number, or an infinite one, makes the sum what it is.
    times = at.since + (at.deadline or 0) + (at.wait or 0) + (at.last_success or 0) + (at.proved_at or 0)
    text = _encode_quickly(snapshot, (times,))
    return _encode(_converter().unstructure(snapshot)) if text is None else text


def _encode_quickly(value: Any, numbers: Iterable[Any]) -> str | None:
    """Return a value as JSON; None for one that msgspec does not write as ``json`` does.

    That is half a character, as file names can have it, a class of texts or numbers of a program's own, and a number
    in ``numbers`` that is none.
    """
    for number in numbers:
        if type(number) is float and not math.isfinite(number):
            return None
    try:
        return _encoder().encode(value).decode()
    except (UnicodeEncodeError, OverflowError, TypeError):
        return None


def decode_snapshot(text: str) -> Snapshot:
    """Return the snapshot that ``text`` holds. Raises ``Undecodable``, also for a number that none can have."""

    def decode() -> Snapshot:
        values = _object(text)
        _check_numbers(values.values())
        return Snapshot(**{name: _READ[name](value) for name, value in values.items() if name in _READ})

    return _decode(decode, "snapshot")


def read_fields(text: Any) -> dict[str, Any]:
    """Return those fields of a snapshot that can be read in a text as a whole of which it cannot be."""
    try:
        values = _decode(lambda: _object(text), "snapshot")
    except Undecodable:
        return {}
    found = {}
    for name in values.keys() & _READ.keys():
        with suppress(Undecodable):
            found[name] = getattr(decode_snapshot(_encode({name: values[name]})), name)
    if isinstance(values.get("holds"), list) and "holds" not in found:
        found["holds"] = tuple(hold for value in values["holds"] for hold in _readable_holds(value))
    return found


def _readable_holds(value: Any) -> tuple[Hold, ...]:
    with suppress(Undecodable):
        return decode_snapshot(_encode({"holds": [value]})).holds
    return ()


@lru_cache(maxsize=8)
def encode_policy(policy: "Policy") -> str:
    """Return ``policy`` as JSON (ASCII). Nearly all accounts share one, so the last few results are cached."""
    return _encode(_converter().unstructure(policy))


def decode_policy(text: str) -> "Policy":
    """Return the policy that ``text`` holds. Raises ``Undecodable``."""
    from states.schedules import Policy  # noqa: PLC0415 - as above

    return _decode(lambda: _converter().structure(_object(text), Policy), "policy")


def policy_key(text: str) -> str:
    """Return what a record calls the policy with this JSON, 16 hex digits."""
    from hashlib import blake2b  # noqa: PLC0415 - only where a policy was changed under a life

    return blake2b(text.encode(), digest_size=8).hexdigest()


def event_from(name: str, payload: dict[str, Any]) -> "Event":
    """Return the event with this name and payload. Raises ``Undecodable``, also for an unknown name."""
    from states.events import EVENT_BY_NAME  # noqa: PLC0415 - as above

    event = EVENT_BY_NAME.get(name)
    if event is None:
        raise Undecodable(f"the journal holds an event that this version does not know: {name}; use a newer version")
    return _decode(lambda: _converter().structure(payload, event), name)


def encode_body(record: Record, policy: str | None = None) -> str:
    """Return as JSON what has no column: payload, effects, and detail and cause if the payload lacks them.

    ``policy`` is the key of the policy by which it was decided, unless that is the one of its life.
    """
    payload = record.payload
    body: dict[str, Any] = {"payload": payload, "effects": record.effects}
    if record.detail != payload.get("detail", ""):
        body["detail"] = record.detail
    if record.cause != payload.get("chain", ()):
        body["cause"] = record.cause
    if policy is not None:
        body["policy"] = policy
    text = _encode_quickly(body, payload.values())
    return _encode(body) if text is None else text


def decode_body(text: str) -> dict[str, Any]:
    """Return payload, effects, detail and cause from the ``body`` of a record, and the key of its policy if it has one.

    Raises ``Undecodable``.
    """

    def decode() -> dict[str, Any]:
        body = _object(text)
        payload = _payload(body.get("payload", {}))
        found = {
            "payload": payload,
            "effects": tuple(body.get("effects", ())),
            "detail": body.get("detail", payload.get("detail", "")),
            "cause": tuple(body.get("cause", payload.get("chain", ()))),
        }
        if not all(isinstance(each, str) for each in (found["detail"], *found["cause"], *found["effects"])):
            raise TypeError("detail, cause and effects must be text")
        if "policy" in body:
            found["policy"] = str(body["policy"])
        return found

    return _decode(decode, "record")


def _check_numbers(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, dict):
            _check_numbers(value.values())
        elif isinstance(value, list):
            _check_numbers(value)
        elif isinstance(value, int | float) and not -MAX_NUMBER < value < MAX_NUMBER:
            raise ValueError(f"{value!r:.40} is no time and no count")


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {type(value).__name__}")
    return value


def _payload(values: dict[str, Any]) -> dict[str, Any]:
    """Return an event's fields. Events are immutable, so each JSON array was a tuple."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _cause(value: Any) -> Cause:
    return Cause(event=str(value["event"]), detail=str(value.get("detail", "")))


def _hold(value: Any) -> Hold:
    return Hold(
        request=str(value["request"]), until=float(value["until"]), length=_optional(float)(value.get("length"))
    )


def _restriction(value: Any) -> Restriction:
    return Restriction(
        limit=str(value["limit"]),
        detail=str(value.get("detail", "")),
        deletion=_optional(float)(value.get("deletion")),
        appeal=str(value.get("appeal", "")),
    )


def _trouble(value: Any) -> Trouble:
    return Trouble(
        event=str(value["event"]),
        detail=str(value.get("detail", "")),
        since=float(value["since"]),
        told=bool(value.get("told", False)),
    )


def _stall(value: Any) -> Stall:
    return Stall(
        since=float(value["since"]),
        detail=str(value.get("detail", "")),
        clients=int(value.get("clients", 0)),
        until=_optional(float)(value.get("until")),
        length=_optional(float)(value.get("length")),
        told=bool(value.get("told", False)),
    )


def _holds(value: Any) -> tuple[Hold, ...]:
    return tuple(map(_hold, value))


def _gap(value: Any) -> tuple[float, float]:
    first, last = value
    return float(first), float(last)


def _optional(read: Callable[[Any], T]) -> Callable[[Any], T | None]:
    return lambda value: None if value is None else read(value)


_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("state", "resumes"), State),
    **dict.fromkeys(
        ("generation", "life", "link", "links", "attempt", "failures", "streak", "silences", "reconnects"), int
    ),
    **dict.fromkeys(("stable", "exhausted", "paused"), bool),
    **dict.fromkeys(("deadline", "wait", "last_success", "proved_at"), _optional(float)),
    **dict.fromkeys(("cause", "limited"), _optional(_cause)),
    "since": float,
    "credentials": str,
    "holds": _holds,
    "database": _optional(_trouble),
    "stall": _optional(_stall),
    "restricted": _optional(_restriction),
    "offline": _optional(_gap),
}
"""Reads each field of a snapshot: written out, because a command that shows thousands of them has no time to lose."""

_SPOILT = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError, ExceptionGroup,
)  # fmt: skip
"""What reading a value can raise that something else has written."""


def _decode(decode: Callable[[], T], what: str) -> T:
    try:
        return decode()
    except _SPOILT as exc:
        raise Undecodable(
            f"a stored {what} cannot be read ({type(exc).__name__}: {exc}); "
            "use the version that wrote it, or restore a backup"
        ) from exc
