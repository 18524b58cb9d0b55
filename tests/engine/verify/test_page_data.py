"""What the page shows is what ``step`` decides: every move of every configuration, and 1,000 clicks in a browser."""

import random
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from attrs import frozen

from engine.verify import ALWAYS, POLICIES, Explorer
from engine.verify.explore import HIGH, LOW, is_current
from engine.verify.forms import form_of
from engine.verify.page import Recorder
from engine.verify.page.told import tell_configuration, telling_fields
from engine.verify.premises import PREMISES
from engine.verify.world import NOW, Bounds, Configuration, apply_decision, enumerate_events, time_of
from states import EVENTS, Event, Policy, State, Step, begin, step
from states.guards import Moment
from states.machine import ROWS, by_pair
from tests.engine.harness import ROOT

pytestmark = pytest.mark.slow

PAIRS = by_pair(ROWS)
ROW_OF = {row.name: row for row in ROWS}


@frozen
class SeenDecision:
    """A decision of the exploration, with what was before and after it."""

    policy: Policy
    config: Configuration
    event: Event
    decision: Step
    reached: Configuration


@frozen
class ExploredMachine:
    """Both explorations: what the page is made of, how many configurations there were, and some of the decisions."""

    recorder: Recorder
    data: dict[str, Any]
    configurations: tuple[int, ...]
    decisions: tuple[SeenDecision, ...]


@pytest.fixture(scope="module")
def explored() -> ExploredMachine:
    """Explore both policies once."""
    recorder, seen, rng, found = Recorder(), list[SeenDecision](), random.Random(7), []

    def observe(policy: Policy, config: Configuration, event: Event, decision: Step, reached: Configuration) -> None:
        recorder.observe(policy, config, event, decision, reached)
        if rng.random() < 0.1:
            seen.append(SeenDecision(policy, config, event, decision, reached))

    for policy in POLICIES:
        found.append(Explorer(policy, properties=(), observe=observe).run().configurations)
    return ExploredMachine(recorder, recorder.as_data(), tuple(found), tuple(seen))


def expected(config: Configuration, policy: Policy, *, late: bool) -> Iterator[tuple[Any, ...]]:
    """Yield what the page has to tell of each event here, by asking ``step`` itself."""
    bounds = Bounds.of(policy)
    for event, possible in enumerate_events(config):
        if not possible or is_current(event, config) == late:
            continue
        now = time_of(event)
        decision = step(config.snapshot, event, now=now, rng=LOW, policy=policy)
        other = decision
        if decision.record.draw is not None:
            other = step(config.snapshot, event, now=now, rng=HIGH, policy=policy)
        row, asked = ROW_OF[decision.record.rule], []
        for each in PAIRS[config.snapshot.state, type(event)]:
            if each.when is None:
                break
            asked.append((each.guard, each.when(Moment(config.snapshot, event, now, policy))))
            if each is row:
                break
        effects = [(type(effect).__name__, _waits(effect, also)) for effect, also in
                   zip(decision.effects, other.effects, strict=True)]  # fmt: skip
        reached = apply_decision(config, event, decision, bounds)
        values = (reached.snapshot.state.value, *tell_configuration(reached, bounds))
        yield form_of(event).key, row.name, row.why, asked, effects, values


def _waits(effect: Any, other: Any) -> str | None:
    """Return how the page has to tell a delay, which jitter makes longer or shorter."""
    if not hasattr(effect, "delay"):
        return None
    low, high = f"{effect.delay:g} s", f"{other.delay:g} s"
    return f"delay {low}" + (f" to {high}" if low != high else "")


def shown(data: dict[str, Any], policy: int, move: int, to: int) -> tuple[Any, ...]:
    """Return what the page tells of a move, read from its data as its script reads it."""
    form, decision = data["moves"][move]
    rule, asked, does, _ = data["decisions"][decision]
    state, *texts = data["policies"][policy]["configurations"][to]
    effects = [data["does"][number] for number in does]
    return (
        data["forms"][form]["key"],
        data["rules"][rule]["name"],
        data["rules"][rule]["why"],
        [tuple(data["answers"][number][:2]) for number in asked],
        [(name, values if values.startswith("delay") else None) for name, values in effects],
        (data["states"][state]["name"], *(data["texts"][text] for text in texts)),
    )


@pytest.mark.parametrize("number", range(len(POLICIES)))
def test_every_move_is_what_step_decides(explored: ExploredMachine, number: int) -> None:
    """For each configuration the page has the events that can happen there, and of each what ``step`` makes of it."""
    data = explored.data
    walks, plain = explored.recorder.walks[number], data["policies"][number]
    assert walks.policy is POLICIES[number]
    for at, config in enumerate(walks.numbers):
        flat = plain["moves"][at]
        moves = [shown(data, number, *pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
        assert moves == list(expected(config, walks.policy, late=False))
        if at % 7 == 0:  # the late ones are told by state and link alone
            late = [shown(data, number, move, at) for move in plain["late"][plain["lateOf"][at]]]
            assert late == list(expected(config, walks.policy, late=True))


def test_a_new_life_leads_where_begin_leads(explored: ExploredMachine) -> None:
    """It begins from the stored snapshot, wherever the one before it ended."""
    for walks, plain in zip(explored.recorder.walks, explored.data["policies"], strict=True):
        configs = list(walks.numbers)
        assert len(configs) == len(plain["lives"])
        for config, life in zip(configs, plain["lives"], strict=True):
            if not config.started:
                assert life == -1
            else:
                normal = walks.bounds.normalise(begin(config.snapshot, now=NOW))
                assert configs[life] == Configuration(normal)


def test_the_page_has_all_configurations_that_verify_reaches(explored: ExploredMachine) -> None:
    """None is missing, and no two look alike on the page."""
    for reached, plain in zip(explored.configurations, explored.data["policies"], strict=True):
        rows = set(map(tuple, plain["configurations"]))
        assert len(plain["configurations"]) == len(rows) == reached


def test_the_documents_count_right(explored: ExploredMachine) -> None:
    """The page about the page says how many moves there are."""
    moves = sum(len(flat) // 2 for plain in explored.data["policies"] for flat in plain["moves"])
    assert f"each of its {moves:,} moves" in (ROOT / "docs" / "explorer.md").read_text("utf-8")


def test_every_property_has_decisions_to_show(explored: ExploredMachine) -> None:
    """Each is about some decisions of each policy, which can be gone to."""
    assert [each["name"] for each in explored.data["properties"]] == [holds.__name__ for holds in ALWAYS]
    for plain in explored.data["policies"]:
        assert all(plain["spoken"])
        assert all(plain["witnesses"])


def test_the_page_has_words_for_all_that_it_shows(explored: ExploredMachine) -> None:
    """No event, guard, effect, property or field of the world stands there without its meaning."""
    data = explored.data
    for kind in ("events", "guards", "effects"):
        assert all(data[kind].values()), kind
    assert all(each["doc"] for each in data["properties"])
    assert all(each["doc"] for each in data["fields"])
    assert {rule["name"] for rule in data["rules"]} == set(ROW_OF)
    assert list(data["events"]) == [event.__name__ for event in EVENTS]
    assert [each["name"] for each in data["states"]] == [state.value for state in State]
    assert len(data["fields"]) == len(telling_fields()) == len(data["policies"][0]["configurations"][0]) - 1


def test_a_form_has_one_name(explored: ExploredMachine) -> None:
    """A link leads to one event, because no two forms have the same key."""
    keys = [form.key for form in explored.recorder.forms]
    assert len(keys) == len(set(keys))


def test_no_violation_escapes_a_premise(explored: ExploredMachine) -> None:
    """Where a property does not hold of a decision that was tampered with, its premise does."""
    rng, seen = random.Random(7), explored.decisions
    violated = dict.fromkeys(ALWAYS, 0)
    for _ in range(60_000):
        one, two = rng.choice(seen), rng.choice(seen)
        decision = rng.choice((two.decision, attrs.evolve(one.decision, effects=two.decision.effects)))
        decision = attrs.evolve(decision, record=attrs.evolve(decision.record, quiet=rng.random() < 0.3))
        moment = (one.config, one.event, decision, rng.choice((one, two)).reached, one.policy)
        for holds in ALWAYS:
            if holds(*moment) is not None:
                violated[holds] += 1
                assert PREMISES[holds](*moment), (holds.__name__, moment)
    assert sum(map(bool, violated.values())) >= len(ALWAYS) - 5, {h.__name__: n for h, n in violated.items()}
