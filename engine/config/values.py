"""Single values of the config: text from the environment, durations, numbers, paths, keys.

A bad value raises ValueError with a sentence that continues after the key: ``must be …``. The value is quoted only if
it cannot be a secret; a value from the environment is never quoted.
"""

import binascii
import datetime
import os
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

from adapters.file_names import EXTENSION, misplaced_secret, name_problem, pasted_secret, path_problem
from adapters.files import open_input
from engine.config.document import Broken, KeyPath, Problem
from engine.console.format import may_show

_DURATION_FORMS: Final = "a duration such as 10s, 100ms, 5m, 2h, 1d, 1h30m, or a number of seconds (at most 36500d)"
_MAX_DURATION: Final = 36_500 * 86_400  # a hundred years: within the range of dates and timers
_SECONDS: Final = tuple(Decimal(unit) for unit in ("86400", "3600", "60", "1", "0.001"))
_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION: Final = re.compile("".join(f"(?:{_NUMBER}{unit})?" for unit in ("d", "h", "m", "s", "ms")))
_PLAIN_NUMBER: Final = re.compile(_NUMBER)
_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
MAX_NAME: Final = 64  # characters of an account's name
_MAX_TEXT: Final = 64  # characters of a number or a duration

_PHONE: Final = re.compile(r"[+0-9 ().-]{1,32}")

_VARIABLE: Final = re.compile(r"(\$)?\$\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?")

_MAX_PEM: Final = 64 * 1024  # bytes
_PEM: Final = re.compile(r"-----BEGIN RSA PUBLIC KEY-----\n[A-Za-z0-9+/=\s]+-----END RSA PUBLIC KEY-----")
_RSA_BITS: Final = (512, 8192)
"""From the shortest to the longest modulus of a server's key; Telegram's has 2048 bits."""

_TYPE_NAMES: Final[tuple[tuple[type, str], ...]] = (
    (type(None), "an empty value"),
    (bool, "true or false (yes, no, on and off mean the same)"),  # before int, of which bool is a subclass
    (int, "a number"),
    (float, "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "a mapping"),
    (datetime.date, "a date"),
)


class AlreadyReported(Exception):
    """The value is broken, and its problem is reported already."""


class FromEnvironment(str):
    """Text with the value of an environment variable in it; ``whole`` if it is nothing but that value."""

    whole: bool = False


def parse_duration(text: str) -> float:
    """Return the seconds that ``text`` stands for: ``10s``, ``100ms``, ``1h30m``, or a plain number of seconds.

    Raises ValueError with a sentence that lists the accepted forms.
    """
    if len(text) <= _MAX_TEXT and text:
        if _PLAIN_NUMBER.fullmatch(text):
            parts = [(Decimal(text), Decimal(1))]
        elif match := _DURATION.fullmatch(text):
            parts = [(Decimal(count), unit) for count, unit in zip(match.groups(), _SECONDS, strict=True) if count]
        else:
            parts = []
        seconds = float(sum(count * unit for count, unit in parts))  # Decimal, because 9 * 0.001 is not 0.009
        if parts and seconds <= _MAX_DURATION:
            return seconds
    raise ValueError(f"{_quote(text)} is not a duration; write {_DURATION_FORMS}")


def substitute(value: object, path: KeyPath, problems: list[Problem]) -> object:
    """Return ``value`` with each ``${NAME}`` in its texts replaced; add those that cannot be to ``problems``."""
    match value:
        case dict():
            return {key: substitute(inner, (*path, key), problems) for key, inner in value.items()}
        case list():
            return [substitute(inner, (*path, index), problems) for index, inner in enumerate(value)]
        case str():
            return _substitute_text(value, path, problems)
        case _:
            return value


def _substitute_text(text: str, path: KeyPath, problems: list[Problem]) -> object:
    missing: list[str] = []
    used: list[str] = []

    def replace(match: re.Match[str]) -> str:
        literal, name = match.groups()
        if literal:
            return match[0][1:]
        if name is None:
            missing.append("'${' is not followed by a variable's name and '}'; for a plain '${' write '$${'")
        elif name not in os.environ:
            missing.append(f"the environment variable {name} is not set; set it, or write the value here")
        else:
            used.append(match[0])
            return os.environ[name]
        return ""

    replaced = _VARIABLE.sub(replace, text)
    problems += [Problem(path, sentence) for sentence in dict.fromkeys(missing)]
    if missing:
        return Broken()
    if not used:
        return replaced
    result = FromEnvironment(replaced)
    result.whole = used == [text]
    return result


def describe_type(value: object) -> str:
    """Return the type of ``value`` in words; raises ``AlreadyReported`` for a broken value."""
    if isinstance(value, Broken):
        raise AlreadyReported
    return next((word for types, word in _TYPE_NAMES if isinstance(value, types)), "something else")


def describe(value: object) -> str:
    """Return a text in quotes if it cannot be a secret, and ``describe_type`` of any other value."""
    return _quote(value) if isinstance(value, str) else describe_type(value)


def is_name(text: str) -> bool:
    """Return whether ``text`` can be the name of an account."""
    return 1 <= len(text) <= MAX_NAME and text.isprintable() and text == text.strip()


def to_text(value: object, _: object = None) -> str:
    """Return ``value``, which must be text."""
    if isinstance(value, str):
        return str(value)
    advice = "; put it in quotes" if isinstance(value, int | float | datetime.date) else ""
    raise ValueError(f"must be text, not {describe_type(value)}{advice}")


def to_optional_text(value: object, _: object = None) -> str | None:
    """Return ``value``, which must be text or left out."""
    return None if value is None else to_text(value)


def to_phone(value: object, _: object = None) -> str | None:
    """Return a phone number; without quotes YAML reads it as a number, and drops its plus sign and zeros."""
    if value is None:
        return None
    if isinstance(value, str):
        if not _PHONE.fullmatch(value):
            raise ValueError('must be a phone number with its country code, in quotes, like "+49 151 2345678"')
        return str(value)
    advice = '; put the phone number in quotes, like "+…"' if isinstance(value, int | float) else ""
    raise ValueError(f"must be text, not {describe_type(value)}{advice}")


def to_int(value: object, _: object = None) -> int:
    """Return a whole number, which may also be the whole value of an environment variable."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float):
        raise ValueError("must be a whole number, without a point")
    if _is_number_of_environment(value, _WHOLE_NUMBER):
        return int(str(value))
    raise ValueError(f"must be a whole number, not {describe_type(value)}")


def to_bool(value: object, _: object = None) -> bool:
    """Return ``true`` or ``false``."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"must be true or false, not {describe(value)}")


def to_number(value: object, _: object = None) -> float:
    """Return a number, which may also be the whole value of an environment variable."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if _is_number_of_environment(value, _PLAIN_NUMBER):
        return float(str(value))
    raise ValueError(f"must be a number, not {describe_type(value)}")


def to_duration(value: object, _: object = None) -> float:
    """Return the seconds of a duration."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 <= value <= _MAX_DURATION:  # NaN and infinity fail this, too
            return float(value)
        raise ValueError(f"must be {_DURATION_FORMS}, not {value:g}")
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"must be {_DURATION_FORMS}, not {describe(value)}") from None


def to_stagger(value: object, _: object = None) -> float | Literal["auto"]:
    """Return ``auto``, or the seconds of a duration."""
    if value == "auto":
        return "auto"
    try:
        return to_duration(value)
    except ValueError as exc:
        raise ValueError(f"{exc}; or write auto") from None


def to_workers(value: object, _: object = None) -> int | Literal["auto"]:
    """Return ``auto``, or a whole number."""
    if value == "auto":
        return "auto"
    try:
        return to_int(value)
    except ValueError as exc:
        raise ValueError(f"{exc}; or write auto") from None


def to_offset(value: object, _: object = None) -> float | None:
    """Return the seconds of a duration that may have a minus sign before it."""
    if value is None:
        return None
    if isinstance(value, str) and value.startswith("-"):
        return -to_duration(type(value)(value[1:]))
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return -to_duration(-value)
    return to_duration(value)


def one_of(words: tuple[str, ...]) -> Callable[[object], str]:
    """Return a function that accepts one of ``words`` and nothing else."""

    def choose(value: object) -> str:
        if isinstance(value, str) and value in words:
            return str(value)
        raise ValueError(f"must be one of {', '.join(words)}, not {describe(value)}")

    return choose


def to_path(value: object, folder: Path, real_path: Callable[[str], str] = os.path.realpath) -> Path:
    """Return an absolute path without links; a relative one starts at ``folder``, ``~`` is the user's home."""
    text = to_text(value)
    if not text or not text.isprintable():
        raise ValueError("must be a path of printable characters, and not empty")
    if (secret := misplaced_secret(text)) is not None:
        raise ValueError(f"must be a path, and what is written here is {secret}; write that under its own key")
    if (secret := pasted_secret(text)) is not None and not os.path.exists(folder / text):
        raise ValueError(
            f"must be a path; there is no such file, and what is written here looks {secret}; write a secret under its "
            "own key, and give a file another name"
        )
    if (problem := path_problem(text)) is not None:
        raise ValueError(problem)
    try:
        return Path(real_path(os.path.join(folder, Path(text).expanduser() if text.startswith("~") else text)))
    except RuntimeError:
        raise ValueError("starts with the home of a user that does not exist; write the whole path") from None
    except UnicodeEncodeError as exc:
        raise ValueError(
            f"has letters that file names do not have in this environment ({exc.encoding}); set LC_ALL=C.UTF-8"
        ) from None


def to_own_file(value: object, folder: Path) -> Path | None:
    """Return the path of a file that the engine itself makes, or None: its directory without links, and its name."""

    def real_path(text: str) -> str:
        head, name = os.path.split(os.path.normpath(text))
        return os.path.join(os.path.realpath(head), name)

    return None if value is None else to_path(value, folder, real_path)


class SessionPaths:
    """Returns the paths of session files, for one reading of a config: each is asked for by more than one rule."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths: dict[str, Path] = {}
        self._directories: dict[str, str] = {}

    def __call__(self, value: object) -> Path:
        """Return the path of a session file; it ends in ``.session``, as Telethon requires."""
        text = to_text(value)
        if (path := self._paths.get(text)) is None:
            path = self._paths[text] = self._find(text)
        return path

    def _find(self, text: str) -> Path:
        if text.endswith((os.sep, "/")):
            raise ValueError("must name a file, not a directory")
        if text and not text.endswith(EXTENSION):
            text = f"{text}{EXTENSION}"
        if text.isprintable() and (problem := name_problem(text)) is not None:
            raise ValueError(problem)
        path = to_path(text, self.folder, self._real_path)
        if path.suffix == EXTENSION:
            return path
        # A link to a file that is called otherwise: Telethon opens it by the link.
        named = self.folder / Path(text).expanduser()
        return Path(os.path.realpath(named.parent)) / named.name

    def _real_path(self, path: str) -> str:
        """Return a path without links. Most sessions are in one directory, whose own path is looked up once."""
        directory, name = os.path.split(path)
        if (real := self._directories.get(directory)) is None:
            real = self._directories[directory] = os.path.realpath(directory)
        found = os.path.join(real, name)
        return os.path.realpath(found) if name in ("", ".", "..") or os.path.islink(found) else found


def to_session(value: object, folder: Path) -> Path:
    """Return the path of one session file."""
    return SessionPaths(folder)(value)


def to_public_key(value: object, folder: Path) -> str:
    """Return the PKCS#1 public key in the PEM file at the path ``value``."""
    text = to_text(value)
    if "-----" in text:
        raise ValueError("must be the path of a PEM file, not the key itself; save the key in a file")
    path = to_path(text, folder)
    if isinstance(value, FromEnvironment):
        name = "the file that the environment names"
    else:
        name = str(path) if all(map(may_show, Path(text).parts)) else "the file that is named here"
    try:
        with os.fdopen(open_input(path, 0.0), "rb") as file:
            pem = file.read(_MAX_PEM).decode("ascii", errors="replace").replace("\r\n", "\n")
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
        raise ValueError(f"{name} cannot be read ({reason}); give the path of a readable PEM file") from None
    if found := _PEM.search(pem):
        if not _is_rsa_key(found[0]):
            raise ValueError(f"{name} holds a damaged key: what is in its block is no RSA key; copy it again")
        return found[0] + "\n"
    if "PRIVATE KEY" in pem:
        public = path.with_name(f"{path.stem}.pub.pem")
        there = f"its public key is in {public.name}" if public.exists() else "give the path of its public key"
        raise ValueError(
            f"{name} holds no 'BEGIN RSA PUBLIC KEY' block, but a private key, which is the server's; {there}"
        )
    advice = (
        "convert it with: openssl rsa -pubin -in FILE -RSAPublicKey_out"
        if "BEGIN PUBLIC KEY" in pem
        else "give the path of one that does"
    )
    raise ValueError(f"{name} holds no 'BEGIN RSA PUBLIC KEY' block (PKCS#1); {advice}")


def _is_rsa_key(block: str) -> bool:
    """Return whether a PEM block has a PKCS#1 key: in DER a sequence of a modulus and an exponent."""
    try:
        whole = binascii.a2b_base64("".join(block.split("-----")[2].split()), strict_mode=True)
        sequence, rest = _der(whole, 0x30)
        modulus, exponent = _der(sequence, 0x02)
        power, more = _der(exponent, 0x02)
    except (ValueError, IndexError):
        return False
    n, e = (int.from_bytes(each, "big", signed=True) for each in (modulus, power))
    return not rest and not more and n % 2 == 1 and n > 0 and _RSA_BITS[0] <= n.bit_length() <= _RSA_BITS[1] and e > 2


def _der(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the first element in ``data``, and what follows. Raises ``ValueError``, ``IndexError``."""
    size, start = data[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
    if data[0] != tag or start + size > len(data):
        raise ValueError
    return data[start : start + size], data[start + size :]


def _is_number_of_environment(value: object, form: re.Pattern[str]) -> bool:
    whole = isinstance(value, FromEnvironment) and value.whole
    return whole and len(str(value)) <= _MAX_TEXT and form.fullmatch(str(value)) is not None


def _quote(text: str) -> str:
    if isinstance(text, FromEnvironment):
        return "what the environment variable holds"
    return repr(text) if may_show(text) else "what is written here"
