"""Reads plain command lines at once: the commands by their names, options by theirs, and values that are no riddle.

For every other line, whether it asks for help, is wrong or only unusual, the library is imported, and reads it by
itself (``full_line``). A plain line means the same to both.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

from engine.cli.commands import COMMANDS, find
from engine.cli.declared import Command, CommandGroup, Parameter

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}")


class NotPlainLine(Exception):
    """The library is to read this line."""


def plain_call(words: Sequence[str]) -> Callable[[], None] | None:
    """Return the call that a plain command line means; None for any other."""
    if not words or words[0] not in COMMANDS or not all(words) or "--help" in words or "-h" in words:
        return None
    try:
        command, rest = _find_command(words)
        return _Line(command).read(rest)
    except NotPlainLine:
        return None


def _find_command(words: Sequence[str]) -> tuple[Command, Sequence[str]]:
    found = find(words[:1])
    if not isinstance(found, CommandGroup):
        return found, words[1:]
    if len(words) > 1 and words[1] in found.commands:
        below = find(words[:2])
        if not isinstance(below, CommandGroup):
            return below, words[2:]
    if found.own is None or any(word in found.commands for word in words):
        raise NotPlainLine
    return found.own, words[1:]


class _Line:
    """One command's line: what may stand in it, and what of it was read."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._places: list[inspect.Parameter] = []
        self._more: inspect.Parameter | None = None
        self._options: dict[str, inspect.Parameter] = {}
        for parameter in inspect.signature(command).parameters.values():
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                self._places.append(parameter)
            elif parameter.kind is parameter.VAR_POSITIONAL:
                self._more = parameter
            else:
                self._options |= dict.fromkeys(_names(parameter), parameter)

    def read(self, words: Sequence[str]) -> Callable[[], None]:
        """Return the call. Raises ``NotPlainLine``."""
        values: list[Any] = []
        options: dict[str, Any] = {}
        left = iter(words)
        for word in left:
            if not word.startswith("-"):
                values.append(self._positional(len(values), word))
                continue
            parameter = self._options.get(word)
            if parameter is None or parameter.name in options:
                raise NotPlainLine
            kind = _type(parameter)
            options[parameter.name] = True if kind is bool else _read(kind, next(left, "-"))
        needed = [place for place in self._places[len(values) :] if place.default is place.empty]
        if needed or any(each.default is each.empty and each.name not in options for each in self._options.values()):
            raise NotPlainLine
        return partial(self._command, *values, **options)

    def _positional(self, number: int, word: str) -> Any:
        parameter = self._places[number] if number < len(self._places) else self._more
        if parameter is None:
            raise NotPlainLine
        return _read(_type(parameter), word)


def _settings(parameter: inspect.Parameter) -> dict[str, Any]:
    """Return what is said of a parameter, by the whole of its annotation."""
    said = [each.settings for each in get_args(parameter.annotation) if isinstance(each, Parameter)]
    return {key: value for settings in said for key, value in settings.items()}


def _names(parameter: inspect.Parameter) -> Sequence[str]:
    """Return the names of an option."""
    names = _settings(parameter).get("name") or f"--{parameter.name.replace('_', '-')}"
    return [names] if isinstance(names, str) else list(names)


def _type(parameter: inspect.Parameter) -> Any:
    """Return the type of a parameter's value; of one that may be left out, that of those that are given."""
    kind = parameter.annotation
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    of = [each for each in get_args(kind) if each is not type(None)]
    return of[0] if len(of) == 1 else kind


def _read(kind: Any, word: str) -> Any:
    """Return a word as a value of a type. Raises ``NotPlainLine``."""
    if word.startswith("-"):
        raise NotPlainLine
    if kind is str:
        return word
    if kind is Path:
        return Path(word)
    if kind is int and _NUMBER.fullmatch(word):
        return int(word)
    raise NotPlainLine
