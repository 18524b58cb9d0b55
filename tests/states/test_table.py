"""The table as a whole: total, deterministic, and refused when it is neither."""

import itertools
import random

import attrs
import pytest
from transitions import Machine

from states import EVENTS, ROWS, Policy, Snapshot, State, step
from states.effects import (
    AskTurn,
    Open,
    Probe,
    ReleaseWork,
    Wait,
)
from states.events import (
    Elapsed,
    Event,
    OfLink,
    OfVisit,
    StopRequested,
)
from states.guards import Moment
from states.machine import Cursor, LeanEvent, LeanMachine, LeanTransition, Row, RulesBroken, by_pair, check
from states.rules import RULES
from states.snapshot import Stall
from tests.states.harness import NOW, effects, in_state, sample


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", EVENTS)
def test_every_pair_is_defined(state: State, kind: type[Event]) -> None:
    """Whatever happens in whatever state, exactly one rule answers, and it says why."""
    snapshot = in_state(state)
    decision = step(snapshot, sample(kind, snapshot), now=NOW, rng=random.Random(), policy=Policy())
    taken = [row for row in ROWS if row.name == decision.record.rule]
    assert len(taken) == 1
    assert taken[0].why


@pytest.mark.parametrize("state", State)
def test_a_stop_leads_out_of_every_state_at_once(state: State) -> None:
    """One step leads from anywhere to ``shutting_down``."""
    decision = step(in_state(state), StopRequested(), now=NOW, rng=random.Random(), policy=Policy())
    assert decision.snapshot.state is State.SHUTTING_DOWN


@pytest.mark.parametrize("kind", EVENTS)
def test_nothing_leaves_shutting_down(kind: type[Event]) -> None:
    """The final state is final."""
    snapshot = in_state(State.SHUTTING_DOWN)
    decision = step(snapshot, sample(kind, snapshot), now=NOW, rng=random.Random(), policy=Policy())
    assert decision.snapshot.state is State.SHUTTING_DOWN
    assert not set(effects(decision)) & {Open, AskTurn, Probe, Wait, ReleaseWork}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", [kind for kind in EVENTS if issubclass(kind, OfVisit)])
def test_what_a_left_visit_asked_for_changes_nothing(state: State, kind: type[OfVisit]) -> None:
    """A stale timer, turn or closing is dropped in every state."""
    snapshot = in_state(state)
    decision = step(snapshot, kind(generation=4), now=NOW, rng=random.Random(), policy=Policy())
    assert decision.snapshot == snapshot
    assert not decision.effects


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", [kind for kind in EVENTS if issubclass(kind, OfLink)])
def test_what_a_closed_link_still_says_changes_nothing(state: State, kind: type[OfLink]) -> None:
    """An event of a link that was given up is dropped in every state."""
    snapshot = in_state(state)
    event = attrs.evolve(sample(kind, snapshot), link=2)
    decision = step(snapshot, event, now=NOW, rng=random.Random(), policy=Policy())
    assert decision.snapshot == snapshot
    assert not decision.effects


@pytest.mark.parametrize("row", [row for row in ROWS if row.quiet], ids=lambda row: row.name)
def test_quiet_rules_move_only_what_no_rule_depends_on(row: Row) -> None:
    """What the journal leaves out can be left out of a replay."""
    snapshot = in_state(row.source)
    event = sample(row.event, snapshot)
    if row.guard == "stale":
        event = attrs.evolve(event, generation=1)
    if row.guard == "foreign":
        event = attrs.evolve(event, link=1)
    if row.guard in ("asked_for", "told_of_stall"):
        event = attrs.evolve(event, asked=row.guard == "asked_for")
        snapshot = attrs.evolve(snapshot, stall=Stall(since=NOW, clients=1, until=NOW + 60, length=60.0, told=True))
    decision = step(snapshot, event, now=NOW + 7, rng=random.Random(), policy=Policy())
    assert decision.record.rule == row.name
    unmoved = {"last_success": None, "proved_at": None}
    assert attrs.evolve(decision.snapshot, **unmoved) == attrs.evolve(snapshot, **unmoved)


def _broken(case: str) -> list[Row]:
    rows = list(ROWS)
    last = next(row for row in rows if row.source is State.HEALTHY and row.event is Elapsed and row.when is None)
    match case:
        case "no rule":
            rows = [row for row in rows if (row.source, row.event) != (last.source, last.event)]
        case "must have no guard":
            rows[rows.index(last)] = attrs.evolve(last, when=lambda _: True)
        case "written twice":
            rows.append(last)
        case "are dead":
            rows.append(attrs.evolve(last, when=lambda _: True))
        case "unknown state or event":
            rows[rows.index(last)] = attrs.evolve(last, target="asleep")
        case "nothing leaves":
            final = next(row for row in rows if row.source is State.SHUTTING_DOWN and row.when is None)
            rows[rows.index(final)] = attrs.evolve(final, target=State.HEALTHY)
        case "never quiet":
            loud = next(row for row in rows if row.target is not None)
            rows[rows.index(loud)] = attrs.evolve(loud, quiet=True)
    return rows


@pytest.mark.parametrize(
    "case",
    [
        "no rule",
        "must have no guard",
        "written twice",
        "are dead",
        "unknown state or event",
        "nothing leaves",
        "never quiet",
    ],
)
def test_a_broken_table_is_refused(case: str) -> None:
    """Each mistake that the library would accept in silence is found at import."""
    with pytest.raises(RulesBroken, match=case):
        check(_broken(case))


def reference(rows: list[Row], answers: tuple[bool, ...]) -> Row:
    """Read the rows as they are written: from the top, the first whose guard holds; the last has none."""
    return next(row for row, holds in zip(rows, (*answers, True), strict=True) if holds)


def by_lean_machine(state: State, kind: type[Event], rows: list[Row], answers: tuple[bool, ...]) -> tuple[str, str]:
    """Return the reason of the row that the machine which runs takes, and the state it leads to."""
    forced = [attrs.evolve(row, when=lambda _, a=a: a) for row, a in zip(rows, answers, strict=False)]
    machine = LeanMachine(model=None, states=[s.value for s in State], initial=None, auto_transitions=False)
    event = LeanEvent(kind.__name__, machine)
    for row in (*forced, rows[-1]):
        event.add_transition(LeanTransition(state.value, row.target, row=row))
    cursor = Cursor(state, Moment(Snapshot(state=state), sample(kind, Snapshot()), NOW))
    event.trigger(cursor)
    assert cursor.row is not None
    return cursor.row.why, cursor.state


class Model:
    """What the stock machine moves."""

    state: str


def by_stock_machine(state: State, kind: type[Event], rows: list[Row], answers: tuple[bool, ...]) -> tuple[str, str]:
    """Return the same of the library's own machine, built from the same rows with guards as conditions."""
    taken: list[str] = []
    model = Model()
    machine = Machine(
        model=model, states=[s.value for s in State], initial=state.value, auto_transitions=False, send_event=True
    )
    for row, holds in zip(rows, (*answers, True), strict=True):
        machine.add_transition(
            kind.__name__,
            state.value,
            row.target.value if row.target else None,
            conditions=[lambda _, holds=holds: holds] if row.when else None,
            before=[lambda _, why=row.why: taken.append(why)],
        )
    assert machine.events[kind.__name__].trigger(model)
    assert len(taken) == 1
    return taken[0], model.state


def test_three_readers_of_the_law_agree() -> None:
    """The machine that runs, the stock one and a three-line interpreter agree on every pair and guard outcome."""
    checked = 0
    for (state, kind), rows in by_pair(ROWS).items():
        for answers in itertools.product((False, True), repeat=len(rows) - 1):
            row = reference(list(rows), answers)
            expected = (row.why, (row.target or state).value)
            assert by_lean_machine(state, kind, list(rows), answers) == expected
            assert by_stock_machine(state, kind, list(rows), answers) == expected
            checked += 1
    assert checked > 2 * len(State) * len(EVENTS)


def test_every_written_rule_says_why() -> None:
    """No rule goes without its reason."""
    assert all(len(rule.why.split()) >= 3 for rule in RULES)
