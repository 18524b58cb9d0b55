"""What the page tells of configurations, guards and effects: values in words, next to the texts of the law itself."""

from collections.abc import Iterator
from typing import Any, Final

import attrs
from attrs import frozen

from engine.diagram.field_docs import field_docs
from engine.verify.world import ALIKE, NOW, Bounds, Configuration
from states import Snapshot, State
from states.answers import GuardAnswer
from states.effects import Effect
from states.snapshot import ADVICE, Action, Cause, Restriction, Stall, Trouble

NOTHING: Final = ("0", "no", "none")
"""The values of fields that say nothing."""
COUNTED: Final = ("attempt", "failures", "silences")
OF_SNAPSHOT: Final = (
    *COUNTED, "streak", "cause", "deadline", "stable", "exhausted", "limited", "restricted", "database", "stall",
    "resumes",
)  # fmt: skip
"""Fields of the snapshot that differ between configurations. All others are the same in all of them."""
DERIVED: Final = ("parked", "waiting_for_turn", "waits_for_network", "doubts_key", "action")
OF_WORLD: Final = ("started", "turn", "link", "probe", "timers", "closing", "held", "finished")
UNTOLD: Final = ("generation", "link", "holds", "request", "detail", "deadline")
"""Fields of effects that are the same wherever the effect is, or follow from others."""


@frozen
class TellingField:
    """A field of a configuration: where it stands, its name, and what it means."""

    of: str
    name: str
    doc: str


def telling_fields() -> list[TellingField]:
    """Return the fields that the page shows of each configuration, in its order."""
    snapshot, world = field_docs(Snapshot), field_docs(Configuration)
    for name, kind in (("restricted", Restriction), ("database", Trouble), ("stall", Stall)):
        snapshot[name] = kind.__doc__ or ""
    return [
        *(TellingField("snapshot", name, snapshot.get(name, "")) for name in OF_SNAPSHOT),
        *(TellingField("snapshot", name, getattr(Snapshot, name).__doc__ or "") for name in DERIVED),
        *(TellingField("world", name, world.get(name, "")) for name in OF_WORLD),
    ]


def tell_configuration(config: Configuration, bounds: Bounds) -> Iterator[str]:
    """Yield the values of the fields, in the order of ``telling_fields``."""
    at = config.snapshot
    counts = {"attempt": bounds.attempt, "failures": bounds.failures, "streak": _streak_bound(at, bounds)}
    for name in (*OF_SNAPSHOT, *DERIVED):
        value = getattr(at, name)
        if name == "resumes" and at.state is not State.SHUTTING_DOWN:
            yield tell(None)  # the next life is decided when the account stops
        elif name == "cause" and value is not None:
            alike = [event for event, stands in ALIKE.items() if stands == value.event]
            yield " or ".join(alike) or f"{value.event} or any other"
        elif name in counts and value and value >= counts[name]:
            yield f"{value} or more"
        else:
            yield tell(value, name)
    for name in OF_WORLD:
        yield tell(getattr(config, name), name)


def _streak_bound(at: Snapshot, bounds: Bounds) -> int:
    return bounds.streak_of(at.cause.event) if at.cause else 1


def tell(value: Any, name: str = "") -> str:
    """Return a value in words; ``name`` is that of its field."""
    match value:
        case None | "":
            return "none"
        case bool():
            return "yes" if value else "no"
        case Action():
            return f"{value.value}: {ADVICE[value]}"
        case Cause():
            return value.event
        case Restriction():
            return value.limit
        case Trouble():
            return f"told {tell(value.told)}"
        case Stall():
            after = "" if value.until is None else f", the next {'due' if value.until <= NOW else 'not due'}"
            return f"{value.clients} fresh clients{after}, told {tell(value.told)}"
        case float() if name.endswith(("deadline", "until")):
            return f"in {value - NOW:g} s"
        case float():
            return f"{value:g} s"
        case tuple():
            return ", ".join(tell(each) for each in value) or "none"
        case frozenset():
            return ", ".join(sorted(kind.__name__ for kind in value)) or "none"
        case _:
            return str(value)


def tell_answer(asked: GuardAnswer) -> str:
    """Return what a guard saw."""
    return ", ".join(f"{name} {tell(value, name)}" for name, value in asked.saw.items() if value is not None)


def tell_effect(effect: Effect, other: Effect) -> str:
    """Return the values of an effect; ``other`` is the same at the other end of the jitter."""
    told = []
    for field in attrs.fields(type(effect)):
        if field.name in UNTOLD:
            continue
        low, high = (tell(_value(each, field), field.name) for each in (effect, other))
        told.append(f"{field.name} {low}" + (f" to {high}" if high != low else ""))
    return ", ".join(told)


def _value(effect: Effect, field: "attrs.Attribute[Any]") -> Any:
    """Return a field's value; schedules may be written without a fraction, and still are seconds."""
    value = getattr(effect, field.name)
    return float(value) if field.type is float else value
