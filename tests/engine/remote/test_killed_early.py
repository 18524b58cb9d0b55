"""``kill -9`` of the engine right after the first update of a channel: what comes in the outage is fetched."""

import sqlite3
from contextlib import closing

import pytest
from telethon import events

from adapters.sandbox import Sandbox
from engine import RemoteClient
from tests.engine.harness import FAST, EngineHarness
from tests.engine.remote.test_requests import ALL, GROUP, PHONES
from tests.engine.remote.test_updates import until


def number_in_file(harness: EngineHarness) -> int | None:
    """Return the number of the only channel in the session file."""
    with closing(sqlite3.connect(harness.directory / "account1.session")) as db:
        row = db.execute("SELECT pts FROM update_state WHERE id != 0").fetchone()
    return None if row is None else int(row[0])


@pytest.mark.slow
async def test_an_engine_killed_at_first_sight_of_a_channel_loses_nothing(harness: EngineHarness) -> None:
    """``engine.db`` is locked, so nothing counts as handled: the session file has the number before it all the same."""
    heard: list[str] = []
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=FAST.replace("prove_every: 500ms", "prove_every: 1h") + ALL)
        client = RemoteClient(harness.config, "Account 1", name="script")

        async def note(event: events.NewMessage.Event) -> None:
            heard.append(event.text)

        client.add_event_handler(note, events.NewMessage)
        async with harness.running() as first:
            await harness.until(lambda it: (it.directory / "data" / "engine.sock").exists())
            async with client:
                assert (await client.get_me()).phone == PHONES[0][1:]
                await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
                with closing(sqlite3.connect(harness.directory / "data" / "engine.db", isolation_level=None)) as db:
                    db.execute("BEGIN IMMEDIATE")
                    await dc.post(GROUP, "0")
                    await until(lambda: number_in_file(harness) == 1)
                    first.kill()
                    await first.wait()
                for number in range(1, 15):
                    await dc.post(GROUP, f"{number}")
                async with harness.running():
                    await until(lambda: len(heard) >= 15)
        assert sorted(heard, key=int) == [f"{number}" for number in range(15)]
