"""The settings of a story: random values of the config, and how long an engine under them may take to heal."""

import random
from collections.abc import Mapping
from typing import Any, Final

from states.schedules import Policy

MARGIN: Final = 600.0
"""Seconds for everything else: a flood wait of five minutes that was just told, a turn at the limiter, jobs."""


def draw_settings(chance: random.Random, accounts: int) -> dict[str, Any]:
    """Draw the values that differ from the config's defaults, by dotted paths. All durations are seconds."""
    seldom = 30.0 if accounts <= 2 and chance.random() < 0.15 else 60.0
    drawn: dict[str, Any] = {
        "states.healthy.probe_every": _round(chance.triangular(seldom, 600, 120)),
        "states.healthy.prove_every": _round(chance.triangular(seldom * 2, 1800, 300)),
    }
    options: dict[str, Any] = {
        "states.healthy.stable_after": chance.choice((1, 10, 60, 600)),
        "states.timeout.patience": _durations(chance, 3, 30),
        "states.connecting.patience": _durations(chance, 15, 90),
        "states.reconnecting.patience": _durations(chance, 15, 90),
        "states.backoff.network": _backoff(chance),
        "states.backoff.server": _backoff(chance),
        "states.backoff.unexpected": _backoff(chance),
        "states.backoff.transport_flood": _backoff(chance, first=10, park=False),
        "states.backoff.auth_key": _backoff(chance, first=2, park=False),
        "states.backoff.database": {"first": 2, "factor": 1, "cap": 2, "alert_after": chance.choice((0, 10, 60))},
        "states.backoff.flood": {"slack": chance.choice((0, 1, 10))},
        "states.shutting_down.grace": chance.choice((1, 5, 15)),
        "fleet.connects_at_once": chance.choice((1, 2, 32)),
        "fleet.stagger": chance.choice((0, 0.1, 2, "auto")),
        "storage.keep": chance.choice((1800, 3600, 6 * 3600)),
        "work.per_account": chance.choice((1, 2, 8)),
        "work.retry": {"first": chance.choice((1, 10, 60)), "factor": 2, "cap": 120, "tries": chance.choice((1, 3, 5))},
        "work.kinds.send.budget": {"at_most": chance.choice((1, 5)), "per": chance.choice((4, 60))},
    }
    part = chance.choice((0.0, 0.2, 0.5))
    rare = {"storage.keep": 0.3}
    return drawn | {path: value for path, value in options.items() if chance.random() < part * rare.get(path, 1.0)}


def longest_waits(settings: Mapping[str, Any]) -> dict[str, float]:
    """Return the longest waits of these settings, by what is waited for, in seconds."""
    usual = Policy()
    patience = [
        max(settings.get(f"states.{state}.patience", getattr(usual, state).patience))
        for state in ("connecting", "reconnecting")
    ]
    caps = [
        settings.get(f"states.backoff.{name}", {}).get("cap", getattr(usual.backoff, name).cap)
        for name in ("network", "server", "database", "transport_flood", "auth_key", "unexpected")
    ]
    return {
        "patience": max(patience),
        "cap": max(caps),
        "silence": sum(settings.get("states.timeout.patience", usual.timeout.patience)),
        "probe": settings.get("states.healthy.probe_every", usual.healthy.probe_every),
        "prove": settings.get("states.healthy.prove_every", usual.healthy.prove_every),
    }


def healing_seconds(settings: Mapping[str, Any]) -> float:
    """Return a time in which an engine is well again after the last incident, by a wide margin.

    A link that is dead is noticed by the next probe and given up after the patience; the wait that had just begun goes
    on, up to its cap; and an attempt that meets the end of the incident fails and is followed by another.
    """
    longest = longest_waits(settings)
    noticed = max(longest["probe"], longest["prove"]) + longest["silence"]
    return noticed + 2 * (longest["cap"] + longest["patience"]) + MARGIN


def _round(seconds: float) -> float:
    return round(seconds)


def _durations(chance: random.Random, lowest: float, highest: float) -> list[float]:
    return sorted(_round(chance.uniform(lowest, highest)) for _ in range(chance.randint(1, 3)))


def _backoff(chance: random.Random, first: float = 1, park: bool = True) -> dict[str, Any]:
    begin = chance.choice((first, first * 5, first * 20))
    return {
        "first": begin,
        "factor": chance.choice((1, 1.5, 2, 3)),
        "cap": max(begin, chance.choice((10, 60, 300))),
        "jitter": chance.choice((0, 0.2, 0.5)),
        "tries": chance.choice((2, 5, 8)),
        "then": "park" if park and chance.random() < 0.1 else "keep_trying",
    }
