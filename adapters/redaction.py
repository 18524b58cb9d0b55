"""Takes secrets and personal data out of texts that others wrote, before they reach a record or a line of the log.

An exception may quote anything: a session with the phone numbers and access hashes of everyone it knows, a request with
its password, a URL with a login. What has a known shape is replaced, at the source (what an exception says) and once
more at the log's boundary. Plain functions without imports of this project but ``file_names``.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from adapters.file_names import hide_logins

HIDDEN: Final = "…"
MAX_CHARACTERS: Final = 65_536
"""Length of a text that is read; of a longer one the middle is left out, which no line would show anyway."""
SECRET_KEYS: Final = frozenset(
    (
        *("access_hash", "api_hash", "auth_key", "bot_token", "file_reference", "new_password", "password", "phone"),
        *("phone_code", "phone_code_hash", "phone_number", "secret", "token", "tmp_auth_key"),
    )
)
"""Names of values that are never shown, in ``name=value`` and in mappings."""

_KEYS: Final = "|".join(sorted(SECRET_KEYS, key=len, reverse=True))
_WORD: Final = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\\['\"][^'\"\\]*\\['\"]"
"""A text in quotes; the last is one in the repr of a text."""
_SHAPES: Final = re.compile(
    "|".join(
        (
            # Rows of a session: id, access hash, username, phone, name.
            rf"(?P<row>[(\[](?:-?\d+,\s*)?-?\d{{12,20}},(?:None|{_WORD}|-?[\d.]++|[\s,])*+[)\]])",
            rf"(?P<named>(?<![A-Za-z])(?:{_KEYS})(?:\\?['\"]\s*:|\s*=)\s*)"
            rf"(?:b?(?:{_WORD})|[^\s,;&)\]}}>]+)",
            r"(?P<url>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/@]+@",
            r"(?P<bot>(?<!\d)\d{6,14}:[A-Za-z0-9_-]{25,})",
            r"(?P<bytes>\b(?:b|bytearray\(b)'(?:\\.|[^'\\]){16,}'|\bb\"(?:\\.|[^\"\\]){16,}\")",
            r"(?P<hex>(?<![0-9A-Za-z])(?:[0-9a-f]{32,}|[0-9A-F]{32,})(?![0-9A-Za-z]))",
            r"(?P<phone>(?<![\w+.])\+\d(?:[ ()-]{0,2}\d){6,14}(?!\d))",
            r"(?P<digits>(?<=['\"])\d{10,15}(?=['\"]))",
            r"(?P<hash>(?<![\w.])-?\d{17,20}(?![\w.]))",
        )
    )
)
_WORDS: Final = ("hash", "phone", "password", "secret", "token", "auth_key", "file_reference", "://", "b'", 'b"')
_DIGITS: Final = re.compile(r"\d{6}|[0-9a-fA-F]{32}")


def _is_suspicious(text: str) -> bool:
    """Return whether a text has something that every shape has some of: most lines have nothing, and cost little."""
    small = text.lower()
    return any(word in small for word in _WORDS) or _DIGITS.search(text) is not None


def redacted(text: str, keep: Collection[str] = ()) -> str:
    """Return a text without what looks like a secret or a phone number.

    ``keep`` has names that stay even so: an account may be called after its phone number.
    """
    if len(text) > MAX_CHARACTERS:
        text = f"{text[: MAX_CHARACTERS // 2]} … {text[-MAX_CHARACTERS // 2 :]}"
    text = hide_logins(text)
    if not _is_suspicious(text):
        return text

    def hide(found: re.Match[str]) -> str:
        if any(found[0] in name for name in keep):
            return found[0]
        match found.lastgroup:
            case "named":
                return f"{found['named']}{HIDDEN}"
            case "url":
                return f"{found['url']}{HIDDEN}@"
            case "row":
                return f"({HIDDEN})"
            case "phone":
                return f"+{HIDDEN}"
            case _:
                return HIDDEN

    return _SHAPES.sub(hide, text)


def redacted_value(value: Any, keep: Collection[str] = ()) -> Any:
    """Return a value of a log event as ``redacted`` has its texts, in lists and mappings, too."""
    if isinstance(value, str):
        return redacted(value, keep)
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if key in SECRET_KEYS and each is not None else redacted_value(each, keep)
            for key, each in value.items()
        }
    if type(value) in (list, tuple):
        return type(value)(redacted_value(each, keep) for each in value)
    if isinstance(value, bytes | bytearray):
        return HIDDEN
    return value
