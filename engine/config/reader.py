"""Reads plain values as classes of attrs, and finds every mistake in them at once."""

import types
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, get_args, get_origin

import attrs
from attrs import frozen

from engine.config.document import KeyPath, Problem
from engine.config.values import AlreadyReported, describe_type
from engine.console.format import nearest

T = TypeVar("T")
Read = Callable[[Any], Any]
"""Returns the value for a plain one. Raises ``ValueError`` with a sentence, ``Faulty`` or ``AlreadyReported``."""
Prepare = Callable[[dict[str, Any]], dict[str, Any]]
"""Fills in values that the section's class cannot know."""

KEYS: Final = {"duration": "for"}
"""The keys of attributes whose key is a keyword of Python."""


class Faulty(Exception):
    """A section or a list with mistakes in it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


@frozen
class _Field:
    """One key of a section."""

    attribute: "attrs.Attribute[Any]"
    key: str
    read: Read

    def read_checked(self, value: Any) -> Any:
        """Return the value after the attribute's validator: the constructor stops at the first bad one."""
        try:
            result = self.read(value)
            if self.attribute.validator is not None:
                self.attribute.validator(None, self.attribute, result)
        except ValueError as error:
            raise ValueError(str(error).removeprefix(f"{self.attribute.name} ")) from None
        return result


class Reader:
    """Reads values by their types: those that were added, and lists, mappings and optional values of them."""

    def __init__(self) -> None:
        self._reads: dict[Any, Read] = {}

    def add(self, wanted: Any, read: Read) -> None:
        """Read values of a type by a function."""
        self._reads[wanted] = read

    def add_section(self, section: type[Any], prepare: Prepare | None = None, **reads: Read) -> None:
        """Read a section: a mapping with the fields of a class. It may be empty if no field is required."""
        self._reads[section] = _Section(self, section, prepare, reads)

    def read(self, value: Any, wanted: type[T]) -> T:
        """Return a plain value as a value of a type."""
        found: T = self.reading(wanted)(value)
        return found

    def reading(self, wanted: Any) -> Read:
        """Return the function that reads a type."""
        if (read := self._reads.get(wanted)) is None:
            read = self._reads[wanted] = self._compose(wanted)
        return read

    def _compose(self, wanted: Any) -> Read:
        inner = get_args(wanted)
        if get_origin(wanted) is tuple and inner[1:] == (...,):
            return _List(self.reading(inner[0])).read
        if get_origin(wanted) is dict:
            return _Mapping(self.reading(inner[1])).read
        if isinstance(wanted, types.UnionType) and len(inner) == 2 and inner[1] is type(None):
            read = self.reading(inner[0])
            return lambda value: None if value is None else read(value)
        raise TypeError(f"no config has a {wanted}")


@frozen
class _List:
    item: Read

    def read(self, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"must be a list, not {describe_type(value)}")
        return tuple(_read_all(self.item, dict(enumerate(value))).values())


@frozen
class _Mapping:
    item: Read

    def read(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"must be a mapping (key: value), not {describe_type(value)}")
        return {str(key): read for key, read in _read_all(self.item, value).items()}


def _read_all(read: Read, values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return all values by their keys or numbers. Raises ``Faulty`` with the problems of all."""
    found, problems, broken = {}, list[Problem](), False
    for key, value in values.items():
        try:
            found[key] = read(value)
        except (AlreadyReported, Faulty, ValueError) as error:
            problems += problems_of(error, (key,))
            broken = True
    if broken:
        raise Faulty(problems)
    return found


def problems_of(error: AlreadyReported | Faulty | ValueError, path: KeyPath) -> list[Problem]:
    """Return the problems of an error in the value at ``path``; none if it is reported already."""
    if isinstance(error, AlreadyReported):
        return []
    if isinstance(error, Faulty):
        return [attrs.evolve(problem, path=(*path, *problem.path)) for problem in error.problems]
    return [Problem(path, str(error))]


class _Section:
    """Reads one section."""

    def __init__(self, reader: Reader, section: type[Any], prepare: Prepare | None, reads: dict[str, Read]) -> None:
        self._reader, self._section, self._prepare, self._given = reader, section, prepare, reads
        self._known: dict[str, _Field] | None = None

    @property
    def _fields(self) -> dict[str, _Field]:
        """The fields by their keys; made when the first such section is read, because most configs have few."""
        if self._known is None:
            self._known = {
                (key := KEYS.get(each.name, each.name)): _Field(
                    each, key, self._given.get(each.name) or self._reader.reading(each.type)
                )
                for each in attrs.fields(self._section)
                if (self._section.__name__, each.name) != ("Config", "path")  # not a key: load() sets it
            }
        return self._known

    def __call__(self, value: Any) -> Any:
        fields = self._fields
        if value is None and all(each.attribute.default is not attrs.NOTHING for each in fields.values()):
            value = {}  # all lines of the section are comments
        if not isinstance(value, dict):
            raise ValueError(f"must be a mapping (key: value), not {describe_type(value)}")
        plain = self._prepare(value) if self._prepare else value
        try:  # nearly all sections are as they should be; the constructor runs the validators
            return self._section(**{fields[key].attribute.name: fields[key].read(each) for key, each in plain.items()})
        except (KeyError, TypeError, ValueError, AlreadyReported, Faulty):
            return self._read_carefully(plain)

    def _read_carefully(self, plain: dict[str, Any]) -> Any:
        """Return the section. Raises ``Faulty`` with all its problems."""
        found, problems, broken = {}, list[Problem](), False
        for key, each in self._fields.items():
            try:
                if key in plain:
                    found[each.attribute.name] = each.read_checked(plain[key])
                elif each.attribute.default is attrs.NOTHING:
                    problems.append(Problem((key,), "is required, and missing; add it"))
            except (AlreadyReported, Faulty, ValueError) as error:
                problems += problems_of(error, (key,))
                broken = True
        problems += [Problem((key,), self._describe_unknown_key(key)) for key in sorted(plain.keys() - self._fields)]
        if problems or broken:
            raise Faulty(problems)
        try:
            return self._section(**found)
        except ValueError as error:  # of values that do not fit each other
            raise Faulty([Problem((), str(error))]) from None

    def _describe_unknown_key(self, key: str) -> str:
        if self._section.__name__ == "Policy" and key == "auth_failed":
            return "auth_failed has no schedule, because it waits for the operator; remove the key"
        return f"unknown key; {nearest(key, self._fields)}"
