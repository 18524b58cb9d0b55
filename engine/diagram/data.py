"""The machine as plain data: a JSON format that other programs rely on."""

import json
from typing import Any

import attrs

from states import EVENTS, MACHINE, ROWS, Policy, State
from states.snapshot import MEANINGS


def _schedule(state: State, policy: Policy) -> dict[str, Any] | None:
    value = getattr(policy, state.value, None)
    return None if value is None else attrs.asdict(value)


def as_data(policy: Policy) -> dict[str, Any]:
    """Return the machine as plain data; a rule whose ``target`` is null keeps the state. All times are seconds."""
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
