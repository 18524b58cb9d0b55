"""``run`` as nodes: real processes, a real PostgreSQL, real Telethon, a datacenter that destroys a login used twice."""

import json
import shutil
import signal
from pathlib import Path

import psycopg
import pytest

from adapters.sandbox import Sandbox
from engine.app.node import LifeNote, read_life, write_life
from tests.engine.harness import EngineHarness
from tests.engine.nodes import ACCOUNTS, Nodes, clean


@pytest.mark.slow
async def test_the_accounts_of_a_killed_node_go_on_at_another(tmp_path: Path, store_url: str) -> None:
    """No login is destroyed: the second node is silent for the length of the lease, then it has both accounts."""
    async with Sandbox() as dc:
        nodes = Nodes(tmp_path, store_url, dc)
        one, two = await nodes.node("one", lease="6s"), await nodes.node("two", lease="6s")
        async with one.running() as first:
            await nodes.until(lambda: nodes.healthy() == dict.fromkeys(ACCOUNTS, 1), one)
            assert nodes.owners() == dict.fromkeys(ACCOUNTS, "one")
            async with two.running() as second:
                await two.until(lambda at: "This node has a lease" in at.text)
                first.kill()
                await nodes.until(lambda: nodes.owners() == dict.fromkeys(ACCOUNTS, "two"), two)
                await nodes.until(lambda: nodes.all_healthy(since=2), two)
                assert await two.finish(second, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert "Another node was silent for 6 s and is taken for dead" in two.text
    assert clean(one, two), two.text


@pytest.mark.slow
async def test_the_accounts_of_a_stopped_node_go_on_at_once(tmp_path: Path, store_url: str) -> None:
    """Long before the end of its lease; a job that waits for the account is done by the next node."""
    async with Sandbox() as dc:
        nodes = Nodes(tmp_path, store_url, dc)
        one, two = await nodes.node("one", lease="200s"), await nodes.node("two", lease="200s")
        nodes.settle()
        async with one.running() as first:
            await nodes.until(lambda: nodes.healthy() == dict.fromkeys(ACCOUNTS, 1), one)
            assert await one.finish(first, signal.SIGTERM) == 0
        assert set(nodes.owners().values()) == {None}
        code, said = await one.command(
            "jobs", "add", "config.yaml", "send", "--account", "Account 1", "to=me", "text=hello"
        )
        assert code == 0, said
        async with two.running() as second:
            await nodes.until(lambda: nodes.healthy() == dict.fromkeys(ACCOUNTS, 2), two)
            await nodes.until(lambda: nodes.jobs() == ["done"], two)
            code, said = await two.command("log", "replay", "config.yaml")
            assert code == 0, said
            await nodes.until(lambda: nodes.in_ledger() == len(ACCOUNTS), two)
            assert await two.finish(second, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert clean(one, two), one.text + two.text


@pytest.mark.slow
async def test_a_killed_node_that_starts_again_waits_for_nobody(tmp_path: Path, store_url: str) -> None:
    """It knows by its lock that its former process is gone, and ends that life at once: no death is declared."""
    async with Sandbox() as dc:
        nodes = Nodes(tmp_path, store_url, dc)
        one = await nodes.node("one", lease="200s")
        nodes.settle()
        async with one.running() as first:
            await nodes.until(lambda: nodes.healthy() == dict.fromkeys(ACCOUNTS, 1), one)
            first.kill()
            await first.wait()
        async with one.running() as again:
            await nodes.until(lambda: nodes.healthy() == dict.fromkeys(ACCOUNTS, 2), one)
            assert await one.finish(again, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert "is alive already" not in one.text
    assert clean(one), one.text


@pytest.mark.slow
async def test_a_node_that_loses_its_lease_goes_on_in_the_same_process(tmp_path: Path, store_url: str) -> None:
    """Its life ends in the database under it: it closes its connections, begins another life, and has the accounts."""
    async with Sandbox() as dc:
        nodes = Nodes(tmp_path, store_url, dc)
        one = await nodes.node("one", lease="30s")
        nodes.settle()
        async with one.running() as process:
            await nodes.until(lambda: nodes.healthy() == dict.fromkeys(ACCOUNTS, 1), one)
            with psycopg.connect(store_url, autocommit=True) as connection:
                connection.execute("UPDATE nodes SET state = 'dead'")
            await one.until(lambda at: "This node goes on under its new lease" in at.text)
            await nodes.until(lambda: nodes.healthy() == dict.fromkeys(ACCOUNTS, 2), one)
            code, said = await one.command(
                "jobs", "add", "config.yaml", "send", "--account", "Account 1", "to=me", "text=hello"
            )
            assert code == 0, said
            await nodes.until(lambda: nodes.jobs() == ["done"], one)
            code, said = await one.command("log", "replay", "config.yaml")
            assert code == 0, said
            assert await one.finish(process, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert clean(one), one.text


@pytest.mark.slow
async def test_two_nodes_tell_of_an_incident_once(tmp_path: Path, store_url: str) -> None:
    """By whichever has stored it; commands know it anywhere, and an end of a node changes nothing."""
    program, told = tmp_path / "keep.sh", tmp_path / "told"
    program.write_text(f"#!/bin/sh\ncat >> {told}\necho >> {told}\n")
    program.chmod(0o755)
    alerts = f"alerts: [{{exec: {program}, after: 0s}}]\n"

    def messages() -> list[str]:
        lines = told.read_text("utf-8").splitlines() if told.exists() else []
        return [each["message"] for line in lines for each in json.loads(line)["incidents"]]

    async with Sandbox() as dc:
        nodes = Nodes(tmp_path, store_url, dc)
        one, two = [await nodes.node(name, rest=alerts, lease="45s") for name in ("one", "two")]
        nodes.settle()
        async with one.running() as first:
            await nodes.until(lambda: nodes.healthy() == dict.fromkeys(ACCOUNTS, 1), one)
            async with two.running() as second:
                await two.until(lambda at: "This node has a lease" in at.text)
                job = ("send", "--account", "Account 1", "to=@nobody_is_called_so", "text=hello")
                code, said = await one.command("jobs", "add", "config.yaml", *job)
                assert code == 0, said
                await nodes.until(lambda: messages() == ["opened"], one, two)
                code, said = await two.command("incidents", "config.yaml", "--json")
                assert (code, json.loads(said)["kind"]) == (1, "job_failed")
                assert await one.finish(first, signal.SIGTERM) == 0, one.text
                await nodes.until(lambda: set(nodes.healthy()) == set(ACCOUNTS), two)
                assert await two.finish(second, signal.SIGTERM) == 0
    assert messages() == ["opened"]
    assert clean(two), two.text


async def test_a_database_that_does_not_answer_ends_the_start(harness: EngineHarness) -> None:
    """The sentence says where, why and what to do, and never the password."""
    database = "storage: {database: 'postgresql://u:secret@127.0.0.1:1/holdfast'}\n"
    harness.config.write_text(
        "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\n"
        "accounts: [{name: A, session: a}]\n" + database
    )
    code, said = await harness.command("run", "config.yaml")
    assert code == 1, said
    assert "no server listens there; start PostgreSQL, or mend host and port in storage.database" in said
    assert "secret" not in said


def test_a_life_is_believed_only_where_it_was_noted(tmp_path: Path) -> None:
    """A copy of the directory runs beside the original, whose process is not known to be gone."""
    here, copy = tmp_path / "data", tmp_path / "copy"
    here.mkdir()
    copy.mkdir()
    write_life(here / "node.life", 2**61 + 1)
    assert read_life(here / "node.life") == 2**61 + 1
    (copy / "node.life").write_bytes((here / "node.life").read_bytes())
    assert read_life(copy / "node.life") == 0
    (here / "node.life").write_text("{")
    assert read_life(here / "node.life") == 0
    assert read_life(here / "none") == 0


def test_a_life_is_known_though_its_note_was_deleted(tmp_path: Path) -> None:
    """By whoever had the note open, until another one is written; a copied note says nothing to that one either."""
    here, copy = tmp_path / "data", tmp_path / "copy"
    note = LifeNote.open(here / "node.life")
    assert note.read() == 0
    write_life(here / "node.life", 2**61 + 1)
    copy.mkdir()
    (copy / "node.life").write_bytes((here / "node.life").read_bytes())
    copied = LifeNote.open(copy / "node.life")
    for directory in (here, copy):
        shutil.rmtree(directory)
    assert (note.read(), copied.read()) == (2**61 + 1, 0)
    here.mkdir()
    assert note.read() == 2**61 + 1
    write_life(here / "node.life", 2**61 + 2)
    assert note.read() == 2**61 + 2
    note.close()
    copied.close()
    assert note.read() == 2**61 + 2
