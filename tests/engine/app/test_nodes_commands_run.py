"""Commands about nodes, tried with real ``run`` processes over one PostgreSQL and one datacenter."""

import json
import signal
from pathlib import Path

import psycopg
import pytest

from adapters.sandbox import Sandbox
from tests.engine.app.test_login import piped
from tests.engine.harness import EngineHarness
from tests.engine.nodes import ACCOUNTS, Nodes, clean


async def said_by(harness: EngineHarness, *words: str, code: int = 0) -> str:
    """Run a command, expect its exit code, and return what it said."""
    found, said = await harness.command(*words)
    assert found == code, said
    return said


@pytest.mark.slow
async def test_a_drain_a_restart_and_a_resume_leave_each_account_with_one_owner(tmp_path: Path, store_url: str) -> None:
    """A drained node gives its accounts away, runs on, takes none after a restart either, and then what it is given."""
    async with Sandbox() as dc:
        nodes = Nodes(tmp_path, store_url, dc)
        one, two = await nodes.node("one", lease="60s"), await nodes.node("two", lease="60s")
        nodes.settle()
        async with one.running() as first:
            await nodes.until(lambda: set(nodes.healthy()) == set(ACCOUNTS), one)
            async with two.running() as second:
                await two.until(lambda at: "This node has a lease" in at.text)
                said = await said_by(two, "node", "drain", "config.yaml", "one")
                assert "one has no accounts any more, and takes none until 'node resume'" in said
                assert nodes.owners() == dict.fromkeys(ACCOUNTS, "two")
                await nodes.until(lambda: "This node is drained" in one.text, one)
                lines = (await said_by(two, "nodes", "config.yaml", "--json")).splitlines()
                states = {each["name"]: (each["state"], each["accounts"]) for each in map(json.loads, lines)}
                assert states == {"one": ("draining", 0), "two": ("alive", 2)}
                assert await one.finish(first, signal.SIGTERM) == 0
                async with one.running() as again:
                    await nodes.until(lambda: one.text.count("This node is drained") == 2, one)
                    assert "takes accounts again" in await said_by(two, "node", "resume", "config.yaml", "one")
                    await nodes.until(lambda: "This node takes accounts again" in one.text, one)
                    said = await said_by(one, "move", "config.yaml", "Account 1", "one")
                    assert "Account 1 is at one now (host one)" in said
                    assert nodes.owners()["Account 1"] == "one"
                    await nodes.until(lambda: set(nodes.healthy()) == set(ACCOUNTS), one, two)
                    said = await said_by(one, "nodes", "config.yaml")
                    found = [line.split()[:3] for line in said.splitlines()[1:3]]
                    assert found == [["one", "one", "alive"], ["two", "two", "alive"]]
                    at = json.loads(await said_by(two, "status", "config.yaml", "--json"))
                    places = {each["name"]: (each["node"], each["host"], each["state"]) for each in at["accounts"]}
                    assert places["Account 1"] == ("one", "one", "healthy")
                    assert [each["name"] for each in at["nodes"]] == ["one", "two"]
                    said = await said_by(two, "pause", "config.yaml", "Account 1")
                    assert said == "Account 1 is paused (node one)\n"
                    said = await said_by(two, "status", "config.yaml", "Account 1")
                    assert "at one; paused; resume it to go on" in said
                    assert "at 2 nodes" in said
                    both = json.loads(await said_by(one, "resume", "config.yaml", "Account *", "--json"))
                    assert [each["done"] for each in both] == [True, True], both
                    assert "healthy" in await said_by(two, "retry", "config.yaml", "Account 2")
                    assert await one.finish(again, signal.SIGTERM) == 0
                    assert await two.finish(second, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    said = await said_by(two, "nodes", "config.yaml", code=3)
    assert "No node runs" in said
    said = await said_by(two, "status", "config.yaml", code=3)
    assert "No node is running; this is where they left the accounts." in said
    assert "at no node; " in said
    assert "no node runs; start one with: " in await said_by(two, "pause", "config.yaml", "Account 1", code=3)
    assert clean(one, two), one.text + two.text


@pytest.mark.slow
async def test_a_session_is_taken_from_running_nodes_and_brought_back(tmp_path: Path, store_url: str) -> None:
    """Its node gives the account up by itself, no node claims it meanwhile, and it goes on when it is back."""
    async with Sandbox() as dc:
        nodes = Nodes(tmp_path, store_url, dc)
        one = await nodes.node("one", lease="60s")
        nodes.settle()
        async with one.running() as first:
            await nodes.until(lambda: set(nodes.healthy()) == set(ACCOUNTS), one)
            said = await said_by(one, "session", "take", "config.yaml", "Account 1", "--to", "away.session")
            assert "away.session has its session" in said
            assert nodes.owners() == {"Account 1": None, "Account 2": "one"}
            said = await said_by(one, "nodes", "config.yaml")
            assert "1 account has no node: the session was taken out with 'session take'" in said
            said = await said_by(one, "retry", "config.yaml", "Account 1", code=1)
            assert "so no node has it; bring it back with 'session bring'" in said
            said = await said_by(one, "move", "config.yaml", "Account 1", "one", code=2)
            assert "was taken to" in said
            (one.directory / "away.session").rename(one.directory / "account1.session")
            assert "its session is in the database" in await said_by(one, "session", "bring", "config.yaml")
            await nodes.until(lambda: nodes.owners() == dict.fromkeys(ACCOUNTS, "one"), one)
            await nodes.until(lambda: nodes.healthy() == {"Account 1": 2, "Account 2": 1}, one)
            assert one.text.count("This node has taken accounts") == 2
            assert await one.finish(first, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert clean(one), one.text


@pytest.mark.slow
async def test_a_new_login_comes_to_running_nodes(tmp_path: Path, store_url: str) -> None:
    """It is made in a file, and takes the place of the former one, which is kept; nobody is logged out meanwhile."""
    async with Sandbox() as dc:
        nodes = Nodes(tmp_path, store_url, dc)
        one = await nodes.node("one", lease="60s")
        nodes.settle()
        async with one.running() as first:
            await nodes.until(lambda: set(nodes.healthy()) == set(ACCOUNTS), one)
            said = await said_by(one, "logout", "config.yaml", "Account 1", "--yes", code=1)
            assert "take it out first: " in said
            code, said = await piped(one, "login", "config.yaml", "Account 1", "--yes", said="22222\n")
            assert code == 0, said
            assert "the nodes use the former one until you take that out" in " ".join(said.split())
            await said_by(one, "session", "take", "config.yaml", "Account 1", "--to", "old.session")
            said = await said_by(one, "session", "bring", "config.yaml")
            assert "its session is in the database" in said
            await nodes.until(lambda: nodes.healthy() == {"Account 1": 2, "Account 2": 1}, one)
            with psycopg.connect(store_url) as connection:
                kept = connection.execute("SELECT count(*) FROM replaced_logins").fetchone()
            assert kept == (1,)
            assert await one.finish(first, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert clean(one), one.text
