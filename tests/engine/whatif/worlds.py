"""Fleets whose outages are known exactly, and journals of them, made by the same decisions as an engine's."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from adapters.sandbox.faults.kinds import FaultKind
from engine.app.journal_events import decode_event
from engine.config.types import Fleet
from engine.simulate.disturbances import Disturbance
from engine.simulate.driver import AccountModel, Simulation
from engine.whatif.answer import WhatIf, total
from engine.whatif.happenings import (
    AccountPast,
    LifeBegan,
    LifeEnded,
    LinkLost,
    Meter,
)
from engine.whatif.past import PastBuilder
from engine.whatif.rerun import Rerun, Settings
from engine.whatif.world import AccountWorld, Closure
from states import Entry, Event, Policy, Record, Snapshot, Step, begin
from states.events import NetworkLost, Started, TimedOut

BASE = 1000.0
HANDSHAKE = 0.2
FLEET = Fleet()


@frozen(kw_only=True)
class TrueLife:
    """The beginning of a life, as the journal has it."""

    life: int = 1
    at: float = BASE
    policy: Policy
    snapshot: Snapshot
    pruned_to: int = 0

    @property
    def start(self) -> Snapshot:
        """Where its first record was decided."""
        return self.snapshot


def settings(policy: Policy | None) -> Settings:
    """Return settings with the fleet's defaults."""
    return Settings(policy=policy, at_once=32, stagger=0.1)


@frozen
class TrueFleet:
    """A fleet in a world that is known."""

    policy: Policy
    pasts: Mapping[str, AccountPast]
    worlds: Mapping[str, AccountWorld]
    hours: float

    @classmethod
    def drawn(cls, seed: int, accounts: int, policy: Policy, hours: float = 2.0) -> "TrueFleet":
        """Return a fleet with random outages of one account, two or all."""
        rng = random.Random(seed)
        at, end = BASE + 200, BASE + hours * 3600
        losses: dict[int, list[tuple[float, float, Event]]] = {index: [] for index in range(accounts)}
        while at < end:
            at += rng.expovariate(1 / 900)
            length = rng.choice([1, 5, 30, 120, 600]) * rng.uniform(0.5, 1.5)
            event: Event = rng.choice([NetworkLost(), TimedOut(what="probe")])
            if at + length < end:
                for index in rng.sample(range(accounts), min(accounts, rng.choice([1, 1, 2, accounts]))):
                    losses[index].append((at + index / 1000, at + length, event))
            at += length
        return cls.of(losses, policy, hours)

    @classmethod
    def of(
        cls, losses: Mapping[int, Sequence[tuple[float, float, Event]]], policy: Policy, hours: float
    ) -> "TrueFleet":
        """Return a fleet with these outages: from when to when, and how each link learns of it."""
        pasts, worlds = {}, {}
        for index, outages in losses.items():
            past = AccountPast([LifeBegan(BASE, policy, begin(None, now=BASE), Started())])
            closures = []
            for began, ended, event in outages:
                silent = isinstance(event, TimedOut)
                noticed = began + (policy.timeout.nth(1) if silent else 0.0)
                loss = LinkLost(noticed, began, event, silent)
                past.happenings.append(loss)
                closures.append(Closure(began, loss, least=ended, most=ended, deaf=ended))
            past.happenings.append(LifeEnded(BASE + hours * 3600))
            pasts[f"Account {index}"] = past
            worlds[f"Account {index}"] = AccountWorld(closures, HANDSHAKE)
        return cls(policy, pasts, worlds, hours)

    def run(self, policy: Policy | None, seed: int, records: list[tuple[str, int, Record]] | None = None) -> Meter:
        """Return what becomes of the fleet, in truth; ``records`` gets what the journal would."""

        def observe(name: str, decision: Step) -> None:
            if records is not None and not decision.record.quiet:
                records.append((name, decision.snapshot.life, decision.record))

        run = Rerun(
            pasts=self.pasts, worlds=self.worlds, routes={}, news=[], settings=settings(policy), worst=False,
            rng=random.Random(seed), observer=observe,
        )  # fmt: skip
        return total(run.run().values())

    def journal(self, seed: int) -> list[Entry]:
        """Return the journal of a run with the fleet's own settings."""
        records: list[tuple[str, int, Record]] = []
        self.run(None, seed, records)
        return entries(records)

    def past(self, journal: Sequence[Entry]) -> PastBuilder:
        """Return what a journal of the fleet tells."""
        return told(journal, self.policy, self.pasts, BASE, BASE + self.hours * 3600)


def entries(records: Sequence[tuple[str, int, Record]]) -> list[Entry]:
    """Return records as the journal has them."""
    names = [field.name for field in attrs.fields(Record)]
    return [
        Entry(seq=seq, account=account, life=life, **{name: getattr(record, name) for name in names})
        for seq, (account, life, record) in enumerate(records, 1)
    ]


def told(journal: Sequence[Entry], policy: Policy, accounts: Any, begins: float, ends: float) -> PastBuilder:
    """Return what a journal of one life of each account tells."""
    start = begin(None, now=begins)
    built = PastBuilder(
        {(name, 1): TrueLife(at=begins, policy=policy, snapshot=start) for name in accounts}, decode_event
    )
    for entry in journal:
        built.take(entry)
    built.finish(dict.fromkeys(accounts, ends))
    return built


def simulated(policy: Policy, disturbances: Sequence[Disturbance], accounts: int, seconds: float, seed: int) -> WhatIf:
    """Return the past of a fleet that ``engine simulate`` has run: another model than that of ``whatif``."""
    names = [f"Account {index}" for index in range(accounts)]
    run = Simulation(
        [AccountModel(name) for name in names], policy, FLEET, disturbances, duration=seconds, seed=seed, keeps=True
    )
    lives = run.run().lives
    assert lives is not None
    records = [(name, 1, record) for name, life in zip(names, lives, strict=True) for record in life.records]
    records.sort(key=lambda each: each[2].at)
    return WhatIf(told(entries(records), policy, names, float(run.begin), run.begin + seconds), {}, seed)


def drawn_disturbances(seed: int, accounts: int, seconds: float) -> list[Disturbance]:
    """Return disturbances that are noticed at once: resets, and a datacenter that refuses or drops what comes."""
    rng = random.Random(seed)
    found: list[Disturbance] = []
    at = 200.0
    while True:
        at += rng.expovariate(1 / 500)
        length = rng.choice([0, 3, 20, 100, 400]) * rng.uniform(0.5, 1.5)
        if at + length > seconds - 600:
            return found
        members = None if rng.random() < 0.4 else sorted(rng.sample(range(accounts), rng.randint(1, accounts // 2)))
        found.append(Disturbance(begin=at, end=at, kind=FaultKind.RESET, members=members))
        if length:
            kind = rng.choice([FaultKind.REFUSE, FaultKind.SYN_DROP])
            found.append(Disturbance(begin=at, end=at + length, kind=kind, members=members))
        at += length
