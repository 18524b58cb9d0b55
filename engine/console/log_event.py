"""``LogEvent``: one kind of thing that the log says, and the form that its line has."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

from engine.console.safe_text import one_line

Fields = Mapping[str, Any]
Sentence = Callable[[Fields], str]

SHARED_ICON: Final = "🔑"
"""The icon of what an account says about a setting that all accounts share."""

_SHORT: Final = 200
"""Characters of a line in which no whole login fits, and of which nothing is left out."""


@frozen
class LogEvent:
    """One event of the log: its name and its fields are for programs, its icon and its sentence for people.

    The name is a contract: programs look for it. ``level`` and ``when`` are for the documentation; the level of a line
    is that of its call.
    """

    logger: str
    name: str
    level: str
    icon: str | Sentence
    sentence: str | Sentence
    """A format of the fields, or a function of them."""
    when: str
    fields: Mapping[str, str] = field(factory=dict)
    """What each field means."""

    def line(self, fields: Fields) -> str:
        """Return the icon and the sentence. Raises what the sentence does for fields that are not this event's."""
        if "concerns_all" in fields:
            icon = SHARED_ICON
        else:
            icon = self.icon if isinstance(self.icon, str) else self.icon(fields)
        sentence = self.sentence.format_map(fields) if isinstance(self.sentence, str) else self.sentence(fields)
        line = f"{icon} {sentence}" if icon else sentence
        if len(line) < _SHORT and sentence.isascii() and sentence.isprintable():
            return line  # as it would come back: what is not ASCII is the icon
        return one_line(line)
