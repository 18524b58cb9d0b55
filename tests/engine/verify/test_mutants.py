"""Every rule matters: remove it or send it elsewhere, and the import, a test of the law or ``verify`` notices."""

import pytest

from states.rules import RULES
from tests.engine.verify.mutants import mutants, noticed_by, promises

UNNOTICED: dict[str, str] = {}
"""Mutants that cannot be noticed, each with the reason; none is known."""


def test_the_promises_hold_of_the_real_law() -> None:
    """What is to notice mutants is content without one."""
    calls = promises()
    assert len(calls) > 100
    for call in calls:
        call()


def test_a_tenth_of_the_mutants_is_noticed() -> None:
    """Every tenth mutant, as the next test tries all of them, and none passes."""
    calls, some = promises(), list(mutants())[::10]
    assert [mutant.name for mutant in some if noticed_by(mutant, calls, explore=True) is None] == []


@pytest.mark.slow
def test_every_mutant_of_every_rule_is_noticed() -> None:
    """Two mutants of each written rule, and none passes."""
    calls = promises()
    seen = {mutant.name: noticed_by(mutant, calls, explore=mutant.name not in UNNOTICED) for mutant in mutants()}
    assert len(seen) == 2 * len(RULES)
    assert {name for name, by in seen.items() if by is None} == set(UNNOTICED)
    assert {"the check at import", "a promise", "verify"} == {by for by in seen.values() if by}
