"""Readers for the values of a command's keys. Each raises SandboxError, with a sentence, for a wrong value."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from adapters.sandbox.errors import SandboxError

T = TypeVar("T")
Reader: TypeAlias = Callable[[dict[str, object], str], Any]
"""Reads the value of a key of a record."""


def read_text(record: dict[str, object], key: str) -> str:
    return _required(record, key, read_optional_text(record, key))


def read_optional_text(record: dict[str, object], key: str) -> str | None:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise SandboxError(f"'{key}' is a text in quotes, not {value!r}.")
    return value


def read_texts(record: dict[str, object], key: str) -> tuple[str, ...]:
    value = record.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SandboxError(f"'{key}' is a list of texts in quotes, not {value!r}.")
    return tuple(value)


def read_ints(record: dict[str, object], key: str) -> tuple[int, ...]:
    value = record.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, int) and not isinstance(item, bool) for item in value):
        raise SandboxError(f"'{key}' is a list of whole numbers, not {value!r}.")
    if not all(0 < item < 2**31 for item in value):
        raise SandboxError(f"'{key}' holds numbers from 1 to {2**31 - 1}.")
    return tuple(value)


def read_flag(record: dict[str, object], key: str) -> bool:
    value = record.get(key, False)
    if not isinstance(value, bool):
        raise SandboxError(f"'{key}' is true or false, not {value!r}.")
    return value


def read_count(record: dict[str, object], key: str) -> int:
    value = record.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise SandboxError(f"'{key}' is a whole number from 0 to {2**31 - 1}, not {value!r}.")
    return value


def read_seconds(record: dict[str, object], key: str) -> float:
    return _required(record, key, read_optional_seconds(record, key))


def read_optional_seconds(record: dict[str, object], key: str) -> float | None:
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SandboxError(f"'{key}' is a number of seconds, not {value!r}.")
    try:
        return float(value)
    except OverflowError:
        raise SandboxError(f"'{key}' is a number of seconds, not one of so many digits.") from None


def read_int(record: dict[str, object], key: str) -> int:
    return _required(record, key, read_optional_int(record, key))


def read_optional_int(record: dict[str, object], key: str) -> int | None:
    value = record.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise SandboxError(f"'{key}' is a whole number, not {value!r}.")
    return value


def read_secret(record: dict[str, object], key: str) -> str:
    """Return a text that is not repeated in the error when it is wrong."""
    return _required(record, key, read_optional_secret(record, key))


def read_optional_secret(record: dict[str, object], key: str) -> str | None:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise SandboxError(f"'{key}' is a text in quotes.")
    return value


def _required(record: dict[str, object], key: str, value: T | None) -> T:
    if value is None:
        raise SandboxError(f"'{record['do']}' needs the key '{key}'.")
    return value
