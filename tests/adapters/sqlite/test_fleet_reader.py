"""What commands are told of the workers of a file, and of the accounts' places."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sqlite import JournalMissing, node_commands
from adapters.sqlite.fleet_reader import FileFleetReader
from states.nodes import NodeState
from tests.storage.node_stores import WHY, SqliteNodes


async def test_workers_and_the_accounts_that_they_own(tmp_path: Path) -> None:
    """Living ones first, then those that ended and began no other life; an account of a dead one has no node."""
    path = tmp_path / "engine.db"
    store = SqliteNodes(path)
    async with store.node("a", host="eu-1", details={"version": "1"}) as a, store.node("b") as b:
        await a.accounts.set_accounts({"Account 1": "eu-*", "Account 2": "*", "Account 3": "*"})
        assert await a.claim(hosts="eu-*") == {"Account 1": 1}
        assert len(await b.claim()) == 2
        await b.nodes.drain("b")
        await b.accounts.use_accounts({"Account 1": "eu-*", "Account 2": "*"}, adds=True)
        with FileFleetReader.open(path) as fleet:
            first, second = fleet.nodes()
            assert (first.name, first.host, first.state, first.accounts, first.jobs) == ("a", "eu-1", "alive", 1, 0)
            assert (second.name, second.state, second.accounts) == ("b", NodeState.DRAINING, 2)
            assert (first.details, first.lives, first.ended_at) == ({"version": "1"}, True, None)
            assert [(at.name, at.node, at.hosts) for at in fleet.accounts().values()] == [
                ("Account 1", "a", "eu-*"),
                ("Account 2", "b", "*"),
            ]
            assert list(fleet.accounts(["Account 2", "nobody"])) == ["Account 2"]
            assert await a.nodes.note(a.life, {"version": "2"})
            await a.begin()
            await b.nodes.end(b.life, WHY)
            found = fleet.nodes()
            assert [(each.name, each.state, each.epoch) for each in found] == [("a", "alive", 2), ("b", "dead", 1)]
            assert (found[1].ended_why, found[1].accounts) == (WHY, 0)
            assert {at.node for at in fleet.accounts().values()} == {None}


def test_a_file_that_is_not_there_or_older_has_no_workers(tmp_path: Path) -> None:
    """The sentence says to run the engine first; an older schema has no such tables."""
    with pytest.raises(JournalMissing, match="run the engine first"), FileFleetReader.open(tmp_path / "engine.db"):
        pass
    path = tmp_path / "old.db"
    SqliteNodes(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE node_accounts")
        db.execute("PRAGMA user_version = 10")
    with FileFleetReader.open(path) as fleet:
        assert (fleet.nodes(), fleet.accounts()) == ((), {})


def test_commands_say_what_cannot_be(tmp_path: Path) -> None:
    """They open the file by themselves."""
    path = tmp_path / "engine.db"
    SqliteNodes(path)
    assert node_commands.drain(path, "nobody", drain=True) is None
    assert "no account is called x" in str(node_commands.move(path, "x", "nobody"))
