"""Accounts that the config calls something else: what is stored belongs to the login, not to the name."""

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from telethon.crypto import AuthKey
from telethon.errors import FloodWaitError
from telethon.sessions import SQLiteSession
from telethon.tl.functions.help import GetNearestDcRequest

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.session.backup import back_up, backups_of
from adapters.sqlite import JournalReader
from adapters.sqlite.jobs import NewJob, add
from engine import Engine
from states import Snapshot, State
from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002")


def call(harness: EngineHarness, **sessions: str) -> None:
    """Write the accounts into the config anew: the file of each one's session, by its name."""
    text = harness.config.read_text()
    head, _, rest = text.partition("accounts:\n")
    lines = [f"  - {{name: {name.replace('_', ' ')}, session: {session}}}\n" for name, session in sessions.items()]
    tail = rest[rest.index("\n\n") :] if "\n\n" in rest else rest
    harness.config.write_text(head + "accounts:\n" + "".join(lines) + tail)


def new_login(harness: EngineHarness, dc: Sandbox, phone: str, file: str) -> None:
    """Put another login into a session file."""
    path = harness.directory / f"{file}.session"
    path.unlink(missing_ok=True)
    session = SQLiteSession(str(path))
    session.set_dc(dc.dc_id, "127.0.0.9", 443)
    session.auth_key = AuthKey(dc.authorize(phone))
    session.save()
    session.close()


def back_up_both(harness: EngineHarness) -> tuple[Path, dict[int, bytes]]:
    """Make a backup of both accounts of the same second; return their directory, and the content of each by number."""
    backups, contents = harness.directory / "data" / "backups", {}
    for number in (1, 2):
        made = back_up(harness.directory / f"account{number}.session", backups, name=f"Account {number}")
        contents[number] = made.read_bytes()
        made.rename(backups / f"Account {number}-20260101T000000Z.session")
    return backups, contents


async def run(harness: EngineHarness) -> dict[str, Snapshot]:
    """Run the engine until every account has settled; return where they were then."""
    async with Engine.from_config(harness.config) as engine:
        with anyio.fail_after(TIMEOUT):
            while any(at.state not in (State.HEALTHY, State.AUTH_FAILED) for at in engine.fleet.statuses.values()):
                await anyio.sleep(0.02)
        return {runner.account: runner.snapshot for runner in engine.fleet.runners.values()}


async def flood(harness: EngineHarness, dc: Sandbox, account: str) -> None:
    """Run the engine, and have Telegram make one account wait for an hour with one kind of request."""
    async with Engine.from_config(harness.config) as engine:
        for name in engine.fleet.runners:
            with anyio.fail_after(TIMEOUT):
                await engine.account(name).ready()
        await dc.inject(
            Fault(FaultKind.RPC_ERROR, request="help.getNearestDc", code=420, text="FLOOD_WAIT_3600", times=1)
        )
        with pytest.raises(FloodWaitError):
            await engine.account(account).client(GetNearestDcRequest())
        with anyio.fail_after(TIMEOUT):
            while not engine.account(account).snapshot.holds:
                await anyio.sleep(0.02)


def held(at: Snapshot) -> list[str]:
    """Return the kinds of requests that wait."""
    return [hold.request for hold in at.holds]


async def replays(harness: EngineHarness) -> str:
    """Return what the replay says of the journal."""
    code, printed = await harness.command("log", "replay", str(harness.config))
    assert code == 0, printed
    return printed


@pytest.mark.slow
async def test_a_renamed_account_keeps_its_flood_wait_and_its_backups(harness: EngineHarness) -> None:
    """The wait, the counters, the jobs and the backups go with the login, and the log says that it was renamed."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        await flood(harness, dc, "Account 1")
        data = harness.directory / "data"
        kept = back_up(harness.directory / "account1.session", data / "backups", name="Account 1")
        (job,) = add(
            data / "engine.db",
            [NewJob(kind="send", data={"to": "me", "text": "x"}, account="Account 1", due=time.time() + 3600)],
        )
        before = len(harness.entries())
        call(harness, News_1="account1")
        async with harness.running() as process:
            await harness.until(lambda its: its.states() == ["healthy"])
            _, listed = await harness.command("session", "restore", str(harness.config), "News 1", "--list")
            status = (await harness.command("status", str(harness.config)))[1]
            await harness.finish(process, 15)
        assert "News 1 was called Account 1 before" in harness.text
        assert kept.name.removeprefix("Account 1") in listed
        assert "News 1" in status
        assert "Account 1" not in status
        with JournalReader.open(data / "engine.db") as reader:
            assert reader.accounts() == ["News 1"]
            assert held(reader.snapshots()["News 1"][0]) == ["GetNearestDc"]
        assert {entry.account for entry in harness.entries()[:before]} == {"News 1"}
        with closing(sqlite3.connect(data / "engine.db")) as db:
            assert db.execute("SELECT account FROM jobs WHERE id = ?", (job,)).fetchone() == ("News 1",)
        printed = (await harness.command("log", str(harness.config), "--account", "Account 1"))[1]
        assert "Account 1 has been called News 1 since" in printed
        assert len(printed.splitlines()) > before
        await replays(harness)


async def test_two_accounts_swap_their_names(harness: EngineHarness) -> None:
    """Each keeps its own wait and its own backups, of the same second too, and nothing is overwritten."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        await flood(harness, dc, "Account 1")
        backups, contents = back_up_both(harness)
        call(harness, Account_1="account2", Account_2="account1")
        found = await run(harness)
        assert held(found["Account 2"]) == ["GetNearestDc"]
        assert held(found["Account 1"]) == []
        for number in (1, 2):
            (its,) = backups_of(backups, f"Account {number}")
            assert its.path.read_bytes() == contents[3 - number]
        call(harness, Account_1="account1", Account_2="account2")
        found = await run(harness)
        assert held(found["Account 1"]) == ["GetNearestDc"]
        await replays(harness)


async def test_another_account_gets_the_old_name(harness: EngineHarness) -> None:
    """The new one begins anew, and the renamed one keeps its wait, although its session file was moved as well."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        await flood(harness, dc, "Account 1")
        (harness.directory / "account1.session").rename(harness.directory / "moved.session")
        new_login(harness, dc, PHONES[1], "account1")
        call(harness, Account_1="account1", News_1="moved")
        found = await run(harness)
        assert held(found["News 1"]) == ["GetNearestDc"]
        assert (held(found["Account 1"]), found["Account 1"].life) == ([], 1)
        await replays(harness)


async def test_another_login_under_the_same_name_begins_anew(harness: EngineHarness) -> None:
    """It has no wait of the login before; that one finds its wait again when it comes back under any name."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        await flood(harness, dc, "Account 1")
        shutil.move(harness.directory / "account1.session", harness.directory / "old.session")
        new_login(harness, dc, PHONES[1], "account1")
        found = await run(harness)
        assert (held(found["Account 1"]), found["Account 1"].life) == ([], 1)
        call(harness, Account_1="account1", Old="old")
        found = await run(harness)
        assert held(found["Old"]) == ["GetNearestDc"]
        assert found["Account 1"].life == 2
        await replays(harness)


@pytest.mark.slow
async def test_a_new_login_of_the_same_user_keeps_the_wait(harness: EngineHarness) -> None:
    """Logging in again is no way around a flood wait: the user is the same, and the session says so."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        await flood(harness, dc, "Account 1")
        path = harness.directory / "account1.session"
        with closing(sqlite3.connect(path)) as old:
            (user,) = old.execute("SELECT hash FROM entities WHERE id = 0").fetchone()
        new_login(harness, dc, PHONES[0], "account1")
        with closing(sqlite3.connect(path)) as new:
            new.execute("INSERT INTO entities (id, hash) VALUES (0, ?)", (user,))
            new.commit()
        found = await run(harness)
        assert held(found["Account 1"]) == ["GetNearestDc"]
        assert found["Account 1"].life == 2


@pytest.mark.slow
async def test_a_rejected_login_stays_rejected_under_another_name(harness: EngineHarness) -> None:
    """Dead credentials are not tried again because the config calls them something else."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        await dc.inject(Fault(FaultKind.RPC_ERROR, code=401, text="SESSION_REVOKED"))
        assert (await run(harness))["Account 1"].state is State.AUTH_FAILED
        await dc.clear()
        call(harness, News_1="account1")
        _, examined = await harness.command("doctor", str(harness.config))
        assert "the journal knows that it cannot be used" in examined
        for _ in range(2):
            found = await run(harness)
            assert found["News 1"].state is State.AUTH_FAILED
            assert found["News 1"].links == 1
        await replays(harness)


async def test_an_account_called_like_a_state_is_renamed(harness: EngineHarness) -> None:
    """Names of states and events are stored beside those of accounts, and stay as they are."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        call(harness, healthy="account1")
        await run(harness)
        call(harness, Connected="account1")
        assert (await run(harness))["Connected"].life == 2
        call(harness, backoff="account1")
        assert (await run(harness))["backoff"].life == 3
        assert {entry.account for entry in harness.entries()} == {"backoff"}
        await replays(harness)


async def test_backups_that_a_crash_left_are_renamed_by_the_next_start(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine dies between the database and the backups of a swap; the next start does the rest, once."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        await run(harness)
        backups, contents = back_up_both(harness)
        call(harness, Account_1="account2", Account_2="account1")

        def die(directory: Path, moves: list[tuple[str, str]]) -> None:
            (directory / moves[0][0]).rename(directory / moves[0][1])
            raise OSError("no more of this")

        with monkeypatch.context() as patch:
            patch.setattr("engine.app.restored.move", die)
            await run(harness)
        await run(harness)
        for number in (1, 2):
            (its,) = backups_of(backups, f"Account {number}")
            assert its.path.read_bytes() == contents[3 - number]


@pytest.mark.parametrize("version", [pytest.param(5, marks=pytest.mark.slow), 6])
async def test_a_database_of_an_earlier_version_knows_the_login_too(harness: EngineHarness, version: int) -> None:
    """It has no table of logins, and its snapshots say enough; commands read it before the engine has migrated it."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        await flood(harness, dc, "Account 1")
        with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
            for table in ("logins", "renames", "file_moves", *(["job_traces"] if version < 6 else [])):
                db.execute(f"DROP TABLE {table}")
            db.execute(f"PRAGMA user_version = {version}")
            db.commit()
        code, printed = await harness.command("log", str(harness.config), "--account", "Nobody")
        assert (code, "no account is named like 'Nobody'" in printed) == (2, True)
        call(harness, News_1="account1")
        found = await run(harness)
        assert held(found["News 1"]) == ["GetNearestDc"]
        assert found["News 1"].life == 2
        await replays(harness)
