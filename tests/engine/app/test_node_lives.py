"""``run`` as a node whose store is away for longer than its lease: one process, which goes on by itself."""

import signal
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import pytest
from anyio.abc import Process

from adapters.postgres.address import StoreAddress
from adapters.sandbox import Fault, FaultKind, Sandbox
from engine.control.client import ask_memory
from tests.engine.harness import EngineHarness
from tests.engine.nodes import ACCOUNTS, PHONES, Nodes, clean
from tests.postgres.relay import relay
from tests.postgres.server import PostgresServer, private_server
from tests.postgres.template import template_of
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

CHANNEL = "sandbox_news"
TEXTS = tuple(f"message {number}" for number in range(30))


async def add_jobs(nodes: Nodes, node: EngineHarness) -> None:
    """Have both accounts send to the channel, one text a job."""
    lines = [f'{{"kind": "send", "data": {{"to": "@{CHANNEL}", "text": "{text}"}}}}' for text in TEXTS]
    file = node.directory / "jobs.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    await nodes.dc.inject(Fault(request="messages.sendMessage", kind=FaultKind.SLOW, seconds=0.3))
    code, said = await node.command("jobs", "add", "config.yaml", "--file", str(file))
    assert code == 0, said
    await nodes.until(lambda: nodes.jobs().count("done") >= 3, node)


async def answers(node: EngineHarness) -> None:
    """Assert that the engine is there for commands while it has no lease."""
    await anyio.to_thread.run_sync(partial(ask_memory, node.directory / "data", timeout=TIMEOUT))


async def goes_on(nodes: Nodes, node: EngineHarness, process: Process) -> None:
    """Assert that the same process has all accounts again, and that each text was sent once."""
    await node.until(lambda at: "This node goes on under its new lease" in at.text)
    await nodes.until(lambda: nodes.all_healthy(since=2), node)
    await nodes.until(lambda: nodes.jobs() == ["done"] * len(TEXTS), node)
    assert process.returncode is None
    assert sorted(message.text for message in nodes.dc.channel_messages(CHANNEL)) == sorted(TEXTS)
    code, said = await node.command("log", "replay", "config.yaml")
    assert code == 0, said
    assert await node.finish(process, signal.SIGTERM) == 0
    assert nodes.dc.stats()["logins_destroyed"] == 0
    assert clean(node), node.text


async def test_a_black_hole_longer_than_the_lease(tmp_path: Path, store_url: str, postgres: PostgresServer) -> None:
    """The connections are closed at two thirds of the lease, and the kernel ends nothing; commands are answered."""
    async with Sandbox() as dc, relay(postgres.socket) as wire:
        await dc.create_channel(CHANNEL, "News", members=PHONES, admins=PHONES)
        nodes = Nodes(tmp_path, postgres.url(urlsplit(store_url).path[1:], host=wire.address), dc)
        one = await nodes.node("one", lease="15s")
        nodes.url = store_url
        nodes.settle()
        async with one.running() as process:
            await nodes.until(lambda: nodes.healthy() == dict.fromkeys(ACCOUNTS, 1), one)
            await add_jobs(nodes, one)
            wire.swallow()
            await one.until(lambda at: "This node has lost its lease" in at.text)
            await one.until(lambda at: dc.stats()["connections"] == 0)
            await answers(one)
            wire.restore()
            await goes_on(nodes, one, process)


async def test_a_server_that_crashes_and_is_back_after_the_lease(tmp_path: Path) -> None:
    """``kill -9`` of the postmaster. That is one incident, of the store and of no account."""
    with private_server() as server:
        name = await anyio.to_thread.run_sync(lambda: server.clone(template_of(server)))
        async with Sandbox() as dc:
            await dc.create_channel(CHANNEL, "News", members=PHONES, admins=PHONES)
            nodes = Nodes(tmp_path, server.url(name), dc)
            one = await nodes.node("one", lease="15s", rest="incidents: {after: 1s}\n")
            nodes.settle()
            async with one.running() as process:
                await nodes.until(lambda: nodes.healthy() == dict.fromkeys(ACCOUNTS, 1), one)
                await add_jobs(nodes, one)
                await anyio.to_thread.run_sync(server.stop, signal.SIGKILL)
                await one.until(lambda at: "This node has lost its lease" in at.text)
                await one.until(lambda at: dc.stats()["connections"] == 0)
                await answers(one)
                await one.until(lambda at: "Incident 1: the shared store " in at.text)
                await anyio.to_thread.run_sync(server.start)
                await nodes.until(lambda: bool(nodes.rows("SELECT FROM incidents")), one)
                await goes_on(nodes, one, process)
                cause = f"the shared store {StoreAddress.parse(nodes.url)}"
                assert nodes.rows("SELECT kind, cause FROM incidents") == [("storage", cause)]
