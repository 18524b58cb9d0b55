"""Whom a name or a pattern means: one answer for commands, the library, handlers, jobs and the config."""

import fnmatch
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

ALL: Final = "*"
"""The pattern of handlers and background tasks that are for every account, also if one is called ``*``."""


def matching(names: Sequence[str], pattern: str) -> list[str]:
    """Return the names that ``pattern`` means, in their order; none if it means nobody.

    The name itself comes before every pattern, and a letter with its accent is one letter, however it is encoded. In a
    pattern ``*`` is any text and ``?`` any character. Brackets are brackets, because they are common in names; only if
    nobody has them do they stand for one of several characters, as in a shell.
    """
    if pattern in names:
        return [pattern]
    wanted = _composed(pattern)
    composed = {name: _composed(name) for name in names}
    for fits in _readings(wanted):
        if found := [name for name in names if fits(composed[name])]:
            return found
    return []


def _readings(wanted: str) -> Iterable[Callable[[str], object]]:
    """Yield the meanings that a text can have, the most literal first."""
    yield wanted.__eq__
    if any(each in wanted for each in "*?["):
        yield re.compile(fnmatch.translate(wanted.replace("[", "[[]"))).match
    if "[" in wanted:
        yield re.compile(fnmatch.translate(wanted)).match


def named(names: Iterable[str], name: str) -> str | None:
    """Return the one name that is meant by ``name``, which is no pattern; None if there is none."""
    names = list(names)
    if name in names:
        return name
    wanted = _composed(name)
    return next((each for each in names if _composed(each) == wanted), None)


def addressed(names: Sequence[str], patterns: Iterable[str]) -> set[str]:
    """Return the accounts that a handler or a background task is for, by its patterns."""
    return {name for pattern in patterns for name in (names if pattern == ALL else matching(names, pattern))}


def as_typed(word: str) -> str:
    """Return the text of a word of the command line that has a name.

    Where the environment has no letters (``LC_ALL=C`` with ``PYTHONUTF8=0``) Python passes the bytes of each on.
    """
    if word.isascii():
        return word
    with suppress(UnicodeError):  # it is no UTF-8 either
        return word.encode("utf-8", "surrogateescape").decode("utf-8")
    return word


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", as_typed(text))
