"""One line of the control connection as a value: bounded in every direction before anything looks at it."""

import json
from typing import Any, Final, NoReturn

from adapters.sandbox.errors import SandboxError

MAX_DEPTH: Final = 8
"""Brackets within brackets; a scenario has three."""
MAX_DIGITS: Final = 18
NO_COMMAND: Final = 'A command is one JSON object on one line, such as {"do": "stats"}.'
_OPEN, _CLOSE, _QUOTE, _ESCAPE = b"[{", b"]}", ord('"'), ord("\\")


def read_line(line: bytes) -> Any:
    """Return what a line of JSON says. Raises SandboxError for anything that is no JSON, or that no command needs.

    That is deep nesting, numbers that are endless or not finite, half a character, and the character NUL.
    """
    _check_depth(line)
    try:
        value = json.loads(line.decode(), parse_int=_whole_number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise SandboxError(NO_COMMAND) from error
    _check_texts(value)
    return value


def _check_depth(line: bytes) -> None:
    depth, quoted, escaped = 0, False, False
    for byte in line:
        if quoted:
            escaped, quoted = byte == _ESCAPE and not escaped, byte != _QUOTE or escaped
        elif byte == _QUOTE:
            quoted = True
        elif byte in _OPEN:
            depth += 1
            if depth > MAX_DEPTH:
                raise SandboxError(f"A command has at most {MAX_DEPTH} brackets within each other. {NO_COMMAND}")
        elif byte in _CLOSE:
            depth -= 1


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise SandboxError(f"A number has at most {MAX_DIGITS} digits.")
    return int(digits)


def _no_number(name: str) -> NoReturn:
    raise SandboxError(f"{name} is no number that a command knows.")


def _check_texts(value: Any) -> None:
    match value:
        case str():
            if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
                raise SandboxError("A text has whole characters only, and no NUL; one of this command's has others.")
        case list():
            for item in value:
                _check_texts(item)
        case dict():
            for key, item in value.items():
                _check_texts(key)
                _check_texts(item)
