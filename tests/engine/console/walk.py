"""A seeded walk of many accounts through the real ``step``: what the log is told of, in every shape it has."""

import random
from collections.abc import Iterator
from typing import Any

import attrs

from engine.console.messages import events_of, render
from states import EVENTS, Event, Policy, Snapshot, State, Step, begin, step
from states.events import (
    CaughtUp,
    Closed,
    Connected,
    CredentialsReplaced,
    DatabaseLocked,
    DatabaseRecovered,
    DatabaseUnavailable,
    Elapsed,
    LimitLifted,
    OfLink,
    OfVisit,
    ProbeAnswered,
    RetryRequested,
    Stable,
    Started,
    StopRequested,
    TimedOut,
    TurnGranted,
    UpdatesConfirmed,
    UpdatesStalled,
)
from states.schedules import Backoff, BackoffSchedules, Then

SEED = 12
NOW = 1_700_000_000.0
ACCOUNTS = ("Account 1", "News 2", "Ärger & Söhne", "100 % {sure}", "%s", "日本 🙂", "O'Brien \\n", "A7")
TEXTS = (
    "",
    "connection refused",
    "no answer within 10 s",
    "SESSION_REVOKED (401)",
    "50 % of {all} 'quoted'",
    "größer → 9",
)
POLICIES = (
    Policy(),
    Policy(backoff=BackoffSchedules(network=Backoff(tries=3, then=Then.PARK), server=Backoff(jitter=0))),
)
LIVES = 24
EVENTS_OF_A_LIFE = 60
NEXT: dict[State, tuple[type[Event], ...]] = {
    State.CONNECTING: (TurnGranted, Connected, Connected),
    State.RECONNECTING: (TurnGranted, Connected, Connected),
    State.HEALTHY: (CaughtUp, Stable, TimedOut, ProbeAnswered, DatabaseLocked, DatabaseUnavailable, DatabaseRecovered),
    State.TIMEOUT: (TimedOut, ProbeAnswered, DatabaseLocked, DatabaseRecovered),
    State.BACKOFF: (Elapsed, Elapsed, RetryRequested),
    State.AUTH_FAILED: (CredentialsReplaced, RetryRequested),
    State.SHUTTING_DOWN: (Closed,),
}
"""What usually comes next, so that a walk gets somewhere."""
RARE = (StopRequested,)
NEWER = (UpdatesStalled, UpdatesConfirmed, LimitLifted)
"""Those of ``stalls``, and what no line tells."""


def _values(kind: type[Event], rng: random.Random) -> dict[str, Any]:
    """Return values for the fields of an event that a line may show."""
    shown: dict[str, Any] = {
        "detail": rng.choice(TEXTS),
        "seconds": rng.choice((-40.0, 0.0, 7.5, 60.0, 4000.0))
        if kind.__name__ == "ClockJumped"
        else rng.choice((3.0, 60.0, 4000.0)),
        "request": rng.choice(("any", "SendMessage", "GetHistory")),
        "waited": rng.choice((0.0, 0.05, 4.0, 31.0, 200.0)),
        "unsaved": rng.choice((0, 1, 3)),
        "written": rng.choice((0, 1, 3)),
        "recovered": rng.choice((0, 1, 17)),
        "too_long": rng.random() < 0.3,
        "via": rng.choice(("", "", "socks5://127.0.0.1:1081")),
        "setting": rng.choice(("telegram.api_id", "telegram.datacenter")),
        "paused": rng.random() < 0.5,
        "reason": rng.choice(("", "the engine stops")),
        "proof": rng.random() < 0.5,
        "what": rng.choice(("connect", "probe", "request")),
        "credentials": rng.choice(("key one", "key two")),
    }
    return {name: value for name, value in shown.items() if name in attrs.fields_dict(kind)}


def _event(rng: random.Random, at: Snapshot) -> Event:
    """Return what happens next to an account."""
    likely = rng.random() < 0.6
    kind = (
        rng.choice(NEXT[at.state]) if likely else rng.choice([each for each in EVENTS if each not in (*RARE, *NEWER)])
    )
    if rng.random() < 0.03:
        kind = StopRequested
    values = _values(kind, rng)
    if issubclass(kind, OfVisit):
        values["generation"] = at.generation
    if issubclass(kind, OfLink) and rng.random() < 0.95:
        values["link"] = at.link
    return kind(**values)


def stalls() -> Iterator[tuple[str, Step]]:
    """Yield decisions about updates that are missing; those of ``steps``, whose lines are golden, are older."""
    rng, policy, now = random.Random(SEED), Policy(), NOW
    decision = step(begin(None, now=NOW), Started(), now=now, rng=rng, policy=policy)
    missing = UpdatesStalled(detail="channel 5 lacks 3", behind=("channel 5: 3",), since=NOW)
    arriving = [TurnGranted(generation=0), Connected()]
    for event in [
        *arriving,
        missing,
        attrs.evolve(missing, asked=True),
        *arriving,
        missing,
        UpdatesConfirmed(),
        missing,
        attrs.evolve(missing, asked=True),
        *arriving,
        missing,
        attrs.evolve(missing, asked=True),
    ]:
        at, now = decision.snapshot, now + 1000.0
        given = {"generation": at.generation} if isinstance(event, OfVisit) else {"link": at.link}
        decision = step(at, attrs.evolve(event, **given), now=now, rng=rng, policy=policy)
        yield ACCOUNTS[0], decision


def steps() -> Iterator[tuple[str, Step]]:
    """Yield decisions with whose they are; always the same ones."""
    rng = random.Random(SEED)
    for number in range(LIVES):
        account, policy = ACCOUNTS[number % len(ACCOUNTS)], POLICIES[number % len(POLICIES)]
        now, at, over = NOW + number, begin(None, now=NOW + number), False
        decision = step(at, Started(credentials="key one"), now=now, rng=rng, policy=policy)
        yield account, decision
        for _ in range(EVENTS_OF_A_LIFE):
            at, now = decision.snapshot, now + rng.choice((0.04, 1.0, 3.3, 12.0, 75.0, 4000.0))
            event: Event = Started(credentials="key one") if over else _event(rng, at)
            decision = step(begin(at, now=now) if over else at, event, now=now, rng=rng, policy=policy)
            over = "Finish" in decision.record.effects
            yield account, decision


def lines(account: str, decision: Step) -> list[tuple[int, str, str]]:
    """Return level, icon and sentence of what the log says of a decision."""
    told = [(level, *render(name, fields).split(" ", 1)) for level, name, fields in events_of(account, decision)]
    return [(level, icon, sentence) for level, icon, sentence in told]
