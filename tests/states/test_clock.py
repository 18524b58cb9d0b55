"""A clock that is set moves what is stored as a time of day, and no wait is ever longer than its own length."""

import random

import attrs
import pytest

from states import Cause, Hold, Policy, Snapshot, State, begin, step
from states.clock import LONGEST_WAIT, NOTICED_WITHIN, cap_end, move_end
from states.effects import Wait
from states.events import ClockJumped, FloodWait, NetworkLost

NOW = 1_700_000_000.0
AHEAD = 3 * 3600.0


def take(at: Snapshot, event: object, now: float) -> tuple[Snapshot, list[Wait]]:
    """Return where an account is after an event, and the waits that it began."""
    made = step(at, event, now=now, rng=random.Random(1), policy=Policy())  # type: ignore[arg-type]
    return made.snapshot, [effect for effect in made.effects if isinstance(effect, Wait)]


def waiting(now: float) -> Snapshot:
    """Return an account that has lost its network at ``now``, holds one kind of request, and was heard before."""
    healthy = Snapshot(state=State.HEALTHY, since=now - 500, link=1, links=1, last_success=now - 9, proved_at=now - 40)
    held, _ = take(healthy, FloodWait(link=1, seconds=5, request="SendMessage"), now - 1)
    return take(held, NetworkLost(link=1), now)[0]


@pytest.mark.parametrize("shift", [-AHEAD, AHEAD, -20.0, 86_400.0 * 400])
def test_what_is_left_of_a_wait_stays(shift: float) -> None:
    """A clock that is set by hours, in either direction, changes no remaining time, and the timer is armed for it."""
    at = waiting(NOW)
    moved, (wait,) = take(at, ClockJumped(seconds=shift, slept=0.0), NOW + 2 + shift)
    assert moved.deadline is not None
    assert at.deadline is not None
    assert moved.deadline - (NOW + 2 + shift) == pytest.approx(at.deadline - (NOW + 2))
    assert wait.delay == pytest.approx(at.deadline - (NOW + 2))
    assert moved.holds[0].until == pytest.approx(at.holds[0].until + shift)
    assert moved.since == at.since + shift
    assert moved.last_success == NOW - 9 + shift
    assert moved.proved_at == NOW - 40 + shift


def test_a_sleep_shortens_what_is_left() -> None:
    """A machine that slept has let time pass: nothing moves, and a deadline that has come is due at once."""
    at = waiting(NOW)
    after, (wait,) = take(at, ClockJumped(seconds=AHEAD, slept=AHEAD), NOW + AHEAD)
    assert (after.deadline, after.holds, wait.delay) == (at.deadline, at.holds, 0)


def test_a_sleep_that_the_clock_did_not_notice_moves_it_back() -> None:
    """The machine slept three hours and its clock stood still: what was to come in an hour is due."""
    at = waiting(NOW - 5)
    _, (wait,) = take(at, ClockJumped(seconds=0.0, slept=AHEAD), NOW)
    assert wait.delay == 0


def test_a_record_of_an_earlier_version_moves_nothing() -> None:
    """Its jump does not say whether the machine slept; the replay of an old journal goes as it went."""
    at = waiting(NOW)
    after, _ = take(at, ClockJumped(seconds=-AHEAD), NOW - AHEAD)
    assert (after.deadline, after.holds) == (at.deadline, at.holds)


@pytest.mark.parametrize("shift", [-AHEAD, AHEAD])
def test_a_wait_that_began_after_the_clock_was_set_is_right_already(shift: float) -> None:
    """The jump is noticed a moment later, and must not move what began in between."""
    now = NOW + shift
    at = waiting(now)
    after, _ = take(at, ClockJumped(seconds=shift, slept=0.0), now + 1)
    assert (after.deadline, after.holds) == (at.deadline, at.holds)


def test_after_a_restart_a_wait_is_no_longer_than_it_is_long() -> None:
    """The clock was three hours ahead, and was set right while the engine was down: the waits begin anew at most."""
    at = begin(waiting(NOW + AHEAD), now=NOW)
    assert at.deadline is not None
    assert at.deadline - NOW <= 12
    assert at.holds[0].until - NOW == 6
    again = begin(at, now=NOW - AHEAD)
    assert again.deadline is not None
    assert again.deadline - (NOW - AHEAD) <= 12


def test_a_restart_with_a_right_clock_changes_no_wait() -> None:
    """What was left is left."""
    at = waiting(NOW)
    after = begin(at, now=NOW + 3)
    assert (after.deadline, after.wait, after.holds) == (at.deadline, at.wait, at.holds)


def test_a_snapshot_without_lengths_is_capped_by_what_it_knows() -> None:
    """A back-off of an earlier version is as long as from its begin to its end; a hold is a year at most."""
    old = attrs.evolve(
        waiting(NOW + AHEAD), wait=None, holds=(Hold(request="any", until=253_000_000_000.0),), cause=Cause(event="X")
    )
    after = begin(old, now=NOW)
    assert after.deadline is not None
    assert after.deadline - NOW <= 12
    assert after.holds[0].until == NOW + LONGEST_WAIT


@pytest.mark.parametrize("state", list(State))
def test_in_every_state_the_times_move(state: State) -> None:
    """Whatever the account does, how long it has done so and what it holds stay as they are."""
    at = attrs.evolve(waiting(NOW), state=state, link=1)
    after, _ = take(at, ClockJumped(seconds=-AHEAD, slept=0.0), NOW + 5 - AHEAD)
    assert after.since == at.since - AHEAD
    assert after.holds[0].until == at.holds[0].until - AHEAD


def test_the_arithmetic_at_its_edges() -> None:
    """An end moves by the shift, is capped by the length, and is left where the wait has only just begun."""
    assert move_end(100, 50, 10, 90) == 110
    assert move_end(100, 5, 1000, 1090) == 1095
    assert move_end(100, 10, 1000, 90 + NOTICED_WITHIN / 2) == 100
    assert move_end(100, None, 10, 90) == 110
    assert cap_end(1e12, None, 0) == LONGEST_WAIT
    assert cap_end(50, 100, 0) == 50
