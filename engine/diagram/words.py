"""The words of the drawings: roles of states, groups of events, and schedules."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

import attrs

from states import EVENTS, Event, Policy, State
from states.rules import ATTEMPT, FAILED_ATTEMPT, LOSSES, UNUSABLE


class StateRole(StrEnum):
    """What a state means to the reader; it determines the colour."""

    ATTEMPT = "attempt"
    WORKING = "working"
    SUSPECT = "suspect"
    WAITING = "waiting"
    NEEDS_A_PERSON = "needs a person"
    FINAL = "final"


STATE_ROLES: Mapping[State, StateRole] = {
    State.CONNECTING: StateRole.ATTEMPT,
    State.HEALTHY: StateRole.WORKING,
    State.TIMEOUT: StateRole.SUSPECT,
    State.BACKOFF: StateRole.WAITING,
    State.RECONNECTING: StateRole.ATTEMPT,
    State.AUTH_FAILED: StateRole.NEEDS_A_PERSON,
    State.SHUTTING_DOWN: StateRole.FINAL,
}

FILLS: Mapping[StateRole, str] = {
    StateRole.ATTEMPT: "#d6e6f9",
    StateRole.WORKING: "#d5eed2",
    StateRole.SUSPECT: "#fdf0bd",
    StateRole.WAITING: "#fbdcb9",
    StateRole.NEEDS_A_PERSON: "#f7cdcd",
    StateRole.FINAL: "#e2e2e2",
}
"""Pale colours, on which black text stays readable in a black-and-white print; the role is written out as well."""

GROUPS: Mapping[str, tuple[type[Event], ...]] = {
    "any failed attempt": FAILED_ATTEMPT,
    "anything unusable": UNUSABLE,
    "any loss": LOSSES,
}
"""Groups of events that the rules treat alike, the largest first; the legend lists their members."""

FRAMED_STATES: Mapping[str, tuple[State, ...]] = {"attempt": ATTEMPT}
"""States that are drawn side by side in a frame, because the arrows that they share leave from the frame."""
FRAME_TITLES: Mapping[str, str] = {"attempt": "an attempt"}

RANK = {event.__name__: number for number, event in enumerate(EVENTS)}


def event_names(events: Iterable[str]) -> list[str]:
    """Return the names of events; events that make up a whole group are replaced by the group's name."""
    left, names = set(events), []
    for name, group in GROUPS.items():
        members = {event.__name__ for event in group}
        if members <= left:
            names.append(name)
            left -= members
    return names + sorted(left, key=RANK.__getitem__)


def legend() -> list[tuple[str, list[str]]]:
    """Return each group's name and the names of its events."""
    return [(name, sorted((event.__name__ for event in group), key=RANK.__getitem__)) for name, group in GROUPS.items()]


def _durations(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values) + " s"


def _backoff_schedules(policy: Policy) -> list[str]:
    """Return the schedules of ``backoff``; causes with the same schedule share a line."""
    alike: dict[str, list[str]] = {}
    for name, value in attrs.asdict(policy.backoff, recurse=False).items():
        if name == "flood":
            wait = f"what the server says + {value.slack:g} s"
        elif value.factor > 1 and value.cap > value.first:
            wait = f"{value.first:g} s → {value.cap:g} s"
        else:
            wait = f"{value.first:g} s"
        alike.setdefault(wait, []).append(name.replace("_", " "))
    return [f"{', '.join(names)}: {wait}" for wait, names in alike.items()]


def schedule(state: State, policy: Policy) -> list[str]:
    """Return the schedule of a state as short lines."""
    match state:
        case State.CONNECTING:
            return [f"patience {_durations(policy.connecting.patience)}"]
        case State.RECONNECTING:
            return [f"patience {_durations(policy.reconnecting.patience)}"]
        case State.TIMEOUT:
            return [f"patience {_durations(policy.timeout.patience)}"]
        case State.HEALTHY:
            health = policy.healthy
            return [
                f"ping every {health.probe_every:g} s, proof every {health.prove_every:g} s",
                f"stable after {health.stable_after:g} s",
            ]
        case State.BACKOFF:
            return _backoff_schedules(policy)
        case State.SHUTTING_DOWN:
            return [f"grace {policy.shutting_down.grace:g} s"]
        case _:
            return ["waits for a person"]
