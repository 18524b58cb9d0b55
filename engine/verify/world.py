"""A configuration: one account's snapshot, and what the world around it has under way.

The snapshot is normalised: values on which no decision depends are fixed (times, names, totals), and a counter stops
where a higher one could not change a decision. The configurations are therefore finite, and each stands for all that
differ from it only in such values.
"""

from collections.abc import Iterator

import attrs
from attrs import frozen

from states import EVENTS, Cause, Event, Hold, Policy, Snapshot, State, Step
from states.effects import AskTurn, Close, Finish, HoldWork, Open, Probe, ReleaseWork, Timer
from states.events import (
    AccountBanned,
    AccountLimited,
    AuthRejected,
    ClockJumped,
    Closed,
    ConfigRefused,
    Connected,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseUnavailable,
    FloodWait,
    LimitLifted,
    OfLink,
    OfVisit,
    ProbeAnswered,
    SessionDuplicated,
    Started,
    StopRequested,
    TimedOut,
    TurnGranted,
    UpdatesConfirmed,
    UpdatesStalled,
)
from states.guards import UNEXPECTED_TRIES
from states.limits import ACCOUNT, OF_REQUESTS, WRITES
from states.schedules import Backoff
from states.snapshot import UNKNOWN_KEY, UNKNOWN_KEY_TRIES, Restriction, Stall

NOW = 1_000_000.0
ROUNDING = 1e-6
"""Seconds by which sums of times may differ."""
GENERATION = 7
LINK = 3
FLOOD_SECONDS = 30.0
ALERT_AFTER = 30.0
LEFT = 10.0
"""What is left of every wait, in seconds."""
LENGTH = 15.0
"""How long every wait is in all."""
SET_BY = 10_800.0
"""By how many seconds the clock is set, or for how long the machine sleeps."""
JUMPS = (
    ClockJumped(seconds=SET_BY, slept=0.0),
    ClockJumped(seconds=-SET_BY, slept=0.0),
    ClockJumped(seconds=SET_BY, slept=SET_BY),
    ClockJumped(seconds=0.0, slept=SET_BY),
    ClockJumped(seconds=SET_BY),
)
"""The clock is set, in both directions; the machine sleeps, with a clock that is right afterwards and with one that is
not; and what journals of earlier versions know of a jump."""
STREAKS = {"Unexpected": UNEXPECTED_TRIES}
"""How far a run of one cause is counted. Two more depend on the policy; other runs decide nothing."""
ALIKE = {
    "NetworkLost": "NetworkLost",
    "TimedOut": "NetworkLost",
    "UpdatesStalled": "UpdatesStalled",
    "FloodWait": "FloodWait",
    "TransportFlood": "TransportFlood",
    "AuthKeyUnknown": "AuthKeyUnknown",
    "Unexpected": "Unexpected",
}
"""The causes that guards distinguish, and the one that stands for each; ServerFault stands for all others."""


OF_ACCOUNT = (
    AccountBanned,
    AccountLimited,
    AuthRejected,
    ConfigRefused,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseUnavailable,
    SessionDuplicated,
)
"""Events about an account that can come without a link."""


@frozen
class Configuration:
    """A snapshot, and what is under way: a turn, a link, a probe, timers, a closing."""

    snapshot: Snapshot
    turn: bool = False
    """The limiter was asked for a turn."""
    link: str = "none"
    """``none``, ``opening`` or ``open``."""
    probe: bool = False
    """A probe is out."""
    timers: frozenset[type[OfVisit]] = frozenset()
    """The events that armed timers will post."""
    closing: bool = False
    """A close was requested in this visit, and not reported yet."""
    held: bool = True
    """Work is held."""
    started: bool = False
    """The life has begun."""
    finished: bool = False
    """The life is over."""


def time_of(event: Event) -> float:
    """Return the time at which an event is decided: after a jump the clock says what it was set to."""
    return NOW + event.seconds if isinstance(event, ClockJumped) else NOW


def steps_to_cap(schedule: Backoff) -> int:
    """Return the number of the first failure whose wait is the longest; every later wait is the same."""
    nth = 1
    while schedule.steady(nth) < schedule.cap and schedule.factor > 1:
        nth += 1
    return nth


@frozen
class Bounds:
    """The values at which counters stop mattering under one policy."""

    attempt: int
    failures: int
    flood_streak: int
    key_streak: int
    clients: int

    @classmethod
    def of(cls, policy: Policy) -> "Bounds":
        """Return the bounds of a policy."""
        schedules = [
            value for value in attrs.asdict(policy.backoff, recurse=False).values() if isinstance(value, Backoff)
        ]
        patience = max(len(policy.connecting.patience), len(policy.reconnecting.patience))
        return cls(
            attempt=max(patience, *(steps_to_cap(schedule) for schedule in schedules)),
            failures=max(schedule.tries for schedule in schedules),
            flood_streak=steps_to_cap(policy.backoff.transport_flood),
            key_streak=max(UNKNOWN_KEY_TRIES, steps_to_cap(policy.backoff.auth_key)),
            clients=policy.backoff.updates.tries,
        )

    def streak_of(self, cause: str) -> int:
        """Return how far a run of one cause is counted."""
        return {"TransportFlood": self.flood_streak, UNKNOWN_KEY: self.key_streak, **STREAKS}.get(cause, 1)

    def normalise(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot that stands for this one."""
        state, link = snapshot.state, snapshot.link
        # Counters decide nothing once an account is out of use. The operator's act resets them, and a new life after a
        # stop begins like one after a crash at the same moment, which is explored as well.
        counts = state not in (State.AUTH_FAILED, State.SHUTTING_DOWN)
        cause = ALIKE.get(snapshot.cause.event, "ServerFault") if snapshot.cause and counts else None
        return Snapshot(
            state=state,
            since=NOW,
            generation=GENERATION,
            life=1,
            link=LINK if link else 0,
            links=LINK,
            attempt=min(snapshot.attempt, self.attempt) if counts else 0,
            failures=min(snapshot.failures, self.failures) if counts else 0,
            streak=min(snapshot.streak, self.streak_of(cause)) if cause else 0,
            silences=snapshot.silences if state is State.TIMEOUT else 0,
            cause=Cause(event=cause) if cause else None,
            deadline=None if snapshot.deadline is None else NOW + LEFT,
            wait=None if snapshot.deadline is None else LENGTH,
            holds=(Hold(request="any", until=NOW + LEFT, length=LENGTH),),
            stable=snapshot.stable and link != 0,
            exhausted=snapshot.exhausted and counts,
            limited=Cause(event="AccountLimited") if snapshot.limited else None,
            # It decides only what a retry, and a limit that is told again, do while the link is up. A link that opens
            # with a known one is like one that meets it later, and no rule asks which requests it concerns.
            restricted=Restriction(limit=WRITES)
            if snapshot.restricted and state in (State.HEALTHY, State.TIMEOUT)
            else None,
            # It decides only whether an alert is raised, and only while the link is up. A link that opens with a known
            # trouble is like one that meets it later; a property says that losing a link keeps the trouble.
            database=attrs.evolve(snapshot.database, event="", detail="", since=NOW)
            if snapshot.database and state in (State.HEALTHY, State.TIMEOUT)
            else None,
            stall=self._normalise_stall(snapshot),
            credentials="one",
            resumes=snapshot.resumes if state is State.SHUTTING_DOWN else State.CONNECTING,
        )

    def _normalise_stall(self, snapshot: Snapshot) -> Stall | None:
        """Return the stall that stands for this one.

        It decides something only while the link is up, and outlives one attempt: the one that it has led to. Failures
        and the file decide nothing about it, and it decides nothing about them, so they are explored apart: a stall
        beside them is like one that is found anew, and a property says that nothing makes it forgotten.
        """
        stall, state = snapshot.stall, snapshot.state
        of_stall = snapshot.cause is not None and snapshot.cause.event == UpdatesStalled.__name__
        kept = state in (State.HEALTHY, State.TIMEOUT) or (state is State.RECONNECTING and of_stall)
        if stall is None or not kept or snapshot.failures > (state is State.TIMEOUT) or snapshot.database is not None:
            return None
        if state is State.TIMEOUT or stall.until is None:
            return Stall(since=NOW)
        due = stall.until <= NOW and stall.told and state is State.HEALTHY  # it is asked only when a person was told
        clients = min(stall.clients, self.clients)
        return Stall(since=NOW, clients=clients, until=NOW if due else NOW + LEFT, length=LENGTH, told=stall.told)


def let_pass(config: Configuration) -> Configuration | None:
    """Return the configuration in which the time for another fresh client has come; None if none is waited for."""
    stall = config.snapshot.stall
    if config.snapshot.state is not State.HEALTHY or stall is None or not stall.told or (stall.until or NOW) <= NOW:
        return None
    due = attrs.evolve(stall, until=NOW)
    return attrs.evolve(config, snapshot=attrs.evolve(config.snapshot, stall=due))


def apply_decision(config: Configuration, event: Event, decision: Step, bounds: Bounds | None) -> Configuration:
    """Return the configuration after a decision, with its effects performed as the runner performs them.

    Without ``bounds`` the snapshot stays as it is.
    """
    moved = decision.snapshot.generation != config.snapshot.generation
    turn, timers, closing = config.turn, set(config.timers), config.closing
    link, probe, held, finished = config.link, config.probe, config.held, config.finished
    current = not isinstance(event, OfVisit) or event.generation == config.snapshot.generation
    if current:
        timers.discard(type(event))
        turn &= not isinstance(event, TurnGranted)
        closing &= not isinstance(event, Closed)
    mine = isinstance(event, OfLink) and event.link == config.snapshot.link != 0
    if mine and isinstance(event, Connected):
        link = "open"
    if mine and (isinstance(event, ProbeAnswered) or (isinstance(event, TimedOut) and event.what == "probe")):
        probe = False
    if moved:  # whatever belongs to a visit ends with it; only a link outlives it
        turn, closing, probe = False, False, False
        timers.clear()
    for effect in decision.effects:
        match effect:
            case AskTurn():
                turn = True
            case Open():
                link = "opening"
            case Close():
                link, probe, closing = "none", False, True
            case Probe():
                probe = True
            case Timer():
                timers.add(effect.posts)
            case HoldWork() | ReleaseWork():
                held = isinstance(effect, HoldWork)
            case Finish():
                finished = True
    if decision.snapshot.state is not State.SHUTTING_DOWN:
        closing = False  # only that state waits for the close; elsewhere its report is routine, whenever it comes
    return Configuration(
        decision.snapshot if bounds is None else bounds.normalise(decision.snapshot), turn, link, probe,
        frozenset(timers), closing, held, config.started or isinstance(event, Started), finished,
    )  # fmt: skip


def _enumerate_forms(kind: type[Event], link: int) -> Iterator[Event]:
    if issubclass(kind, FloodWait):
        yield kind(link=link, seconds=FLOOD_SECONDS)
    elif issubclass(kind, AccountLimited):
        for limit in (ACCOUNT, WRITES):
            yield kind(link=link, limit=limit)
    elif issubclass(kind, LimitLifted):
        for limit in OF_REQUESTS:
            yield kind(link=link, limit=limit)
    elif issubclass(kind, TimedOut):
        for what in ("connect", "probe", "request"):
            yield kind(link=link, what=what)
    elif issubclass(kind, DatabaseLocked):
        for waited in (0.0, ALERT_AFTER):
            yield kind(link=link, waited=waited)
    elif issubclass(kind, UpdatesStalled):
        for asked in (False, True):
            yield kind(link=link, since=NOW, asked=asked)
    elif kind is Connected:
        for held in (False, True):
            yield Connected(link=link, held=held)
    elif issubclass(kind, OfLink):
        yield kind(link=link)


def enumerate_events(config: Configuration) -> Iterator[tuple[Event, bool]]:
    """Yield every event in every form, and whether the world can produce it in this configuration.

    An event may belong to this visit or an earlier one; to this link, to a closed one, or to none in particular.
    """
    here = config.snapshot.link
    for kind in EVENTS:
        if issubclass(kind, OfVisit):
            yield kind(generation=GENERATION), _is_due(kind, config)
            yield kind(generation=GENERATION - 1), True
        elif issubclass(kind, OfLink):
            for event in _enumerate_forms(kind, LINK - 1):
                yield event, True
            if here:
                for event in _enumerate_forms(kind, here):
                    yield event, _can_report(event, config)
            for event in _enumerate_forms(kind, 0):
                yield event, isinstance(event, OF_ACCOUNT)
        elif kind is ClockJumped:
            for jump in JUMPS:
                yield jump, config.started
        elif kind is StopRequested:
            yield StopRequested(), config.started
            yield StopRequested(paused=True), config.started
        elif kind is Started:
            yield Started(credentials="one"), not config.started
            yield Started(credentials="two"), not config.started
        else:
            yield kind(), config.started


def _is_due(kind: type[OfVisit], config: Configuration) -> bool:
    if kind is TurnGranted:
        return config.turn
    if kind is Closed:
        return config.closing or config.snapshot.state is not State.SHUTTING_DOWN
    return kind in config.timers


def _can_report(event: Event, config: Configuration) -> bool:
    """Return whether the present link can report this event now."""
    match event:
        case Connected() | TimedOut(what="connect"):
            return config.link == "opening"
        case ProbeAnswered() | TimedOut(what="probe"):
            return config.probe
        case TimedOut() | UpdatesStalled() | UpdatesConfirmed():
            return config.link == "open"
        case _:
            return config.link != "none"


def next_benign_event(config: Configuration) -> Event | None:
    """Return the next event in a benign world, which grants turns, answers, closes links and lets time pass.

    Returns None once the account has arrived: it is healthy, waits for credentials, or has ended.
    """
    snapshot, link = config.snapshot, config.snapshot.link
    if not config.started:
        return Started(credentials="one")
    if snapshot.state in (State.HEALTHY, State.AUTH_FAILED) or config.finished:
        return None
    if snapshot.state is State.SHUTTING_DOWN:
        return Closed(generation=GENERATION) if config.closing else None
    if config.turn:
        return TurnGranted(generation=GENERATION)
    if config.link == "opening":
        return Connected(link=link)
    if config.probe:
        return ProbeAnswered(link=link)
    timer = next(iter(config.timers), None)
    return timer(generation=GENERATION) if timer else None
