"""What commands on any host are told of the nodes and of the accounts' places."""

from pathlib import Path

import psycopg

from adapters.postgres.address import StoreAddress
from adapters.postgres.fleet_reader import FleetReader
from engine.app.stored_fleet import open_fleet
from engine.config import Outline
from states.nodes import BeatWatch, NodeState
from tests.postgres.support import WHY, node


async def test_nodes_and_the_accounts_that_they_own(store_url: str, tmp_path: Path) -> None:
    """Living nodes first, then those that ended and began no other life; an account of a dead one has no node."""
    async with node(store_url, "a", host="eu-1", details={"version": "1"}) as a, node(store_url, "b") as b:
        await a.accounts.set_accounts({"Account 1": "eu-*", "Account 2": "*", "Account 3": "*"})
        assert await a.claim(hosts="eu-*") == {"Account 1": 1}
        assert len(await b.claim()) == 2
        await b.nodes.drain("b")
        with psycopg.connect(store_url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO jobs (id, kind, data, state, added, node) VALUES (1, 'send', '{}', 'running', 0, %s)",
                (b.life,),
            )
        reading = open_fleet(Outline(tmp_path / "config.yaml", tmp_path, (), store_url))
        assert reading is not None
        with reading as fleet:
            first, second = fleet.nodes()
            assert (first.name, first.host, first.state, first.accounts, first.jobs) == ("a", "eu-1", "alive", 1, 0)
            assert (second.name, second.state, second.accounts, second.jobs) == ("b", NodeState.DRAINING, 2, 1)
            assert (first.details, first.lives, first.ended_at) == ({"version": "1"}, True, None)
            places = fleet.accounts()
            assert [(at.name, at.node, at.hosts) for at in places.values()] == [
                ("Account 1", "a", "eu-*"),
                ("Account 2", "b", "*"),
                ("Account 3", "b", "*"),
            ]
            assert places["Account 1"].life == a.life
            await a.begin()
            await b.nodes.end(b.life, WHY)
            found = fleet.nodes()
            assert [(each.name, each.state, each.epoch) for each in found] == [("a", "alive", 2), ("b", "dead", 1)]
            assert (found[1].ended_why, found[1].accounts) == (WHY, 0)
            assert found[1].ended_at is not None
            assert {at.node for at in fleet.accounts().values()} == {None}


def test_a_file_has_no_nodes(tmp_path: Path) -> None:
    """The accounts are of one engine."""
    assert open_fleet(Outline(tmp_path / "config.yaml", tmp_path, ())) is None


async def test_beats_are_seen_by_two_looks(store_url: str) -> None:
    """One look says nothing; a beat between two looks is as old as the look that saw it, at most."""
    watch = BeatWatch()
    async with node(store_url, "a") as a, node(store_url, "b") as b:
        with FleetReader.open(StoreAddress.parse(store_url)) as fleet:
            watch.look(100.0, fleet.nodes())
            assert watch.age(a.life, 100.0) is None
            assert watch.unseen() == {a.life, b.life}
            await a.beat()
            watch.look(103.0, fleet.nodes())
            assert watch.unseen() == {b.life}
            assert watch.age(a.life, 104.0) == 1.0
            assert (watch.silent_for(a.life, 104.0), watch.silent_for(b.life, 104.0)) == (1.0, 4.0)
            await b.nodes.end(b.life, WHY)
            watch.look(104.0, fleet.nodes())
            assert watch.unseen() == frozenset()
