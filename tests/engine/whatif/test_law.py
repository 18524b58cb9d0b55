"""The law that ``whatif`` cannot lie: where the truth is known, it is within the bounds that are given."""

import attrs
import pytest

from engine.whatif.answer import WhatIf
from states import Policy
from states.events import NetworkLost
from states.schedules import Backoff, Suspicion
from tests.engine.whatif.worlds import BASE, FLEET, TrueFleet, drawn_disturbances, simulated

POLICY = Policy()
EAGER = attrs.evolve(
    POLICY, backoff=attrs.evolve(POLICY.backoff, network=Backoff(first=1.0, factor=1.5, cap=10.0, jitter=0.0))
)
LAZY = attrs.evolve(
    POLICY, backoff=attrs.evolve(POLICY.backoff, network=Backoff(first=30.0, factor=2.0, cap=600.0, jitter=0.0))
)
PATIENT = attrs.evolve(POLICY, timeout=Suspicion(patience=(20.0, 40.0)))


@pytest.mark.parametrize("accounts", [1, 3, 12])
@pytest.mark.parametrize("seed", range(6))
def test_the_settings_of_then_give_what_was(seed: int, accounts: int) -> None:
    """With the same settings and random numbers, the downtime and the attempts of each account are those on record."""
    fleet = TrueFleet.drawn(seed, accounts, POLICY)
    model = WhatIf(fleet.past(fleet.journal(seed)), {}, seed)
    recorded = model.check(FLEET)
    assert recorded.fleet.outages > 0
    assert recorded.again == pytest.approx(recorded.fleet.seconds, rel=1e-3, abs=0.1)
    assert model.past.doubts == type(model.past.doubts)()


@pytest.mark.parametrize("accounts", [1, 3, 12])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_on_record_is_what_was(seed: int, accounts: int) -> None:
    """The journal's downtime and attempts are those of the fleet that wrote it."""
    fleet = TrueFleet.drawn(seed, accounts, POLICY)
    true = fleet.run(None, seed)
    recorded = WhatIf(fleet.past(fleet.journal(seed)), {}, seed).check(FLEET).fleet
    assert (recorded.attempts, recorded.outages) == (true.attempts, true.outages)
    assert recorded.seconds == pytest.approx(true.seconds, abs=0.01)


@pytest.mark.parametrize("policy", [EAGER, LAZY, PATIENT], ids=["eager", "lazy", "patient"])
@pytest.mark.parametrize("seed", range(6))
def test_other_settings_give_bounds_that_hold(seed: int, policy: Policy) -> None:
    """What the same fleet truly has under other settings, on average, is between the least and the most.

    The network probe's random times are in both averages, so they may differ by some percent.
    """
    fleet = TrueFleet.drawn(seed, 6, POLICY)
    model = WhatIf(fleet.past(fleet.journal(seed)), {}, seed)
    model.check(FLEET)
    found = model.outcome(policy, FLEET, draws=4).fleet
    true = sum(fleet.run(policy, draw).seconds for draw in range(4)) / 4
    assert found.downtime.least * 0.95 - 3 <= true <= found.downtime.most * 1.05 + 3
    assert found.downtime.least <= found.downtime.most


def test_a_look_of_the_network_probe_may_come_in_the_best_moment_and_in_vain() -> None:
    """While others get through, nobody knows what the probe finds for one that does not: the bounds have both."""
    losses = {0: [(BASE + 300.0, BASE + 310.0, NetworkLost())], 1: [], 2: []}
    fleet = TrueFleet.of(losses, POLICY, 1.0)
    model = WhatIf(fleet.past(fleet.journal(1)), {}, 1)
    model.check(FLEET)
    found = model.outcome(LAZY, FLEET, draws=4).fleet.downtime
    assert found.least < 20.0
    assert found.most > 60.0


@pytest.mark.parametrize("seed", range(6))
def test_another_model_of_the_world_agrees(seed: int) -> None:
    """Journals of ``engine simulate`` are reproduced, and what it gives under other settings is within the bounds."""
    disturbances = drawn_disturbances(seed, 6, 5400.0)
    model = simulated(POLICY, disturbances, 6, 5400.0, seed)
    recorded = model.check(FLEET)
    assert recorded.fleet.outages > 0
    assert recorded.again == pytest.approx(recorded.fleet.seconds, rel=0.02, abs=1)
    truths = [simulated(EAGER, disturbances, 6, 5400.0, draw).past.accounts.values() for draw in (1, 2, 3)]
    true = sum(past.meter.seconds for each in truths for past in each) / 3
    found = model.outcome(EAGER, FLEET, draws=3).fleet.downtime
    assert found.least * 0.97 - 3 <= true <= found.most * 1.03 + 3


def test_the_same_seed_gives_the_same_answer() -> None:
    """Nothing but the seed decides what is drawn."""
    fleet = TrueFleet.drawn(3, 5, POLICY)
    journal = fleet.journal(3)
    found = []
    for _ in range(2):
        model = WhatIf(fleet.past(journal), {}, 7)
        model.check(FLEET)
        found.append(model.outcome(POLICY, FLEET, draws=2))
    assert found[0] == found[1]
