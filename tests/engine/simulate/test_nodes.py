"""A fleet of many nodes in virtual time: takeovers by the law of leases, and what its database has to do."""

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import evolve

from engine.cli.common import EXIT_BAD_INPUT
from engine.cli.simulate_nodes import plan_nodes
from engine.config.types import Fleet
from engine.simulate.driver import AccountModel, Simulation
from engine.simulate.network import NetworkModel
from engine.simulate.nodes import costs
from engine.simulate.nodes.page import counted, short, size_text
from engine.simulate.nodes.plan import FleetPlan, RecordCounts, count_records, curve
from engine.simulate.nodes.takeover import FleetSize, connect_times, declared_dead, first_shares, kill_nodes, start_all
from states import Policy
from states.lease import LeaseTimes

SIZE = FleetSize(accounts=1003, nodes=10, killed=3, fleet=Fleet(connects_at_once=8, stagger=0.05), seed=5)
CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef}
storage: {keep: 30d}
accounts:
  - {name: News, session: a}
"""


@pytest.mark.parametrize("lease", [6.0, 15.0, 35.0])
def test_a_killed_node_is_dead_a_lease_after_its_last_beat_was_seen(lease: float) -> None:
    """Not before, however the beats lie; and no later than a lease after the kill, but for what statements take."""
    size = evolve(SIZE, times=LeaseTimes.of(lease))
    for seed in range(20):
        found = kill_nodes(evolve(size, seed=seed))
        assert len(found.declared) == 3
        assert lease - size.beats_apart <= found.declared[0]
        assert found.declared[-1] <= lease + size.beats_apart
        assert found.claimed[0][0] > found.declared[0]


def test_the_lease_counts_from_when_another_node_saw_the_beat() -> None:
    """The next beat of whichever beats first: at 1 s alone, and half a second after the last beat with another one."""
    times, takes = LeaseTimes(), 3 * costs.STATEMENT + 0.01
    assert declared_dead(2.0, [1.0], times, 3.0) == pytest.approx(1.0 + 15.0 + takes)
    assert declared_dead(2.0, [1.0, 2.5], times, 3.0) == pytest.approx(-0.5 + 15.0 + takes)


def test_every_account_has_one_node_again_and_is_connected() -> None:
    """The others share what the killed had, evenly, and none of them is lost or counted twice."""
    found = kill_nodes(SIZE)
    shares = first_shares(SIZE)
    assert sum(shares.values()) == 1003
    assert set(shares.values()) == {100, 101}
    assert len(found.owned) == 7
    assert sum(found.owned.values()) == 1003
    assert max(found.owned.values()) - min(found.owned.values()) <= 1
    assert sum(count for _, count in found.claimed) == len(found.connected) == found.accounts
    assert 300 <= found.accounts <= 303
    assert list(found.connected) == sorted(found.connected)
    assert found.connected[0] > found.claimed[0][0]


def test_the_same_seed_is_the_same_takeover() -> None:
    """And another seed has other beats."""
    assert kill_nodes(SIZE) == kill_nodes(SIZE)
    assert start_all(SIZE) == start_all(SIZE)
    assert kill_nodes(SIZE) != kill_nodes(evolve(SIZE, seed=6))


def test_an_account_is_silent_for_the_gap_before_it_appears_elsewhere() -> None:
    """A takeover waits for it, a start does not."""
    gap = evolve(SIZE, takeover_gap=60.0)
    assert kill_nodes(gap).connected[0] == pytest.approx(kill_nodes(SIZE).connected[0] + 60.0)
    assert start_all(gap) == start_all(SIZE)


def test_the_stagger_and_the_limit_bound_how_fast_a_node_connects() -> None:
    """One at a time takes each its way; a stagger is between any two; without both the handshakes are the limit."""
    network, rng = NetworkModel(latency=0.1, spread=0.0, handshakes=100.0), random.Random(0)

    def gaps(fleet: Fleet) -> list[float]:
        found = connect_times([(10.0, 50)], fleet, network, rng)
        assert found[0] == pytest.approx(10.21)
        return [later - sooner for sooner, later in pairwise(found)]

    assert gaps(Fleet(connects_at_once=1, stagger=0.0)) == pytest.approx([0.21] * 49)
    assert gaps(Fleet(connects_at_once=50, stagger=0.3)) == pytest.approx([0.3] * 49)
    assert gaps(Fleet(connects_at_once=50, stagger=0.0)) == pytest.approx([0.01] * 49)


@pytest.mark.parametrize("fleet", [Fleet(connects_at_once=4, stagger=0.0), Fleet(stagger=0.1), Fleet(stagger="auto")])
def test_a_start_takes_what_the_simulation_of_accounts_says(fleet: Fleet) -> None:
    """Which decides each account by the engine's rules: within a twentieth, and a second of its counting."""
    models = [AccountModel(f"Account {number}") for number in range(200)]
    simulation = Simulation(models, Policy(), fleet, duration=120.0)
    simulation.run()
    healthy = next(second + 1 for second, count in enumerate(simulation.observed.healthy) if count == 200)
    found = connect_times([(0.0, 200)], fleet, NetworkModel(), random.Random(0))
    assert max(found) == pytest.approx(healthy, rel=0.05, abs=1.0)


def test_a_large_fleet_waits_for_the_looks_of_its_nodes() -> None:
    """Each counts all accounts before it claims: more processors of the store make the last claim come sooner."""
    large = evolve(SIZE, accounts=1_000_000, nodes=60, killed=1, fleet=Fleet(connects_at_once=999, stagger=0.0))
    two, eight = (kill_nodes(evolve(large, store_cores=cores)).claimed[-1][0] for cores in (2, 8))
    small = kill_nodes(evolve(large, accounts=60_000)).claimed[-1][0]
    assert two - eight > 1.0
    assert eight - small > 0.1


def test_records_are_counted_by_the_rules_of_the_engine() -> None:
    """A start is a turn, a connection and a stable link; a link that is lost and comes back has one more."""
    assert count_records(Policy(), seed=0) == RecordCounts(start=4.0, loss=4.0)


def plan_of(size: FleetSize) -> FleetPlan:
    """Return the plan of a fleet whose records are kept for ten days."""
    return FleetPlan(size=size, counts=RecordCounts(4.0, 4.0), keep=10 * 86_400.0)


def test_traffic_is_a_product_of_what_one_costs() -> None:
    """Beats follow the nodes, all else the accounts; what is kept is what comes in that time."""
    plan = plan_of(evolve(SIZE, accounts=100_000, nodes=40))
    assert plan.beats == pytest.approx(40 / 3)
    assert plan.renewals == pytest.approx(100_000 / 3)
    assert plan.records == pytest.approx(100_000 * 10 * 4 / 86_400)
    assert plan.kept == pytest.approx(10 * plan.records_a_day)
    assert plan.connections == 40 * costs.NODE_CONNECTIONS
    twice = plan_of(evolve(SIZE, accounts=200_000, nodes=80))
    assert twice.log == pytest.approx(2 * plan.log)
    assert twice.node_memory == plan.node_memory
    assert evolve(plan, keep=None).kept is None


def test_what_breaks_first_comes_first() -> None:
    """By the share of what there is; at a million, more is asked of one small server than it has."""
    shares = [each.share for each in plan_of(evolve(SIZE, accounts=1_000_000, nodes=400)).demands()]
    assert shares == sorted(shares, reverse=True)
    assert shares[1] > 1


def test_a_look_costs_what_was_measured() -> None:
    """At both sizes, and by a line between them."""
    for accounts, seconds in (costs.LOOK_SMALL, costs.LOOK_LARGE, (0, 0.0)):
        assert costs.look_processor(accounts) == pytest.approx(seconds)


def test_the_curve_names_shares_of_the_accounts() -> None:
    """The last of each share, and nothing where there was nothing."""
    found = kill_nodes(SIZE)
    at = curve(found)
    assert at["connected_100%"] == found.connected[-1]
    assert at["connected_50%"] == found.connected[-(-found.accounts // 2) - 1]
    assert at["all_claimed"] == found.claimed[-1][0]
    nothing = evolve(found, connected=(), claimed=(), declared=())
    assert set(curve(nothing).values()) == {None}


def test_the_chart_counts_up_to_all() -> None:
    """Each column has what has come at its end."""
    assert counted([1.0, 2.0, 2.0, 10.0], 5) == [3, 3, 3, 3, 4]


def test_numbers_are_short() -> None:
    """Three digits, with the unit that fits."""
    assert [short(each) for each in (13.333, 0.5, 1234.5, 4.0, 0.0123)] == ["13.3", "0.50", "1,234", "4", "0.012"]
    assert [size_text(each) for each in (999.0, 1500.0, 2.5e9)] == ["999 B", "1.50 kB", "2.50 GB"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a config."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"nodes": 1}, "--nodes: 1 must be from 2 to 2,000"),
        ({"kill": 4}, "--kill: 4 must be from 1 to 3: one of the 4 nodes has to live"),
        ({"kill": 0}, "--kill: 0 must be from 1 to 3"),
        ({"store_cores": 0}, "--store-cores: 0 must be from 1 to 1,024"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    config: Path, words: dict[str, int], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exit code of bad input."""
    given = {"nodes": 4, "kill": 1, "store_cores": 2} | words
    with pytest.raises(SystemExit) as ended:
        plan_nodes(config, 100, given["nodes"], given["kill"], store_cores=given["store_cores"], seed=0, as_json=False)
    assert ended.value.code == EXIT_BAD_INPUT
    assert said in capsys.readouterr().err


def test_data_are_those_of_the_page(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same figures, and the same bytes with the same seed."""

    def said(*, as_json: bool) -> str:
        plan_nodes(config, 1000, 4, 1, store_cores=2, seed=3, as_json=as_json)
        return capsys.readouterr().out

    data = said(as_json=True)
    assert data == said(as_json=True)
    found = json.loads(data)
    assert (found["accounts"], found["nodes"], found["takeover"]["accounts"]) == (1000, 4, 250)
    assert found["takeover"]["of_a_node"] == [333, 334]
    page = said(as_json=False)
    assert "1,000 accounts on 4 nodes, of which 1 is killed; lease 15 s, seed 3" in page
    assert f"{found['takeover']['connected_100%']:.1f} s" in page
    assert "What breaks first" in page
