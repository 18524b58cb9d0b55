"""The law of leases: until when a node may act for its accounts, and when others may take them. Pure, like ``step``.

A node has one *life* at a time in the store, and *beats* for all its accounts together. Two sides decide by this law.

The *hold* of a node: whether it may have links open. Its deadlines count from the instant before it asked.

    standing   event                                       decision
    ---------  ------------------------------------------  ----------------------------------------------------------
    beginning  ``BeatDue``                                 ask for a life
    beginning  ``LifeGiven``, asked for less than          holding; both deadlines count from the asking
               ``stop_after`` ago
    beginning  ``LifeGiven``, later                        ask for another one, which ends the one that came late
    beginning  ``LeaveRequested``                          left: its last life, if it had one, is ended in the store
    holding    ``BeatDue``                                 beat
    holding    ``BeatConfirmed`` before the deadline       what it does not confirm is dropped at once, and then both
                                                           deadlines count from its asking
    holding    ``BeatRefused``: the store says it is over  closing: all links are aborted
    holding    any event at or after the deadline          closing: all links are aborted
    holding    ``LeaveRequested``                          claims nothing more; goes on beating until its links are gone
    holding    ``LinksGone`` when leaving                  left: the life is ended in the store
    closing    ``LinksGone``                               the kernel's timer is disarmed; ask for a new life, or left
    closing    any answer                                  nothing: a life that passed its deadline never beats again
    left       ``LifeGiven``: it comes too late            the life is ended in the store
    any        an answer for another life, all else        nothing

At ``stop_after`` a timer aborts the links; at ``death_after`` the kernel ends the process, whatever that is doing, if
they are not closed by then. Effects are to be performed in their order: a process that is stopped between a drop and
the arming of its deadlines is ended at the earlier ones.

The *watch* of the others: whose life may be declared dead. It counts by the watcher's own clock alone: clocks of two
machines are never compared, so it does not matter what they say, only that their rates differ by less than a quarter.

    situation                                              decision
    -----------------------------------------------------  ----------------------------------------------------------
    a beat is seen for the first time                      it is watched from the arrival of the answer
    asked ``lease`` or more after that, it is the same     dead, on condition that this server has that same beat still
    the connection to the store was lost; the server       all observations start anew: a server that has failed over
    started, or another one has taken over                 may have forgotten beats that it confirmed
    that server is not *settled*                           nothing is claimed: it may have forgotten who claimed what
    somebody watched it for ``lease``                      settled: who had a forgotten claim has dropped it by then

Why it is safe. A beat that was committed was asked for before, so its holder's process ends at the latest
``death_after`` after that, by its own clock; a watcher sees the beat no earlier than it was committed, and waits
``lease`` by its own. ``engine.verify.lease`` explores all of it, ``docs/leases.md`` explains it.

What the law takes for granted: a life's number is never given twice, not even by a server that has failed over (so the
node draws it at random, and asks again under the same number until it is answered); of two servers one at most commits
at a time; and a node has one beat under way at a time.
"""

import itertools
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias

from attrs import evolve, field, frozen

MANY_NODES: Final = 10
"""Living nodes from which on each beats the less often the more there are."""
SELDOM: Final = 3.0
"""How many times as far apart beats are at most."""


@frozen(kw_only=True)
class LeaseTimes:
    """The times of a lease, in seconds. Raises ``ValueError`` for times that would not be safe."""

    beat_every: float = 1.0
    """Between two beats of few nodes: by so much longer than ``lease`` a killed node may be undiscovered."""
    answer_within: float = 3.0
    """How long the store may take for an answer, before its connection is given up."""
    stop_after: float = 10.0
    """How long after the last confirmed beat was asked for a node aborts its links."""
    death_after: float = 12.0
    """How long after it the kernel ends the process."""
    lease: float = 15.0
    """How long another node must see the same beat before it declares the life dead."""

    def __attrs_post_init__(self) -> None:
        times = (0.0, self.beat_every, self.stop_after, self.death_after, self.lease)
        if not all(before < after for before, after in itertools.pairwise(times)) or math.isinf(self.lease):
            raise ValueError("the times of a lease must grow: beat_every < stop_after < death_after < lease")
        if not 0.0 < self.answer_within < self.stop_after:
            raise ValueError("answer_within must be less than stop_after")

    @classmethod
    def of(cls, lease: float) -> "LeaseTimes":
        """Return the times for a lease of this length: the others in the proportion of the defaults.

        But beats are never further apart than by default, and no answer may take longer.

        Raises ``ValueError`` if it is not a length.
        """
        usual = cls()
        part = lease / usual.lease
        return cls(
            beat_every=usual.beat_every * min(1.0, part),
            answer_within=usual.answer_within * min(1.0, part),
            stop_after=usual.stop_after * part,
            death_after=usual.death_after * part,
            lease=lease,
        )

    def beats_apart(self, nodes: int) -> float:
        """Return the seconds between two beats of a node, of so many that live.

        Of many nodes one or another soon sees the last beat of each, and the store need not have more of them.
        """
        return self.beat_every * min(max(nodes / MANY_NODES, 1.0), SELDOM)

    @property
    def beats_apart_at_most(self) -> float:
        """The seconds between two beats, of however many nodes."""
        return self.beat_every * SELDOM

    @property
    def tolerance(self) -> float:
        """By what factor the rates of two clocks may differ."""
        return self.lease / self.death_after


# --- the hold of a node ----------------------------------------------------------------------------------------------


class HoldStanding(StrEnum):
    """Where a node's hold is."""

    BEGINNING = "beginning"
    """The node has no life, and asks the store for one."""
    HOLDING = "holding"
    """The node may act for its accounts."""
    CLOSING = "closing"
    """The life is over, and links may still be open."""
    LEFT = "left"
    """The node has ended its life itself."""


@frozen(kw_only=True)
class NodeHold:
    """The hold of one node. Times are its own clock's, which goes on while the machine sleeps (``CLOCK_BOOTTIME``)."""

    standing: HoldStanding = HoldStanding.BEGINNING
    life: int = 0
    """The life that it has, or had last, in the store; 0 is none yet."""
    confirmed: float = 0.0
    """The instant before the last confirmed beat was asked for."""
    leaving: bool = False
    """Whether it wants no more accounts."""

    def may_act(self, now: float, times: LeaseTimes) -> bool:
        """Return whether links may be open now."""
        return self.standing is HoldStanding.HOLDING and now < self.confirmed + times.stop_after


@frozen(kw_only=True)
class LifeGiven:
    """The store has a new life for this node, which was asked for at ``asked``."""

    life: int
    asked: float


@frozen
class BeatDue:
    """It is time for the next statement to the store, or for a look at the deadline."""


@frozen(kw_only=True)
class BeatConfirmed:
    """The store took the beat of ``life`` that was asked for at ``asked``.

    ``unconfirmed`` are accounts for which the node worked when it asked, and that the store does not say are its.
    """

    life: int
    asked: float
    unconfirmed: frozenset[str] = frozenset()


@frozen(kw_only=True)
class BeatRefused:
    """The store says that ``life`` is over, or does not know it."""

    life: int


@frozen
class LeaveRequested:
    """The node is to stop."""


@frozen
class LinksGone:
    """No link is open any more, and none will be opened by this life."""


HoldEvent: TypeAlias = LifeGiven | BeatDue | BeatConfirmed | BeatRefused | LeaveRequested | LinksGone


@frozen
class AskLife:
    """Ask the store for a new life, and have it end this node's life ``ends`` in the same transaction; 0 is none."""

    ends: int


@frozen
class SendBeat:
    """Beat for ``life``. Note the instant before it is sent."""

    life: int


@frozen
class ArmDeadlines:
    """Abort the links at ``stop``, and have the kernel end the process at ``death``, instead of what was armed."""

    stop: float
    death: float


@frozen
class DropAccounts:
    """Abort the links of these accounts now: another node may have them."""

    accounts: frozenset[str]


@frozen
class AbortLinks:
    """Abort all links now, and report ``LinksGone``. The kernel's timer stays armed until then."""


@frozen
class DisarmDeath:
    """Disarm the kernel's timer: no link is open."""


@frozen
class EndLife:
    """Have the store end ``life``, which frees its accounts."""

    life: int


HoldEffect: TypeAlias = AskLife | SendBeat | ArmDeadlines | DropAccounts | AbortLinks | DisarmDeath | EndLife


def decide_hold(
    hold: NodeHold, event: HoldEvent, now: float, times: LeaseTimes
) -> tuple[NodeHold, tuple[HoldEffect, ...]]:
    """Return the hold after an event, and what is to be done, in this order; every event has an answer."""
    match hold.standing:
        case HoldStanding.BEGINNING:
            return _beginning(hold, event, now, times)
        case HoldStanding.HOLDING:
            return _holding(hold, event, now, times)
        case HoldStanding.CLOSING:
            return _closing(hold, event)
        case HoldStanding.LEFT:
            return hold, (EndLife(event.life),) if isinstance(event, LifeGiven) else ()


def _beginning(
    hold: NodeHold, event: HoldEvent, now: float, times: LeaseTimes
) -> tuple[NodeHold, tuple[HoldEffect, ...]]:
    match event:
        case BeatDue():
            return hold, (AskLife(hold.life),)
        case LifeGiven(life=life, asked=asked) if now < asked + times.stop_after:
            begun = evolve(hold, standing=HoldStanding.HOLDING, life=life, confirmed=asked)
            return begun, (_deadlines(begun, times),)
        case LifeGiven(life=life):
            return evolve(hold, life=life), (AskLife(life),)
        case LeaveRequested():
            return evolve(hold, standing=HoldStanding.LEFT, leaving=True), (EndLife(hold.life),) if hold.life else ()
    return hold, ()


def _holding(
    hold: NodeHold, event: HoldEvent, now: float, times: LeaseTimes
) -> tuple[NodeHold, tuple[HoldEffect, ...]]:
    leaving = hold.leaving or isinstance(event, LeaveRequested)
    if not hold.may_act(now, times):
        return evolve(hold, standing=HoldStanding.CLOSING, leaving=leaving), (AbortLinks(),)
    match event:
        case BeatDue():
            return hold, (SendBeat(hold.life),)
        case BeatConfirmed(life=hold.life, asked=asked, unconfirmed=unconfirmed):
            later = evolve(hold, confirmed=max(hold.confirmed, asked))
            drop = (DropAccounts(unconfirmed),) if unconfirmed else ()
            return later, (*drop, _deadlines(later, times))
        case BeatRefused(life=hold.life):
            return evolve(hold, standing=HoldStanding.CLOSING), (AbortLinks(),)
        case LeaveRequested():
            return evolve(hold, leaving=True), ()
        case LinksGone() if hold.leaving:
            return evolve(hold, standing=HoldStanding.LEFT), (DisarmDeath(), EndLife(hold.life))
    return hold, ()


def _closing(hold: NodeHold, event: HoldEvent) -> tuple[NodeHold, tuple[HoldEffect, ...]]:
    match event:
        case LinksGone() if hold.leaving:
            return evolve(hold, standing=HoldStanding.LEFT), (DisarmDeath(), EndLife(hold.life))
        case LinksGone():
            return evolve(hold, standing=HoldStanding.BEGINNING), (DisarmDeath(), AskLife(hold.life))
        case LeaveRequested():
            return evolve(hold, leaving=True), ()
    return hold, ()


def _deadlines(hold: NodeHold, times: LeaseTimes) -> ArmDeadlines:
    return ArmDeadlines(hold.confirmed + times.stop_after, hold.confirmed + times.death_after)


# --- the watch of the others -----------------------------------------------------------------------------------------


@frozen
class BeatSight:
    """The beat of another life, and since when it has been seen, by the watcher's clock."""

    beat: int
    since: float


@frozen(kw_only=True)
class NodeWatch:
    """What one node has seen of the others, over one connection to one server."""

    server: str | None = None
    """Which server answered, in which of its starts and on which timeline; None before the first answer."""
    since: float = 0.0
    """When it was first heard."""
    settled: bool = False
    """Whether everybody who had a claim that this server may have forgotten has dropped it."""
    sights: Mapping[int, BeatSight] = field(factory=dict)
    """The living lives, by their numbers."""


@frozen(kw_only=True)
class StoreAnswered:
    """The store, asked at ``asked``, said which other lives are alive, each with its beat.

    ``settled`` says that somebody has noted in the store that this server is settled.
    """

    asked: float
    server: str
    beats: Mapping[int, int]
    settled: bool = False


@frozen
class StoreLost:
    """The connection to the store is gone, or was given up."""


@frozen
class DeclareDead:
    """Declare ``life`` dead, on condition that it is alive, that it has ``beat`` still, and that ``server`` is asked.

    Whoever answers over another connection may be another server, which has forgotten later beats than this one.
    """

    life: int
    beat: int
    server: str


@frozen
class NoteSettled:
    """Note in the store that it is settled, on condition that ``server`` is asked: no node has to wait once more."""

    server: str


WatchEffect: TypeAlias = DeclareDead | NoteSettled


def decide_watch(
    watch: NodeWatch, event: StoreAnswered | StoreLost, now: float, times: LeaseTimes
) -> tuple[NodeWatch, tuple[WatchEffect, ...]]:
    """Return what is known after an event, and what to tell the store. The watcher's own life is not to be in it."""
    if isinstance(event, StoreLost):
        return NodeWatch(), ()
    if watch.server != event.server:
        watch = NodeWatch(server=event.server, since=now)
    sights = {
        life: seen if (seen := watch.sights.get(life)) is not None and seen.beat == beat else BeatSight(beat, now)
        for life, beat in event.beats.items()
    }
    watched = event.asked >= watch.since + times.lease
    deaths = [
        DeclareDead(life, seen.beat, event.server)
        for life, seen in sights.items()
        if event.asked >= seen.since + times.lease
    ]
    notes = [NoteSettled(event.server)] if watched and not event.settled else []
    return evolve(watch, settled=watch.settled or event.settled or watched, sights=sights), (*deaths, *notes)


def next_look(watch: NodeWatch, now: float, times: LeaseTimes) -> float | None:
    """Return when the next life may be declared dead, or the server be settled, so that neither waits for a beat.

    None if nothing of the kind is ahead; what is past already is for the usual beats.
    """
    starts = [seen.since for seen in watch.sights.values()]
    if watch.server is not None and not watch.settled:
        starts.append(watch.since)
    return min((start + times.lease for start in starts if start + times.lease > now), default=None)


# --- claims ----------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Claim:
    """Give ``life`` accounts that are free or whose life is dead, on condition that it lives and ``server`` is asked.

    Another server may not be settled.
    """

    life: int
    server: str
    asked: float
    """The instant before it was asked for."""


def begin_claim(hold: NodeHold, watch: NodeWatch, now: float, times: LeaseTimes) -> Claim | None:
    """Return the claim that a node may make now, or None if it may make none."""
    if watch.server is None or not watch.settled or hold.leaving or not hold.may_act(now, times):
        return None
    return Claim(life=hold.life, server=watch.server, asked=now)


def claim_counts(claim: Claim, hold: NodeHold, watch: NodeWatch, now: float, times: LeaseTimes) -> bool:
    """Return whether a node may act for what a claim that was granted has given to it, now that it hears of it.

    A grant that came late, or from another server than the present one, does not count: the next beat says what is its.
    """
    timely = now < claim.asked + times.stop_after
    return timely and hold.may_act(now, times) and (claim.life, claim.server) == (hold.life, watch.server)
