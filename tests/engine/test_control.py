"""``pause``, ``resume`` and ``retry`` as their user meets them: a running engine, real clients, commands beside it."""

import json
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.sandbox import Sandbox, services
from adapters.sandbox.errors import RpcRefusal
from tests.engine.harness import COMPLAINTS, STARTED, EngineHarness, all_are

PHONES = ("+9996620001", "+9996620002", "+9996620003")
SERVED = services.perform


def session_of(harness: EngineHarness, number: int = 1) -> Path:
    """Return an account's session file."""
    return harness.directory / f"account{number}.session"


def refuse(monkeypatch: pytest.MonkeyPatch, refusal: RpcRefusal | None) -> None:
    """Let the datacenter answer every request so, or serve again."""

    def perform(call: Any, request: Any) -> Any:
        if refusal is not None:
            raise refusal
        return SERVED(call, request)

    monkeypatch.setattr(services, "perform", perform)


async def told(harness: EngineHarness, *words: str) -> tuple[int, str]:
    """Run a command on this config."""
    name, *rest = words
    return await harness.command(name, "config.yaml", *rest)


async def row_of(harness: EngineHarness, number: int = 1) -> dict[str, Any]:
    """Return what ``status --json`` says of an account."""
    _, printed = await told(harness, "status", "--json")
    rows = {row["name"]: row for row in json.loads(printed)["accounts"]}
    return dict(rows[f"Account {number}"])


@pytest.mark.slow
async def test_a_paused_account_stays_paused_over_kill_9(harness: EngineHarness) -> None:
    """Paused, killed, started again: the account rests until it is resumed, and replay agrees with all of it."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES[:2])
        async with harness.running(dev=True) as engine:
            await harness.until(all_are("healthy", 2))
            assert await told(harness, "pause", "Account 1") == (0, "Account 1 is paused\n")
            engine.kill()
            await engine.wait()
        async with harness.running(dev=True) as engine:
            await harness.until(lambda at: at.text.count("Successfully connected Account 2") == 2)
            row = await row_of(harness)
            assert (row["state"], row["paused"]) == ("shutting_down", True)
            assert "paused; resume it" in (await told(harness, "status", "Account 1"))[1]
            assert (await told(harness, "retry", "Account 1"))[0] == 1
            assert dc.stats()["connections"] == 1
            assert await told(harness, "resume", "Account 1") == (0, "Account 1 is connecting\n")
            await harness.until(all_are("healthy", 2))
            assert (await row_of(harness))["paused"] is False
            assert await harness.finish(engine, signal.SIGINT) == 0
    assert not COMPLAINTS.search(harness.text), harness.text
    assert not (harness.directory / "data" / "engine.sock").exists()
    code, printed = await harness.command("log", "replay", "config.yaml")
    assert code == 0, printed


@pytest.mark.slow
async def test_a_pattern_pauses_many_and_json_tells_of_each(harness: EngineHarness) -> None:
    """``'Account *'`` is all of them; ``--json`` prints an object for each."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 3))
            code, printed = await told(harness, "pause", "Account *", "--json")
            assert dc.stats()["connections"] == 0
            assert await harness.finish(engine, signal.SIGINT) == 0
    assert code == 0
    assert [(row["account"], row["done"]) for row in json.loads(printed)] == [
        (f"Account {number}", True) for number in (1, 2, 3)
    ]


@pytest.mark.slow
async def test_a_flood_wait_stands_for_the_operator_too(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``retry`` during a flood wait leaves with 1 and says until when it stands; the datacenter is not asked."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        refuse(monkeypatch, RpcRefusal(420, "FLOOD_WAIT_600"))
        async with harness.running() as engine:
            await harness.until(all_are("backoff", 1))
            asked = dc.stats()["accepted"]
            code, printed = await told(harness, "retry", "Account 1")
            assert dc.stats()["accepted"] == asked
            assert await harness.finish(engine, signal.SIGINT) == 0
    assert code == 1
    assert "the flood wait that Telegram asked for stands until" in printed


@pytest.mark.parametrize("command", ["pause", "resume", "retry"])
async def test_without_an_engine_a_command_says_how_to_start_it(harness: EngineHarness, command: str) -> None:
    """Exit code 3 and the command line that starts it; a name that is wrong is said first, with 2."""
    harness.write("sandbox", "  - {name: Account 1, session: account1}")
    code, printed = await told(harness, command, "Account 1")
    start = f"{STARTED} run config.yaml"
    assert (code, printed) == (3, f"the engine is not running; start it with: {start}\n")
    code, printed = await told(harness, command, "Acount 1")
    assert code == 2
    assert "did you mean 'Account 1'?" in printed


@pytest.mark.slow
async def test_an_account_that_the_engine_does_not_know_yet(harness: EngineHarness) -> None:
    """A config that is newer than the engine is told apart from a misspelt name."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 1))
            text = harness.config.read_text()
            harness.config.write_text(
                text.replace("accounts:\n", "accounts:\n  - {name: Newcomer, session: newcomer}\n")
            )
            code, printed = await told(harness, "pause", "Newcomer")
            assert await harness.finish(engine, signal.SIGINT) == 0
    assert code == 2
    assert "reload" in printed


@pytest.mark.slow
async def test_a_data_directory_with_a_long_name(tmp_path: Path) -> None:
    """Commands reach an engine whose socket's path is longer than an address may be."""
    harness = EngineHarness(tmp_path / ("d" * 110))
    harness.directory.mkdir()
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 1))
            assert (await told(harness, "pause", "Account 1"))[0] == 0
            assert await harness.finish(engine, signal.SIGINT) == 0


def log_out(dc: Sandbox, harness: EngineHarness) -> None:
    """Revoke the login that the account's file holds."""
    with closing(SQLiteSession(str(session_of(harness)))) as session:
        key = next(one.key for one in dc._hub.store._keys.values() if one.key.data == session.auth_key.key)
    dc._hub.store.log_in(key, None)


def by_rename(session: Path, key: bytes) -> None:
    """Put a new session file in the place of the old one."""
    new = session.with_name("new.session")
    with closing(SQLiteSession(str(new))) as made:
        made.set_dc(2, "127.0.0.9", 443)
        made.auth_key = AuthKey(key)
        made.save()
    new.rename(session)


def in_place(session: Path, key: bytes) -> None:
    """Write the new key into the file that is there."""
    with closing(sqlite3.connect(session)) as database, database:
        database.execute("update sessions set auth_key = ?", (key,))


@pytest.mark.slow
@pytest.mark.parametrize("replace", [by_rename, in_place])
async def test_a_new_login_is_noticed(harness: EngineHarness, replace: Callable[[Path, bytes], None]) -> None:
    """A revoked login stops the account; a login beside the running engine brings it back without a command."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        async with harness.running(dev=True) as engine:
            await harness.until(all_are("healthy", 1))
            log_out(dc, harness)
            await harness.until(all_are("auth_failed", 1))
            assert (await told(harness, "status"))[0] == 2
            replace(session_of(harness), dc.authorize(PHONES[0]))
            await harness.until(all_are("healthy", 1))
            assert await harness.finish(engine, signal.SIGINT) == 0
    assert [entry.event for entry in harness.entries()].count("CredentialsReplaced") == 1
    assert not COMPLAINTS.search(harness.text), harness.text


def is_stable_again(events: list[str]) -> bool:
    """Return whether the second link has been stable; the first may have been cut before it was."""
    return events.count("Connected") > 1 and "Stable" in events[-events[::-1].index("Connected") :]


@pytest.mark.slow
async def test_a_retry_right_after_a_login_connects_once(harness: EngineHarness) -> None:
    """``retry`` sees the new login by itself, and nothing cuts the link for it afterwards."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 1))
            log_out(dc, harness)
            await harness.until(all_are("auth_failed", 1))
            by_rename(session_of(harness), dc.authorize(PHONES[0]))
            assert (await told(harness, "retry", "Account 1"))[0] == 0
            await harness.until(lambda at: is_stable_again([entry.event for entry in at.entries()]))
            assert await harness.finish(engine, signal.SIGINT) == 0
    assert [entry.event for entry in harness.entries()].count("Connected") == 2


def damage(dc: Sandbox, harness: EngineHarness) -> None:
    """Write over the file."""
    session_of(harness).write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)


@frozen
class Reason:
    """Something that makes credentials unusable, and what is to be read of it."""

    suffered: RpcRefusal | Callable[[Sandbox, EngineHarness], None]
    event: str
    action: str
    advice: str


REASONS = {
    "revoked": Reason(RpcRefusal(401, "SESSION_REVOKED"), "AuthRejected", "log_in", "log in again"),
    "duplicated": Reason(
        RpcRefusal(406, "AUTH_KEY_DUPLICATED"), "SessionDuplicated", "stop_other_copy", "stop the other program"
    ),
    "banned": Reason(RpcRefusal(401, "USER_DEACTIVATED_BAN"), "AccountBanned", "appeal", "appeal to Telegram"),
    "api_id": Reason(RpcRefusal(400, "API_ID_INVALID"), "ConfigRefused", "mend_config", "mend the config"),
    "damaged": Reason(damage, "DatabaseCorrupt", "restore_session", "restore the session file"),
}


def credentials_in(session: Path) -> list[Any] | bytes:
    """Return the rows that hold the key and its datacenter, or the bytes of a file that is not a database."""
    try:
        with closing(sqlite3.connect(f"{session.as_uri()}?mode=ro", uri=True)) as database:
            return list(database.execute("select * from sessions"))
    except sqlite3.DatabaseError:
        return session.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS)
async def test_each_reason_has_its_action_and_no_credentials_are_touched(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, reason: Reason
) -> None:
    """Status and log say why and what to do; an attempt leaves the credentials alone, a restart every byte.

    Telethon writes the key once more whenever it has connected, so bytes can be compared only afterwards.
    """
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        if isinstance(reason.suffered, RpcRefusal):
            refuse(monkeypatch, reason.suffered)
        else:
            reason.suffered(dc, harness)
        before = credentials_in(session_of(harness))
        async with harness.running(dev=True) as engine:
            await harness.until(all_are("auth_failed", 1))
            row = await row_of(harness)
            assert await harness.finish(engine, signal.SIGINT) == 0
        assert credentials_in(session_of(harness)) == before
        asked, stopped = dc.stats()["accepted"], session_of(harness).read_bytes()
        async with harness.running("--for", "300ms", dev=True) as engine:
            assert await harness.finish(engine) == 0
        assert dc.stats()["accepted"] == asked
    assert session_of(harness).read_bytes() == stopped
    assert (row["state"], row["action"]) == ("auth_failed", reason.action)
    assert row["cause"].startswith(reason.event)
    assert f"What to do: {reason.advice}" in harness.text
    entered = [entry.event for entry in harness.entries() if entry.target == "auth_failed" != entry.source]
    assert entered == [reason.event]
    assert not COMPLAINTS.search(harness.text), harness.text


@pytest.mark.slow
async def test_a_refused_api_id_is_one_alert_and_mending_it_helps(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three accounts stop with one line that counts them; after the config was mended, a restart connects them."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        refuse(monkeypatch, RpcRefusal(400, "API_ID_INVALID"))
        async with harness.running() as engine:
            await harness.until(all_are("auth_failed", 3))
            code, printed = await told(harness, "retry", "Account 1")
            assert code == 0
            assert "reload" in printed
            await harness.until(lambda at: at.text.count("3 accounts are stopped") == 2)
            assert await harness.finish(engine, signal.SIGINT) == 0
        errors = [line for line in harness.text.splitlines() if " - ERROR - " in line]
        refusals = [line for line in errors if "Incident" not in line]
        assert len(refusals) == 2
        assert all("telegram.api_id" in line for line in refusals)
        refuse(monkeypatch, None)
        async with harness.running("--for", "1s") as engine:
            assert await harness.finish(engine) == 0
        assert harness.states() == ["shutting_down"] * 3
        assert harness.text.count("3 accounts are stopped") == 3
        harness.config.write_text(harness.config.read_text().replace("api_id: 12345", "api_id: 54321"))
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 3))
            assert await harness.finish(engine, signal.SIGINT) == 0


@pytest.mark.slow
async def test_status_says_what_each_account_has_in_memory(harness: EngineHarness) -> None:
    """``--verbose`` asks the running engine; JSON and the page have it, and an engine that is down has nothing."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES[:2])
        async with harness.running(dev=True):
            await harness.until(all_are("healthy", 2))
            _, printed = await told(harness, "status", "--verbose", "--json")
            memory = [row["memory"] for row in json.loads(printed)["accounts"]]
            assert all(each["bytes"] >= each["entities"] * 100 > 0 for each in memory)
            assert [each["waiting"] + each["running"] + each["queued"] for each in memory] == [0, 0]
            assert "memory" not in await row_of(harness)
            code, page = await told(harness, "status", "Account 2", "--verbose")
            assert code == 0
            assert "Memory of accounts" in page
            assert "Account 1" not in page
        _, printed = await told(harness, "status", "--verbose", "--json")
        assert [row["memory"] for row in json.loads(printed)["accounts"]] == [None, None]
