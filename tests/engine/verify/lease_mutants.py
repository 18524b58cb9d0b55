"""Mutants of the law of leases, of the conditions of its statements, and of what it takes for granted."""

from typing import Any

from attrs import evolve, frozen

from engine.verify.lease import ALWAYS_ONE, NEVER_TWO, LeaseWorld
from engine.verify.lease.explore import AT_ONCE, PATIENT, SLOW
from engine.verify.lease.store import StoreRules
from states.lease import (
    AbortLinks,
    ArmDeadlines,
    AskLife,
    BeatConfirmed,
    BeatDue,
    BeatSight,
    Claim,
    DisarmDeath,
    EndLife,
    HoldEvent,
    HoldStanding,
    LeaseTimes,
    LeaveRequested,
    LifeGiven,
    NodeHold,
    NodeWatch,
    SendBeat,
    StoreAnswered,
    StoreLost,
    begin_claim,
    decide_hold,
    decide_watch,
)

HoldDecision = tuple[NodeHold, tuple[Any, ...]]
WatchDecision = tuple[NodeWatch, tuple[Any, ...]]


def from_the_answer(hold: NodeHold, event: HoldEvent, now: float, times: LeaseTimes) -> HoldDecision:
    """Count the deadlines from the moment in which the answer comes."""
    if isinstance(event, LifeGiven | BeatConfirmed):
        event = evolve(event, asked=now)
    return decide_hold(hold, event, now, times)


def beats_again(hold: NodeHold, event: HoldEvent, now: float, times: LeaseTimes) -> HoldDecision:
    """Go on with a life that passed its deadline, as soon as its links are gone."""
    if hold.standing is HoldStanding.BEGINNING and hold.life:
        match event:
            case BeatDue():
                return hold, (SendBeat(hold.life),)
            case BeatConfirmed(asked=asked) if now < asked + times.stop_after:
                again = evolve(hold, standing=HoldStanding.HOLDING, confirmed=asked)
                return again, (ArmDeadlines(asked + times.stop_after, asked + times.death_after),)
    return decide_hold(hold, event, now, times)


def keeps_accounts(hold: NodeHold, event: HoldEvent, now: float, times: LeaseTimes) -> HoldDecision:
    """Go on working for accounts that a beat does not confirm."""
    if isinstance(event, BeatConfirmed):
        event = evolve(event, unconfirmed=frozenset())
    return decide_hold(hold, event, now, times)


def disarms_at_stop(hold: NodeHold, event: HoldEvent, now: float, times: LeaseTimes) -> HoldDecision:
    """Disarm the kernel's timer when the links are to be closed, not when they are."""
    hold, effects = decide_hold(hold, event, now, times)
    return hold, (*effects, *(DisarmDeath() for effect in effects if isinstance(effect, AbortLinks)))


def begins_too_early(hold: NodeHold, event: HoldEvent, now: float, times: LeaseTimes) -> HoldDecision:
    """Ask for a new life, which ends the old one, while its links may still be open."""
    hold, effects = decide_hold(hold, event, now, times)
    if any(isinstance(effect, AbortLinks) for effect in effects) and not hold.leaving:
        return evolve(hold, standing=HoldStanding.BEGINNING), (*effects, AskLife(hold.life))
    return hold, effects


def ends_too_early(hold: NodeHold, event: HoldEvent, now: float, times: LeaseTimes) -> HoldDecision:
    """End the life when the node is asked to leave, while its links are still open."""
    hold, effects = decide_hold(hold, event, now, times)
    early = isinstance(event, LeaveRequested) and hold.standing is HoldStanding.HOLDING
    return hold, (*effects, EndLife(hold.life)) if early else effects


def never_begins_again(hold: NodeHold, event: HoldEvent, now: float, times: LeaseTimes) -> HoldDecision:
    """Ask for one life and no more."""
    hold, effects = decide_hold(hold, event, now, times)
    return hold, tuple(effect for effect in effects if not (isinstance(effect, AskLife) and hold.life))


def keeps_all(watch: NodeWatch, event: StoreAnswered | StoreLost, now: float, times: LeaseTimes) -> WatchDecision:
    """Keep all observations over a failover."""
    if isinstance(event, StoreAnswered) and watch.server is not None:
        watch = evolve(watch, server=event.server)
    return decide_watch(watch, event, now, times)


def never_settles(watch: NodeWatch, event: StoreAnswered | StoreLost, now: float, times: LeaseTimes) -> WatchDecision:
    """Never take a server for settled that nobody has noted."""
    known, _ = decide_watch(watch, event, now, times)
    return evolve(known, settled=isinstance(event, StoreAnswered) and event.settled), ()


def watches_anew(watch: NodeWatch, event: StoreAnswered | StoreLost, now: float, times: LeaseTimes) -> WatchDecision:
    """Begin all observations of beats anew with each answer."""
    known, effects = decide_watch(evolve(watch, sights={}), event, now, times)
    return evolve(known, sights={life: BeatSight(seen.beat, now) for life, seen in known.sights.items()}), effects


def claims_anywhere(hold: NodeHold, watch: NodeWatch, now: float, times: LeaseTimes) -> Claim | None:
    """Claim at a server that is not settled."""
    return begin_claim(hold, evolve(watch, settled=True), now, times)


def any_grant_counts(*_: object) -> bool:
    """Act for what was granted to whatever life, whenever."""
    return True


@frozen(kw_only=True)
class LeaseMutant:
    """What is wrong, what breaks by it, and in how many steps at the least."""

    name: str
    world: LeaseWorld
    breaks: str = NEVER_TWO
    steps: int


def lease_mutants() -> tuple[LeaseMutant, ...]:
    """Return all mutants that are caught; those of the list in the facts come first."""
    at_once, patient = AT_ONCE, PATIENT
    return (
        LeaseMutant(
            name="a deadline that is counted from the answer",
            world=LeaseWorld(law=evolve(patient, decide_hold=from_the_answer), delays=1, lives=1),
            steps=16,
        ),
        LeaseMutant(
            name="a death without the beat's condition",
            world=LeaseWorld(law=patient, delays=1, lives=1, rules=StoreRules(death_needs_beat=False)),
            steps=17,
        ),
        LeaseMutant(
            name="a stopped process without the kernel's timer",
            world=LeaseWorld(law=evolve(at_once, kernel=False), stops=None),
            steps=15,
        ),
        LeaseMutant(
            name="a fenced life that beats again",
            world=LeaseWorld(law=evolve(at_once, decide_hold=beats_again), rules=StoreRules(beat_needs_life=False)),
            steps=18,
        ),
        LeaseMutant(
            name="observations that are kept over a failover",
            world=LeaseWorld(law=evolve(at_once, decide_watch=keeps_all), failovers=1),
            steps=9,
        ),
        LeaseMutant(
            name="a claim at a server that is not settled",
            world=LeaseWorld(law=evolve(at_once, begin_claim=claims_anywhere), failovers=1),
            steps=7,
        ),
        LeaseMutant(
            name="a claim without the server's condition",
            world=LeaseWorld(law=at_once, failovers=1, rules=StoreRules(claim_needs_server=False)),
            steps=7,
        ),
        LeaseMutant(
            name="accounts that are kept though a beat does not confirm them",
            world=LeaseWorld(law=evolve(at_once, decide_hold=keeps_accounts), failovers=1),
            steps=16,
        ),
        LeaseMutant(
            name="a grant that counts however late it comes",
            world=LeaseWorld(law=evolve(patient, claim_counts=any_grant_counts), delays=1),
            steps=13,
        ),
        LeaseMutant(
            name="a kernel's timer that is disarmed before the links are gone",
            world=LeaseWorld(law=evolve(at_once, decide_hold=disarms_at_stop), stops=None),
            steps=16,
        ),
        LeaseMutant(
            name="a new life before the links of the old one are gone",
            world=LeaseWorld(law=evolve(at_once, decide_hold=begins_too_early)),
            steps=11,
        ),
        LeaseMutant(
            name="a life that is ended before its links are gone",
            world=LeaseWorld(law=evolve(at_once, decide_hold=ends_too_early), leaves=True),
            steps=8,
        ),
        LeaseMutant(
            name="clocks that are further apart than the times allow",
            world=LeaseWorld(law=at_once, stops=1, slow=SLOW, slow_every=4),
            steps=18,
        ),
        LeaseMutant(
            name="a node that begins no second life",
            world=LeaseWorld(law=evolve(at_once, decide_hold=never_begins_again)),
            breaks=ALWAYS_ONE,
            steps=6,
        ),
        LeaseMutant(
            name="a server that never becomes settled",
            world=LeaseWorld(law=evolve(at_once, decide_watch=never_settles), failovers=1, forgets=1, lives=1),
            breaks=ALWAYS_ONE,
            steps=2,
        ),
        LeaseMutant(
            name="observations that begin anew with each answer",
            world=LeaseWorld(law=evolve(at_once, decide_watch=watches_anew), kills=1),
            breaks=ALWAYS_ONE,
            steps=5,
        ),
    )
