"""``LogEvent``: one kind of thing that the log says, and the form that its line has."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

Fields = Mapping[str, Any]
Sentence = Callable[[Fields], str]

UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that would break a line in two, colour a terminal, or turn what follows around."""
SHARED_ICON: Final = "🔑"
"""The icon of what an account says about a setting that all accounts share."""


def one_line(text: str) -> str:
    """Return a text as one line: what a server, a file or a user wrote in it can begin no other and colour nothing."""
    return text if text.isprintable() else UNSAFE.sub(lambda found: repr(found[0])[1:-1], text)


def safe_lines(text: str) -> str:
    """Return a text of several lines, such as a traceback, with each of them as ``one_line`` has it."""
    return "\n".join(map(one_line, text.split("\n")))


def safe_repr(value: object) -> str:
    """Return ``repr(value)``; of a value that raises there, its class."""
    try:
        return repr(value)
    except Exception as exc:
        return f"<{type(value).__name__}: its repr raises {type(exc).__name__}>"


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
        return one_line(f"{icon} {sentence}" if icon else sentence)
