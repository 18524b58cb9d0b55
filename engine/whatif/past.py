"""What a journal tells of the past: for each account, what its connection met, and what its engine was told.

This is what other settings would have met as well. What follows from the settings (waits, turns, attempts that were due
then) is not part of it; it is only counted. All times are seconds of one clock that was never set: where the machine's
clock was set, what comes later is moved back by as much.
"""

from collections.abc import Mapping
from typing import Final

from attrs import define, evolve, field, fields_dict, frozen

from engine.journal.replay import Beginning, EventOf, UnreadableEvent
from states import Entry, Event, Policy, Snapshot, State
from states.events import EVENT_BY_NAME, ClockJumped, Connected, Failure, ServerFault, TimedOut

NEWS_OF_OTHERS: Final = 0.1
"""Seconds after a connection of any account within which a ``NetworkRestored`` is taken for news of it."""
TOGETHER: Final = 0.1
"""Seconds within which accounts that hear the same have heard it together."""
LONGEST_LATENCY: Final = 1000
"""Milliseconds; a turn that came later had to be waited for."""
LONGEST: Final = 1e11
"""Seconds beyond every time of a calendar; what is greater was not written by an engine."""
STEP_BACK: Final = 1.0
"""Seconds by which a time may be before the one before it without that the clock was set."""

KEPT: Final = ("what", "seconds", "request", "credentials", "held", "setting")
"""The fields of events on which decisions depend."""
NOT_KEPT: Final = {"detail": "", "chain": (), "link": 0, "via": ""}
"""The others that are left out, and what stands in their place."""
MAX_EVENTS: Final = 10_000
"""Different events that are remembered; each flood wait can have a length of its own."""

ATTEMPT: Final = (State.CONNECTING, State.RECONNECTING)
WITH_LINK: Final = (State.HEALTHY, State.TIMEOUT)


def is_time(value: float) -> bool:
    """Return whether a number can be a time or a duration: a spoilt row can have any other."""
    return -LONGEST < value < LONGEST


@frozen
class LifeBegan:
    """A life began, or the journal's part of it did, at ``start``, whose times are of the clock that was never set.

    ``event`` is what it began with; None where the journal has only what came later. ``follows`` says that nothing is
    missing between the life before and this one.
    """

    at: float
    policy: Policy
    start: Snapshot
    event: Event | None = None
    follows: bool = False


@frozen
class LifeEnded:
    """A life ended, by a stop or because its engine was gone."""

    at: float


@frozen
class LinkLost:
    """A link failed that had been proven. It was ``since`` then that nothing came through it any more.

    ``silent`` says that only a probe without an answer has shown it, ``at - since`` after it was sent.
    """

    at: float
    since: float
    event: Event
    silent: bool = False


@frozen
class SilenceLasted:
    """A link that had fallen silent did not answer a probe either, by then."""

    at: float


@frozen
class SilenceEnded:
    """A link that had fallen silent answered."""

    at: float


@frozen
class AttemptFailed:
    """An attempt, from its turn to its failure."""

    begun: float
    at: float
    event: Event


@frozen
class AttemptSucceeded:
    """An attempt, from its turn to the proof of its link."""

    begun: float
    at: float
    event: Event


@frozen
class NewsHeard:
    """The account heard that the network was back."""

    at: float


@frozen
class EventGiven:
    """The account was told something that no setting moves: a person asked for a retry, a session has a new key."""

    at: float
    event: Event


Happening = (
    LifeBegan
    | LifeEnded
    | LinkLost
    | SilenceLasted
    | SilenceEnded
    | AttemptFailed
    | AttemptSucceeded
    | NewsHeard
    | EventGiven
)


@define
class Meter:
    """Adds up downtime and attempts. Time in ``auth_failed`` and between two lives does not count."""

    seconds: float = 0.0
    attempts: int = 0
    outages: int = 0
    longest: float = 0.0
    _down: float | None = None

    def note(self, state: State, at: float, since: float | None = None) -> None:
        """Take the state after a decision at ``at``; the link was gone ``since`` then, if that was earlier."""
        if state in (State.BACKOFF, State.TIMEOUT, State.RECONNECTING):
            if self._down is None:
                self._down = at if since is None else min(at, since)
                self.outages += 1
        elif state is not State.CONNECTING:
            self.stop(at)

    def stop(self, at: float) -> None:
        """End the outage, if there is one: the account is back, or its time does not count any more."""
        if self._down is not None:
            length = max(0.0, at - self._down)
            self.seconds += length
            self.longest = max(self.longest, length)
            self._down = None


@define
class AccountPast:
    """The past of one account, oldest first, and what it came to."""

    happenings: list[Happening] = field(factory=list)
    meter: Meter = field(factory=Meter)
    draws: list[float] = field(factory=list)
    """The random numbers behind its waits, in their order."""


@define
class News:
    """The network probe told accounts that their datacenter answers, all of them together."""

    at: float
    accounts: list[str]


@define
class Doubts:
    """What a journal does not tell, or not reliably: each is a count."""

    began_before: int = 0
    """Outages that had begun before the records that are left."""
    lost_track: int = 0
    """Times at which what an account did next does not follow from what it did before: a record is missing."""
    unreadable: int = 0
    """Records whose event cannot be made from what is stored."""
    cut_off: int = 0
    """Lives that no record ends: their engine was killed."""
    clock_set: int = 0
    """Times at which the machine's clock was set, or went backwards."""
    late: int = 0
    """1 if the journal begins later than the period that was asked for."""
    slept: int = 0
    """Times at which the machine slept."""


@define
class _PastWalk:
    """How far an account is."""

    past: AccountPast
    life: int = -1
    state: State | None = None
    """None while it is not known."""
    policy: Policy = field(factory=Policy)
    begun: float | None = None
    """When the attempt that is under way got its turn."""
    since: float | None = None
    """When the link fell silent that is suspected."""
    offset: float = 0.0
    """By how much the machine's clock was set so far."""
    last: float = float("-inf")
    over: bool = True
    """Whether its life has ended."""
    known: bool = False
    """Whether nothing is missing of its life."""
    doubted: bool = False
    """Whether it was counted that its first outage had begun before."""


@define
class PastBuilder:
    """Takes the records in the order of the journal. ``lives`` are by account and number."""

    lives: Mapping[tuple[str, int], Beginning]
    event_of: EventOf
    accounts: dict[str, AccountPast] = field(factory=dict, init=False)
    news: list[News] = field(factory=list, init=False)
    doubts: Doubts = field(factory=Doubts, init=False)
    records: int = field(default=0, init=False)
    turns: dict[int, int] = field(factory=dict, init=False)
    """How many turns came after so many milliseconds, up to a second."""
    minutes: dict[int, int] = field(factory=dict, init=False)
    """Attempts by minute."""
    first: float | None = field(default=None, init=False)
    last: float = field(default=float("-inf"), init=False)
    _walks: dict[str, _PastWalk] = field(factory=dict, init=False)
    _offset: float = field(default=0.0, init=False)
    """By how much the machine's clock was set so far, as the account has it that was told last."""
    _jumps: set[tuple[float, float]] = field(factory=set, init=False)
    _connected: float = field(default=float("-inf"), init=False)
    """When any account connected last."""
    _events: dict[tuple[str, str], Event] = field(factory=dict, init=False)

    def take(self, entry: Entry) -> None:
        """Take the next record."""
        self.records += 1
        walk = self._walks.get(entry.account)
        if walk is None:
            past = self.accounts[entry.account] = AccountPast()
            walk = self._walks[entry.account] = _PastWalk(past, offset=self._offset)
        event_class = EVENT_BY_NAME.get(entry.event)
        if event_class is None or not is_time(entry.at) or not is_time(entry.dwell):
            self._lose(walk, unreadable=True)
            return
        if entry.life != walk.life:
            self._begin(walk, entry)
        if event_class is ClockJumped:
            self._jump(walk, entry)
        if not walk.over and entry.source is not walk.state:
            self._lose(walk)
        at = self._time(walk, entry.at)
        if walk.over:
            self._find(walk, entry, at)
            return
        try:
            self._follow(walk, entry, event_class, at)
        except UnreadableEvent:
            self._lose(walk, unreadable=True)

    def leave_out(self, account: str | None) -> None:
        """Note that a record of an account cannot be read."""
        self.doubts.unreadable += 1
        if account is not None and (walk := self._walks.get(account)) is not None:
            self._forget(walk)

    @property
    def latency(self) -> float:
        """How long the engine took from a decision to the next when nothing made it wait: that of one turn in ten."""
        left = sum(self.turns.values()) // 10
        for milliseconds, count in sorted(self.turns.items()):
            left -= count
            if left < 0:
                return milliseconds / 1000
        return 0.0

    def add_healthy(self, account: str, policy: Policy, life: int) -> None:
        """Add an account that was healthy all the time: nothing happened to it, but others are seen beside it."""
        if self.first is not None and account not in self.accounts:
            start = Snapshot(
                state=State.HEALTHY, since=self.first, generation=1, life=life, link=1, links=1, stable=True,
                last_success=self.first, proved_at=self.first,
            )  # fmt: skip
            happenings: list[Happening] = [LifeBegan(self.first, policy, start), LifeEnded(self.last)]
            self.accounts[account] = AccountPast(happenings)

    def finish(self, ends: Mapping[str, float]) -> None:
        """End the last life of each account at its last sign of life (Unix seconds)."""
        for account, walk in self._walks.items():
            if not walk.over:
                sign = ends.get(account)
                sign = sign if sign is not None and is_time(sign) else None
                self._end(walk, walk.last if sign is None else max(walk.last, sign - walk.offset))

    # --- lives -----------------------------------------------------------------------------------------------------

    def _begin(self, walk: _PastWalk, entry: Entry) -> None:
        """Begin the life of a record, after the end of the one before."""
        life = self.lives.get((entry.account, entry.life))
        if life is not None and not (is_time(life.at) and is_time(life.snapshot.last_success or 0.0)):
            life = None
        if not walk.over:
            self.doubts.cut_off += 1
            answered = None if life is None else life.snapshot.last_success
            sign = walk.last if answered is None else answered - walk.offset
            latest = walk.last if life is None else max(walk.last, life.at - self._offset)
            self._end(walk, min(max(walk.last, sign), latest))
        walk.life, walk.offset, walk.begun, walk.since, walk.state = entry.life, self._offset, None, None, None
        walk.over = True
        if life is None:
            return
        walk.policy = life.policy
        if life.pruned_to or entry.event != "Started":
            return
        at = self._time(walk, life.at, begins=True)
        try:
            event = self._event(entry)
        except UnreadableEvent:
            return
        self._open(walk, at, _moved(life.snapshot, life.at - at), event, follows=walk.known)
        walk.past.meter.note(life.snapshot.state, at)

    def _open(
        self, walk: _PastWalk, at: float, start: Snapshot, event: Event | None = None, *, follows: bool = False
    ) -> None:
        walk.past.happenings.append(LifeBegan(at, walk.policy, start, event, follows))
        walk.state, walk.over, walk.known = start.state, False, True

    def _end(self, walk: _PastWalk, at: float) -> None:
        walk.past.meter.stop(at)
        walk.past.happenings.append(LifeEnded(at))
        walk.state, walk.over, walk.begun = None, True, None
        self.last = max(self.last, at)

    def _find(self, walk: _PastWalk, entry: Entry, at: float) -> None:
        """Go on with an account of which it was not known where it was, as soon as it is or was healthy."""
        healthy = State.HEALTHY
        if entry.target is healthy:
            self._open(walk, at, _healthy(entry, at, stable=entry.event == "Stable"))
        elif entry.source is healthy and entry.event != "StopRequested":
            held = entry.dwell >= walk.policy.healthy.stable_after
            known = walk.past.happenings[-1].at if walk.past.happenings else self.first
            since = max(at - entry.dwell, at if known is None else known)
            self._open(walk, min(since, at), _healthy(entry, since, stable=held))
            self._take_again(walk, entry, at)
        elif not walk.past.happenings and not walk.doubted:
            walk.doubted = True
            self.doubts.began_before += entry.source not in (healthy, State.SHUTTING_DOWN)

    def _take_again(self, walk: _PastWalk, entry: Entry, at: float) -> None:
        """Take a record of an account whose place was just found."""
        try:
            self._follow(walk, entry, EVENT_BY_NAME[entry.event], at)
        except UnreadableEvent:
            self._lose(walk, unreadable=True)

    def _lose(self, walk: _PastWalk, *, unreadable: bool = False) -> None:
        """Note that a record is missing, or cannot be read."""
        self.doubts.unreadable += unreadable
        self.doubts.lost_track += not unreadable
        self._forget(walk)

    def _forget(self, walk: _PastWalk) -> None:
        """Leave an account out until it is healthy again."""
        walk.known = False
        if not walk.over:
            self._end(walk, walk.last)
        walk.state = None

    # --- times -----------------------------------------------------------------------------------------------------

    def _time(self, walk: _PastWalk, wall: float, *, begins: bool = False) -> float:
        """Return a time of the machine's clock as one of the clock that was never set."""
        at = wall - walk.offset
        behind = max(walk.last, self.last if begins else walk.last) - at
        if behind > STEP_BACK:  # nobody has recorded by how much
            self.doubts.clock_set += 1
            self._offset = walk.offset = walk.offset - behind
            at += behind
        at = max(at, walk.last)
        walk.last, self.last = at, max(self.last, at)
        if self.first is None:
            self.first = at
        return at

    def _jump(self, walk: _PastWalk, entry: Entry) -> None:
        try:
            event = self.event_of(entry)
        except UnreadableEvent:
            return
        assert isinstance(event, ClockJumped)
        if not is_time(event.shift):
            return
        if event.shift:
            walk.offset = self._offset = walk.offset + event.shift
        jump = (round(entry.at), round(event.seconds))  # each account is told of it
        if jump not in self._jumps:
            self._jumps.add(jump)
            self.doubts.clock_set += bool(event.shift)
            self.doubts.slept += bool(event.slept)

    # --- what happened ---------------------------------------------------------------------------------------------

    def _follow(self, walk: _PastWalk, entry: Entry, event_class: type[Event], at: float) -> None:
        """Go on by a record whose source is where the account was."""
        past, source, target = walk.past, entry.source, entry.target
        since = None
        if entry.draw is not None:
            past.draws.append(entry.draw)
        if entry.event == "StopRequested":
            self._end(walk, at)
            return
        if source in ATTEMPT:
            self._attempt(walk, entry, event_class, at)
        elif source in WITH_LINK:
            since = self._linked(walk, entry, event_class, at)
        elif source is State.BACKOFF and entry.event == "NetworkRestored" and target is not source:
            past.happenings.append(NewsHeard(at))
            self._hear(entry.account, at)
        if entry.event in ("RetryRequested", "CredentialsReplaced") or (
            source is State.BACKOFF and target is State.AUTH_FAILED
        ):
            past.happenings.append(EventGiven(at, self._event(entry)))
        walk.state = target
        past.meter.note(target, at, since)

    def _hear(self, account: str, at: float) -> None:
        """Note who heard that the network was back, unless that was the news of another account's connection."""
        if 0 <= at - self._connected <= NEWS_OF_OTHERS:
            return
        if not self.news or not 0 <= at - self.news[-1].at <= TOGETHER:
            self.news.append(News(at, []))
        self.news[-1].accounts.append(account)

    def _attempt(self, walk: _PastWalk, entry: Entry, event_class: type[Event], at: float) -> None:
        past = walk.past
        if "Open" in entry.effects:
            waited = int(entry.dwell * 1000)
            if waited <= LONGEST_LATENCY:
                self.turns[waited] = self.turns.get(waited, 0) + 1
            walk.begun = at
            past.meter.attempts += 1
            self.minutes[int(at // 60)] = self.minutes.get(int(at // 60), 0) + 1
        elif event_class is Connected and entry.target is State.HEALTHY:
            begun = at if walk.begun is None else walk.begun
            past.happenings.append(AttemptSucceeded(begun, at, self._event(entry)))
            self._connected = at
        elif issubclass(event_class, Failure) and entry.target is not entry.source and walk.begun is not None:
            past.happenings.append(AttemptFailed(walk.begun, at, self._event(entry)))
        if entry.target is not entry.source:
            walk.begun = walk.since = None

    def _linked(self, walk: _PastWalk, entry: Entry, event_class: type[Event], at: float) -> float | None:
        """Go on from ``healthy`` or ``timeout``; return since when the link was gone, if it is gone now."""
        past, target = walk.past, entry.target
        if (
            entry.source is State.TIMEOUT
            and "[of_request]" not in entry.rule
            and event_class in (TimedOut, ServerFault)
        ):
            past.happenings.append(SilenceLasted(at))
            return None
        if target is entry.source:
            return None
        if target is State.HEALTHY:
            past.happenings.append(SilenceEnded(at))
            walk.since = None
            return None
        if not issubclass(event_class, Failure):
            return None
        event = self._event(entry)
        if entry.source is State.HEALTHY:
            silent = isinstance(event, TimedOut) and event.what == "probe"
            walk.since = max(at - walk.policy.timeout.nth(1) if silent else at, self._up_from(past))
        else:
            silent = False
        since = at if walk.since is None else min(at, walk.since)
        past.happenings.append(LinkLost(at, since, event, silent))
        return since

    @staticmethod
    def _up_from(past: AccountPast) -> float:
        """Return when the link was proven that is up."""
        latest = past.happenings[-1]
        return latest.at

    def _event(self, entry: Entry) -> Event:
        """Return the event of a record, of no link in particular; equal ones are one object."""
        kept = {name: value for name, value in entry.payload.items() if name in KEPT}
        key = (entry.event, repr(sorted(kept.items())))
        if (event := self._events.get(key)) is None:
            event = _plain(self.event_of(entry))
            if len(self._events) < MAX_EVENTS:
                self._events[key] = event
        return event


def _plain(event: Event) -> Event:
    """Return an event with nothing in it but what decisions depend on."""
    names = fields_dict(type(event)).keys()
    return evolve(event, **{name: value for name, value in NOT_KEPT.items() if name in names})


def _moved(start: Snapshot, by: float) -> Snapshot:
    """Return where a life began, by the clock that was never set, which is ``by`` seconds behind."""

    def moved(time: float | None) -> float | None:
        return None if time is None else time - by

    return evolve(
        start, since=start.since - by, deadline=moved(start.deadline), last_success=moved(start.last_success),
        proved_at=moved(start.proved_at), offline=None, holds=(),
    )  # fmt: skip


def _healthy(entry: Entry, at: float, *, stable: bool) -> Snapshot:
    """Return a healthy account after a record, or before it."""
    return Snapshot(
        state=State.HEALTHY, since=at, generation=1, life=entry.life, link=1, links=1, attempt=entry.attempt,
        failures=0 if stable else entry.failures, stable=stable, last_success=at, proved_at=at,
    )  # fmt: skip
