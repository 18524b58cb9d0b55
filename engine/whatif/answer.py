"""The answer: what was, and what would have been, each as the least and the most that can be said."""

import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final

from attrs import define, field, frozen

from engine.config.types import Fleet
from engine.fleet.stagger import AutoStagger
from engine.whatif.happenings import Meter
from engine.whatif.past import Doubts, PastBuilder
from engine.whatif.rerun import Rerun, Settings
from engine.whatif.world import AccountWorld, worlds_of
from states import Policy

MAX_DRAWS: Final = 10
"""Runs of one setting with other random numbers, at most."""
DECISIONS: Final = 300_000
"""Decisions of all settings together from which on they are run no further time: in so many, chance evens out."""


@frozen
class LeastMost:
    """The least and the most that a figure can have been."""

    least: float
    most: float

    def widened(self, by: float) -> "LeastMost":
        """Return these bounds with a part of themselves more room on either side."""
        return LeastMost(self.least * max(0.0, 1 - by), self.most * (1 + by))


@frozen(kw_only=True)
class Figure:
    """The downtime in seconds and the attempts of an account, or of the fleet as the sum of its accounts."""

    downtime: LeastMost
    attempts: LeastMost


@frozen(kw_only=True)
class Outcome:
    """What would have been with one choice of settings, on average over ``draws`` runs in either world."""

    fleet: Figure
    accounts: Mapping[str, Figure]
    parked: LeastMost
    """Accounts that waited for a person at the end."""
    peak: LeastMost
    """The most attempts of the fleet in one minute."""
    draws: int


@frozen(kw_only=True)
class Recorded:
    """What was. Of the model's check: ``again`` is the downtime that it gives with the settings of then."""

    fleet: Meter
    accounts: Mapping[str, Meter]
    peak: int
    again: float
    misses: Mapping[str, float]
    """By which part of its downtime the model misses that of an account; those that it misses."""

    @property
    def miss(self) -> float:
        """By which part of the downtime the model misses that of the fleet."""
        return part(self.again, self.fleet.seconds)


def part(found: float, due: float) -> float:
    """Return by which part of ``due`` another figure is beside it; a millisecond more or less is the clock's."""
    away = max(0.0, abs(found - due) - 0.001 * (1 + due / 60))
    return away / due if due > 0 else float(away > 0)


@define
class WhatIf:
    """The past of a fleet, ready to be run again. ``routes`` says by which way each account reaches the datacenter."""

    past: PastBuilder
    routes: Mapping[str, Hashable]
    seed: int
    advance: Callable[[], None] = lambda: None
    """Called now and then while something runs."""
    recorded: Recorded = field(init=False)
    _worlds: dict[str, AccountWorld] = field(init=False)
    _decisions: int = field(default=0, init=False)

    def check(self, fleet: Fleet) -> Recorded:
        """Run it with the settings and the random numbers of then, and compare; call this first.

        The journal does not say what ``fleet`` was then; it is taken to have been the same.
        """
        accounts = self.past.accounts
        self._worlds = worlds_of(accounts, self.routes)
        run = self._run(settings_of(None, fleet), worst=True, rng=random.Random(self.seed), then=True)
        again = run.run(self._tell)
        self._decisions = run.decisions
        meters = {name: past.meter for name, past in accounts.items()}
        misses = {name: part(again[name].seconds, meter.seconds) for name, meter in meters.items()}
        self.recorded = Recorded(
            fleet=total(meters.values()),
            accounts=meters,
            peak=max(self.past.outages.minutes.values(), default=0),
            again=sum(meter.seconds for meter in again.values()),
            misses={name: miss for name, miss in misses.items() if miss > 0},
        )
        return self.recorded

    def draws(self, choices: int) -> int:
        """Return how many runs each of so many settings is worth."""
        return max(1, min(MAX_DRAWS, DECISIONS // max(1, self._decisions * 2 * choices)))

    def outcome(self, policy: Policy, fleet: Fleet, draws: int) -> Outcome:
        """Run it with other settings."""
        sums = {worst: {name: Meter() for name in self.past.accounts} for worst in (False, True)}
        parked, peaks = {False: 0, True: 0}, {False: 0, True: 0}
        for draw in range(draws):
            for worst in (False, True):
                run = self._run(settings_of(policy, fleet), worst=worst, rng=random.Random(f"{self.seed}/{draw}"))
                for name, meter in run.run(self._tell).items():
                    sums[worst][name].seconds += meter.seconds / draws
                    sums[worst][name].attempts += meter.attempts
                parked[worst] += run.parked
                peaks[worst] += max(run.minutes.values(), default=0)
        best, worst_sums = sums[False], sums[True]
        misses = self.recorded.misses
        return Outcome(
            fleet=_figure(total(best.values()), total(worst_sums.values()), draws, self.recorded.miss),
            accounts={name: _figure(best[name], worst_sums[name], draws, misses.get(name, 0.0)) for name in best},
            parked=_ordered(parked[False] / draws, parked[True] / draws),
            peak=_ordered(peaks[False] / draws, peaks[True] / draws),
            draws=draws,
        )

    def _run(self, settings: Settings, *, worst: bool, rng: random.Random, then: bool = False) -> Rerun:
        return Rerun(
            pasts=self.past.accounts,
            worlds=self._worlds,
            routes=self.routes,
            news=self.past.outages.news,
            settings=settings,
            worst=worst,
            rng=rng,
            then=then,
            latency=self.past.outages.latency,
        )

    def _tell(self, _: float) -> None:
        self.advance()


def settings_of(policy: Policy | None, fleet: Fleet) -> Settings:
    """Return the settings of one run."""
    stagger = AutoStagger() if fleet.stagger == "auto" else fleet.stagger
    return Settings(policy=policy, at_once=fleet.connects_at_once, stagger=stagger)


def total(meters: Iterable[Meter]) -> Meter:
    """Return the sum of what several accounts came to."""
    found = Meter()
    for meter in meters:
        found.seconds += meter.seconds
        found.attempts += meter.attempts
        found.outages += meter.outages
        found.longest = max(found.longest, meter.longest)
    return found


def _ordered(one: float, other: float) -> LeastMost:
    return LeastMost(min(one, other), max(one, other))


def _figure(best: Meter, worst: Meter, draws: int, miss: float) -> Figure:
    return Figure(
        downtime=_ordered(best.seconds, worst.seconds).widened(miss),
        attempts=_ordered(best.attempts / draws, worst.attempts / draws),
    )


def _counted(doubts: Doubts, gone: int) -> list[tuple[int, str, str]]:
    """Return how often the journal shows what is not known, and the words for once and for more."""
    out = "the account is left out until it is healthy again"
    back = "the clock was set, or went backwards: what came later is moved back by as much"
    slept = "the machine slept: the sleep counts as time"
    return [
        (
            doubts.began_before,
            "outage had begun before the records that are left, and is left out",
            "outages had begun before the records that are left, and are left out",
        ),
        (doubts.lost_track, f"time a record is missing: {out}", f"times records are missing: {out}"),
        (doubts.unreadable, f"record cannot be read: {out}", f"records cannot be read: {out}"),
        (
            doubts.cut_off,
            "life ended without a record, with its engine: it counts until its last sign of life",
            "lives ended without a record, with their engine: they count until their last sign of life",
        ),
        (doubts.clock_set, f"time {back}", f"times {back}"),
        (doubts.slept, f"time {slept}", f"times {slept}"),
        (
            gone,
            "account is no longer in the config, and counts as part of the fleet of then",
            "accounts are no longer in the config, and count as part of the fleet of then",
        ),
    ]


def unknowns(past: PastBuilder, *, gone: Sequence[str]) -> list[str]:
    """Return what the answer does not know, as sentences; what the journal shows to be so comes first."""
    doubts = past.doubts
    counted = _counted(doubts, len(gone))
    found = [f"{count:,} {once if count == 1 else often}." for count, once, often in counted if count]
    if doubts.late:
        found.append(
            "The journal begins later than the period: retention has deleted what was before, or there was nothing."
        )
    return [
        *found,
        "An outage ended somewhere between the last failed attempt and the first that succeeded: least and most.",
        "Whether the way was open for a moment between two failed attempts; it counts as closed.",
        "What the network probe would have found at other times: at best a way that was open, at worst that of others.",
        "Trouble that nothing noticed with the settings of then: a shorter patience could have seen it.",
        "What the datacenter would have said to more attempts: flood waits and -429 are those that were recorded.",
        "Outages while the engine did not run, and what a person would have done in an outage of another length.",
        "Silence before the first probe without an answer: a silent link counts as down since that probe was sent.",
    ]
