"""Attempts that a busy machine made later than they were due: the past comes out as it was, also then."""

import random

import pytest

from engine.whatif.happenings import AccountPast, AttemptFailed, AttemptSucceeded, LifeBegan, LifeEnded, LinkLost
from engine.whatif.rerun import Rerun, Settings
from engine.whatif.world import worlds_of
from states import Policy, Snapshot, State
from states.events import Connected, NetworkLost

BEGUN, LOST = 1_000.0, 1_100.0
HEALTHY = Snapshot(
    state=State.HEALTHY, since=BEGUN, generation=1, life=1, link=1, links=1, stable=True, last_success=BEGUN,
    proved_at=BEGUN,
)  # fmt: skip


def past(number: int, late: float) -> AccountPast:
    """Return an account that loses its link with four others; the first one tries at once, and all ``late`` after 1 s.

    A second later was when the next attempt was due: so long the fleet waits after the first one failed.
    """
    lost = LOST + number / 1000
    tries = [AttemptFailed(LOST + 0.01, LOST + 0.02, NetworkLost())] if number == 0 else []
    back = LOST + 1.02 + late + number / 1000
    return AccountPast([
        LifeBegan(BEGUN, Policy(), HEALTHY),
        LinkLost(lost, lost, NetworkLost()),
        *tries,
        AttemptSucceeded(back, back + 0.01, Connected()),
        LifeEnded(LOST + 100),
    ])  # fmt: skip


@pytest.mark.parametrize("late", [0.0, 0.4, 1.2, 3.0])
def test_a_turn_that_came_late_is_the_turn_that_was_due(late: float) -> None:
    """Neither is the way taken for closed until then, which costs another wait, nor for open at once."""
    pasts = {f"Account {number}": past(number, late) for number in range(5)}
    settings = Settings(policy=None, at_once=32, stagger=0)
    run = Rerun(
        pasts=pasts, worlds=worlds_of(pasts, {}), routes={}, news=[], settings=settings, worst=True,
        rng=random.Random(1), then=True,
    )  # fmt: skip
    meters = run.run()
    assert sum(meter.attempts for meter in meters.values()) == 6
    for number, meter in enumerate(meters.values()):
        assert meter.seconds == pytest.approx(1.03 + late, abs=0.02), number


def test_other_settings_meet_the_worst_world() -> None:
    """What was late then is not known of them: the way was open at the latest when somebody got through."""
    pasts = {"Account 0": past(0, 3.0)}
    world = worlds_of(pasts, {})["Account 0"]
    assert isinstance(world.attempt(LOST + 2.0, 60.0, worst=True).event, NetworkLost)
    assert isinstance(world.attempt(LOST + 2.0, 60.0, worst=False).event, Connected)
