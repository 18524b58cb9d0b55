"""The values of ``states`` as JSON, and back.

A decoded value equals the one that was encoded. A field that this version does not know is ignored, and a missing one
takes its default, so that files of neighbouring versions can be read.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

import attrs
import cattrs

from adapters.sqlite.errors import Undecodable
from states.events import EVENT_BY_NAME, Event
from states.schedules import Policy
from states.snapshot import Hold, Snapshot
from states.step import Record

T = TypeVar("T")

_CONVERTER = cattrs.Converter(detailed_validation=False)
_FIELDS = {each.name for each in attrs.fields(Snapshot)}
_MAX_NUMBER = 1e15
"""Beyond every time and every count: what is greater was not written by an engine."""
_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode_snapshot(snapshot: Snapshot) -> str:
    """Return ``snapshot`` as JSON (ASCII)."""
    return _encode(_CONVERTER.unstructure(snapshot))


def decode_snapshot(text: str) -> Snapshot:
    """Return the snapshot that ``text`` holds. Raises ``Undecodable``, also for a number that none can have."""

    def decode() -> Snapshot:
        values = _object(text)
        _check_numbers(values)
        return _CONVERTER.structure(values, Snapshot)

    return _decode(decode, "snapshot")


def read_fields(text: Any) -> dict[str, Any]:
    """Return those fields of a snapshot that can be read in a text as a whole of which it cannot be."""
    try:
        values = _decode(lambda: _object(text), "snapshot")
    except Undecodable:
        return {}
    found = {}
    for name in values.keys() & _FIELDS:
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
def encode_policy(policy: Policy) -> str:
    """Return ``policy`` as JSON (ASCII). Nearly all accounts share one, so the last few results are cached."""
    return _encode(_CONVERTER.unstructure(policy))


def decode_policy(text: str) -> Policy:
    """Return the policy that ``text`` holds. Raises ``Undecodable``."""
    return _decode(lambda: _CONVERTER.structure(_object(text), Policy), "policy")


def event_from(name: str, payload: dict[str, Any]) -> Event:
    """Return the event with this name and payload. Raises ``Undecodable``, also for an unknown name."""
    event = EVENT_BY_NAME.get(name)
    if event is None:
        raise Undecodable(f"the journal holds an event that this version does not know: {name}; use a newer version")
    return _decode(lambda: _CONVERTER.structure(payload, event), name)


def encode_body(record: Record) -> str:
    """Return as JSON (ASCII) what has no column: payload, effects, and detail and cause if the payload lacks them."""
    body: dict[str, Any] = {"payload": record.payload, "effects": record.effects}
    if record.detail != record.payload.get("detail", ""):
        body["detail"] = record.detail
    if list(record.cause) != list(record.payload.get("chain", ())):
        body["cause"] = record.cause
    return _encode(body)


def decode_body(text: str) -> dict[str, Any]:
    """Return payload, effects, detail and cause from the ``body`` of a record. Raises ``Undecodable``."""

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
        return found

    return _decode(decode, "record")


def _check_numbers(value: Any) -> None:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _check_numbers(each)
    elif isinstance(value, int | float) and not abs(value) < _MAX_NUMBER:
        raise ValueError(f"{value!r:.40} is no time and no count")


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {type(value).__name__}")
    return value


def _payload(values: dict[str, Any]) -> dict[str, Any]:
    """Return an event's fields. Events are immutable, so each JSON array was a tuple."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


_SPOILT = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError, cattrs.BaseValidationError,
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
