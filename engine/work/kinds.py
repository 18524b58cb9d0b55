"""Kinds of jobs: each has a name, a function, and the class of its jobs' data."""

import json
import math
import re
import types
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import cattrs
from attrs import field, frozen

from engine.console.format import nearest

Function = Callable[[Any, Any], Awaitable[Any]]
"""``async def work(job, client)``; what it returns is the job's result, as JSON."""


class BadJob(ValueError):
    """The job cannot be added; the text says why."""


MAX_DEPTH = 50
"""Levels of lists and mappings in a job's data."""
MAX_CHARACTERS = 1_048_576
"""Length of a job's data as JSON."""
MAX_INTEGER = 2**64


def unstorable(data: Any) -> str | None:
    """Return why a job's data could not be stored, and read again, as they are; None if they could."""
    try:
        fault = _unstorable(data, "", 0)
        if fault is None and len(json.dumps(data, allow_nan=False)) > MAX_CHARACTERS:
            fault = f"they are longer than {MAX_CHARACTERS:,} characters"
    except (TypeError, ValueError, RecursionError) as exc:
        fault = f"they are not JSON ({exc})"
    return fault


def _unstorable(value: Any, where: str, depth: int) -> str | None:
    place = where.removeprefix(".") or "the data"
    if depth > MAX_DEPTH:
        return f"{place[:40]}… is nested more than {MAX_DEPTH} levels deep"
    match value:
        case None | bool():
            return None
        case str():
            return _unstorable_text(value, place)
        case int():
            return None if -MAX_INTEGER < value < MAX_INTEGER else f"{place} has more digits than Telegram has"
        case float():
            return None if math.isfinite(value) else f"{place} is {value}, which JSON does not have"
        case Mapping():
            inner = [(_key_fault(key, place), f"{where}.{key}", each) for key, each in value.items()]
        case list() | tuple():
            inner = [(None, f"{where}[{index}]", each) for index, each in enumerate(value)]
        case _:
            return f"{place} is of {type(value).__name__}, which JSON does not have"
    return next((found for fault, at, each in inner if (found := fault or _unstorable(each, at, depth + 1))), None)


def _key_fault(key: Any, place: str) -> str | None:
    return _unstorable_text(key, f"a key of {place}") if isinstance(key, str) else f"a key of {place} is no text"


def _unstorable_text(text: str, place: str) -> str | None:
    if "\0" in text:
        return f"{place} has a NUL character; remove it"
    if any("\ud800" <= each <= "\udfff" for each in text):
        return f"{place} has half a character (such as half an emoji, or a byte that is not UTF-8); write it whole"
    return None


def _plain(wanted: type[Any], *also: type[Any]) -> Callable[[Any, Any], Any]:
    """Return a hook that accepts values of one type only: it converts neither text to a number nor a number to text."""

    def take(value: Any, _: Any) -> Any:
        if isinstance(value, (wanted, *also)) and not (isinstance(value, bool) and wanted is not bool):
            return wanted(value)
        raise ValueError(f"must be {_WORDS[wanted]}, not {value!r:.60}")

    return take


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for wanted in (str, int, bool):
        converter.register_structure_hook(wanted, _plain(wanted))
    converter.register_structure_hook(float, _plain(float, int))
    converter.register_structure_hook(str | int, _text_or_number)
    converter.register_structure_hook(
        str | int | None, lambda value, _: value if value is None else _text_or_number(value, _)
    )
    return converter


def _text_or_number(value: Any, _: Any) -> str | int:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return value
    raise ValueError(f"must be text or a whole number, not {value!r:.60}")


_CONVERTER = _converter()


@frozen
class JobKind:
    """One kind of jobs; with ``data`` None it accepts any mapping."""

    name: str
    function: Function
    data: type[Any] | None = None
    endless: bool = False
    """Whether its jobs never end: they take no place of ``work.per_account``, and each chat has one per account."""

    def value_of(self, name: str, text: str) -> Any:
        """Return the value of ``text`` for a field: itself if the field is text, else parsed as JSON where that works.

        In a field for text or a number a whole number is a number: ``to=1234`` is an id, ``to=+1234`` a phone number.
        """
        wanted = None if self.data is None else typing.get_type_hints(self.data).get(name)
        if wanted is str or (_takes(wanted, str) and not (_takes(wanted, int) and re.fullmatch(r"-?[0-9]+", text))):
            return text
        with suppress(ValueError, RecursionError):
            return json.loads(text)
        return text

    def read(self, data: Mapping[str, Any]) -> Any:
        """Return what the function gets as ``job.data``. Raises ``BadJob`` with everything that does not fit."""
        if self.data is None:
            return dict(data)
        try:
            return _CONVERTER.structure(data, self.data)
        except Exception as exc:
            if not isinstance(exc, cattrs.BaseValidationError):
                raise BadJob(f"the data of a {self.name} job: {exc}") from None
            faults = "; ".join(map(_placed, cattrs.transform_error(exc, "", _fault)))
            raise BadJob(f"the data of a {self.name} job does not fit: {faults}") from None


def _takes(wanted: Any, plain: type[Any]) -> bool:
    """Return whether a union has this type. ``list[str]`` has ``str`` among its arguments, but is not a union."""
    return typing.get_origin(wanted) in (types.UnionType, typing.Union) and plain in typing.get_args(wanted)


def _placed(fault: str) -> str:
    """Turn cattrs' ``what is wrong @ .where`` into the order of a sentence."""
    what, _, where = fault.rpartition(" @ ")
    return f"{where.removeprefix('.')} {what}".strip()


def _fault(exc: BaseException, _: type[Any] | None) -> str:
    match exc:
        case KeyError():
            return "is missing"
        case cattrs.ForbiddenExtraKeysError():
            known = [attribute.name for attribute in getattr(exc.cl, "__attrs_attrs__", ())]
            extra = sorted(exc.extra_fields)
            return f"{', '.join(extra)} is not known; {nearest(extra[0], known)}"
        case ValueError() | TypeError():
            return str(exc)
        case _:
            return f"{type(exc).__name__}: {exc}"


@frozen
class JobKinds:
    """All kinds, by name."""

    by_name: dict[str, JobKind] = field(factory=dict)

    @classmethod
    def of(cls, kinds: Iterable[JobKind]) -> "JobKinds":
        """Return these kinds; a later one replaces an earlier one of the same name."""
        return cls({kind.name: kind for kind in kinds})

    def get(self, name: str) -> JobKind | None:
        """Return the kind called ``name``, if there is one."""
        return self.by_name.get(name)

    def named(self, name: str) -> JobKind:
        """Return the kind called ``name``. Raises ``BadJob``."""
        kind = self.by_name.get(name)
        if kind is None:
            raise BadJob(f"there is no kind of jobs called {name!r}; {nearest(name, self.by_name)}")
        return kind

    def check(self, name: str, data: Mapping[str, Any]) -> Any:
        """Return a job's data as its kind reads it. Raises ``BadJob`` for an unknown kind or wrong data."""
        return self.named(name).read(data)
