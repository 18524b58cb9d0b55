"""``kill -9`` of a program, and of the engine under it: nothing is missed, and nothing is doubled but what is said."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from telethon import events

from adapters.sandbox import Sandbox
from engine import RemoteClient
from tests.engine.harness import FAST, STRICT, EngineHarness
from tests.engine.remote.test_requests import ALL, GROUP, PHONES
from tests.engine.remote.test_updates import until

PROGRAM = """
import asyncio, sys
from telethon import events
from engine import RemoteClient

async def main():
    client = RemoteClient(sys.argv[1], "Account 1", name="script")

    @client.on(events.NewMessage)
    async def note(event):
        with open(sys.argv[2], "a") as file:
            file.write(event.text + "\\n")
        if event.text == sys.argv[3]:
            await asyncio.sleep(3600)

    async with client:
        print("ready", flush=True)
        await client.run_until_disconnected()

asyncio.run(main())
"""


def acknowledged(harness: EngineHarness) -> int:
    """Return how far the program's cursor is in the file."""
    with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
        rows = db.execute("SELECT acknowledged FROM remote_cursors").fetchall()
    return int(rows[0][0]) if rows else 0


def knows_channel(harness: EngineHarness) -> bool:
    """Return whether the session file says how far the engine has seen a channel."""
    with closing(sqlite3.connect(harness.directory / "account1.session")) as db:
        return bool(db.execute("SELECT 1 FROM update_state WHERE id != 0").fetchall())


def lines_of(file: Path) -> list[str]:
    """Return what the program has noted."""
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.slow
async def test_a_killed_program_goes_on_where_it_was(harness: EngineHarness) -> None:
    """The update whose handler had not ended comes again, what came meanwhile follows, and nothing else is doubled."""
    noted = harness.directory / "noted.txt"
    (harness.directory / "program.py").write_text(PROGRAM)
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        harness.at(dc, PHONES[0], rest=FAST + ALL)

        async def program(stop_at: str) -> anyio.abc.Process:
            command = [sys.executable, *STRICT, "program.py", str(harness.config), str(noted), stop_at]
            process = await anyio.open_process(command, cwd=harness.directory, env=harness.environment)
            assert process.stdout is not None
            assert b"ready" in await process.stdout.receive()
            return process

        async with harness.running():
            await harness.until(lambda it: "healthy" in it.text or "proven" in it.text or "✅" in it.text)
            async with await program("3") as first:
                for text in "123":
                    await dc.post(GROUP, text)
                await until(lambda: lines_of(noted) == ["1", "2", "3"] and acknowledged(harness) == 2)
                first.kill()
            for text in "45":
                await dc.post(GROUP, text)
            async with await program("never") as second:
                await until(lambda: len(lines_of(noted)) == 6 and acknowledged(harness) == 5)
                second.kill()
        assert lines_of(noted) == ["1", "2", "3", "3", "4", "5"]


@pytest.mark.slow
async def test_a_killed_engine_costs_a_program_nothing(harness: EngineHarness) -> None:
    """The program connects again by itself; of all messages, also those of the outage, each is there once."""
    heard: list[str] = []
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        harness.at(dc, PHONES[0], rest=FAST + ALL)
        client = RemoteClient(harness.config, "Account 1", name="script")
        client.add_event_handler(lambda event: note(event.text), events.NewMessage)

        async def note(text: str) -> None:
            heard.append(text)

        posted = [f"{number}" for number in range(30)]
        async with harness.running() as first:
            await harness.until(lambda it: (it.directory / "data" / "engine.sock").exists())
            async with client:
                assert (await client.get_me()).phone == PHONES[0][1:]
                await dc.post(GROUP, posted[0])
                await until(lambda: knows_channel(harness))  # before that, nobody knows where the engine was in it
                for text in posted[1:15]:
                    await dc.post(GROUP, text)
                await until(lambda: len(heard) >= 5)
                first.kill()
                await first.wait()
                for text in posted[15:]:
                    await dc.post(GROUP, text)
                async with harness.running():
                    await until(lambda: len(heard) >= 30)
                    assert (await client.get_me()).phone == PHONES[0][1:]
        assert sorted(heard, key=int) == posted
