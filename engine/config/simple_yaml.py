"""Reads the simplest YAML by itself: a config as people write it, one entry on a line.

It knows mappings, lists of mappings, numbers and words, each with one meaning only. For all else, and for every
mistake, the text is read by libyaml or PyYAML (``document``), whose import alone takes longer than this.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

_OTHER: Final = re.compile(r"[^\n\x20-\x7e]")
"""What is not simple, wherever it stands."""
_KEY: Final = "[A-Za-z_][A-Za-z0-9_]{0,63}"
_WORD: Final = r"[A-Za-z_/][A-Za-z0-9_./@+-]*(?: [A-Za-z0-9_./@+-]+)*"
_QUOTED: Final = r"\"[^\"\\\n]*\"|'[^'\n]*'"
_NUMBER: Final = r"0|[1-9][0-9]{0,17}"
_DURATION: Final = "[0-9]{1,9}(?:ms|[smhd])"
_HASH: Final = "[1-9][0-9]*[a-df-z][0-9a-f]*|0[0-9]*[ac-f][0-9a-f]*"
"""Hex digits that no number has: of ``0b`` and of an exponent it keeps away."""
_SCALAR: Final = f"{_WORD}|{_QUOTED}|{_DURATION}|{_HASH}|{_NUMBER}"
_LINE: Final = re.compile(
    rf"( *)(- )?(?:({_KEY}):(?: +(?:({_SCALAR}|\$\{{{_KEY}\}})|(\{{[^{{}}#]*\}})))?|(\{{[^{{}}#]*\}})) *(?:(?<= )#.*)?"
)
_PAIR: Final = re.compile(rf"({_KEY}): ({_SCALAR})(?:, |$)")
_AMBIGUOUS: Final = frozenset(("true", "false", "yes", "no", "on", "off", "y", "n", "null"))
"""Words that mean something else than themselves, however they are written."""
MAX_DEPTH: Final = 8
Line = tuple[int, bool, str, str | None, str | None, str | None]
"""Spaces before it, whether it begins an entry of a list, its key, and its value: a scalar, a mapping, or no key."""


class NotSimple(Exception):
    """The text is to be read by a library."""


def read_simple(text: str, max_nodes: int) -> dict[str, Any]:
    """Return the mapping in a text of at most so many keys and values. Raises ``NotSimple``."""
    if _OTHER.search(text):
        raise NotSimple
    return _LineBuilder(text, max_nodes).build()


class _LineBuilder:
    """Builds the value from the lines."""

    def __init__(self, text: str, max_nodes: int) -> None:
        self._lines = _split(text)
        self._line: Line | None = next(self._lines, None)
        self._left = max_nodes - 1  # the whole is a value, too

    def build(self) -> dict[str, Any]:
        first = self._line
        if first is None or first[0] or first[1]:
            raise NotSimple
        found = self._mapping(0, 1)
        if self._line:
            raise NotSimple
        return found

    def _mapping(self, indent: int, depth: int) -> dict[str, Any]:
        """Return the mapping whose keys have this indent; its first may stand behind a dash."""
        found: dict[str, Any] = {}
        first = True
        while (line := self._line) is not None and line[0] == indent and (first or not line[1]):
            _, _, key, scalar, mapping, entry = line
            if entry is not None or key in found:
                raise NotSimple
            self._left -= 2
            if scalar is not None:
                found[key] = _scalar(scalar)
                self._line = next(self._lines, None)
            elif mapping is not None:
                found[key] = self._flow(mapping)
                self._line = next(self._lines, None)
            else:
                self._line = next(self._lines, None)
                found[key] = self._below(indent, depth)
            first = False
        if self._left < 0 or (self._line is not None and self._line[0] > indent):
            raise NotSimple
        return found

    def _below(self, indent: int, depth: int) -> Any:
        """Return the value of a key that has nothing behind it."""
        line = self._line
        if depth >= MAX_DEPTH:
            raise NotSimple
        if line is None or line[0] < indent or (line[0] == indent and not line[1]):
            return None
        return self._list(line[0]) if line[1] else self._mapping(line[0], depth + 1)

    def _list(self, indent: int) -> list[Any]:
        found = []
        while (line := self._line) is not None and line[0] == indent and line[1]:
            self._left -= 1
            if line[5] is not None:
                found.append(self._flow(line[5]))
                self._line = next(self._lines, None)
            else:
                self._line = (indent + 2, False, *line[2:])
                found.append(self._mapping(indent + 2, MAX_DEPTH))
        if self._line is not None and self._line[0] > indent:
            raise NotSimple
        return found

    def _flow(self, text: str) -> dict[str, Any]:
        """Return a mapping in braces."""
        inner = text[1:-1]
        found: dict[str, Any] = {}
        end = 0
        for pair in _PAIR.finditer(inner):
            if pair.start() != end or pair[1] in found:
                raise NotSimple
            found[pair[1]] = _scalar(pair[2])
            end = pair.end()
            self._left -= 2
        if end != len(inner) or not found or inner.endswith(", ") or self._left < 0:
            raise NotSimple
        return found


def _split(text: str) -> Iterator[Line]:
    """Yield the lines that say something."""
    for text_line in text.split("\n"):
        if (match := _LINE.fullmatch(text_line)) is not None:
            indent, dash, key, scalar, mapping, entry = match.groups()
            yield len(indent), dash is not None, key, scalar, mapping, entry
        elif text_line.strip(" ") and not text_line.lstrip(" ").startswith("#"):
            raise NotSimple


def _scalar(text: str) -> Any:
    """Return the value of a scalar. Raises ``NotSimple`` for one that may mean something else."""
    first = text[0]
    if first in "\"'":
        return text[1:-1]
    if first.isdigit():
        return int(text) if text.isdigit() else text
    if len(text) < 6 and text.lower() in _AMBIGUOUS:
        raise NotSimple
    return text
