"""The law of leases: until when a node may act for its accounts, and when others may take them. Pure, like ``step``.

A node has one *life* at a time in the store, and *beats* for all its accounts together. Two sides decide by this law:

The *hold* of a node: whether it may have links open. Its deadlines count from the instant before it asked.

    standing   event                                       decision
    ---------  ------------------------------------------  ----------------------------------------------------------
    beginning  ``LifeBegun``, asked for less than          holding; both deadlines count from the asking
               ``stop_after`` ago
    beginning  ``LifeBegun``, later; ``LifeRefused``       ask for another life, which ends the one that came late
    holding    ``BeatDue``                                 beat
    holding    ``BeatConfirmed`` before the deadline       both deadlines count from its asking; what it does not
                                                           confirm is dropped at once
    holding    ``BeatRefused``: the store says it is over  closing: all links are aborted
    holding    any event at or after the deadline          closing: all links are aborted
    holding    ``LeaveRequested``                          claims nothing more; goes on beating until its links are gone
    holding    ``LinksGone`` when leaving                  left: the life is ended in the store
    closing    ``LinksGone``                               the kernel's timer is disarmed; ask for a new life, or left
    closing    any answer                                  nothing: a life that passed its deadline never beats again
    any        an answer for another life                  nothing

At ``stop_after`` a timer aborts the links; at ``death_after`` the kernel ends the process, whatever that is doing, if
they are not closed by then.

The *watch* of the others: whose life may be declared dead. It counts by the watcher's own clock alone: clocks of two
machines are never compared, so it does not matter what they say, only that their rates differ by less than a quarter.

    situation                                              decision
    -----------------------------------------------------  ----------------------------------------------------------
    a beat is seen for the first time                      it is watched from the arrival of the answer
    asked ``lease`` or more after that, it is the same     dead, on condition that the store has that same beat still
    the connection to the store was lost; the server       all observations begin anew: a server that has failed over
    started, or another one has taken over                 may have forgotten beats that it confirmed
    that server is not *settled*                           nothing is claimed: it may have forgotten who claimed what
    it was watched for ``lease``                           settled: who had a forgotten claim has dropped it by then

Why it is safe. A beat that was committed was asked for before, so its holder's process ends at the latest
``death_after`` after that, by its own clock; a watcher sees the beat no earlier than it was committed, and waits
``lease`` by its own. ``engine.verify.lease`` explores all of it.
"""

import itertools
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

from attrs import evolve, field, frozen


@frozen(kw_only=True)
class LeaseTimes:
    """The times of a lease, in seconds. Raises ``ValueError`` for times that would not be safe."""

    beat_every: float = 3.0
    """Between two beats."""
    stop_after: float = 10.0
    """How long after the last confirmed beat was asked for a node aborts its links."""
    death_after: float = 12.0
    """How long after it the kernel ends the process."""
    lease: float = 15.0
    """How long another node must see the same beat before it declares the life dead."""

    def __attrs_post_init__(self) -> None:
        times = (0.0, self.beat_every, self.stop_after, self.death_after, self.lease)
        growing = all(before < after for before, after in itertools.pairwise(times))
        if not growing or times[-1] == float("inf"):
            raise ValueError("the times of a lease must grow: beat_every < stop_after < death_after < lease")

    @property
    def tolerance(self) -> float:
        """By what factor the rates of two clocks may differ."""
        return self.lease / self.death_after


# --- the hold of a node ----------------------------------------------------------------------------------------------


class Standing(StrEnum):
    """Where a node's hold is."""

    BEGINNING = "beginning"
    """The store was asked for a life."""
    HOLDING = "holding"
    """The node may act for its accounts."""
    CLOSING = "closing"
    """The life is over, and links may still be open."""
    LEFT = "left"
    """The node has ended its life itself."""


@frozen(kw_only=True)
class Hold:
    """The hold of one node. Times are its own clock's, which goes on while the machine sleeps (``CLOCK_BOOTTIME``)."""

    standing: Standing = Standing.BEGINNING
    life: int = 0
    """The life that it has, or had last, in the store; 0 is none yet."""
    confirmed: float = 0.0
    """The instant before the last confirmed beat was asked for."""
    leaving: bool = False
    """Whether it wants no more accounts."""

    def may_act(self, now: float, times: LeaseTimes) -> bool:
        """Return whether links may be open now."""
        return self.standing is Standing.HOLDING and now < self.confirmed + times.stop_after


@frozen(kw_only=True)
class LifeBegun:
    """The store has a new life for this node, which was asked for at ``asked``."""

    life: int
    asked: float


@frozen
class LifeRefused:
    """The store could not be asked for a life, or gave none."""


@frozen
class BeatDue:
    """It is time for the next beat, or for a look at the deadline."""


@frozen(kw_only=True)
class BeatConfirmed:
    """The store took the beat of ``life`` that was asked for at ``asked``.

    ``unconfirmed`` are accounts that the node works for, and that the store does not say are this life's.
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


HoldEvent: TypeAlias = LifeBegun | LifeRefused | BeatDue | BeatConfirmed | BeatRefused | LeaveRequested | LinksGone


@frozen
class AskLife:
    """Ask the store for a new life, and have it end this node's life ``ends`` in the same step; 0 is none."""

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
    """Have the store end ``life``."""

    life: int


HoldEffect: TypeAlias = AskLife | SendBeat | ArmDeadlines | DropAccounts | AbortLinks | DisarmDeath | EndLife


def decide_hold(hold: Hold, event: HoldEvent, now: float, times: LeaseTimes) -> tuple[Hold, tuple[HoldEffect, ...]]:
    """Return the hold after an event, and what is to be done, in this order; every event has an answer."""
    match hold.standing, event:
        case Standing.BEGINNING, LifeBegun(life=life, asked=asked):
            if now >= asked + times.stop_after:
                return evolve(hold, life=life), (AskLife(life),)
            begun = evolve(hold, standing=Standing.HOLDING, life=life, confirmed=asked)
            return begun, (_deadlines(begun, times),)
        case Standing.BEGINNING, LifeRefused():
            return hold, (AskLife(hold.life),)
        case Standing.BEGINNING, LeaveRequested():
            return evolve(hold, standing=Standing.LEFT, leaving=True), ()
        case Standing.HOLDING, _ if not hold.may_act(now, times):
            leaving = hold.leaving or isinstance(event, LeaveRequested)
            return evolve(hold, standing=Standing.CLOSING, leaving=leaving), (AbortLinks(),)
        case Standing.HOLDING, BeatDue():
            return hold, (SendBeat(hold.life),)
        case Standing.HOLDING, BeatConfirmed(life=hold.life, asked=asked, unconfirmed=unconfirmed):
            later = evolve(hold, confirmed=max(hold.confirmed, asked))
            drop = (DropAccounts(unconfirmed),) if unconfirmed else ()
            return later, (*drop, _deadlines(later, times))
        case Standing.HOLDING, BeatRefused(life=hold.life):
            return evolve(hold, standing=Standing.CLOSING), (AbortLinks(),)
        case Standing.HOLDING, LeaveRequested():
            return evolve(hold, leaving=True), ()
        case Standing.HOLDING, LinksGone() if hold.leaving:
            return evolve(hold, standing=Standing.LEFT), (DisarmDeath(), EndLife(hold.life))
        case Standing.CLOSING, LinksGone() if hold.leaving:
            return evolve(hold, standing=Standing.LEFT), (DisarmDeath(), EndLife(hold.life))
        case Standing.CLOSING, LinksGone():
            return evolve(hold, standing=Standing.BEGINNING), (DisarmDeath(), AskLife(hold.life))
        case Standing.CLOSING, LeaveRequested():
            return evolve(hold, leaving=True), ()
    return hold, ()


def _deadlines(hold: Hold, times: LeaseTimes) -> ArmDeadlines:
    return ArmDeadlines(hold.confirmed + times.stop_after, hold.confirmed + times.death_after)


# --- the watch of the others -----------------------------------------------------------------------------------------


@frozen
class Sight:
    """The beat of another life, and since when it has been seen, by the watcher's clock."""

    beat: int
    since: float


@frozen(kw_only=True)
class Watch:
    """What one node has seen of the others, over one connection to one server."""

    server: str | None = None
    """Which server answered, in which of its starts; None before the first answer."""
    since: float = 0.0
    """When it was first heard."""
    settled: bool = False
    """Whether everybody who had a claim that this server may have forgotten has dropped it."""
    sights: Mapping[int, Sight] = field(factory=dict)
    """The living lives, by their numbers."""


@frozen(kw_only=True)
class StoreAnswered:
    """The store, asked at ``asked``, said which lives are alive, each with its beat.

    ``settled`` says that some node has noted in the store that this server is settled.
    """

    asked: float
    server: str
    beats: Mapping[int, int]
    settled: bool = False


@frozen
class StoreLost:
    """The connection to the store is gone, or was given up."""


@frozen
class Death:
    """Declare ``life`` dead, on condition that the store has ``beat`` for it still, and that it is alive."""

    life: int
    beat: int


def decide_watch(
    watch: Watch, event: StoreAnswered | StoreLost, now: float, times: LeaseTimes
) -> tuple[Watch, tuple[Death, ...]]:
    """Return what is known after an event, and whom to declare dead. A life of the watcher's own is not to be among."""
    if isinstance(event, StoreLost):
        return Watch(), ()
    if watch.server != event.server:
        watch = Watch(server=event.server, since=now)
    sights = {
        life: seen if (seen := watch.sights.get(life)) is not None and seen.beat == beat else Sight(beat, now)
        for life, beat in event.beats.items()
    }
    settled = watch.settled or event.settled or event.asked >= watch.since + times.lease
    deaths = tuple(Death(life, seen.beat) for life, seen in sights.items() if event.asked >= seen.since + times.lease)
    return evolve(watch, settled=settled, sights=sights), deaths


def may_claim(hold: Hold, watch: Watch, now: float, times: LeaseTimes) -> bool:
    """Return whether the node may claim accounts that are free, or whose life is dead, by a statement of its life."""
    return hold.may_act(now, times) and not hold.leaving and watch.settled
