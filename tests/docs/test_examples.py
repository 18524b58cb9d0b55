"""Each program of ``examples/`` runs as it stands, against the sandbox."""

import asyncio
import importlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import anyio
import pytest
from telethon import TelegramClient
from telethon.crypto import AuthKey, rsa
from telethon.sessions import SQLiteSession

from adapters.sandbox import Fault, FaultKind, Sandbox
from engine import Engine
from states.jobs import JobState
from tests.engine.harness import COMPLAINTS, FAST, ROOT, EngineHarness
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996630001")
EXAMPLES = ROOT / "examples"


@pytest.fixture
def harness(tmp_path: Path) -> EngineHarness:
    """Return an empty directory to work in."""
    return EngineHarness(tmp_path)


@asynccontextmanager
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a sandbox, whose key Telethon knows."""
    async with Sandbox() as dc:
        rsa.add_key(dc.public_key, old=False)
        yield dc


async def run(harness: EngineHarness, name: str, *arguments: str) -> list[str]:
    """Run a program to its end, which must be clean; return the lines that it printed."""
    with anyio.fail_after(TIMEOUT):
        done = await anyio.run_process(
            [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
            cwd=harness.directory,
            env=harness.environment,
            check=False,
        )
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert not COMPLAINTS.search(said), said
    return done.stdout.decode().splitlines()


def session_of(dc: Sandbox, phone: str, file: Path) -> Path:
    """Write a session file as Telethon does, logged in."""
    session = SQLiteSession(str(file))
    session.set_dc(dc.dc_id, "127.0.0.1", dc.port)
    session.auth_key = AuthKey(dc.authorize(phone))
    session.save()
    session.close()
    return file


@pytest.mark.slow
async def test_the_program_around_the_engine(harness: EngineHarness) -> None:
    """It waits for an account, asks as its client, has a job done, reads the journal, and ends with 0."""
    async with sandbox() as dc:
        harness.at(dc, PHONES[0])
        lines = await run(harness, "program.py")
        assert lines[:2] == [f"User {PHONES[0][1:]}", "done"]
        assert lines[-1] == "Account 1 Connected healthy"
        assert [message.text for message in dc.messages(PHONES[0])] == ["Hello"]


@pytest.mark.slow
async def test_the_collector(harness: EngineHarness) -> None:
    """It reads the whole history into the database, while the connection is cut again and again."""
    async with sandbox() as dc:
        await dc.create_channel("some_group", "Some", megagroup=True, members=[PHONES[0]])
        await dc.fill("some_group", 1000)
        harness.at(dc, PHONES[0])
        await dc.inject(Fault(FaultKind.RESET_AFTER, request="messages.getHistory", times=3))
        lines = await run(harness, "collect.py", "@some_group", "config.yaml")
        assert lines[0].startswith("done: ")
        assert len(lines) == 4
        with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as database:
            [(count,)] = database.execute("SELECT count(*) FROM messages")
        assert count == len(dc.channel_messages("some_group"))


async def test_the_module_of_the_config(harness: EngineHarness, capsys: pytest.CaptureFixture[str]) -> None:
    """Its kind counts, its handler answers, and its coroutine runs beside the account."""
    async with sandbox() as dc:
        await dc.create_channel("some_group", "Some", megagroup=True, members=[PHONES[0]])
        for text in ("one two one", "two", "one"):
            await dc.post("some_group", text)
        shutil.copy(EXAMPLES / "my_work.py", harness.directory / "my_work_of_an_example.py")
        harness.at(dc, PHONES[0], rest=FAST + "work: {modules: [my_work_of_an_example.py]}\n")
        async with Engine.from_config(harness.config) as engine:
            number = await engine.add_job("count_words", {"chat": "@some_group", "word": "one"})
            with anyio.fail_after(TIMEOUT):
                job = await engine.finished(number)
            assert (job.state, job.result) == (JobState.DONE, {"count": 3})
            await dc.push(PHONES[0], "ping", sender=PHONES[1])
            with anyio.fail_after(TIMEOUT):
                while [message.text for message in dc.messages(PHONES[1])] != ["ping", "pong"]:
                    await anyio.sleep(0.01)
        assert " unread\n" in capsys.readouterr().out


async def test_the_program_beside_the_engine(harness: EngineHarness) -> None:
    """It asks and sends with an account of the engine, and hears of a message."""
    lines = (EXAMPLES / "remote.py").read_text().partition("remote:")[2].partition('"""')[0]
    rest = FAST + "remote:" + lines.replace("\n    ", "\n")
    async with sandbox() as dc:
        harness.at(dc, PHONES[0], rest=rest)
        async with Engine.from_config(harness.config) as engine, anyio.create_task_group() as tasks:
            await engine.account("Account 1").ready()

            async def ping() -> None:
                while [message.text for message in dc.messages(PHONES[0])][:1] != ["The reporter is here"]:
                    await anyio.sleep(0.01)
                await dc.push(PHONES[0], "ping", sender=PHONES[1])

            tasks.start_soon(ping)
            lines_of = await run(harness, "remote.py", "config.yaml", "Account 1")
            assert lines_of[0].startswith("User")
        assert [message.text for message in dc.messages(PHONES[1])] == ["ping", "pong"]


async def test_the_monitor(harness: EngineHarness, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints the status block, heals a reset, and leaves the client disconnected when it is cancelled."""
    async with sandbox() as dc:
        monitor = importlib.import_module("monitor")
        file = session_of(dc, PHONES[0], harness.directory / "account1.session")
        client = TelegramClient(str(file), 1, "0" * 32)
        shown = ""
        running = asyncio.create_task(monitor.main({"account1": client}, check_interval=0.2, status_every=0.05))
        with anyio.fail_after(TIMEOUT):
            while "Status: healthy" not in shown:
                await anyio.sleep(0.01)
                shown += capsys.readouterr().out
            await anyio.sleep(0.5)  # by now the link counts as stable, and its loss is followed by an attempt at once
            await dc.inject(Fault(FaultKind.RESET))
            while "Reconnects: 1" not in shown:
                await anyio.sleep(0.01)
                shown += capsys.readouterr().out
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        assert not client.is_connected()


async def test_the_script_with_a_session(harness: EngineHarness, capsys: pytest.CaptureFixture[str]) -> None:
    """It uses the file of Telethon's, and Telethon can read it afterwards."""
    async with sandbox() as dc:
        sessions = importlib.import_module("sessions")
        file = session_of(dc, PHONES[0], harness.directory / "account1.session")
        with anyio.fail_after(TIMEOUT):
            await sessions.main(str(file), 1, "0" * 32)
        assert capsys.readouterr().out == f"{PHONES[0][1:]}: 0 chats\n"
        again = SQLiteSession(str(file))
        assert again.port == dc.port
        again.close()


@pytest.mark.slow
def test_the_test_of_a_telethon_program() -> None:
    """``test_echo.py`` passes under pytest, as its first lines say."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        str(EXAMPLES / "test_echo.py"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert "1 passed" in done.stdout, done.stdout


def test_every_example_is_in_the_list() -> None:
    """The examples' README names each file that is there."""
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    assert [file.name for file in sorted(EXAMPLES.glob("*.py")) if f"({file.name})" not in listed] == []
