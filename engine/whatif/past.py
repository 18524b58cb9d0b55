"""What a journal tells of the past: for each account, what its connection met, and what its engine was told.

This is what other settings would have met as well. What follows from the settings (waits, turns, attempts that were due
then) is not part of it; it is only counted. All times are seconds of one clock that was never set: where the machine's
clock was set, what comes later is moved back by as much.
"""

from collections.abc import Mapping
from typing import Final

from attrs import define, evolve, field

from engine.journal.replay import Beginning, EventOf, UnreadableEvent
from engine.whatif.happenings import AccountPast, Happening, LifeBegan, LifeEnded
from engine.whatif.outages import KeptEvents, KnownPlace, OutageFinder
from states import Entry, Event, Policy, Snapshot, State
from states.events import EVENT_BY_NAME, ClockJumped

LONGEST: Final = 1e11
"""Seconds beyond every time of a calendar; what is greater was not written by an engine."""
STEP_BACK: Final = 1.0
"""Seconds by which a time may be before the one before it without that the clock was set."""

FAR: Final = 366 * 86400.0
"""Seconds without a record, in the middle of a life, beyond which the clock was set meanwhile or a time is spoilt."""


def is_time(value: float) -> bool:
    """Return whether a number can be a time or a duration: a spoilt row can have any other."""
    return -LONGEST < value < LONGEST


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
class _PastWalk(KnownPlace):
    """How far an account is."""

    life: int = -1
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
    outages: OutageFinder = field(init=False)
    doubts: Doubts = field(factory=Doubts, init=False)
    records: int = field(default=0, init=False)
    first: float | None = field(default=None, init=False)
    last: float = field(default=float("-inf"), init=False)
    _walks: dict[str, _PastWalk] = field(factory=dict, init=False)
    _offset: float = field(default=0.0, init=False)
    """By how much the machine's clock was set so far, as the account has it that was told last."""
    _jumps: set[tuple[float, float]] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self.outages = OutageFinder(KeptEvents(self.event_of))

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
        if entry.policy is not None:
            walk.policy = entry.policy
        if event_class is ClockJumped:
            self._jump(walk, entry)
        if not walk.over and entry.source is not walk.state:
            self._lose(walk)
        at = self._time(walk, entry.at)
        if walk.over:
            self._find(walk, entry, at)
            return
        self._follow(walk, entry, event_class, at)

    def leave_out(self, account: str | None) -> None:
        """Note that a record of an account cannot be read."""
        self.doubts.unreadable += 1
        if account is not None and (walk := self._walks.get(account)) is not None:
            self._forget(walk)

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
                end = walk.last if sign is None or not is_time(sign) else max(walk.last, sign - walk.offset)
                self._end(walk, end if end - walk.last <= FAR else walk.last)

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
            event = self.outages.events.of(entry)
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
            self._follow(walk, entry, EVENT_BY_NAME[entry.event], at)
        elif not walk.past.happenings and not walk.doubted:
            walk.doubted = True
            self.doubts.began_before += entry.source not in (healthy, State.SHUTTING_DOWN)

    def _follow(self, walk: _PastWalk, entry: Entry, event_class: type[Event], at: float) -> None:
        """Go on by a record whose source is where the account was."""
        if entry.draw is not None:
            walk.past.draws.append(entry.draw)
        if entry.event == "StopRequested":
            self._end(walk, at)
            return
        try:
            self.outages.take(walk, entry, event_class, at)
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
        elif not walk.over and at - walk.last > FAR:
            self.doubts.clock_set += 1
            self._offset = walk.offset = walk.offset + (at - walk.last)
            at = walk.last
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
