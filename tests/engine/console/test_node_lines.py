"""What ``nodes`` prints: states by beats, why nodes ended, whose config differs, and accounts without a node."""

from typing import Any

from attrs import evolve

from engine.console.node_lines import as_data, remarks, seen, table
from states.nodes import STOPPED, AccountPlace, BeatWatch, NodeRecord, NodeState


def node(name: str, **more: Any) -> NodeRecord:
    given = {"life": hash(name), "name": name, "host": "eu-1", "epoch": 1, "beat": 0, "state": NodeState.ALIVE}
    return NodeRecord(
        **{**given, "lease": 15.0, "accounts_at_most": None, "accounts": 0, "jobs": 0, "started_at": 0.0, **more}
    )


def place(name: str, **more: Any) -> AccountPlace:
    return AccountPlace(**{"name": name, "hosts": "*", "life": None, "node": None, "host": None, "epoch": 1, **more})


def test_states_are_told_by_beats() -> None:
    """A node without a beat is silent whatever the store says, and hostile names stay one line."""
    watch, first = BeatWatch(), [node("a"), node("b\n\x1b[2J"), node("c", state=NodeState.DEAD, ended_why="stopped")]
    watch.look(0.0, first)
    then = [node("a", beat=1, accounts=3, accounts_at_most=5), *first[1:]]
    watch.look(3.0, then)
    found = seen(then, watch, 4.0)
    assert [as_data(each)["state"] for each in found] == ["alive", "silent", "dead"]
    assert [as_data(each)["last_beat"] for each in found] == [1.0, None, None]
    lines = table(found, 0.0)
    assert lines[1].split()[:7] == ["a", "eu-1", "alive", "3", "of", "5", "0"]
    assert "silent" in lines[2]
    assert "none for 4 s" in lines[2]
    assert "\x1b" not in "".join(lines)
    assert remarks(found, {}) == ["c is dead: stopped"]


def test_a_node_that_was_stopped_is_not_dead() -> None:
    """It ended as it should, and nobody has to see to it."""
    watch = BeatWatch()
    ended = [node(name, state=NodeState.DEAD, ended_why=why) for name, why in (("a", STOPPED), ("b", "no beat"))]
    found = seen(ended, watch, 0.0)
    assert [as_data(each)["state"] for each in found] == ["stopped", "dead"]
    assert "stopped" in table(found, 0.0)[1]
    assert remarks(found, {}) == ["b is dead: no beat", "No node runs"]


def test_configs_that_differ_and_accounts_without_a_node_are_told() -> None:
    """With the node that has the older config, and the reason for each account."""
    living = [
        node("a", details={"config": {"accounts": "1", "states": "2"}}, accounts=1, accounts_at_most=1),
        node("b", details={"config": {"accounts": "9", "states": "2"}}, started_at=5.0, state=NodeState.DRAINING),
        node("c", details={"version": "old"}, state=NodeState.DRAINING),
    ]
    watch = BeatWatch()
    watch.look(0.0, living)
    watch.look(1.0, [evolve(each, beat=1) for each in living])
    accounts = [place("1", life=1), place("2"), place("3", hosts="us-*"), place("4", taken_to="x"), place("5")]
    assert remarks(seen(living, watch, 1.0), {each.name: each for each in accounts}) == [
        "a runs with another config than b: accounts",
        "1 account has no node: its 'hosts' (us-*) fits no node that takes accounts",
        "2 accounts have no node: the nodes that may have it are full (node.accounts_at_most)",
        "1 account has no node: the session was taken out with 'session take'; bring it back with 'session bring'",
    ]
