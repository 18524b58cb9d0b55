"""Resets of part of a fleet while answered probes are skipped."""

import random

import pytest

from adapters.sandbox.faults.kinds import FaultKind
from engine.config.types import Fleet
from engine.simulate.disturbances import Disturbance
from engine.simulate.driver import AccountModel, Simulation
from states import Policy

ACCOUNTS, SECONDS = 20, 20_000.0


@pytest.mark.parametrize("seed", [0, 5, 7, 10])
def test_an_answer_on_its_way_does_not_outlive_a_reset(seed: int) -> None:
    """An answer that comes between a reset and the news of it leaves no account behind that is skipped for ever."""
    rng = random.Random(seed)
    disturbances = []
    at = 200.0
    while at < SECONDS - 100:
        at += rng.uniform(20, 200)
        members = sorted(rng.sample(range(ACCOUNTS), rng.randint(1, ACCOUNTS)))
        disturbances += [
            Disturbance(begin=at, end=at, kind=FaultKind.RESET, members=members),
            Disturbance(begin=at, end=at + 30, kind=FaultKind.REFUSE, members=members),
        ]
    models = [AccountModel(f"Account {number}") for number in range(ACCOUNTS)]
    simulation = Simulation(models, Policy(), Fleet(), disturbances, duration=SECONDS, seed=seed)
    assert simulation.run().decisions > len(disturbances)
