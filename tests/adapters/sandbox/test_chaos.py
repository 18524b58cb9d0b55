"""Chaos: random, and always the same for a seed."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sandbox import Fault, FaultKind, Push, SandboxError, TimedAction
from adapters.sandbox.control import commands
from adapters.sandbox.control.chaos import ACTIVE_FRACTION, MAX_INCIDENTS, RECIPES, chaos
from adapters.sandbox.faults.active_faults import ActiveFaults

PHONES = [f"99966{number:05}" for number in range(20001, 20701)]
MANY = 100
"""With more accounts than this each has a slot or two, too few to speak of the first half."""
HEALS_BY_COMPARISON = {FaultKind.LOST_DIFFERENCE, FaultKind.WRONG_PTS}
NEEDS_OPERATOR = {FaultKind.REVOKE, FaultKind.DUPLICATE, FaultKind.FORGET_KEY, FaultKind.TOO_LONG}
UNHURRIED = settings(deadline=None)
"""A busy machine takes longer than any deadline for one example."""
CASES = given(
    seed=st.integers(0, 2**63),
    phones=st.integers(1, 40).map(lambda count: PHONES[:count]) | st.just(PHONES),
    duration=st.floats(1, 3600),
)


def faults_of(steps: Sequence[TimedAction]) -> list[tuple[float, Fault]]:
    return [(step.at, step.action) for step in steps if isinstance(step.action, Fault)]


@pytest.mark.slow
@UNHURRIED
@CASES
def test_the_same_seed_is_the_same_chaos(seed: int, phones: Sequence[str], duration: float) -> None:
    """The same arguments give the same steps, in the order of time and within the bounds of a scenario."""
    steps = chaos(seed, phones, duration)
    assert steps == chaos(seed, phones, duration)
    assert commands.scenario(steps).steps == steps


def test_another_seed_is_another_chaos() -> None:
    """The seed matters."""
    assert len({chaos(seed, PHONES[:3], 120) for seed in range(20)}) == 20


@UNHURRIED
@CASES
def test_no_fault_acts_in_the_last_part(seed: int, phones: Sequence[str], duration: float) -> None:
    """Every fault is over, or has an end, before the last fifth of the time; healing needs no command."""
    for at, fault in faults_of(chaos(seed, phones, duration)):
        assert at >= 0
        assert at + (fault.duration or 0) <= duration * ACTIVE_FRACTION + 1e-6
        assert not fault.persists or fault.duration is not None


@UNHURRIED
@CASES
def test_everything_that_heals_by_itself_is_in_it(seed: int, phones: Sequence[str], duration: float) -> None:
    """Chaos has every kind that heals by itself, three errors, two transport errors, messages for the lost updates.

    What only the next comparison of numbers shows, up to a minute later, would not heal in the quiet at its end.
    """
    steps = chaos(seed, phones, duration)
    faults = [fault for _, fault in faults_of(steps)]
    assert {fault.kind for fault in faults} == set(FaultKind) - NEEDS_OPERATOR - {
        FaultKind.HOSTILE
    } - HEALS_BY_COMPARISON
    errors = {(fault.code, fault.text) for fault in faults if fault.kind is FaultKind.RPC_ERROR}
    assert errors == {(500, "INTERNAL"), (-503, "Timeout"), (420, "FLOOD_WAIT_2")}
    assert {fault.code for fault in faults if fault.kind is FaultKind.TRANSPORT_ERROR} == {-404, -429}
    for fault in faults:
        if fault.kind is FaultKind.LOST_UPDATE:
            assert any(isinstance(step.action, Push) and step.action.account == fault.account for step in steps)


@UNHURRIED
@CASES
def test_no_account_is_driven_to_give_up(seed: int, phones: Sequence[str], duration: float) -> None:
    """An account gets -404 at most twice in all, and -429 once, before half of its time is over."""
    refusals: Counter[tuple[str | None, int | None]] = Counter()
    for at, fault in faults_of(chaos(seed, phones, duration)):
        if fault.kind is FaultKind.TRANSPORT_ERROR:
            assert fault.max_acts is not None
            refusals[fault.account, fault.code] += fault.max_acts
            assert at < duration / 2 or len(phones) > MANY
    assert all(times <= (2 if code == -404 else 1) for (_, code), times in refusals.items())


@UNHURRIED
@CASES
def test_one_thing_at_a_time(seed: int, phones: Sequence[str], duration: float) -> None:
    """What lasts for an account is over before the next thing begins, up to what belongs together."""
    clock = 0.0
    board = ActiveFaults(lambda: clock)
    for at, fault in faults_of(chaos(seed, phones, duration)):
        clock = at
        board.add(fault)
        standing = {other.kind for other in board.active() if other.account == fault.account}
        assert len(standing) <= 1


def test_every_account_is_hit() -> None:
    """Every account is hit as long as there is room."""
    assert {fault.account for _, fault in faults_of(chaos(1, PHONES[:250], 120))} == set(PHONES[:250])


def test_no_recipe_has_more_moments_than_are_counted_with() -> None:
    """The bound of a scenario holds only if this number is right."""
    assert max(len(recipe(random.Random(1), PHONES[0], 1.0)) for recipe in RECIPES) == MAX_INCIDENTS


@pytest.mark.parametrize(("phones", "duration", "said"), [([], 5, "needs an account"), (PHONES, 0, "more than 0")])
def test_chaos_without_accounts_or_time_is_refused(phones: list[str], duration: int, said: str) -> None:
    """Chaos without accounts or without time is refused with a sentence."""
    with pytest.raises(SandboxError, match=said):
        chaos(1, phones, duration)
