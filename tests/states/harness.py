"""A harness that drives one account through the real ``step``."""

import random

import attrs

from states import Cause, Event, Policy, Snapshot, State, Step, begin, step
from states.events import Connected, Elapsed, FloodWait, OfLink, OfVisit, Stable, Started, TurnGranted
from states.schedules import Backoff, BackoffSchedules, Then

NOW = 1_000_000.0
STEADY = Policy(
    backoff=BackoffSchedules(network=Backoff(jitter=0), server=Backoff(jitter=0), unexpected=Backoff(jitter=0))
)
PARKING = Policy(backoff=BackoffSchedules(network=Backoff(jitter=0, tries=3, then=Then.PARK)))


class AccountDriver:
    """Drives one account through the real ``step``, a virtual second at a time."""

    def __init__(self, policy: Policy = STEADY, snapshot: Snapshot | None = None) -> None:
        self.policy, self.now, self.rng = policy, NOW, random.Random(1)
        self.snapshot = snapshot or begin(None, now=NOW)
        self.last: Step | None = None

    def take(self, event: Event) -> Step:
        """Decide on an event of the present visit and link."""
        if isinstance(event, OfVisit):
            event = attrs.evolve(event, generation=self.snapshot.generation)
        elif isinstance(event, OfLink) and self.snapshot.link and not event.link:
            event = attrs.evolve(event, link=self.snapshot.link)
        self.now += 1
        self.last = step(self.snapshot, event, now=self.now, rng=self.rng, policy=self.policy)
        self.snapshot = self.last.snapshot
        return self.last

    def connect(self) -> "AccountDriver":
        """Bring the account from a wait or its start to ``healthy``."""
        if self.snapshot.state is State.BACKOFF:
            self.take(Elapsed(generation=0))
        elif self.snapshot.generation == 0:
            self.take(Started())
        self.take(TurnGranted(generation=0))
        self.take(Connected())
        return self

    def settle(self) -> "AccountDriver":
        """Let the link become stable."""
        self.take(Stable(generation=0))
        return self

    def fail(self, event: Event) -> Step:
        """Make the next attempt and let it fail."""
        if self.snapshot.state is State.BACKOFF:
            self.take(Elapsed(generation=0))
        self.take(TurnGranted(generation=0))
        return self.take(event)


def effects(decision: Step) -> list[type]:
    """Return the classes of a decision's effects."""
    return [type(effect) for effect in decision.effects]


def in_state(state: State) -> Snapshot:
    """Return an account that is in this state, with a link where the state has one."""
    linked = state in (State.HEALTHY, State.TIMEOUT)
    return Snapshot(
        state=state,
        since=NOW,
        generation=5,
        life=1,
        link=3 if linked else 0,
        links=3,
        attempt=1,
        deadline=NOW + 10 if state is State.BACKOFF else None,
        cause=Cause(event="NetworkLost"),
    )


def sample(kind: type[Event], snapshot: Snapshot) -> Event:
    """Return a current event of this class."""
    if issubclass(kind, OfVisit):
        return kind(generation=snapshot.generation)
    if issubclass(kind, FloodWait):
        return kind(link=snapshot.link, seconds=30.0)
    return kind(link=snapshot.link) if issubclass(kind, OfLink) else kind()
