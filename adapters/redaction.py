"""Takes secrets and personal data out of texts that others wrote, before they reach a record or a line of the log.

An exception may quote anything: a session with the phone numbers and access hashes of everyone it knows, a request with
its password, a URL with a login. What has a known shape is replaced, at the source (what an exception says) and once
more at the log's boundary. Plain functions without imports of this project but ``file_names``.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from adapters.file_names import HIDDEN as LEFT_OUT
from adapters.file_names import is_string_session

HIDDEN: Final = "…"
MAX_CHARACTERS: Final = 65_536
"""Length of a text that is read; of a longer one the middle is left out, which no line would show anyway."""
SECRET_KEYS: Final = frozenset(
    (
        *("access_hash", "api_hash", "auth_key", "bot_token", "file_reference", "new_password", "passwd", "password"),
        *("api_key", "pass", "passphrase", "private_key", "secret_access_key", "secret_key"),
        *("phone", "phone_code", "phone_code_hash", "phone_number", "secret", "token", "tmp_auth_key"),
    )
)
"""Names of values that are never shown, in ``name=value`` and in mappings, however their words are joined."""

_KEYS: Final = "|".join(key.replace("_", "[-_ ]?") for key in sorted(SECRET_KEYS, key=len, reverse=True))
_SECRET_KEY: Final = re.compile(rf"(?:{_KEYS})$", re.IGNORECASE)
_WORD: Final = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\\['\"][^'\"\\]*\\['\"]"
"""A text in quotes; the last is one in the repr of a text."""
_GAP: Final = "\\s().\\-/\u00ad\u200b-\u200d\u2010-\u2015\u2060"
"""What people, and pages that are copied from, put between the digits of a phone number."""
_ADDRESS: Final = r"(?:\d{1,3}\.){3}\d{1,3}:\d{1,5}"
_SHAPES: Final = re.compile(
    "|".join(
        (
            r"(?P<pem>-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----)[A-Za-z0-9+/=\s\\:,-]*",
            # Rows of a session: id, access hash, username, phone, name.
            rf"(?P<row>[(\[](?:-?\d+,\s*)?-?\d{{12,20}},(?:None|{_WORD}|-?[\d.]++|[\s,])*+[)\]])",
            r"(?P<proxy>[(\[](?:'(?:socks[45]|http)'|[123]|<?ProxyType[^,]{1,20}),\s*'[^']{1,255}',\s*\d{1,5},"
            r"\s*(?:True|False),)[^)\]]{1,512}",
            r"(?P<named>(?i:authorization)\W{1,4}(?i:basic|bearer)\s)\S+",
            # What stands after a colon without quotes may be a sentence: "wrong token: log in again".
            rf"(?P<plain>(?<![A-Za-z])(?i:(?:{_KEYS}):[ \t]+))(?=[A-Za-z_-]*[^\sA-Za-z_'\"-])(?!b?['\"])[^\s,;)\]}}>]+",
            rf"(?P<key>(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))(?i:{_KEYS})(?:\\?['\"]\s*:|\s*=|:(?=\s*['\"]))\s*)"
            rf"(?:b?(?:{_WORD})|[^\s,;&)\]}}>]+)",
            # A password may hold what divides a URL, where somebody did not encode it.
            r"(?P<url>[A-Za-z][A-Za-z0-9+.-]{0,20}://)"
            r"(?:[^\s/@:]{0,128}:(?:[^\s@]{1,256}@)+|[^\s/@:]{1,128}:[^\n@]{1,128}@(?=[\w.-]{1,255}:\d)|[^\s/@]{1,512}@)",
            r"(?P<login>(?<![\w/.+-])[\w.+-]{1,64}:[^\s@]{1,128}@(?=[\w.-]{1,255}:\d))",
            rf"(?P<route>(?<![\d.]){_ADDRESS}:)[^\s:]{{1,64}}:[^\s,;)\]'\"]+",
            r"(?P<bot>(?<!\d)\d{6,14}(?::|%3[Aa])[A-Za-z0-9_-]{25,})",
            r"(?P<bytes>\b(?:b|bytearray\(b)'(?:\\.|[^'\\]){16,}'|\bb\"(?:\\.|[^\"\\]){16,}\")",
            r"(?P<hex>[0-9a-fA-F]{32,})",
            r"(?P<pairs>(?<![0-9A-Za-z])[0-9a-fA-F]{2}(?:[ :-][0-9a-fA-F]{2}){15,})",
            r"(?P<list>(?<=[(\[])\d{1,3}(?:,\s*\d{1,3}){31,})",
            rf"(?P<phone>(?<![\w+.])(?:\+|%2[Bb]|\\u002[Bb]|\uff0b)(?!0|\d\.\d+(?![\d.(/-]))\d(?:[{_GAP}]{{0,3}}\d){{6,14}}(?!\d))",
            rf"(?P<abroad>(?<![\w+.:-])00[1-9](?:[{_GAP}]{{0,3}}\d){{8,13}}(?![\w:]))",
            r"(?P<said>(?i:phone(?:[ _-]?number)?[a-z_]{0,24}|\btel)\W{1,3}(?:is\W{1,2})?)\d{7,15}(?!\d)",
            r"(?P<code>(?i:\bcode)(?:\W{1,3}|\W{1,2}is\W{1,3}))\d(?:[ -]?\d){4,5}(?![\w-])",
            r"(?P<digits>(?<=['\"])\d{10,15}(?=['\"]))",
            r"(?P<hash>(?<![\w.])-?\d{17,20}(?!\w|\.\d))",
        )
    )
)
_KEPT: Final = ("pem", "proxy", "named", "plain", "key", "url", "route", "said", "code")
"""Shapes of which the beginning stays: it says what is hidden."""
_WORDS: Final = re.compile(
    "|".join(
        (
            *("hash", "phone", "pass", "api", "secret", "token", "auth", "file_reference", "://", "b'", 'b"'),
            *("private", "code", "proxytype", "socks", "'http'", r"\\u002", "%2b", "@"),
        )
    )
)
_DIGITS: Final = re.compile(
    rf"[\d+\uff0b](?:(?<=\d)\d{{5}}|(?<!\d)\d|(?<=0)0[1-9][\d{_GAP}]|(?<=\d)\d{{0,2}},(?:\s*\d{{1,3}},){{30}}|(?<=\d)[\d.]{{6,14}}:\d)"
)
_HEX: Final = re.compile(r"[0-9a-fA-F][0-9a-fA-F](?:[ :-]?[0-9a-fA-F]{2}){15}")
_ENCODED: Final = re.compile(r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_=-]{48,}")
"""What may be a part of a login as text, such as a line of one that was wrapped."""


def is_secret_key(key: object) -> bool:
    """Return whether a value is never shown that has this name in a mapping."""
    return isinstance(key, str) and _SECRET_KEY.search(key) is not None


def _is_suspicious(text: str) -> bool:
    """Return whether a text has something that every shape has some of: most lines have nothing, and cost little."""
    return bool(_WORDS.search(text.lower()) or _DIGITS.search(text) or _HEX.search(text))


def redacted(text: str, keep: Collection[str] = ()) -> str:
    """Return a text without what looks like a secret or a phone number.

    ``keep`` has names that stay even so: an account may be called after its phone number.
    """
    if len(text) > MAX_CHARACTERS:
        text = f"{text[: MAX_CHARACTERS // 2]} … {text[-MAX_CHARACTERS // 2 :]}"
    text = _ENCODED.sub(lambda found: LEFT_OUT if is_string_session(found[0]) else found[0], text)
    if not _is_suspicious(text):
        return text

    def hide(found: re.Match[str]) -> str:
        if any(found[0] in name for name in keep):
            return found[0]
        match found.lastgroup:
            case "url":
                return f"{found['url']}{HIDDEN}@"
            case "login":
                return f"{HIDDEN}@"
            case "row":
                return f"({HIDDEN})"
            case "phone":
                return f"+{HIDDEN}"
            case str(shape) if shape in _KEPT:
                return f"{found[shape]}{HIDDEN}"
            case _:
                return HIDDEN

    return _SHAPES.sub(hide, text)


def redacted_value(value: Any, keep: Collection[str] = ()) -> Any:
    """Return a value of a log event as ``redacted`` has its texts, in lists and mappings, too."""
    if isinstance(value, str):
        return redacted(value, keep)
    if isinstance(value, Mapping):
        return {
            redacted(key, keep) if isinstance(key, str) else key: HIDDEN
            if is_secret_key(key) and each is not None and not isinstance(each, bool)
            else redacted_value(each, keep)
            for key, each in value.items()
        }
    if type(value) in (list, tuple):
        return type(value)(redacted_value(each, keep) for each in value)
    if isinstance(value, bytes | bytearray | memoryview):
        return HIDDEN
    return value
