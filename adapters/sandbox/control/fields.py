"""The values of a command's keys, read from a JSON object. What is wrong is said in a sentence (SandboxError)."""

from adapters.sandbox.errors import SandboxError


def text(record: dict[str, object], key: str) -> str:
    value = text_or_none(record, key)
    if value is None:
        raise SandboxError(f"'{record['do']}' needs the key '{key}'.")
    return value


def text_or_none(record: dict[str, object], key: str) -> str | None:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise SandboxError(f"'{key}' is a text in quotes, not {value!r}.")
    return value


def texts(record: dict[str, object], key: str) -> tuple[str, ...]:
    value = record.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SandboxError(f"'{key}' is a list of texts in quotes, not {value!r}.")
    return tuple(value)


def flag(record: dict[str, object], key: str) -> bool:
    value = record.get(key, False)
    if not isinstance(value, bool):
        raise SandboxError(f"'{key}' is true or false, not {value!r}.")
    return value


def number(record: dict[str, object], key: str) -> int:
    value = record.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise SandboxError(f"'{key}' is a whole number from 0 to {2**31 - 1}, not {value!r}.")
    return value


def seconds(record: dict[str, object], key: str) -> float:
    value = seconds_or_none(record, key)
    if value is None:
        raise SandboxError(f"'{record['do']}' needs the key '{key}'.")
    return value


def seconds_or_none(record: dict[str, object], key: str) -> float | None:
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SandboxError(f"'{key}' is a number of seconds, not {value!r}.")
    return float(value)


def whole(record: dict[str, object], key: str) -> int:
    value = whole_or_none(record, key)
    if value is None:
        raise SandboxError(f"'{record['do']}' needs the key '{key}'.")
    return value


def whole_or_none(record: dict[str, object], key: str) -> int | None:
    value = record.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise SandboxError(f"'{key}' is a whole number, not {value!r}.")
    return value


def secret(record: dict[str, object], key: str) -> str:
    """A text that is not repeated when something is wrong with it."""
    value = secret_or_none(record, key)
    if value is None:
        raise SandboxError(f"'{record['do']}' needs the key '{key}'.")
    return value


def secret_or_none(record: dict[str, object], key: str) -> str | None:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise SandboxError(f"'{key}' is a text in quotes.")
    return value
