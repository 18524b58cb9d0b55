"""``step``: one event in, one decision out. Pure: the same arguments always give the same decision.

The runner uses it live, replay uses it on the journal, and the checker uses it on every configuration.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import attrs
from attrs import define, frozen

from states.effects import (
    Alert,
    AlertDatabase,
    AlertExhausted,
    AlertLimited,
    AlertParked,
    AlertStalled,
    AlertUnusable,
    ArmProbe,
    ArmStable,
    AskTurn,
    Close,
    Effect,
    FetchUpdates,
    Finish,
    HoldDatabase,
    HoldRequests,
    HoldWork,
    Open,
    Probe,
    Release,
    ReleaseRequests,
    ReleaseWork,
    Wait,
)
from states.events import EVENTS, AccountLimited, AuthKeyUnknown, Event, Failure, FloodWait, TransportFlood
from states.guards import Moment, schedule_of
from states.machine import ROWS, Row, RulesBroken, dispatch
from states.record import Record, RecordDraft
from states.schedules import Policy
from states.snapshot import Snapshot, SnapshotDraft, State


class Rng(Protocol):
    """A source of random numbers for jitter; ``random.Random`` fits."""

    def random(self) -> float:
        """Return a number from [0, 1)."""


@frozen(kw_only=True)
class Step:
    """A decision: the new snapshot, the effects to perform, and the record for the journal."""

    snapshot: Snapshot
    effects: tuple[Effect, ...]
    record: Record

    @property
    def concerns_all(self) -> bool:
        """Whether the decision stops the account for a reason that all accounts share: one alert for all is enough."""
        return self.record.event in ("ConfigRefused", "Started") and self.snapshot.stopped_with_all


def number_of_wait(failure: Failure, after: Snapshot) -> int:
    """Return which wait of its schedule follows a failure (from 1); ``after`` has counted it.

    A run of −429 or of −404 is counted separately: even after a long outage it begins at its own first wait.
    """
    return after.streak if isinstance(failure, (TransportFlood, AuthKeyUnknown)) else max(1, after.attempt)


@define
class _Draft:
    """A decision under construction. Each method builds one effect, and changes the next snapshot as it needs."""

    moment: Moment
    next: Snapshot
    """The present snapshot until something changes, and then a draft of the next one: it is copied once."""
    rng: Rng
    draw: float | None = None
    delay: float | None = None

    def enter(self, state: State) -> None:
        """Let the next snapshot enter a state."""
        self._changed().enter(state, self.moment.now)

    def change(self, **changes: Any) -> None:
        """Change fields of the next snapshot."""
        self._changed().put(changes)

    def _changed(self) -> SnapshotDraft:
        if not isinstance(self.next, SnapshotDraft):
            self.next = SnapshotDraft.of(self.next)
        return self.next

    def wait(self) -> Wait:
        """Wait by the cause's schedule, or go on waiting for the present deadline."""
        if not isinstance(self.moment.event, Failure):
            assert self.next.deadline is not None, "a wait that goes on has a deadline"
            self.delay = max(0.0, self.next.deadline - self.moment.now)
            return Wait(generation=self.next.generation, delay=self.delay, deadline=self.next.deadline)
        schedule = schedule_of(self.moment)
        if schedule is None:
            assert isinstance(self.moment.event, FloodWait), "only a flood wait has a wait that the server demands"
            self.delay = self.moment.policy.backoff.flood.delay(self.moment.event.seconds)
        else:
            self.draw = self.rng.random()
            self.delay = schedule.delay(number_of_wait(self.moment.event, self.next), self.draw)
        deadline = self.moment.now + self.delay
        self.change(deadline=deadline, wait=self.delay)
        return Wait(generation=self.next.generation, delay=self.delay, deadline=deadline)

    def open(self) -> Open:
        """Open a link with the patience of this attempt."""
        policy = self.moment.policy
        attempts = policy.connecting if self.next.state is State.CONNECTING else policy.reconnecting
        patience = attempts.nth(self.next.attempt)
        self.change(deadline=self.moment.now + patience, wait=patience)
        at, now = self.next, self.moment.now
        holds = tuple([hold for hold in at.holds if hold.until > now or at.is_limit(hold.request)])
        return Open(link=self.next.link, attempt=self.next.attempt, patience=patience, holds=holds)

    def probe(self) -> Probe:
        """Send a ping, or an authorised RPC when that is due; in ``timeout`` the patience grows with each silence."""
        patience = self.moment.policy.timeout.nth(self.next.silences + 1)
        if self.next.state is State.TIMEOUT:
            self.change(deadline=self.moment.now + patience, wait=patience)
        proved_at, every = self.next.proved_at, self.moment.policy.healthy.prove_every
        proven = proved_at is not None and 0 <= self.moment.now - proved_at < every
        return Probe(link=self.next.link, proof=not proven, patience=patience)

    def close(self) -> Close:
        """Close the link; all its later reports are foreign."""
        self.change(link=0)
        return Close(generation=self.next.generation, patience=self.moment.policy.shutting_down.grace)

    def alert(self, kind: type[Alert]) -> Alert:
        """Alert the operator to this failure, or to the one that a restart found."""
        cause = self.next.limited if kind is AlertLimited else self.next.cause
        failure = self.moment.event if isinstance(self.moment.event, Failure) else cause
        # The action for a limited account has nothing to do with its file.
        action = None if kind is AlertDatabase else self.next.action
        return kind(detail=failure.detail if failure else "", action=action)

    def hold_requests(self) -> HoldRequests:
        """Hold the kind of request that the server named."""
        event = self.moment.event
        assert isinstance(event, FloodWait | AccountLimited), "only a flood wait or a limit holds requests"
        request = event.limit if isinstance(event, AccountLimited) else event.request
        held = {hold.request: hold.until for hold in self.next.holds}
        return HoldRequests(request=request, until=held[request])

    def release_requests(self) -> ReleaseRequests:
        """Return the end of the hold that the restriction was."""
        assert self.moment.snapshot.restricted is not None, "only what was restricted is released"
        return ReleaseRequests(request=self.moment.snapshot.restricted.limit)


_FIELDS = {event: tuple(field.name for field in attrs.fields(event)) for event in EVENTS}

_MAKE: dict[type[Effect], Callable[[_Draft], Effect]] = {
    AskTurn: lambda draft: AskTurn(generation=draft.next.generation),
    Open: _Draft.open,
    Probe: _Draft.probe,
    Close: _Draft.close,
    Wait: _Draft.wait,
    ArmProbe: lambda draft: ArmProbe(generation=draft.next.generation, delay=draft.moment.policy.healthy.probe_every),
    ArmStable: lambda draft: ArmStable(
        generation=draft.next.generation, delay=draft.moment.policy.healthy.stable_after
    ),
    Release: lambda _: Release(),
    HoldWork: lambda _: HoldWork(),
    ReleaseWork: lambda _: ReleaseWork(),
    HoldRequests: _Draft.hold_requests,
    ReleaseRequests: _Draft.release_requests,
    HoldDatabase: lambda draft: HoldDatabase(delay=draft.moment.policy.backoff.database.first),
    AlertExhausted: partial(_Draft.alert, kind=AlertExhausted),
    AlertParked: partial(_Draft.alert, kind=AlertParked),
    AlertUnusable: partial(_Draft.alert, kind=AlertUnusable),
    AlertLimited: partial(_Draft.alert, kind=AlertLimited),
    AlertDatabase: partial(_Draft.alert, kind=AlertDatabase),
    AlertStalled: partial(_Draft.alert, kind=AlertStalled),
    FetchUpdates: lambda draft: FetchUpdates(
        link=draft.next.link, patience=draft.moment.policy.healthy.catch_up_within
    ),
    Finish: lambda _: Finish(),
}

if _unknown := {effect.__name__ for row in ROWS for effect in row.does if effect not in _MAKE}:
    raise RulesBroken(f"effects that cannot be built: {', '.join(sorted(_unknown))}")


def step(snapshot: Snapshot, event: Event, *, now: float, rng: Rng, policy: Policy) -> Step:
    """Decide what ``event`` means for an account at ``snapshot``; ``now`` is in Unix seconds."""
    moment = Moment(snapshot, event, now, policy)
    row = dispatch(moment)
    draft = _Draft(moment, snapshot, rng)
    if row.target is not None:
        draft.enter(row.target)
    if row.note is not None and (changes := row.note(moment)):
        draft.change(**changes)
    effects = tuple([_MAKE[effect](draft) for effect in row.does])
    after = draft.next.finish() if isinstance(draft.next, SnapshotDraft) else snapshot
    return Step(snapshot=after, effects=effects, record=_record(moment, row, draft, after))


def _record(moment: Moment, row: Row, draft: _Draft, after: Snapshot) -> Record:
    """Return what the journal keeps of a decision."""
    event, before, record = moment.event, moment.snapshot, RecordDraft.empty()
    kind = type(event)
    record.at = moment.now
    record.source, record.target = before.state, after.state
    record.event, record.rule = kind.__name__, row.name
    record.payload = {name: getattr(event, name) for name in _FIELDS[kind]}
    record.attempt, record.failures = after.attempt, after.failures
    record.delay, record.draw, record.deadline = draft.delay, draft.draw, after.deadline
    record.effects, record.quiet = row.effects, row.quiet
    record.detail, record.cause = (event.detail, event.chain) if isinstance(event, Failure) else ("", ())
    record.dwell = max(0.0, moment.now - before.since)
    made: Record = record.finish()
    return made
