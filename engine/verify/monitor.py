"""The properties of the exhaustive check as monitors: of real decisions, one by one, with real times and counters.

The check explores every configuration in which a counter or a time can matter, and each property is a question about
one decision. So every *always* property is a monitor as it stands, and here it meets real values. To ask it, a monitor
keeps what the check calls a configuration: the snapshot, and what is under way around it. That is a few words for each
account, however long it lives.

What a monitor adds to them: the world could produce the event (a timer goes off if it was armed, a turn is granted if
one was asked for, a link reports while it is there), the rule is one of the law, its guard holds, and it was not a
routine one, which the journal leaves out.

What it cannot ask:

* *sometimes* (each rule is taken, each state is entered) is about all runs together, and no run shows its opposite;
* *eventually* promises something of a benign world alone, and a stream does not say how the world is. Its half that is
  about one decision, that every wait has something under way that will end it, is the property ``waits_end``;
* whether a timer went off at its time: wall clocks may be set, and a journal learns of it later.

Routine decisions are not in the journal. They send probes and arm the next ones, so whether a probe is out is not known
while an account is healthy; that one *or* the other is under way is what they keep, and what is asked.
"""

from typing import Self

from attrs import define, frozen

from engine.verify.properties import ALWAYS
from engine.verify.world import Configuration, apply_decision
from states import ROWS, Event, Policy, Snapshot, State, Step
from states.effects import Timer
from states.events import Closed, Connected, OfLink, OfVisit, ProbeAnswered, Started, TimedOut, TurnGranted
from states.guards import Moment
from states.machine import Row

_ROWS: dict[str, Row] = {row.name: row for row in ROWS}
_TIMERS: frozenset[type[OfVisit]] = frozenset(kind.posts for kind in Timer.__subclasses__())


@frozen(kw_only=True)
class Breach:
    """A decision that the law does not allow: the name of the property, and what is wrong in a few words."""

    property: str
    what: str


def rule_named(name: str) -> Row | None:
    """Return the rule of this name; None if the law has none."""
    return _ROWS.get(name)


@define
class LawMonitor:
    """Watches the decisions of one account in one life, in their order; the memory that it needs never grows."""

    policy: Policy
    config: Configuration
    complete: bool
    """Whether all that is under way is known; until the next change of state it is not, in the middle of a life."""

    @classmethod
    def of_life(cls, snapshot: Snapshot, policy: Policy) -> Self:
        """Return a monitor for a life that begins with ``snapshot``."""
        return cls(policy, Configuration(snapshot), complete=True)

    @classmethod
    def in_life(cls, snapshot: Snapshot, policy: Policy) -> Self:
        """Return a monitor that begins in the middle of a life: whatever may be under way is taken to be."""
        link = "none" if not snapshot.link else "open"
        if link != "none" and snapshot.state in (State.CONNECTING, State.RECONNECTING):
            link = "opening"
        held = snapshot.state is not State.HEALTHY or snapshot.limited is not None
        config = Configuration(
            snapshot, turn=snapshot.waiting_for_turn, link=link, probe=link == "open", timers=_TIMERS,
            closing=snapshot.state is State.SHUTTING_DOWN, held=held, started=True,
        )  # fmt: skip
        return cls(policy, config, complete=False)

    def take(self, event: Event, decision: Step) -> Breach | None:
        """Go on by a decision; return the first thing about it that the law does not allow."""
        before, record = self.config, decision.record
        after = self.config = apply_decision(before, event, decision, None)
        known = self.complete
        self.complete = known or after.snapshot.generation != before.snapshot.generation
        row = rule_named(record.rule)
        if row is None or (row.source, row.event) != (before.snapshot.state, type(event)):
            return Breach(property="rule", what=f"{record.rule} is no rule for {type(event).__name__} here")
        if row.when is not None and not row.when(Moment(before.snapshot, event, record.at, self.policy)):
            return Breach(property="guard", what=f"the guard of {record.rule} does not hold")
        if row.quiet:
            return Breach(property="routine", what=f"{record.rule} is routine, which the journal leaves out")
        if before.finished:
            return Breach(property="possible", what="the life was over")
        if known and (wrong := _impossible(event, before)) is not None:
            return Breach(property="possible", what=wrong)
        for holds in ALWAYS:
            if (wrong := holds(before, event, decision, after, self.policy)) is not None:
                return Breach(property=holds.__name__, what=wrong)
        return None


def _impossible(event: Event, config: Configuration) -> str | None:
    """Return why the world cannot produce this event here; None if it can."""
    name = type(event).__name__
    match event:
        case Started():
            return "the life has begun already" if config.started else None
        case TurnGranted():
            return None if config.turn else "a turn is granted, and none was asked for"
        case Closed():
            return None if config.closing else "a link is closed, and no close was asked for"
        case OfVisit():
            return None if type(event) in config.timers else f"{name} comes, and no timer for it was armed"
        case Connected() | TimedOut(what="connect"):
            return None if config.link == "opening" else f"{name} comes, and no link is being opened"
        case ProbeAnswered() | TimedOut(what="probe") if config.snapshot.state is not State.HEALTHY:
            return None if config.probe else f"{name} comes, and no probe is out"
        case OfLink(link=link) if link:
            return None if config.link != "none" else f"{name} comes from a link, and there is none"
    return None
