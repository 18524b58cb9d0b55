r"""The one place where text from elsewhere becomes safe for a line of a terminal, a log or a drawing.

A server, a file, a user's module or an account's name can hold anything: escapes that clear a screen, line breaks that
forge a log line, characters that turn a line around or that nobody sees. They are written out as Python does, ``\x1b``
or ``\u202e``. What programs read (JSON) stays exact: there they are escaped as JSON does it.
"""

import json
import re
import sys
import unicodedata
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from adapters.file_names import hide_logins

if TYPE_CHECKING:
    from rich.text import Text

MAX_LINE: Final = 4_000
"""Characters of a line; of a longer one the middle is left out, because advice stands at the end."""
LARGE: Final = 200_000
"""Characters of JSON from which on it is worth importing a library to indent it."""
MAX_LINES: Final = 200
"""Lines of a text such as a traceback; of a longer one the middle is left out."""
INDENT: Final = "    "
"""What stands before a traceback's line that begins with a digit or a brace, and so could pass for one of the log."""

_INVISIBLE: Final = (
    "\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_JOINED: Final = "\u0600-\u0dff\u2600-\u27bf\ufe0f\U0001f000-\U0001faff"
"""Characters that a joiner belongs between: it makes one picture of several, and letters of some scripts correct."""
MAX_MARKS: Final = 8
"""Marks that may stand above and below one letter; no script needs more, and a pile of them hides other lines."""


@cache
def _form(pattern: str) -> re.Pattern[str]:
    """Return one of the forms below. They take some milliseconds to compile, and ASCII needs none of them."""
    return re.compile(pattern)


_UNSAFE: Final = f"[\x00-\x1f{_INVISIBLE}]|(?<![{_JOINED}])[\u200c\u200d]|[\u200c\u200d](?![{_JOINED}])"
_MAYBE_MARKS: Final = f"[\u0300-\U0010ffff]{{{MAX_MARKS + 1},}}"
_UNSAFE_IN_JSON: Final = f"[{_INVISIBLE}]"


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _without_piles(found: re.Match[str]) -> str:
    """Return letters with at most so many marks as a script needs, and the others written out."""
    marks, kept = 0, []
    for letter in found[0]:
        marks = marks + 1 if unicodedata.category(letter)[0] == "M" else 0
        kept.append(letter if marks <= MAX_MARKS else letter.encode("unicode_escape").decode("ascii"))
    return "".join(kept)


def one_line(text: str, limit: int = MAX_LINE) -> str:
    """Return a text as one line of at most about ``limit`` characters, which can begin no other and colour nothing.

    No whole login is in it, wherever somebody pasted one.
    """
    text = hide_logins(text)
    if len(text) > limit:
        head, tail = limit * 3 // 4, limit // 4
        text = f"{text[:head]} … {len(text) - head - tail:,} characters … {text[-tail:]}"
    if text.isascii() and text.isprintable():
        return text
    return _form(_MAYBE_MARKS).sub(_without_piles, _form(_UNSAFE).sub(_written_out, text))


def safe_lines(text: str) -> str:
    """Return several lines, such as a traceback, each as ``one_line`` has it; none looks like one of the log."""
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        half = MAX_LINES // 2
        lines = [*lines[:half], f"… {len(lines) - 2 * half:,} lines …", *lines[-half:]]
    return "\n".join(f"{INDENT if line[:1].isdigit() or line[:1] == '{' else ''}{one_line(line)}" for line in lines)


def safe_repr(value: object) -> str:
    """Return ``repr(value)``; of a value that raises there, its class."""
    try:
        return repr(value)
    except Exception as exc:
        return f"<{type(value).__name__}: its repr raises {type(exc).__name__}>"


def plain(text: str, style: str = "", limit: int = MAX_LINE) -> "Text":
    """Return a text for the terminal's tables, in which nothing is markup."""
    from rich.text import Text  # noqa: PLC0415 - for pages alone; what prints JSON need not wait for it

    return Text(one_line(text, limit), style=style)


def json_text(value: Any, *, indent: int | None = None, **options: Any) -> str:
    """Return a value as JSON, exactly, with every character escaped that a terminal would obey or not show.

    Where stdout is not UTF-8, all letters are escaped that it may not have.
    """
    ascii_only = not (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("_", "-").startswith("utf")
    if indent is None or options:
        text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, **options)
    else:
        text = _with_indent(value, indent, ascii_only)
    if text.isascii() and "\x7f" not in text:
        return text
    return _form(_UNSAFE_IN_JSON).sub(lambda found: json.dumps(found[0])[1:-1], text)


def _with_indent(value: Any, indent: int, ascii_only: bool) -> str:
    """Return what ``json.dumps`` makes of a value with an indent; much of it by msgspec, whose import takes time."""
    compact = json.dumps(value, ensure_ascii=ascii_only)
    if len(compact) > LARGE and indent > 0:
        from msgspec import MsgspecError  # noqa: PLC0415 - as above
        from msgspec.json import format as indented  # noqa: PLC0415

        with suppress(MsgspecError, ValueError):  # half a character, or a number that is none
            return indented(compact, indent=indent)
    return _indented(value, "\n", " " * indent, ascii_only)


def _indented(value: Any, line: str, step: str, ascii_only: bool) -> str:
    """Return what ``json.dumps`` makes of a value with an indent, which it does not do in C: three times faster.

    ``line`` is a line break and the indent that the value's last bracket has.
    """
    write = json.encoder.encode_basestring_ascii if ascii_only else json.encoder.encode_basestring
    if isinstance(value, str):
        return write(value)
    if not value or not isinstance(value, dict | list | tuple):
        return _ATOMS[value] if value is None or isinstance(value, bool) else json.dumps(value)
    inner = line + step
    parts = []
    for each in value.values() if isinstance(value, dict) else value:
        if type(each) is str:
            parts.append(write(each))
        elif each is None or each is True or each is False:
            parts.append(_ATOMS[each])
        else:
            parts.append(_indented(each, inner, step, ascii_only))
    if isinstance(value, dict):
        names = [write(name) if isinstance(name, str) else json.dumps({name: 0})[1:-4] for name in value]
        parts = [f"{name}: {part}" for name, part in zip(names, parts, strict=True)]
        return f"{{{inner}{f',{inner}'.join(parts)}{line}}}"
    return f"[{inner}{f',{inner}'.join(parts)}{line}]"


_ATOMS: Final = {None: "null", True: "true", False: "false"}
