"""The reload: accounts, schedules and code that change under a running engine, and what cannot."""

import json
import re
import sqlite3
from contextlib import closing

import pytest
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.sandbox import Sandbox
from adapters.sqlite import JournalReader
from tests.engine.harness import COMPLAINTS, EngineHarness, all_are

PHONES = tuple(f"+999662000{number}" for number in range(1, 5))

CALM = """
states:
  backoff:
    network: {first: 100ms, factor: 2, cap: 500ms, jitter: 0.2}
fleet: {stagger: 0}
"""
"""Schedules under which no account of a busy machine is lost by itself: these tests count connections."""


def add(harness: EngineHarness, dc: Sandbox, number: int, phone: str, more: str = "") -> str:
    """Make a session file, and return the line of its account."""
    session = SQLiteSession(str(harness.directory / f"account{number}.session"))
    session.set_dc(dc.dc_id, "127.0.0.9", 443)
    session.auth_key = AuthKey(dc.authorize(phone))
    session.save()
    session.close()
    return f'  - {{name: Account {number}, session: account{number}, phone: "{phone}"{more}}}\n'


def change(harness: EngineHarness, pattern: str, into: str) -> None:
    """Change the config file."""
    text, count = re.subn(pattern, into.replace("\\", r"\\"), harness.config.read_text("utf-8"), flags=re.MULTILINE)
    assert count == 1, (pattern, text)
    harness.config.write_text(text, encoding="utf-8")


def state_of(harness: EngineHarness, account: str) -> str | None:
    """Return where an account is, as the journal's file has it now."""
    with JournalReader.open(harness.directory / "data" / "engine.db") as reader:
        found = reader.snapshots().get(account)
    return found[0].state.value if found is not None else None


def links(harness: EngineHarness, account: str) -> int:
    """Return how many connections an account has had in its present life."""
    with JournalReader.open(harness.directory / "data" / "engine.db") as reader:
        return reader.snapshots()[account][0].links


async def test_accounts_come_and_go_and_the_others_stay_connected(harness: EngineHarness) -> None:
    """One is added and gets healthy, one is removed and closed; the third keeps its connection, and all is replayed."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES[:2], rest=CALM)
        async with harness.running() as process:
            await harness.until(all_are("healthy", 2))
            change(harness, r"^  - \{name: Account 1,.*\n", add(harness, dc, 3, PHONES[2]))
            code, said = await harness.command("reload", "--dry-run")
            assert (code, said.splitlines()) == (
                0,
                [
                    "1 account added: Account 3",
                    "1 account removed (closed in order, and what is stored is kept): Account 1",
                    "1 account will keep its connection",
                ],
            )
            assert state_of(harness, "Account 1") == "healthy"
            code, said = await harness.command("reload", "--json")
            assert code == 0, said
            assert json.loads(said)["applied"]
            await harness.until(lambda it: state_of(it, "Account 3") == "healthy")
            assert state_of(harness, "Account 1") == "shutting_down"
            assert links(harness, "Account 2") == 1
            code, said = await harness.command("status", "--json")
            assert code == 0, said
            assert [each["name"] for each in json.loads(said)["accounts"]] == ["Account 2", "Account 3"]
            assert await harness.command("reload") == (0, "Nothing has changed\n")
            process.terminate()
            assert await process.wait() == 0
        code, said = await harness.command("log", "replay", "--json")
        assert (code, json.loads(said)["agrees"]) == (0, True)
    assert not COMPLAINTS.search(harness.text)
    assert "was read again: 1 added, 1 removed, 1 with no change" in harness.text


@pytest.mark.slow
async def test_an_account_that_returns_goes_on_where_it_was(harness: EngineHarness) -> None:
    """What was stored of it, here that a person paused it, holds when it is in the config again."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES[:2], rest=CALM)
        whole = harness.config.read_text("utf-8")
        async with harness.running():
            await harness.until(all_are("healthy", 2))
            assert (await harness.command("pause", "Account 1"))[0] == 0
            change(harness, r"^  - \{name: Account 1,.*\n", "")
            assert (await harness.command("reload"))[0] == 0
            harness.config.write_text(whole, encoding="utf-8")
            assert (await harness.command("reload"))[0] == 0
            _, said = await harness.command("status", "Account 1", "--json")
            assert json.loads(said)["accounts"][0]["paused"], said
            assert await harness.command("resume", "Account 1") == (0, "Account 1 is connecting\n")
            await harness.until(lambda it: state_of(it, "Account 1") == "healthy")


@pytest.mark.slow
async def test_a_renamed_account_keeps_its_login_and_its_state(harness: EngineHarness) -> None:
    """Its journal, and a job that waits for it, go by the new name; the others stay connected."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES[:2], rest=CALM)
        async with harness.running() as process:
            await harness.until(all_are("healthy", 2))
            assert (await harness.command("pause", "Account 1"))[0] == 0
            code, said = await harness.command(
                "jobs", "add", "config.yaml", "send", "to=me", "text=hello", "--account", "Account 1"
            )
            assert code == 0, said
            change(harness, "name: Account 1,", "name: News,")
            code, said = await harness.command("reload")
            assert (code, said.splitlines()[0]) == (
                0, "Account 1 is called News now; it reconnects with the same login"
            )  # fmt: skip
            code, said = await harness.command("status", "News", "--json")
            assert json.loads(said)["accounts"][0]["paused"], said
            await harness.command("resume", "News")
            await harness.until(lambda it: state_of(it, "News") == "healthy")
            assert links(harness, "Account 2") == 1
            code, said = await harness.command("jobs", "list", "--json")
            assert json.loads(said.splitlines()[0])["account"] == "News"
            process.terminate()
            assert await process.wait() == 0
        code, said = await harness.command("log", "replay", "--json")
        assert (code, json.loads(said)["agrees"], json.loads(said)["accounts"]) == (0, True, 2)
    assert "News was called Account 1 before" in harness.text
    assert not COMPLAINTS.search(harness.text)


@pytest.mark.slow
async def test_schedules_change_without_a_connection(harness: EngineHarness) -> None:
    """Probes come by the new schedule, no account connects anew, and the journal replays with both policies."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES[:2], rest=CALM)
        async with harness.running() as process:
            await harness.until(all_are("healthy", 2))
            change(harness, "first: 100ms, factor: 2, cap: 500ms, jitter: 0.2", "first: 37ms, cap: 37ms, jitter: 0")
            change(harness, "stagger: 0", "stagger: auto")
            code, said = await harness.command("reload")
            assert code == 0
            assert "states.backoff.network.first: 0.1 s → 37 ms" in said
            process.terminate()
            assert await process.wait() == 0
        assert [links(harness, f"Account {number}") for number in (1, 2)] == [1, 1]
        code, said = await harness.command("log", "replay", "--json")
        assert (code, json.loads(said)["agrees"]) == (0, True)
    with JournalReader.open(harness.directory / "data" / "engine.db") as reader:
        ends = [entry for entry in reader.entries() if entry.event == "StopRequested"]
    assert [entry.policy is not None for entry in ends] == [True, True]


@pytest.mark.slow
async def test_what_cannot_be_applied_is_refused_as_a_whole(harness: EngineHarness) -> None:
    """A sentence says why, and nothing of the rest, here an account that is removed, is applied."""
    changes = [
        ("^accounts:", "storage: {directory: elsewhere}\naccounts:", 3, "the engine is not running"),
        (r"datacenter: \{id: \d+", "datacenter: {id: 77", 1, "telegram.datacenter cannot change while the engine runs"),
        ("stagger: 0", "staggr: 0", 2, "unknown key"),
        ("stagger: 0", "stagger: 0}\nwork: {modules: [missing.py]", 2, "missing.py cannot be imported"),
    ]
    async with Sandbox() as dc:
        harness.at(dc, *PHONES[:2], rest=CALM)
        async with harness.running():
            await harness.until(all_are("healthy", 2))
            former = harness.config.read_text("utf-8")
            for pattern, into, code, said in changes:
                harness.config.write_text(former, "utf-8")
                change(harness, r"^  - \{name: Account 1,.*\n", "")
                change(harness, pattern, into)
                found, printed = await harness.command("reload")
                assert (found, said in printed) == (code, True), printed
                assert harness.states() == ["healthy"] * 2


@pytest.mark.slow
async def test_jobs_get_the_new_code(harness: EngineHarness) -> None:
    """A module that was changed is imported anew, and a job that is added afterwards has its code."""
    module = harness.directory / "my_work.py"
    text = "from engine import job_kind\n@job_kind('say')\nasync def say(job, client): return 'old'\n"
    module.write_text(text)
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=f"work: {{modules: [my_work.py]}}\n{CALM}")
        async with harness.running():
            await harness.until(all_are("healthy", 1))
            module.write_text(text.replace("old", "new"))
            _, said = await harness.command("reload")
            assert said.splitlines() == [
                "my_work.py has other code: jobs that run end with the old, those that begin have the new",
                "1 account will keep its connection",
            ]
            assert (await harness.command("jobs", "add", "config.yaml", "say"))[0] == 0
            await harness.until(lambda it: job_result(it) is not None)
            assert job_result(harness) == "new"


def job_result(harness: EngineHarness) -> object:
    """Return the result of the first job, as the file has it now."""
    with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
        found = db.execute("SELECT result FROM jobs").fetchone()
    return json.loads(found[0]) if found and found[0] is not None else None


@pytest.mark.slow
async def test_an_engine_with_another_config_is_not_meant(harness: EngineHarness) -> None:
    """Another file that names the same data directory is not the config of the engine that runs."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=CALM)
        async with harness.running():
            await harness.until(all_are("healthy", 1))
            other = harness.directory / "other.yaml"
            other.write_text(harness.config.read_text("utf-8"), encoding="utf-8")
            code, said = await harness.command("reload", "other.yaml")
            assert code == 1
            assert "the running engine has another config" in said
