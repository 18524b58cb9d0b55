"""A program that uses an account of a node goes on when the account is at another one."""

import signal
from pathlib import Path
from typing import Any

import anyio
import pytest
from telethon import events

from adapters.sandbox import Sandbox
from engine import RemoteClient
from engine.remote.errors import EngineElsewhere
from engine.remote.link import EngineLink
from tests.engine.nodes import ACCOUNTS, PHONES, Nodes, clean
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

GROUP = "sandbox_group"
PROGRAMS = 'remote:\n  programs:\n    reader: {accounts: "*", methods: "*", updates: true}\n'


async def test_a_program_follows_its_account_and_misses_nothing(tmp_path: Path, store_url: str) -> None:
    """It hears of each message once: here, at the node to which the account moves, and back after a kill of that."""
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        nodes = Nodes(tmp_path, store_url, dc)
        one = await nodes.node("one", lease="15s", rest=PROGRAMS)
        two = await nodes.node("two", lease="15s", rest=PROGRAMS, more=", accounts_at_most: 1")
        nodes.settle()
        client, heard = RemoteClient(one.config, "Account 1", name="reader"), list[str]()

        @client.on(events.NewMessage)
        async def note(event: Any) -> None:
            heard.append(event.text)

        async def says(*texts: str) -> None:
            with anyio.fail_after(TIMEOUT):
                while len(heard) < len(texts):
                    await anyio.sleep(0.05)
            assert heard == list(texts), one.text + two.text

        async with one.running() as first:
            await nodes.until(lambda: nodes.owners() == dict.fromkeys(ACCOUNTS, "one"), one)
            await nodes.until(lambda: set(nodes.healthy()) == set(ACCOUNTS), one)
            async with client:
                await dc.post(GROUP, "first")
                await says("first")
                async with two.running() as second:
                    await two.until(lambda at: "This node has a lease" in at.text)
                    code, said = await one.command("move", "config.yaml", "Account 1", "two")
                    assert code == 0, said
                    await nodes.until(lambda: nodes.owners()["Account 1"] == "two", one, two)
                    await dc.post(GROUP, "second")
                    await says("first", "second")
                    assert (await client.get_me()).phone == PHONES[0].removeprefix("+")
                    second.kill()
                    await dc.post(GROUP, "third")
                    await says("first", "second", "third")
                    assert nodes.owners()["Account 1"] == "one"
                    assert (await client.get_me()).phone == PHONES[0].removeprefix("+")
            assert await one.finish(first, signal.SIGTERM) == 0
        assert dc.stats()["logins_destroyed"] == 0
    assert clean(one, two), one.text + two.text


async def test_a_program_is_told_where_its_account_is(tmp_path: Path, store_url: str) -> None:
    """If that is on another machine: a sentence with the node, its host and the remedy."""
    async with Sandbox() as dc:
        nodes = Nodes(tmp_path, store_url, dc)
        one = await nodes.node("one", rest=PROGRAMS)
        nodes.settle()
        async with one.running() as process:
            await nodes.until(lambda: set(nodes.healthy()) == set(ACCOUNTS), one)
            nodes.execute("INSERT INTO nodes (id, name, host, epoch, lease) VALUES (7, 'eu-2', 'db2', 1, 600)")
            nodes.execute("UPDATE accounts SET owner = 7, epoch = epoch + 1 WHERE name = 'Account 1'")
            await one.until(lambda at: "does not say any more that 1 accounts" in at.text)
            link = EngineLink(one.directory / "data", "Account 1", "reader", 0)
            link.layer = RemoteClient(one.config, "Account 1", name="reader")._link.layer
            with pytest.raises(EngineElsewhere, match="Account 1 is at node eu-2 now, on host db2: start the program"):
                await link.open()
            assert await one.finish(process, signal.SIGTERM) == 0
