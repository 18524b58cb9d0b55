"""Session files that come from a script, and go back to it."""

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from telethon import TelegramClient, events
from telethon.sessions import SQLiteSession

from adapters.sandbox import Sandbox
from adapters.session import owner_of
from tests.adapters.session.support import HOLDS, program
from tests.engine.harness import EngineHarness, all_are
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002", "+9996620003")
API = (12345, "0123456789abcdef0123456789abcdef")


async def script(path: Path, dc: Sandbox) -> int:
    """Use a session file as a script of Telethon's does; return the id of its user."""
    session = SQLiteSession(str(path))
    session.set_dc(dc.dc_id, "127.0.0.1", dc.port)
    client = TelegramClient(session, *API, auto_reconnect=False, connection_retries=0, catch_up=True)
    client.add_event_handler(lambda _: None, events.NewMessage())
    await client.connect()
    me = await client.get_me()
    await client.disconnect()
    return int(me.id)


@pytest.mark.slow
async def test_a_directory_of_a_scripts_sessions_works_at_once_and_goes_back(harness: EngineHarness) -> None:
    """Every file connects under its own name, none of what it says of key and address changes, and scripts go on."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        given = harness.directory / "given"
        given.mkdir()
        files = [given / f"shop {number}.session" for number in (1, 2, 3)]
        for number, path in enumerate(files, 1):
            (harness.directory / f"account{number}.session").rename(path)
            await script(path, dc)
        before = [row(path) for path in files]
        where = f"{{id: {dc.dc_id}, host: 127.0.0.1, port: {dc.port}, public_key: dc.pem}}"
        harness.write(where, "  - session: given/*.session")
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 3))
            await dc.push(PHONES[0], "hello", sender=PHONES[1])
            await harness.until(lambda _: pts(files[0]) == 2)
            assert owner_of(files[0]).pid == engine.pid  # type: ignore[union-attr]
            assert await harness.finish(engine, signal.SIGTERM) == 0
        assert [row(path) for path in files] == before
        assert [entry.name for entry in sorted(given.iterdir())] == [path.name for path in files]
        for path, phone in zip(files, PHONES, strict=True):
            assert await script(path, dc) == dc._hub.store.account(phone).id


def row(path: Path) -> tuple[object, ...]:
    """Return datacenter, address and key."""
    with closing(sqlite3.connect(path)) as database:
        return tuple(database.execute("select dc_id, server_address, port, auth_key from sessions").fetchone())


def pts(path: Path) -> int:
    """Return how far the account has seen its updates."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("select pts from update_state where id = 0").fetchone()
    return int(found[0]) if found else 0


@pytest.mark.slow
async def test_a_second_engine_on_the_same_sessions_leaves_at_once(harness: EngineHarness, tmp_path: Path) -> None:
    """Another config and another directory, but one session file: exit code 3, and which process has it."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 1))
            text = harness.config.read_text().replace("accounts:", "storage: {directory: other}\naccounts:")
            (tmp_path / "second.yaml").write_text(text)
            with anyio.fail_after(TIMEOUT):
                code, said = await harness.command("run", "second.yaml")
            assert await harness.finish(engine, signal.SIGTERM) == 0
    assert code == 3
    assert f"account1.session: the session is used by process {engine.pid} (engine)" in said
    assert "\n" not in said.strip()


@pytest.mark.slow
async def test_a_script_that_has_a_session_keeps_one_account_waiting_and_no_other(harness: EngineHarness) -> None:
    """The account says which process has its session, the other one connects, and it follows when the script ends."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES[:2])
        with program(HOLDS, harness.directory / "account1.session") as other:
            assert other.say() == "held"
            async with harness.running() as engine:
                await harness.until(lambda at: sorted(at.states()) == ["backoff", "healthy"])
                await harness.until(lambda at: f"used by process {other.process.pid} " in at.text)
                other.process.kill()
                await harness.until(all_are("healthy", 2))
                assert await harness.finish(engine, signal.SIGTERM) == 0
