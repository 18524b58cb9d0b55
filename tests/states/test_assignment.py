"""The law of assignment, as properties of random fleets, and the cases of its table."""

import random
import re

import pytest
from attrs import evolve, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from states.assignment import (
    IMBALANCE,
    SAME_HOST_AT_ONCE,
    choose_surplus,
    count_surplus,
    host_matches,
    plan_claims,
    quiet_gap,
)

HOSTS = ("eu-1", "eu-2", "us-1")
PATTERNS = ("*", "eu-*", "us-?", "eu-1", "nowhere")


@frozen(kw_only=True)
class ANode:
    life: int
    host: str = "eu-1"
    draining: bool = False
    accounts_at_most: int | None = None


@frozen(kw_only=True)
class AGroup:
    hosts: str = "*"
    free: int = 0
    owned: dict[int, int] = field(factory=dict)


@st.composite
def fleets(draw: st.DrawFn, *, limits: bool = True) -> tuple[list[ANode], list[AGroup]]:
    """Draw a fleet: nodes, and accounts that are free or owned, by lives that are over as well."""
    lives = draw(st.lists(st.integers(1, 10**6), unique=True, max_size=5))
    nodes = [
        ANode(
            life=life,
            host=draw(st.sampled_from(HOSTS)),
            draining=draw(st.booleans()) and draw(st.booleans()),
            accounts_at_most=draw(st.none() | st.integers(0, 30)) if limits else None,
        )
        for life in lives
    ]
    owned = st.dictionaries(st.sampled_from([*lives, 0]), st.integers(0, 30))
    groups = [
        AGroup(hosts=hosts, free=draw(st.integers(0, 40)), owned=draw(owned))
        for hosts in draw(st.lists(st.sampled_from(PATTERNS), unique=True))
    ]
    return nodes, groups


def load(groups: list[AGroup], life: int) -> int:
    return sum(group.owned.get(life, 0) for group in groups)


@given(fleets())
def test_a_node_takes_only_what_it_may_have(fleet: tuple[list[ANode], list[AGroup]]) -> None:
    """What is free, for its host, within its limit, and not more than there is; nothing while it drains."""
    nodes, groups = fleet
    free = {group.hosts: group.free for group in groups}
    for node in nodes:
        plan = plan_claims(nodes, groups, node.life)
        assert all(host_matches(node.host, hosts) and count > 0 for hosts, count in plan.items())
        assert not (node.draining and plan)
        if plan and node.accounts_at_most is not None:
            assert load(groups, node.life) + sum(plan.values()) <= node.accounts_at_most
        for hosts, count in plan.items():
            free[hosts] -= count
    assert all(left >= 0 for left in free.values())


@given(fleets(limits=False))
def test_all_that_somebody_may_have_is_taken(fleet: tuple[list[ANode], list[AGroup]]) -> None:
    """By the plans of all nodes together, where none has a limit."""
    nodes, groups = fleet
    for group in groups:
        takers = [node for node in nodes if not node.draining and host_matches(node.host, group.hosts)]
        taken = sum(plan_claims(nodes, groups, node.life).get(group.hosts, 0) for node in nodes)
        assert taken == (group.free if takers else 0)


@given(fleets(), st.randoms(use_true_random=False))
def test_the_plan_depends_on_no_order(fleet: tuple[list[ANode], list[AGroup]], rng: random.Random) -> None:
    """All nodes come to the same one, in whatever order the store lists its rows."""
    nodes, groups = fleet
    others = (rng.sample(nodes, len(nodes)), rng.sample(groups, len(groups)))
    for node in nodes:
        assert plan_claims(nodes, groups, node.life) == plan_claims(*others, node.life)
        assert choose_surplus(nodes, groups, node.life) == choose_surplus(*others, node.life)


@given(st.integers(1, 9), st.integers(0, 10_000), st.dictionaries(st.integers(0, 8), st.integers(0, 50)))
def test_nodes_fill_up_evenly(count: int, free: int, owned: dict[int, int]) -> None:
    """Nobody takes one while another has two fewer."""
    nodes = [ANode(life=life) for life in range(count)]
    group = AGroup(free=free, owned=owned)
    takes = {node.life: plan_claims(nodes, [group], node.life).get("*", 0) for node in nodes}
    after = {life: owned.get(life, 0) + taken for life, taken in takes.items()}
    assert all(after[life] <= min(after.values()) + 1 for life, taken in takes.items() if taken)


def claimed(nodes: list[ANode], groups: list[AGroup]) -> list[AGroup]:
    """Return the accounts after all nodes have claimed by their plans."""
    plans = {node.life: plan_claims(nodes, groups, node.life) for node in nodes}
    return [
        evolve(
            group,
            free=group.free - sum(plan.get(group.hosts, 0) for plan in plans.values()),
            owned={
                life: group.owned.get(life, 0) + plans.get(life, {}).get(group.hosts, 0)
                for life in {*group.owned, *plans}
            },
        )
        for group in groups
    ]


@pytest.mark.slow
@given(fleets())
def test_moving_ends(fleet: tuple[list[ANode], list[AGroup]]) -> None:
    """However unbalanced a fleet is: no account goes back and forth, and no node that is over its mark keeps on."""
    nodes, groups = fleet
    total = sum(group.free + sum(group.owned.values()) for group in groups)
    groups = claimed(nodes, groups)
    for _ in range(total * len(nodes) + 1):
        moved = False
        for node in nodes:
            hosts = choose_surplus(nodes, groups, node.life)
            if hosts is None:
                continue
            moved = True
            before = groups
            groups = [
                evolve(group, free=group.free + 1, owned=group.owned | {node.life: group.owned[node.life] - 1})
                if group.hosts == hosts
                else group
                for group in groups
            ]
            groups = claimed(nodes, groups)
            assert groups != before, "the account came back to where it was"
        if not moved:
            break
    else:
        raise AssertionError("accounts move for ever")


def test_a_node_that_joins_gets_its_share_and_no_more() -> None:
    """From nodes that are over 20 % above the mean, one account after the other; then all stay where they are."""
    nodes = [ANode(life=1), ANode(life=2), ANode(life=3)]
    groups = [AGroup(owned={1: 50, 2: 50})]
    moves = 0
    while hosts := [choose_surplus(nodes, groups, node.life) for node in nodes]:
        if not any(hosts):
            break
        giver = next(node.life for node, what in zip(nodes, hosts, strict=True) if what)
        groups = claimed(nodes, [AGroup(free=1, owned=groups[0].owned | {giver: groups[0].owned[giver] - 1})])
        moves += 1
    mean = 100 / 3
    assert max(groups[0].owned.values()) <= mean * (1 + IMBALANCE)
    assert moves == groups[0].owned[3]
    assert moves < mean


def test_a_small_difference_moves_nothing() -> None:
    """Another address is a risk for an account."""
    nodes = [ANode(life=1), ANode(life=2)]
    assert choose_surplus(nodes, [AGroup(owned={1: 59, 2: 41})], 1) is None
    assert choose_surplus(nodes, [AGroup(owned={1: 61, 2: 39})], 1) == "*"
    assert choose_surplus(nodes, [AGroup(owned={1: 1, 2: 0})], 1) is None


def test_what_is_free_goes_first() -> None:
    """Nothing is given away while there are accounts that somebody can take."""
    nodes = [ANode(life=1), ANode(life=2)]
    assert choose_surplus(nodes, [AGroup(owned={1: 10}, free=1)], 1) is None
    assert choose_surplus(nodes, [AGroup(owned={1: 10}), AGroup(hosts="nowhere", free=1)], 1) == "*"


def test_accounts_leave_a_host_that_they_may_not_be_on() -> None:
    """Or that has too many, but only for a node that can have them."""
    here, there = ANode(life=1, host="us-1", accounts_at_most=5), ANode(life=2, host="eu-1", accounts_at_most=1)
    assert choose_surplus([here, there], [AGroup(hosts="eu-*", owned={1: 1})], 1) == "eu-*"
    assert choose_surplus([here, there], [AGroup(owned={1: 6})], 1) == "*"
    assert choose_surplus([here, evolve(there, accounts_at_most=0)], [AGroup(hosts="eu-*", owned={1: 1})], 1) is None
    assert choose_surplus([here, evolve(there, draining=True)], [AGroup(owned={1: 6})], 1) is None
    assert choose_surplus([here], [AGroup(owned={1: 6})], 1) is None


def test_accounts_for_few_nodes_are_served_first() -> None:
    """The others go where room is left."""
    nodes = [ANode(life=1, host="eu-1", accounts_at_most=10), ANode(life=2, host="us-1")]
    groups = [AGroup(hosts="*", free=10), AGroup(hosts="eu-*", free=10)]
    assert plan_claims(nodes, groups, 1) == {"eu-*": 10}
    assert plan_claims(nodes, groups, 2) == {"*": 10}


def test_a_life_that_the_store_does_not_have_plans_nothing() -> None:
    """It is over, or not yet seen."""
    assert plan_claims([ANode(life=1)], [AGroup(free=10)], 2) == {}
    assert choose_surplus([ANode(life=1)], [AGroup(owned={2: 10})], 2) is None


@given(st.text("ab*?[]-!.\\", max_size=8), st.text("ab[]-!.\\", max_size=8))
def test_patterns_know_two_signs(pattern: str, host: str) -> None:
    """As the store does, in which they are those of LIKE."""
    parts = {"*": ".*", "?": "."}
    like = "".join(parts.get(sign) or re.escape(sign) for sign in pattern)
    assert host_matches(host, pattern) == bool(re.fullmatch(like, host, re.DOTALL))


def test_a_quiet_gap_is_for_another_host() -> None:
    """An account that was nowhere yet, or here, connects at once."""
    assert quiet_gap("a", "b", 60) == 60
    assert quiet_gap("a", "a", 60) == quiet_gap("a", None, 60) == 0


def test_what_stays_on_a_host_is_given_away_several_at_a_time() -> None:
    """Not what would get another address, and never so many that the giver is below the mean."""
    here, beside, there = ANode(life=1), ANode(life=2), ANode(life=3, host="eu-2")
    late = [AGroup(owned={1: 40, 2: 0})]
    assert count_surplus([here, beside], late, 1, "*") == SAME_HOST_AT_ONCE
    assert count_surplus([here, beside], [AGroup(owned={1: 9, 2: 3})], 1, "*") == 3
    assert count_surplus([here, there], [AGroup(owned={1: 40, 3: 0})], 1, "*") == 1
    assert count_surplus([here, beside, there], [AGroup(owned={1: 40, 2: 0, 3: 38})], 1, "*") == SAME_HOST_AT_ONCE
    assert count_surplus([here, beside, there], [AGroup(owned={1: 40, 2: 4, 3: 3})], 1, "*") == 1
    assert count_surplus([here, evolve(beside, accounts_at_most=5)], late, 1, "*") == 5
    others = [ANode(life=life) for life in (2, 4, 5)]
    assert count_surplus([here, *others], [AGroup(owned={1: 13, 2: 13, 4: 13, 5: 1})], 1, "*") == 3


@given(fleets())
def test_what_is_given_away_at_once_does_not_come_back(fleet: tuple[list[ANode], list[AGroup]]) -> None:
    """The plan gives it to nodes on the same host, and no other account moves for it."""
    nodes, groups = fleet
    for node in nodes:
        if (hosts := choose_surplus(nodes, groups, node.life)) is None:
            continue
        count = count_surplus(nodes, groups, node.life, hosts)
        if count == 1:
            continue
        after = [
            evolve(
                group,
                free=group.free + count * (group.hosts == hosts),
                owned={life: owned - count * (group.hosts == hosts and life == node.life)
                       for life, owned in group.owned.items()},
            )
            for group in groups
        ]  # fmt: skip
        for taker in nodes:
            if plan_claims(nodes, after, taker.life).get(hosts):
                assert taker.host == node.host
                assert taker is not node
