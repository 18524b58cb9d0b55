"""Answered probes are skipped, and nothing that a simulation says is another for it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sandbox.faults.kinds import FaultKind
from engine.config.types import Fleet
from engine.simulate.disturbances import MOMENTS, SHARED_KINDS, Disturbance, ModelKind
from engine.simulate.driver import AccountModel, Simulation
from engine.simulate.network import NetworkModel
from states import Policy
from states.schedules import Backoff, BackoffSchedules, Health, Patience, Suspicion

DURATION = 400.0
QUICK = Policy(
    connecting=Patience(patience=(5.0, 8.0)),
    reconnecting=Patience(patience=(5.0, 8.0)),
    healthy=Health(probe_every=3.0, prove_every=7.0, stable_after=10.0),
    timeout=Suspicion(patience=(1.5, 2.0)),
    backoff=BackoffSchedules(network=Backoff(first=1.0, cap=10.0), transport_flood=Backoff(first=3.0, cap=9.0)),
)
POLICIES = (QUICK, Policy())
ERRORS = ((420, "FLOOD_WAIT_7"), (500, "INTERNAL"), (401, "SESSION_REVOKED"))
TIMES = st.floats(0.0, DURATION, width=32)


@st.composite
def disturbances(draw: st.DrawFn, accounts: int) -> Disturbance:
    """Return something that goes wrong, for all accounts or for some."""
    kind = draw(st.sampled_from((*SHARED_KINDS, *ModelKind)))
    begin = draw(TIMES)
    length = 0.0 if kind in MOMENTS and draw(st.booleans()) else draw(st.floats(0.125, 90.0, width=32))
    members = draw(st.none() | st.sets(st.integers(0, accounts - 1)).map(sorted))
    code, text = draw(st.sampled_from(ERRORS)) if kind is FaultKind.RPC_ERROR else (-429, "")
    seconds = draw(st.floats(0.125, 4.0, width=32))
    return Disturbance(
        begin=begin, end=begin + length, kind=kind, members=members, code=code, text=text, seconds=seconds, rate=5.0
    )


def seen(simulation: Simulation) -> dict[str, Any]:
    """Run a simulation, and return all that it says."""
    observed = simulation.run()
    assert observed.lives is not None
    return {
        "lives": [(life.spans, life.attempts, life.records) for life in observed.lives],
        "snapshots": [account.snapshot for account in simulation.accounts],
        "healthy": observed.healthy,
        "attempts": observed.attempts,
        "rows": observed.rows,
        "at once": observed.at_once,
        "lost": [(each.count, each.back) for each in observed.lost],
        "availability": observed.availability(simulation.agenda.tick),
        "network probes": simulation.probes.sent,
    }


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(data=st.data(), accounts=st.sampled_from((1, 2, 3, 5, 20, 200)), seed=st.integers(0, 2**32))
def test_skipping_changes_nothing(data: st.DataObject, accounts: int, seed: int) -> None:
    """The same seed gives the same records, states and figures, with and without."""
    going_wrong = data.draw(st.lists(disturbances(accounts), max_size=4 if accounts > 20 else 12))
    options: dict[str, Any] = {
        "duration": DURATION if accounts <= 20 else 150.0,
        "seed": seed,
        "keeps": True,
        "network": NetworkModel(
            latency=data.draw(st.sampled_from((0.0, 0.08, 2.0))), spread=data.draw(st.sampled_from((0.0, 0.5)))
        ),
    }
    fleet = Fleet(
        connects_at_once=data.draw(st.integers(1, 32)), stagger=data.draw(st.sampled_from(("auto", 0.0, 0.1)))
    )
    models = [AccountModel(f"Account {number}", f"route {number % 3}") for number in range(accounts)]
    policy = data.draw(st.sampled_from(POLICIES))
    skipping = Simulation(models, policy, fleet, going_wrong, skips=True, **options)
    whole = Simulation(models, policy, fleet, going_wrong, skips=False, **options)
    expected = seen(whole)
    found = seen(skipping)
    for what, value in expected.items():
        assert found[what] == value, what
    assert skipping.observed.decisions <= whole.observed.decisions
