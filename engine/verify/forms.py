"""The forms in which an event is tried: a name for links, words for people, and a call for programs."""

from collections.abc import Iterator
from typing import Any

import attrs
from attrs import frozen

from engine.verify.world import GENERATION, LINK, NOW, time_of
from states import Event
from states.events import OfLink, OfVisit

NOT_TOLD = ("generation", "link", "detail", "chain", "via", "request")
"""Fields that no form differs in, or that are told in other words."""
ALWAYS_TOLD = ("seconds",)
"""Fields that are told where they are the default, too, because another one says little without them."""
KEYS = {"one": "the key of before", "two": "another key"}
"""The two fingerprints of keys, in words."""
NEW_LIFE = "NewLife"
"""What stands in a link for the begin of a new life, which is no event."""


@frozen
class EventForm:
    """One form of an event; ``late`` ones belong to an earlier visit, or to a link that was closed."""

    event: type[Event]
    key: str
    words: str
    late: bool
    call: str
    """How a program makes it, for an account whose snapshot is ``at``."""
    shift: float = 0.0
    """By how many seconds the clock is another when it is decided."""


def form_of(event: Event) -> EventForm:
    """Return the form of an event of the exploration."""
    kind = type(event)
    told = dict(_told_fields(event))
    differs = {name: value for name, (field, value) in told.items() if _distinguishes(field, value)}
    parts = [_in_key(name, value) for name, value in differs.items()]
    words = [_in_words(name, value) for name, value in differs.items()]
    given = [f"{name}={_as_argument(name, value)}" for name, (field, value) in told.items() if value != field.default]
    late = False
    if isinstance(event, OfVisit):
        late = event.generation != GENERATION
        given.insert(0, "generation=at.generation - 1" if late else "generation=at.generation")
        words += ["of an earlier visit"] if late else []
    if isinstance(event, OfLink):
        late = event.link not in (0, LINK)
        if event.link:
            given.insert(0, "link=-1" if late else "link=at.link")
        words.append("of an earlier link" if late else "" if event.link else "of the account")
        parts += ["account"] if not event.link else []
    key = ".".join([kind.__name__, *parts, *(["late"] if late else [])])
    return EventForm(
        kind, key, ", ".join(filter(None, words)), late, f"{kind.__name__}({', '.join(given)})", time_of(event) - NOW
    )


def _told_fields(event: Event) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for field in attrs.fields(type(event)):
        if field.name not in NOT_TOLD:
            yield field.name, (field, getattr(event, field.name))


def _distinguishes(field: Any, value: Any) -> bool:
    """Return whether a value distinguishes a form: one without a default is the same in all forms."""
    if field.default is attrs.NOTHING or value is None:
        return False
    return value != field.default or isinstance(value, str) or field.name in ALWAYS_TOLD


def _in_key(name: str, value: Any) -> str:
    if value is True:
        return name
    return f"{value:g}" if isinstance(value, float) else str(value)


def _in_words(name: str, value: Any) -> str:
    if value is True:
        return name
    if name == "credentials":
        return KEYS[value]
    if name == "seconds":
        return f"by {value:+g} s"
    return f"{name} {value:g} s" if isinstance(value, float) else str(value)


def _as_argument(name: str, value: Any) -> str:
    if name == "credentials":
        return "at.credentials" if value == "one" else "at.credentials + '+'"
    return repr(value)
