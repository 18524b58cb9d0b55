"""Updates of an account for other programs: each has its own cursor, and misses nothing while it is away."""

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from telethon import events
from telethon.tl import types

from adapters.sandbox import Sandbox
from engine import Engine, RemoteClient, RequestRefused
from engine.remote import delivery
from tests.engine.harness import EngineHarness
from tests.engine.remote.test_requests import GROUP, PHONES, running
from tests.timeouts import TIMEOUT

TWO = """
remote:
  programs:
    one: {accounts: "*", methods: "*", updates: true}
    two: {accounts: "*", methods: "*", updates: true}
"""


async def until(holds: Callable[[], Any]) -> None:
    """Wait until it is so."""
    with anyio.fail_after(TIMEOUT):
        while not holds():
            await anyio.sleep(0.01)


def listening(harness: EngineHarness, name: str) -> tuple[RemoteClient, list[str]]:
    """Return the client of a program that notes what it reads, and its notes."""
    client, heard = RemoteClient(harness.config, "Account 1", name=name), list[str]()

    @client.on(events.NewMessage)
    async def note(event: Any) -> None:
        chat, sender = await event.get_chat(), await event.get_sender()
        heard.append(f"{chat.title}: {event.text} ({type(sender).__name__})")

    return client, heard


async def test_each_program_has_its_own_place(harness: EngineHarness) -> None:
    """Two programs hear of a message; the one that was away meanwhile hears of the next one when it is back, once."""
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        async with running(harness, dc, PHONES[0], rest=TWO):
            (one, heard_by_one), (two, heard_by_two) = listening(harness, "one"), listening(harness, "two")
            async with one, two:
                await dc.post(GROUP, "first")
                await until(lambda: heard_by_one and heard_by_two)
            assert heard_by_one == heard_by_two == ["Test: first (Channel)"]
            async with one:
                await dc.post(GROUP, "second")
                await until(lambda: len(heard_by_one) == 2)
            async with two:
                await until(lambda: len(heard_by_two) == 2)
                await dc.post(GROUP, "third")
                await until(lambda: len(heard_by_two) == 3)
            assert [line.split()[1] for line in heard_by_two] == ["first", "second", "third"]


async def test_what_falls_out_is_told(harness: EngineHarness) -> None:
    """Beyond the bound the oldest go: the log says so, the program hears how many, and then of the others."""
    rest = TWO + "  keep_updates: 100\n"
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        async with running(harness, dc, PHONES[0], rest=rest) as engine:
            client, heard = listening(harness, "one")
            lost: list[int] = []

            @client.on(events.Raw(types.UpdatesTooLong))
            async def missed(update: Any) -> None:
                lost.append(update.lost)

            async with client:
                pass
            feed = engine.remote.feeds.feeds["Account 1"]
            for number in range(120):
                await dc.post(GROUP, str(number))
            await until(lambda: feed.durable == 120)
            await engine.remote.feeds.prune(feed)
            async with client:
                await until(lambda: len(heard) == 100 and feed.cursors["one"].acknowledged == 120)
            assert lost == [20]
            shown = json.loads((await harness.command("status", str(harness.config), "--json"))[1])["programs"]
            assert [(each["name"], each["account"], each["behind"]) for each in shown] == [("one", "Account 1", 0)]
            assert sorted(int(line.split()[1]) for line in heard) == list(range(20, 120))


async def test_updates_are_for_those_who_may_have_them(harness: EngineHarness) -> None:
    """A handler of a program that may not is refused with the key; after a reload it is not."""
    no = TWO.replace("updates: true", "updates: false")
    async with Sandbox() as dc, running(harness, dc, PHONES[0], rest=no) as engine:
        client, _ = listening(harness, "one")
        with pytest.raises(RequestRefused, match=r"remote\.programs\.one\.updates"):
            await client.connect()
        harness.config.write_text(harness.config.read_text().replace("updates: false", "updates: true"))
        assert engine._reloader is not None
        assert (await engine._reloader.answer(str(harness.config), dry_run=False))["ok"]
        async with listening(harness, "one")[0]:
            assert engine.remote.feeds.wants("Account 1")
        harness.config.write_text(harness.config.read_text().replace("updates: true", "updates: false"))
        assert (await engine._reloader.answer(str(harness.config), dry_run=False))["ok"]
        assert not engine.remote.feeds.wants("Account 1")


async def test_one_connection_has_the_updates(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process of the same name is told so; when the first has gone, the cursor is the next one's."""
    monkeypatch.setattr(delivery, "TAKEOVER_TIMEOUT", 0.1)
    async with Sandbox() as dc, running(harness, dc, PHONES[0], rest=TWO):
        first, second = listening(harness, "one")[0], listening(harness, "one")[0]
        async with first:
            with pytest.raises(RequestRefused, match="another connection of the program 'one'"):
                await second.connect()
            await second.disconnect()
        async with second:
            assert second.is_connected()


async def test_a_program_that_was_there_before_the_engine_stopped(harness: EngineHarness) -> None:
    """Its cursor is in the file: an engine that begins anew keeps updates for it from its first connection on."""
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        async with running(harness, dc, PHONES[0], rest=TWO):
            client, heard = listening(harness, "one")
            async with client:
                await dc.post(GROUP, "first")
                await until(lambda: heard)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            await dc.post(GROUP, "second")
            await until(lambda: engine.remote.feeds.feeds["Account 1"].durable == 2)
        async with Engine.from_config(harness.config), client:
            await until(lambda: len(heard) == 2)
        assert [line.split()[1] for line in heard] == ["first", "second"]


async def test_a_handler_that_disconnects_has_handled_its_update(harness: EngineHarness) -> None:
    """It does not come again."""
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        async with running(harness, dc, PHONES[0], rest=TWO) as engine:
            client = RemoteClient(harness.config, "Account 1", name="one")

            @client.on(events.NewMessage)
            async def stop(event: Any) -> None:
                await client.disconnect()

            await client.connect()
            await dc.post(GROUP, "stop")
            with anyio.fail_after(TIMEOUT):
                await client.run_until_disconnected()
            await until(lambda: engine.remote.feeds.feeds["Account 1"].cursors["one"].acknowledged == 1)
