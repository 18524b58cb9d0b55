"""What can be the name of a session file, and what is a secret that stands where a name belongs.

Plain functions without imports of this project: the config's loader asks them, too. No sentence of theirs quotes what
was given: it may be a whole login.
"""

import base64
import binascii
import itertools
import os
import re
from typing import Final

EXTENSION: Final = ".session"
MAX_NAME_BYTES: Final = 220
"""Bytes of a file's name. File systems have 255, and the files beside a session have longer names than its own."""
MAX_PATH_BYTES: Final = 3800
"""Bytes of a whole path: systems have 4096, for the companions' names, too."""
IMPORT: Final = "to store a login that you have as text, use 'session import', which makes a session file of it"

_KEY_BYTES: Final = 256
_MIN_RANDOM: Final = 48
"""Characters of the shortest text that is judged by its looks."""
_MIN_CHANGES: Final = 0.5
"""The part of neighbours of different kinds (capital, small letter, digit) above which no person made a text: 0.65 in
random base64, about 0.3 in words written together."""
_MIN_STEP: Final = 20.0
"""The mean length between slashes above which text is base64 with slashes in it, and no path."""
_SHORTEST_SECRET: Final = 32
"""Characters of the shortest secret that has no colon: a hash."""
_URL_SAFE: Final = re.compile(r"[A-Za-z0-9_=-]+")
_STANDARD: Final = re.compile(r"[A-Za-z0-9+/=]+")
_LONG_RUN: Final = re.compile(r"[A-Za-z0-9+/=_-]{48}")
"""What every text has that is judged by its looks, or is a key."""
_BOT_TOKEN: Final = re.compile(r"[0-9]{6,20}:[A-Za-z0-9_-]{20,}")
_MAYBE_KEY: Final = re.compile(r"[A-Za-z0-9+/_=-]{256,}")
HIDDEN: Final = "(a login as text, which is left out here)"
_HASH: Final = re.compile(r"(?:[0-9A-Fa-f]{2})?[0-9A-Fa-f]{32}")
_LOGIN: Final = re.compile(r"[^\s/@:]+:[^\s/@]+@[A-Za-z0-9\[]")
_HEX_KEY: Final = re.compile(r"[0-9A-Fa-f]{400,}")


def is_string_session(text: str) -> bool:
    """Return whether a text is, or holds, a login as text: a string of Telethon, Pyrogram or GramJS, a key in hex.

    A part of one counts, too, from 48 characters on.
    """
    if len(text) < _MIN_RANDOM or not _LONG_RUN.search("".join(text.split())):
        return False
    whole = "".join(text.split()).strip("'\"").removesuffix(EXTENSION)
    parts = {whole, *(part.removesuffix(EXTENSION) for part in re.split(r"[/\\=:,;'\"]", whole))}
    long = [part for part in parts if len(part) >= _MIN_RANDOM]  # the shortest that either of these looks at
    return any(map(_is_encoded_key, long)) or any(map(_looks_random, long))


def is_harmless(text: str) -> bool:
    """Return whether a text is too short for a login or a hash, and has no colon, which all other secrets have."""
    return len(text) < _SHORTEST_SECRET and ":" not in text


def makes_no_login(directory: str) -> bool:
    """Return whether no file in a directory has a path that is taken for a login, if its own name is harmless."""
    if len(directory) > _KEY_BYTES or path_problem(directory, longest=MAX_NAME_BYTES) or misplaced_secret(directory):
        return False
    whole = "".join(directory.split())
    longest = len(whole) + 1 + _SHORTEST_SECRET
    return not _STANDARD.fullmatch(whole) or longest / (whole.count("/") + 2) < _MIN_STEP


def misplaced_secret(text: str) -> str | None:
    """Return what kind of secret a text is, for a sentence that does not quote it; None if it seems to be none."""
    if is_harmless(text):
        return None
    if is_string_session(text):
        return "a login as text (a string session)"
    if _BOT_TOKEN.search(text):
        return "the token of a bot"
    if "://" in text:
        return "a URL"
    return None


def pasted_secret(text: str) -> str | None:
    """Return what kind of secret seems to be pasted where a name belongs, for a sentence that does not quote it.

    It asks for more than ``misplaced_secret``: a file that exists may well be called after 32 hex digits.
    """
    if is_harmless(text):
        return None
    if (secret := misplaced_secret(text)) is not None:
        return secret
    if _LOGIN.search(text):
        return "like a login with its password"
    name = text.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(EXTENSION)
    return "like an api_hash, or the secret of a proxy" if _HASH.fullmatch(name) else None


def hide_logins(text: str) -> str:
    """Return a text in which every whole login is replaced by words: a sentence, or a traceback's line."""
    if len(text) < _KEY_BYTES:
        return text
    return _MAYBE_KEY.sub(lambda found: HIDDEN if is_string_session(found[0]) else found[0], text)


def name_problem(path: str | os.PathLike[str]) -> str | None:
    """Return why no session file can have this path, as the rest of a sentence about it; None if one can."""
    text = os.fspath(path)
    if (secret := misplaced_secret(text)) is not None:
        advice = IMPORT if "login" in secret else "name a file, and write the secret under its own key"
        return f"must be the name of a file, and what is written here is {secret}; {advice}"
    return path_problem(text, f"shorten it; {IMPORT}", MAX_NAME_BYTES)


def path_problem(text: str, advice: str = "shorten it", longest: int = 255) -> str | None:
    """Return why no file can have this path, as the rest of a sentence that ends with ``advice``; None if one can."""
    if len(text) <= (longest if text.isascii() else longest // 4) and "\0" not in text:
        return None  # a character has four bytes at most
    if "\0" in text:
        return "must be a path, and a path has no NUL in it; remove that"
    try:
        data = os.fsencode(text)
    except UnicodeEncodeError:  # the caller has a sentence of its own for letters that no file name can have
        return None
    if (size := max(map(len, data.split(b"/")))) > longest:
        return f"has a name of {size} bytes in it, and no more than {longest} are possible here; {advice}"
    if len(data) > MAX_PATH_BYTES:
        return f"is a path of {len(data)} bytes, and no more than {MAX_PATH_BYTES} are possible here; {advice}"
    return None


def _is_encoded_key(text: str) -> bool:
    """Return whether a text is base64 or hex of so many bytes that a key of Telegram is in it."""
    if _HEX_KEY.fullmatch(text):
        return True
    if len(text) < _KEY_BYTES * 4 // 3 or not (_URL_SAFE.fullmatch(text) or _is_standard(text)):
        return False
    plain = text.rstrip("=").translate(str.maketrans("+/", "-_"))
    for candidate in (plain, plain[1:]):  # Telethon and GramJS write a version before it
        try:
            return len(base64.urlsafe_b64decode(candidate + "=" * (-len(candidate) % 4))) >= _KEY_BYTES
        except (binascii.Error, ValueError):
            continue
    return False


def _is_standard(text: str) -> bool:
    """Return whether a text is base64 of the alphabet that has a slash, and not a path of several names."""
    return _STANDARD.fullmatch(text) is not None and len(text) / (text.count("/") + 1) >= _MIN_STEP


def _looks_random(text: str) -> bool:
    """Return whether a text of one alphabet has the irregular look of encoded bytes."""
    if len(text) < _MIN_RANDOM or not (_URL_SAFE.fullmatch(text) or _is_standard(text)):
        return False
    kinds = ["A" if letter.isupper() else "a" if letter.islower() else "0" for letter in text]
    changes = sum(one != other for one, other in itertools.pairwise(kinds))
    return len(set(kinds)) == 3 and changes >= _MIN_CHANGES * len(kinds)
