"""Reads plain YAML fast, by libyaml: a config of thousands of accounts takes a twentieth of the time.

It reads only what libyaml and PyYAML read alike, and what has no mistake: mappings, lists and scalars of one line. For
everything else, and for the sentence about each mistake, ``document`` reads the text by itself.
"""

import re
from typing import Any, Final

import yaml

_ODD: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f]|^%|^[.]{3}", re.MULTILINE)
"""Tabs and other control characters, carriage returns, directives, ends of documents."""
_ODD_LETTERS: Final = "[^\x00-~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
"""Further line breaks, and characters that YAML forbids; it takes a while to compile, and ASCII does not need it."""
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", None)
_RESOLVERS: Final[dict[str, list[tuple[str, re.Pattern[str]]]]] = yaml.SafeLoader.yaml_implicit_resolvers


class NotPlain(Exception):
    """The text has something that is to be read with more care, or libyaml is not there."""


def read_plain(text: str, *, max_nodes: int, max_depth: int, max_number: int) -> object:
    """Return the value of a text within the limits of ``document``. Raises ``NotPlain``."""
    if _LOADER is None or _ODD.search(text) or (not text.isascii() and re.search(_ODD_LETTERS, text)):
        raise NotPlain
    loader = _LOADER(text)
    try:
        return _Builder(loader, max_nodes, max_depth, max_number).build()
    except (yaml.YAMLError, ValueError, OverflowError):
        raise NotPlain from None
    finally:
        loader.dispose()


class _Builder:
    """Builds the value from the events of one document."""

    def __init__(self, loader: Any, max_nodes: int, max_depth: int, max_number: int) -> None:
        self._next = loader.get_event
        self._left = max_nodes
        self._max_depth = max_depth
        self._max_number = max_number
        self._constructor = yaml.constructor.SafeConstructor()

    def build(self) -> object:
        self._expect(yaml.StreamStartEvent)
        self._expect(yaml.DocumentStartEvent)
        value = self._value(self._next(), 1)
        self._expect(yaml.DocumentEndEvent)
        self._expect(yaml.StreamEndEvent)
        return value

    def _expect(self, kind: type[yaml.Event]) -> None:
        if type(self._next()) is not kind:
            raise NotPlain

    def _value(self, event: Any, depth: int) -> object:
        self._left -= 1
        if self._left < 0 or depth > self._max_depth:
            raise NotPlain
        kind = type(event)
        if kind is yaml.ScalarEvent:
            return self._scalar(event)
        if getattr(event, "anchor", "") is not None or event.tag is not None:  # an alias, an anchor, or a tag
            raise NotPlain
        return self._mapping(depth) if kind is yaml.MappingStartEvent else self._sequence(depth)

    def _mapping(self, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        while type(event := self._next()) is not yaml.MappingEndEvent:
            if type(event) is not yaml.ScalarEvent:
                raise NotPlain
            self._left -= 1
            key = self._text(event)
            if key in found or key == "<<":
                raise NotPlain
            found[key] = self._value(self._next(), depth + 1)
        return found

    def _sequence(self, depth: int) -> list[object]:
        found = []
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            found.append(self._value(event, depth + 1))
        return found

    def _scalar(self, event: Any) -> object:
        text = self._text(event)
        if not event.implicit[0]:  # in quotes
            return text
        for tag, form in _RESOLVERS.get(text[:1], ()):
            if form.match(text):
                return self._resolved(tag, text)
        return text

    def _resolved(self, tag: str, text: str) -> object:
        if len(text) > self._max_number or tag.endswith((":merge", ":value")):
            raise NotPlain
        return self._constructor.construct_object(yaml.ScalarNode(tag, text))

    @staticmethod
    def _text(event: Any) -> str:
        start, end = event.start_mark, event.end_mark
        if event.anchor is not None or event.tag is not None or event.style in ("|", ">") or start.line != end.line:
            raise NotPlain
        if event.implicit[0] and "?" in event.value:  # between brackets it ends the text for PyYAML
            raise NotPlain
        return str(event.value)
