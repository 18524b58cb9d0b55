"""Mutants of the law: each written rule removed, or sent elsewhere; and what notices them."""

import importlib
import inspect
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
from attrs import frozen

from engine.verify import POLICIES, Explorer
from states import Row, State
from states.guards import Moment
from states.machine import RulesBroken, by_pair, check, expand
from states.rules import RULES, Rule

PROMISES = tuple(
    f"tests.states.test_{name}" for name in ("states", "corners", "lives", "session_file", "stalled_updates", "limits")
)
"""Test modules whose functions are promises of the law, and take no fixtures."""


@frozen
class Mutant:
    """A rule that was ``removed`` or ``redirected``, and the rows of the law that results."""

    name: str
    rows: tuple[Row, ...]


def label(rule: Rule) -> str:
    """Return a name of a written rule: its first state and event, its guard, its reason."""
    guard = f"[{rule.when.__name__}]" if rule.when else ""
    return f"{rule.source[0]}.{rule.event[0].__name__}{guard}: {rule.why}"


def mutants() -> Iterator[Mutant]:
    """Yield two mutants of each rule: without it, and with another target (a change of state becomes a stay)."""
    for index, rule in enumerate(RULES):
        before, after = RULES[:index], RULES[index + 1 :]
        yield Mutant(f"removed {label(rule)}", expand((*before, *after)))
        elsewhere = State.BACKOFF if State.BACKOFF not in rule.source else State.HEALTHY
        target = None if rule.target is not None else elsewhere
        other = attrs.evolve(rule, target=target, quiet=False)
        yield Mutant(f"redirected {label(rule)}", expand((*before, other, *after)))


@contextmanager
def law_of(rows: tuple[Row, ...]) -> Iterator[None]:
    """Let ``step`` decide by other rows."""
    pairs = by_pair(rows)

    def dispatch(moment: Moment) -> Row:
        group = pairs[moment.snapshot.state, type(moment.event)]
        return next(row for row in group if row.when is None or row.when(moment))

    module: Any = sys.modules["states.step"]
    real, module.dispatch = module.dispatch, dispatch
    try:
        yield
    finally:
        module.dispatch = real


def promises() -> list[Callable[[], None]]:
    """Return every promise as a call without arguments, one for each set of parameters."""
    calls: list[Callable[[], None]] = []
    for name in PROMISES:
        module = importlib.import_module(name)
        for test in (value for key, value in sorted(vars(module).items()) if key.startswith("test_")):
            marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
            for values in itertools.product(*(mark.args[1] for mark in marks)):
                given: dict[str, Any] = {}
                for mark, value in zip(marks, values, strict=True):
                    names = (
                        [part.strip() for part in mark.args[0].split(",")]
                        if isinstance(mark.args[0], str)
                        else (list(mark.args[0]))
                    )
                    given |= dict(zip(names, value if len(names) > 1 else (value,), strict=True))
                if set(inspect.signature(test).parameters) == set(given):
                    calls.append(lambda test=test, given=given: test(**given))
    return calls


def noticed_by(mutant: Mutant, calls: list[Callable[[], None]], *, explore: bool) -> str | None:
    """Return what notices the mutant: the check at import, a promise, or ``verify``; None if nothing does."""
    try:
        check(mutant.rows)
    except RulesBroken:
        return "the check at import"
    with law_of(mutant.rows):
        for call in calls:
            try:
                call()
            except Exception:  # an assertion that fails, or a law that cannot go on: both are noticed
                return "a promise"
        if explore:
            for policy in POLICIES:
                try:
                    if Explorer(policy, max_findings=1).run().findings:
                        return "verify"
                except Exception:
                    return "verify"
    return None
