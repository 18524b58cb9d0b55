"""What a simulation has shown, in a few figures and in columns over time."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

from attrs import frozen

from engine.simulate.driver import Simulation
from engine.simulate.observed import AWAY, LostAccounts
from engine.simulate.ticks import TICKS
from states import State

SHARES: Final = (0.5, 0.95, 1.0)
"""Which parts of the lost accounts are looked for when they are back."""
MAX_POINTS: Final = 720
"""Points of a series in JSON, at most."""


@frozen(kw_only=True)
class Peak:
    """The most in a second, and when that was, in seconds since the beginning."""

    most: int
    at: float


@frozen(kw_only=True)
class Recovery:
    """What a disturbance did: how many healthy accounts it took their link, and when they were back.

    ``back`` has the seconds from its end until half, 95 % and all of them were; None if they were not, and 0 if they
    were back before.
    """

    label: str
    kind: str
    at: float
    ends: float | None
    lost: int
    back: tuple[float | None, ...]
    away: int
    """How many are still away."""


@frozen(kw_only=True)
class SimulationSummary:
    """What is printed of a simulation. All times are seconds since its beginning."""

    accounts: int
    lasted: float
    wanted: float
    """For how long it should have lasted."""
    availability: float
    first_healthy: float | None
    """When all accounts were healthy for the first time."""
    never_connected: int
    attempts: int
    attempts_peak: Peak
    at_once: Peak
    rows: int
    rows_peak: Peak
    network_probes: int
    decisions: int
    states: dict[State, int]
    parked: int
    """How many of those in ``backoff`` wait for the operator alone."""
    not_reached: tuple[float, ...]
    """When the disturbances begin that were to come after its end."""
    recoveries: tuple[Recovery, ...]
    series: dict[str, Sequence[int]]
    """Per second: healthy accounts (at its end), attempts, attempts at once (the most), and rows of the journal."""

    @property
    def complete(self) -> bool:
        """Whether it lasted as long as it should."""
        return self.lasted >= self.wanted

    @property
    def rows_mean(self) -> float:
        """Rows of the journal per second, on average."""
        return self.rows / self.lasted if self.lasted else 0.0


def summarise(simulation: Simulation) -> SimulationSummary:
    """Return the summary of a simulation that has run, or was ended."""
    seen, tick = simulation.observed, simulation.agenda.tick
    lasted = tick / TICKS
    count = max(1, math.ceil(lasted))
    attempts, rows, at_once = seen.attempts[:count], seen.rows[:count], seen.at_once[:count]
    return SimulationSummary(
        accounts=seen.accounts,
        lasted=lasted,
        wanted=simulation.duration,
        availability=seen.availability(tick),
        first_healthy=next((second + 1.0 for second, of in enumerate(seen.healthy) if of == seen.accounts), None),
        never_connected=sum(account.snapshot.last_success is None for account in simulation.accounts),
        attempts=sum(attempts),
        attempts_peak=_peak(attempts),
        at_once=_peak(at_once),
        rows=sum(rows),
        rows_peak=_peak(rows),
        network_probes=simulation.probes.sent,
        decisions=seen.decisions,
        states=dict(seen.counts),
        parked=sum(account.snapshot.parked for account in simulation.accounts),
        not_reached=tuple(each.disturbance.begin for each in seen.lost if each.disturbance.begin > lasted),
        recoveries=tuple(_recovery(each) for each in seen.lost if each.disturbance.begin <= lasted),
        series={
            "healthy": seen.healthy,
            "attempts": attempts,
            "handshakes_at_once": at_once,
            "journal_rows": rows,
        },
    )


def _peak(series: Sequence[int]) -> Peak:
    most = max(series, default=0)
    return Peak(most=most, at=float(series.index(most)) if most else 0.0)


def _recovery(lost: LostAccounts) -> Recovery:
    each = lost.disturbance
    ends = each.begin if each.end is None else each.end
    back = sorted(at for at in lost.back if at != AWAY)

    def after(share: float) -> float | None:
        number = math.ceil(lost.count * share)
        return max(0.0, back[number - 1] / TICKS - ends) if 0 < number <= len(back) else None

    return Recovery(
        label=each.label or each.kind.value,
        kind=each.kind.value,
        at=each.begin,
        ends=each.end,
        lost=lost.count,
        back=tuple(map(after, SHARES)),
        away=lost.count - len(back),
    )


def in_columns(series: Sequence[int], count: int, choose: Callable[[Sequence[int]], int]) -> list[int]:
    """Return a series in at most ``count`` columns of equal length; ``choose`` makes one value of several."""
    count = min(count, len(series))
    edges = [index * len(series) // count for index in range(count + 1)] if count else [0]
    return [choose(series[first:last]) for first, last in pairwise(edges)]


def as_data(found: SimulationSummary, *, seed: int, scenario: str) -> dict[str, Any]:
    """Return what ``simulate --json`` prints; times are seconds, shares from 0 to 1."""
    points = min(MAX_POINTS, math.ceil(found.lasted))
    return {
        "accounts": found.accounts,
        "seconds": found.lasted,
        "complete": found.complete,
        "seed": seed,
        "scenario": scenario,
        "availability": found.availability,
        "all_healthy_after": found.first_healthy,
        "never_connected": found.never_connected,
        "attempts": {"total": found.attempts, "peak": found.attempts_peak.most, "peak_at": found.attempts_peak.at},
        "handshakes_at_once": {"peak": found.at_once.most, "peak_at": found.at_once.at},
        "journal_rows": {
            "total": found.rows,
            "mean": found.rows_mean,
            "peak": found.rows_peak.most,
            "peak_at": found.rows_peak.at,
        },
        "network_probes": found.network_probes,
        "decisions": found.decisions,
        "parked": found.parked,
        "faults_not_reached": len(found.not_reached),
        "states": {state.value: count for state, count in found.states.items()},
        "faults": [
            {
                "what": each.label,
                "do": each.kind,
                "at": each.at,
                "for": None if each.ends is None else each.ends - each.at,
                "lost": each.lost,
                "back": {f"{share:.0%}": after for share, after in zip(SHARES, each.back, strict=True)},
                "away": each.away,
            }
            for each in found.recoveries
        ],
        "series": {
            "every": found.lasted / points if points else 0.0,
            **{name: in_columns(of, points, min if name == "healthy" else max) for name, of in found.series.items()},
        },
    }
