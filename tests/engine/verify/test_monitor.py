"""The law as a monitor: it is content with what the law decides, and says what is wrong with anything else."""

import random
from collections.abc import Iterator

import attrs
import pytest

from engine.verify import POLICIES
from engine.verify.monitor import LawMonitor, rule_named
from engine.verify.world import NOW, Bounds, Configuration, apply_decision, enumerate_events
from states import ROWS, Event, Policy, Snapshot, State, Step, begin, step
from states.effects import AskTurn, Close, Effect, HoldWork, Open, Wait
from states.events import (
    ClockJumped,
    Closed,
    Connected,
    Elapsed,
    FloodWait,
    NetworkLost,
    OfLink,
    OfVisit,
    ProbeAnswered,
    ProbeDue,
    RetryRequested,
    Stable,
    Started,
    StopRequested,
    TurnGranted,
)
from tests.states.harness import AccountDriver

Taken = tuple[Snapshot, Event, Step]


def current(event: Event, at: Snapshot) -> Event:
    """Return the event as it is of the present visit and link."""
    if isinstance(event, OfVisit):
        return attrs.evolve(event, generation=at.generation)
    return attrs.evolve(event, link=at.link) if isinstance(event, OfLink) and at.link else event


def lived(*events: Event, policy: Policy = POLICIES[0]) -> list[Taken]:
    """Return the decisions about these events, in a new account's life."""
    driver, taken = AccountDriver(policy), []
    for event in events:
        before = driver.snapshot
        taken.append((before, current(event, before), driver.take(event)))
    return taken


def breaches(taken: list[Taken], policy: Policy = POLICIES[0], start: int = 0) -> list[str]:
    """Return what a monitor that begins at ``start`` says, each as the property's name."""
    begins = LawMonitor.in_life if start else LawMonitor.of_life
    monitor = begins(taken[start][0], policy)
    said = [monitor.take(event, made) for _, event, made in taken[start:] if not made.record.quiet]
    return [each.property for each in said if each is not None]


def walk(seed: int, policy: Policy, steps: int = 120) -> Iterator[Taken]:
    """Yield the decisions about what the world can produce, chosen at random."""
    rng, bounds, now = random.Random(seed), Bounds.of(policy), NOW
    config = Configuration(begin(None, now=NOW))
    for _ in range(steps):
        at = config.snapshot
        known = attrs.evolve(config, snapshot=bounds.normalise(at))
        event = rng.choice([event for event, possible in enumerate_events(known) if possible])
        if isinstance(event, OfVisit):
            event = attrs.evolve(event, generation=at.generation - known.snapshot.generation + event.generation)
        elif isinstance(event, OfLink) and event.link:
            if event.link != known.snapshot.link and not at.links > 1:
                continue  # there was no earlier link yet
            event = attrs.evolve(event, link=at.link if event.link == known.snapshot.link else at.links - 1)
        now += event.seconds if isinstance(event, ClockJumped) else rng.random() * 5
        made = step(at, event, now=now, rng=rng, policy=policy)
        yield at, event, made
        config = apply_decision(config, event, made, None)
        if config.finished:
            return


@pytest.mark.parametrize("policy", POLICIES, ids=("keeps trying", "parks"))
def test_what_the_law_decides_passes(policy: Policy) -> None:
    """Whatever the world does, no decision of the real law is a breach, from a life's start or in the middle of it."""
    for seed in range(50):
        taken = list(walk(seed, policy))
        assert breaches(taken, policy) == [], seed
        if len(taken) > 10:
            assert breaches(taken, policy, start=len(taken) // 2) == [], seed


def test_routine_need_not_be_seen() -> None:
    """Probes that the journal leaves out leave no gap: what follows them passes."""
    life = lived(
        Started(), TurnGranted(generation=0), Connected(), ProbeDue(generation=0), ProbeAnswered(),
        Stable(generation=0), NetworkLost(), TurnGranted(generation=0),
    )  # fmt: skip
    assert sum(made.record.quiet for _, _, made in life) == 2
    assert breaches(life) == []


def test_it_needs_no_memory() -> None:
    """After a thousand outages a monitor has what it had after one: a snapshot and what is under way."""
    monitor, driver = LawMonitor.of_life(begin(None, now=NOW), POLICIES[0]), AccountDriver(POLICIES[0])
    for event in (Started(), *(TurnGranted(generation=0), NetworkLost(), Elapsed(generation=0)) * 1000):
        before = driver.snapshot
        assert monitor.take(current(event, before), driver.take(event)) is None
    assert len(monitor.config.timers) <= 3


def spoilt(taken: list[Taken], number: int, *effects: Effect, without: type[Effect] | None = None) -> list[Taken]:
    """Return the decisions with other effects in one of them."""
    before, event, made = taken[number]
    left = tuple(effect for effect in made.effects if without is None or not isinstance(effect, without))
    taken[number] = before, event, attrs.evolve(made, effects=(*effects, *left))
    return taken


BEGINNING = (Started(), TurnGranted(generation=0))


@pytest.mark.parametrize(
    ("taken", "property"),
    [
        (spoilt(lived(*BEGINNING), 1, Open(link=2, attempt=1, patience=9)), "one_connection"),
        (spoilt(lived(Started()), 0, without=AskTurn), "waits_end"),
        (spoilt(lived(*BEGINNING, NetworkLost()), 2, without=Close), "waits_end"),
        (spoilt(lived(*BEGINNING, Connected(), NetworkLost()), 3, without=HoldWork), "work_only_when_healthy"),
        (spoilt(lived(*BEGINNING, StopRequested()), 2, without=Close), "stop_is_final"),
        (
            spoilt(
                lived(*BEGINNING, FloodWait(seconds=90.0)), 2,
                Wait(generation=2, delay=89.0, deadline=NOW + 99), without=Wait,
            ),
            "delays_fit",
        ),
    ],
)  # fmt: skip
def test_each_property_is_asked(taken: list[Taken], property: str) -> None:
    """A decision with an effect too many or too few is named by the property that it breaks."""
    assert breaches(taken)[:1] == [property]


@pytest.mark.parametrize(
    "events",
    [
        (TurnGranted(generation=0),),
        (Started(), Started()),
        (*BEGINNING, Connected(), StopRequested(), Closed(generation=0), Closed(generation=0)),
        (*BEGINNING, Connected(), Connected()),
        (Started(), Connected()),
    ],
    ids=("no turn was asked for", "begun twice", "over", "no link is opening", "no link"),
)
def test_what_cannot_have_happened(events: tuple[Event, ...]) -> None:
    """An event that nothing can have produced is a breach, whatever the law makes of it."""
    assert breaches(lived(*events))[:1] in (["possible"], ["waits_end"])


def test_the_rule_and_its_guard() -> None:
    """A rule that the law does not have for this pair, one whose guard is false, and a routine one are told."""
    before, event, made = lived(*BEGINNING)[1]
    monitor = LawMonitor.in_life(before, POLICIES[0])
    for rule, property in (
        ("connecting.Nothing", "rule"),
        ("healthy.TurnGranted", "rule"),
        ("connecting.TurnGranted[under_way]", "guard"),
        ("connecting.TurnGranted[stale]", "guard"),
    ):
        other = attrs.evolve(made, record=attrs.evolve(made.record, rule=rule))
        breach = LawMonitor.in_life(before, POLICIES[0]).take(event, other)
        assert breach is not None
        assert breach.property == property
    assert monitor.take(event, made) is None
    late = TurnGranted(generation=before.generation - 1)
    made = step(before, late, now=NOW, rng=random.Random(1), policy=POLICIES[0])
    breach = LawMonitor.in_life(before, POLICIES[0]).take(late, made)
    assert breach is not None
    assert breach.property == "routine"


def test_rules_are_found_by_name() -> None:
    """Every rule of the law has a name of its own, and nothing else is found."""
    assert [rule_named(row.name) for row in ROWS] == list(ROWS)
    assert rule_named("") is None


def test_a_floor_is_a_floor() -> None:
    """A restored network or a retry that ended a flood wait would be a breach."""
    taken = lived(*BEGINNING, FloodWait(seconds=90.0))
    before = taken[-1][2].snapshot
    monitor = LawMonitor.in_life(before, POLICIES[0])
    made = step(before, RetryRequested(), now=NOW + 9, rng=random.Random(1), policy=POLICIES[0])
    visit = before.generation + 1
    soon = attrs.evolve(before, state=State.RECONNECTING, generation=visit, deadline=None, wait=None)
    early = attrs.evolve(made, snapshot=soon, effects=(AskTurn(generation=visit),))
    breach = monitor.take(RetryRequested(), early)
    assert breach is not None
    assert breach.property == "floods_are_floors"
