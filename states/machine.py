"""The formal machine: the rules, checked, as one ``transitions.Machine`` that every account shares.

Accounts are never registered with it. A decision is ``machine.events[name].trigger(cursor)`` on a small cursor. The
``Event`` and ``Transition`` subclasses leave out callbacks, because nothing here uses them: this is about five times as
fast as the library's own path, and needs no memory per account.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from transitions import Event as StockEvent
from transitions import Machine
from transitions import State as StockState
from transitions import Transition as StockTransition

from states.effects import Effect
from states.events import EVENTS, Event
from states.guards import Moment
from states.rules import RULES, Guard, Note, Rule
from states.snapshot import State

STATES = frozenset(State)


class RulesBroken(Exception):
    """The table is not a total and deterministic machine; the message lists every reason."""


@frozen
class Row:
    """One rule for one state and one event."""

    source: State
    event: type[Event]
    target: State | None
    when: Guard | None
    note: Note | None
    does: tuple[type[Effect], ...]
    quiet: bool
    why: str
    name: str = field(init=False)
    """Name of the rule in the journal, as ``healthy.NetworkLost[stable]``."""

    effects: tuple[str, ...] = field(init=False)
    """Names of the effects."""

    @effects.default
    def _name_effects(self) -> tuple[str, ...]:
        return tuple(effect.__name__ for effect in self.does)

    @name.default
    def _make_name(self) -> str:
        return f"{self.source}.{self.event.__name__}" + (f"[{self.guard}]" if self.when else "")

    @property
    def guard(self) -> str | None:
        """Name of the guard."""
        return self.when.__name__ if self.when else None


def expand(rules: Iterable[Rule]) -> tuple[Row, ...]:
    """Return a row for each state and each event of each rule, in the order in which they are tried."""
    return tuple(
        Row(source, event, rule.target, rule.when, rule.note, rule.does, rule.quiet, rule.why)
        for rule in rules
        for source in rule.source
        for event in rule.event
    )


def by_pair(rows: Iterable[Row]) -> Mapping[tuple[State, type[Event]], Sequence[Row]]:
    """Return the rows of each (state, event) pair."""
    pairs: dict[tuple[State, type[Event]], list[Row]] = defaultdict(list)
    for row in rows:
        pairs[row.source, row.event].append(row)
    return pairs


def check(rows: Sequence[Row]) -> None:
    """Raise ``RulesBroken`` unless every pair has rules, of which exactly one can be taken.

    The library silently accepts all of these mistakes: duplicates, gaps, dead rows, unknown targets.
    """
    problems = []
    pairs = by_pair(rows)
    for state in State:
        for event in EVENTS:
            group = pairs.get((state, event), [])
            if not group:
                problems.append(f"{state}.{event.__name__}: no rule")
                continue
            problems += [
                f"{row.name}: has no guard, so the rules below it are dead" for row in group[:-1] if not row.when
            ]
            if group[-1].when:
                problems.append(f"{group[-1].name}: the last rule of a pair must have no guard")
            guards = [row.guard for row in group]
            problems += [f"{row.name}: written twice" for row in set(group) if guards.count(row.guard) > 1]
    for row in rows:
        if row.source not in STATES or row.event not in EVENTS or row.target not in (None, *STATES):
            problems.append(f"{row.name} → {row.target}: unknown state or event")
        if row.source is State.SHUTTING_DOWN and row.target is not None:
            problems.append(f"{row.name}: nothing leaves {row.source}")
        if row.quiet and row.target is not None:
            problems.append(f"{row.name}: a change of state is never quiet")
    if problems:
        raise RulesBroken("; ".join(sorted(problems)))


@define
class Cursor:
    """What the machine works on: a state, the moment for the guards, and the row that was taken."""

    state: State
    moment: Moment
    row: Row | None = None


class LeanTransition(StockTransition):
    """A transition that carries its row and has no callbacks."""

    row: Row

    def __init__(self, source: str, dest: str | None, *_: Any, row: Row, **__: Any) -> None:
        super().__init__(source, dest)  # type: ignore[arg-type]  # None is an 'internal transition' in the library
        self.row = row

    def execute(self, cursor: Cursor) -> bool:  # type: ignore[override]  # a cursor instead of EventData
        """Take the row if its guard holds."""
        row = self.row
        if row.when is not None and not row.when(cursor.moment):
            return False
        cursor.row = row
        if row.target is not None:
            cursor.state = row.target
        return True


class LeanEvent(StockEvent):
    """An event that tries its transitions in order; ``check`` makes sure that one is taken."""

    def trigger(self, cursor: Cursor) -> bool:  # type: ignore[override]  # as above
        """Move the cursor by the first row whose guard holds."""
        for transition in self.transitions[cursor.state]:  # noqa: SIM110  # a generator would cost a tenth of the speed
            if transition.execute(cursor):  # type: ignore[arg-type]  # all are lean ones
                return True
        return False


class LeanMachine(Machine):
    """The library's machine with the two lean classes."""

    event_cls = LeanEvent
    transition_cls = LeanTransition


def build(rows: Sequence[Row]) -> LeanMachine:
    """Return the machine of these rows. Raises ``RulesBroken``."""
    check(rows)
    machine = LeanMachine(
        model=None,
        states=[StockState(state.value, final=state is State.SHUTTING_DOWN) for state in State],
        initial=State.CONNECTING.value,
        auto_transitions=False,
        send_event=True,
    )
    for row in rows:
        machine.add_transition(row.event.__name__, row.source.value, row.target.value if row.target else None, row=row)
    return machine


ROWS = expand(RULES)
MACHINE = build(ROWS)


def dispatch(moment: Moment) -> Row:
    """Return the one row that applies."""
    cursor = Cursor(moment.snapshot.state, moment)
    MACHINE.events[type(moment.event).__name__].trigger(cursor)
    assert cursor.row is not None, f"no rule for {type(moment.event).__name__} in {moment.snapshot.state}"
    return cursor.row
