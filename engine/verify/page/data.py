"""The reachable configurations as plain data: each text stands once, and everything else is numbers of texts.

It is made of what ``verify`` itself decides, one call of ``step`` after the other: no rule is known here.
"""

import hashlib
from collections.abc import Hashable, Iterator
from typing import Any, Final, Generic, TypeVar

from attrs import define, field, frozen

from engine.diagram.words import FILLS, STATE_ROLES, schedule
from engine.verify import world
from engine.verify.explore import HIGH, LOW, is_current
from engine.verify.forms import NEW_LIFE, EventForm, form_of
from engine.verify.page.told import NOTHING, tell_answer, tell_configuration, tell_effect, telling_fields
from engine.verify.premises import PREMISES
from engine.verify.properties import late_is_nothing, quiet_is_routine
from engine.verify.world import NOW, Bounds, Configuration, enumerate_events, next_benign_event, time_of
from states import EVENTS, ROWS, Event, Policy, State, Step, begin, step
from states.answers import ask_guards
from states.guards import Moment
from states.snapshot import MEANINGS

T = TypeVar("T", bound=Hashable)

FORMAT: Final = 1
"""Version of the data's form; the page's script knows one."""
OPENING: Final = "A configuration: one account's snapshot, and what the world around it has under way. "
"""How the text about configurations begins, before it says how far the page can be trusted."""
WITNESSES: Final = 30
"""For each property so many decisions are named that it is about, each by another rule."""

LATE: Final = list(PREMISES).index(late_is_nothing)
OF_LATE: Final = (list(PREMISES).index(quiet_is_routine), LATE)
"""The properties that are about every late event, wherever it comes."""
ROW_NUMBERS: Final = {row.name: number for number, row in enumerate(ROWS)}
STATES: Final = tuple(State)


def plain_doc(thing: object) -> str:
    """Return a docstring as one line."""
    return one_paragraph(getattr(thing, "__doc__", None) or "")


def one_paragraph(text: str) -> str:
    """Return a text as one line."""
    return " ".join(text.split())


@define
class Interned(Generic[T]):
    """Values that are stored once, and their numbers."""

    numbers: dict[T, int] = field(factory=dict)

    def __call__(self, value: T) -> int:
        """Return the number of a value."""
        return self.numbers.setdefault(value, len(self.numbers))

    def __iter__(self) -> Iterator[T]:
        """Iterate over the values, in the order of their numbers."""
        return iter(self.numbers)


@frozen
class ToldDecision:
    """What the page tells of a decision: rule, guards, effects, and the properties that say something of it."""

    rule: int
    asked: tuple[tuple[str, bool, str], ...]
    """Each guard that was asked, whether it holds, and what it saw."""
    effects: tuple[tuple[str, str], ...]
    """Each effect, and its values."""
    properties: tuple[int, ...]


@define
class Walks:
    """What can be reached under one policy: configurations, and the events that lead from one to another."""

    policy: Policy
    bounds: Bounds
    numbers: Interned[Configuration] = field(factory=Interned)
    moves: dict[int, list[tuple[int, int]]] = field(factory=dict)
    """For each configuration the moves out of it, each with the configuration after."""
    spoken: list[int] = field(factory=lambda: [0] * len(PREMISES))
    """Of how many decisions each property says something."""
    witnesses: list[dict[int, tuple[int, int]]] = field(factory=lambda: [{} for _ in PREMISES])
    """For each property the first decision by each rule: configuration and form."""


@define
class Recorder:
    """Writes down the decisions of explorations, for the page: ``observe`` is told of each."""

    walks: list[Walks] = field(factory=list)
    """One for each policy."""
    forms: Interned[EventForm] = field(factory=Interned)
    decisions: Interned[ToldDecision] = field(factory=Interned)
    moves: Interned[tuple[int, int]] = field(factory=Interned)
    """Form and decision."""
    _known_forms: dict[Event, int] = field(factory=dict)
    _known_decisions: dict[Hashable, int] = field(factory=dict)

    def observe(
        self, policy: Policy, config: Configuration, event: Event, decision: Step, reached: Configuration
    ) -> None:
        """Write a decision down."""
        if not self.walks or self.walks[-1].policy is not policy:
            self.walks.append(Walks(policy, Bounds.of(policy)))
        walks = self.walks[-1]
        number, form = walks.numbers(config), self.form(event)
        holds = tuple(
            index
            for index, premise in enumerate(PREMISES.values())
            if premise(config, event, decision, reached, policy)
        )
        rule = ROW_NUMBERS[decision.record.rule]
        current = is_current(event, config)
        for index in holds:
            walks.spoken[index] += 1
            if current or index == LATE:  # a late event shows nothing but that it is late
                walks.witnesses[index].setdefault(rule, (number, form))
        if current:
            told = self.tell(config, event, decision, holds, policy)
            walks.moves.setdefault(number, []).append((self.moves((form, told)), walks.numbers(reached)))

    def form(self, event: Event) -> int:
        """Return the number of an event's form."""
        found = self._known_forms.get(event)
        if found is None:
            found = self._known_forms[event] = self.forms(form_of(event))
        return found

    def tell(
        self, config: Configuration, event: Event, decision: Step, properties: tuple[int, ...], policy: Policy
    ) -> int:
        """Return the number of a decision."""
        other = decision.effects
        if decision.record.draw is not None:
            other = step(config.snapshot, event, now=time_of(event), rng=HIGH, policy=policy).effects
        asked = ask_guards(Moment(config.snapshot, event, time_of(event), policy))
        seen = tuple((each.guard, each.holds, *each.saw.values()) for each in asked)
        raw = (decision.record.rule, seen, decision.effects, other, properties)
        found = self._known_decisions.get(raw)
        if found is None:
            told = ToldDecision(
                ROW_NUMBERS[decision.record.rule],
                tuple((each.guard, each.holds, tell_answer(each)) for each in asked),
                tuple(
                    (type(low).__name__, tell_effect(low, high))
                    for low, high in zip(decision.effects, other, strict=True)
                ),
                properties,
            )
            found = self._known_decisions[raw] = self.decisions(told)
        return found

    # --- what is added once everything was observed ------------------------------------------------------------------

    def late_moves(self, config: Configuration, policy: Policy) -> list[int]:
        """Return the moves by events that come late; rules look at nothing but the link and the visit to drop them."""
        found = []
        for event, possible in enumerate_events(config):
            if possible and not is_current(event, config):
                decision = step(config.snapshot, event, now=time_of(event), rng=LOW, policy=policy)
                told = self.tell(config, event, decision, OF_LATE, policy)
                found.append(self.moves((self.form(event), told)))
        return found

    def as_data(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        texts, answers, effects = Interned[str](), Interned[tuple[str, bool, str]](), Interned[tuple[str, str]]()
        policies = [self._walks_as_data(walks, texts) for walks in self.walks]
        decisions = [
            [told.rule, list(map(answers, told.asked)), list(map(effects, told.effects)), list(told.properties)]
            for told in self.decisions
        ]
        return {
            "format": FORMAT,
            "law": law_digest(),
            "about": plain_doc(world).removeprefix(OPENING),
            **_words(),
            "forms": [
                {
                    "event": form.event.__name__,
                    "key": form.key,
                    "words": form.words,
                    "late": form.late,
                    "call": form.call,
                    "shift": form.shift,
                }
                for form in self.forms
            ],
            "newLife": {"key": NEW_LIFE, "doc": plain_doc(begin)},
            "texts": list(texts),
            "answers": list(answers),
            "does": list(effects),
            "decisions": decisions,
            "moves": list(self.moves),
            "policies": policies,
        }

    def _walks_as_data(self, walks: Walks, texts: Interned[str]) -> dict[str, Any]:
        late: dict[tuple[State, bool], int] = {}
        late_moves: list[list[int]] = []
        late_of, configurations, benign, lives = [], [], [], []
        for config in list(walks.numbers):
            at = config.snapshot
            kind = (at.state, at.link != 0)
            if kind not in late:
                late[kind] = len(late_moves)
                late_moves.append(self.late_moves(config, walks.policy))
            late_of.append(late[kind])
            told = map(texts, tell_configuration(config, walks.bounds))
            configurations.append([STATES.index(at.state), *told])
            event = next_benign_event(config)
            benign.append(-1 if event is None else self.form(event))
            begun = Configuration(walks.bounds.normalise(begin(at, now=NOW)))
            lives.append(walks.numbers(begun) if config.started else -1)
        return {
            "name": walks.policy.backoff.network.then.value,
            "schedules": [schedule(state, walks.policy) for state in State],
            "configurations": configurations,
            "moves": [
                [number for move in walks.moves.get(index, ()) for number in move]
                for index in range(len(configurations))
            ],
            "lives": lives,
            "late": late_moves,
            "lateOf": late_of,
            "benign": benign,
            "spoken": walks.spoken,
            "witnesses": [list(found.values())[:WITNESSES] for found in walks.witnesses],
        }


def law_digest() -> str:
    """Return a fingerprint of what the rules do; a link carries that of the rules it was made from."""
    does = [(row.name, row.target, row.effects, row.note and row.note.__name__) for row in ROWS]
    return hashlib.sha256(repr(does).encode()).hexdigest()[:8]


def _words() -> dict[str, Any]:
    """Return the texts of the law: states, events, rules, guards, effects, fields, properties."""
    guards = {row.when.__name__: plain_doc(row.when) for row in ROWS if row.when}
    effects = {effect.__name__: plain_doc(effect) for row in ROWS for effect in row.does}
    return {
        "states": [
            {
                "name": state.value,
                "role": STATE_ROLES[state].value,
                "fill": FILLS[STATE_ROLES[state]],
                "meaning": MEANINGS[state],
            }
            for state in STATES
        ],
        "events": {event.__name__: plain_doc(event) for event in EVENTS},
        "rules": [
            {
                "name": row.name,
                "target": row.target.value if row.target else None,
                "guard": row.guard,
                "why": row.why,
                "note": plain_doc(row.note) if row.note else None,
                "quiet": row.quiet,
            }
            for row in ROWS
        ],
        "guards": guards,
        "effects": effects,
        "fields": [{"of": each.of, "name": each.name, "doc": one_paragraph(each.doc)} for each in telling_fields()],
        "nothing": NOTHING,
        "properties": [{"name": holds.__name__, "doc": plain_doc(holds)} for holds in PREMISES],
    }
