"""Updates of an account for other programs: each has its own cursor, and misses nothing while it is away."""

from collections.abc import Callable
from typing import Any

import anyio
from telethon import events

from adapters.sandbox import Sandbox
from engine import RemoteClient
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
