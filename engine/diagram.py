"""The machine, drawn from its rules: sorted, so that the same rules give the same text."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from states import EVENTS, MACHINE, ROWS, Policy, State
from states.snapshot import MEANINGS

ORDER = {state: number for number, state in enumerate(State)}


def _schedule(state: State, policy: Policy) -> dict[str, Any] | None:
    value = getattr(policy, state.value, None)
    return None if value is None else attrs.asdict(value)


def as_data(policy: Policy) -> dict[str, Any]:
    """Return the machine as plain data; a rule whose ``target`` is null stays. All times are seconds."""
    return {
        "initial": MACHINE.initial,
        "states": [
            {
                "name": state.value,
                "final": bool(MACHINE.get_state(state.value).final),
                "schedule": _schedule(state, policy),
                "meaning": MEANINGS[state],
            }
            for state in State
        ],
        "events": [{"name": event.__name__, "doc": " ".join((event.__doc__ or "").split())} for event in EVENTS],
        "rules": [
            {
                "source": row.source.value,
                "event": row.event.__name__,
                "target": row.target.value if row.target else None,
                "guard": row.guard,
                "effects": [effect.__name__ for effect in row.does],
                "why": row.why,
            }
            for row in ROWS
        ],
    }


def to_json(policy: Policy) -> str:
    """Return the machine as JSON."""
    return json.dumps(as_data(policy), indent=2, ensure_ascii=False) + "\n"


def _durations(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values) + " s"


def _in_words(state: State, policy: Policy) -> list[str]:
    """Return the schedule of a state as short lines."""
    backoff = policy.backoff
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
            growing = {name: value for name, value in attrs.asdict(backoff, recurse=False).items() if name != "flood"}
            lines = [
                f"{name.replace('_', ' ')} {value.first:g} s" + (f" → {value.cap:g} s" if value.factor > 1 else "")
                for name, value in growing.items()
            ]
            return [*lines, f"flood: the server's number + {backoff.flood.slack:g} s"]
        case State.SHUTTING_DOWN:
            return [f"grace {policy.shutting_down.grace:g} s"]
        case _:
            return ["waits for a person"]


def _edges() -> Mapping[tuple[State, State], list[str]]:
    """Return what leads from state to state: the events of one guard and one list of effects share a line."""
    alike: dict[tuple[State, State, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for row in ROWS:
        if row.target is not None:
            effects = tuple(effect.__name__ for effect in row.does)
            alike[row.source, row.target, row.guard or "", effects].append(row.event.__name__)
    edges: dict[tuple[State, State], list[str]] = defaultdict(list)
    for (source, target, guard, effects), events in alike.items():
        condition = f" [{guard}]" if guard else ""
        does = f" / {', '.join(effects)}" if effects else ""
        edges[source, target].append(f"{', '.join(sorted(events))}{condition}{does}")
    return edges


def _sorting(edge: tuple[State, State]) -> tuple[int, int]:
    return ORDER[edge[0]], ORDER[edge[1]]


def to_mermaid(policy: Policy) -> str:
    """Return the machine as a mermaid state diagram; rules that stay are left out, ``json`` has them."""
    lines = ["stateDiagram-v2", "    direction TB", f"    [*] --> {MACHINE.initial}"]
    for state in State:
        text = "<br/>".join([f"<b>{state.value}</b>", MEANINGS[state].replace(";", ","), *_in_words(state, policy)])
        lines.append(f"    {state.value}: {text}")
    edges = _edges()
    for edge in sorted(edges, key=_sorting):
        label = "<br/>".join(sorted(edges[edge]))
        lines.append(f"    {edge[0].value} --> {edge[1].value}: {label}")
    lines.append(f"    {State.SHUTTING_DOWN.value} --> [*]")
    return "\n".join(lines) + "\n"


FORMATS: Mapping[str, tuple[str, Callable[[Policy], str]]] = {
    "mermaid": ("machine.mmd", to_mermaid),
    "json": ("machine.json", to_json),
}
"""Each format: the file's name under ``diagrams/``, and what makes it."""
