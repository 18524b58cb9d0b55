"""Programs that send requests through a running engine: real clients, a real socket, a real datacenter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from telethon.errors import FloodWaitError, UsernameNotOccupiedError
from telethon.tl.functions.auth import LogOutRequest
from telethon.tl.functions.contacts import ResolveUsernameRequest

from adapters.sandbox import Fault, FaultKind, Sandbox
from engine import Engine, OutcomeUnknown, RemoteClient, RequestRefused
from tests.engine.harness import FAST, EngineHarness
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002")
GROUP = "holdfast_test"
ALL = "remote: {programs: {script: {accounts: '*', methods: '*', updates: true}}}\n"


@asynccontextmanager
async def running(harness: EngineHarness, dc: Sandbox, *phones: str, rest: str = ALL) -> AsyncIterator[Engine]:
    """Run an engine whose first account is ready, and which takes programs."""
    harness.at(dc, *phones, rest=FAST + rest)
    async with Engine.from_config(harness.config) as engine:
        with anyio.fail_after(TIMEOUT):
            await engine.account("Account 1").ready()
            while not await listens(harness):
                await anyio.sleep(0.01)
        yield engine


async def listens(harness: EngineHarness) -> bool:
    """Return whether the engine takes connections."""
    try:
        async with await anyio.connect_unix(harness.directory / "data" / "engine.sock"):
            return True
    except OSError:
        return False


def script(harness: EngineHarness, account: str = "Account 1") -> RemoteClient:
    """Return the client of a program."""
    return RemoteClient(harness.config, account, name="script")


async def test_unmodified_methods_work(harness: EngineHarness) -> None:
    """Telethon's own methods ask, read and write; the datacenter has what was sent, once."""
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        for text in ("one", "two", "three"):
            await dc.post(GROUP, text)
        async with running(harness, dc, PHONES[0]), script(harness) as client:
            me = await client.get_me()
            assert me.phone == PHONES[0][1:]
            group = await client.get_entity(f"@{GROUP}")
            assert group.title == "Test"
            assert [message.text async for message in client.iter_messages(group)][:3] == ["three", "two", "one"]
            sent = await client.send_message(group, "hello")
            assert [message.text for message in dc.channel_messages(GROUP)] == ["one", "two", "three", "hello"]
            assert sent.id == dc.channel_messages(GROUP)[-1].id
            assert "Test" in [dialog.name async for dialog in client.iter_dialogs()]


async def test_only_what_the_config_allows_is_sent(harness: EngineHarness) -> None:
    """A method that is not allowed, and one that never is, are refused with a sentence; the account goes on."""
    some = "remote: {programs: {script: {accounts: 'Account 1', methods: [users.*, auth.*]}}}\n"
    async with Sandbox() as dc:
        async with (
            running(harness, dc, *PHONES, rest=some) as engine,
            script(harness) as client,
        ):
            assert (await client.get_me()).phone == PHONES[0][1:]
            with pytest.raises(RequestRefused, match=r"messages\.sendMessage is not among"):
                await client.send_message("me", "no")
            with pytest.raises(RequestRefused, match="never sent"):
                await client(LogOutRequest())
            with pytest.raises(RequestRefused, match="may not use Account 2"):
                await script(harness, "Account 2").connect()
            with pytest.raises(RequestRefused, match="lets no program 'other'"):
                await RemoteClient(harness.config, "Account 1", name="other").connect()
            assert engine.account("Account 1").state == "healthy"
        assert not dc.messages(PHONES[0])


async def test_a_flood_wait_arrives_as_itself(harness: EngineHarness) -> None:
    """The class and the seconds are those of the datacenter's, and the account holds that kind for others, too."""
    async with (
        Sandbox() as dc,
        running(harness, dc, PHONES[0]) as engine,
        script(harness) as client,
    ):
        flood = {"code": 420, "text": "FLOOD_WAIT_300", "times": 1}
        await dc.inject(Fault(FaultKind.RPC_ERROR, request="messages.sendMessage", **flood))
        with pytest.raises(FloodWaitError) as caught:
            await client.send_message("me", "hello")
        assert caught.value.seconds == 300
        with pytest.raises(FloodWaitError):
            await engine.account("Account 1").client.send_message("me", "hello")


async def test_a_request_that_is_lost_in_flight_is_not_sent_again(harness: EngineHarness) -> None:
    """The datacenter has the message once, the program is told that nobody knows, and its next request waits."""
    async with (
        Sandbox() as dc,
        running(harness, dc, PHONES[0]),
        script(harness) as client,
    ):
        await dc.inject(Fault(FaultKind.RESET_AFTER, request="messages.sendMessage", times=1))
        with pytest.raises(OutcomeUnknown):
            await client.send_message("me", "once")
        assert (await client.get_me()).phone == PHONES[0][1:]
        assert [message.text for message in dc.messages(PHONES[0])] == ["once"]


async def test_a_used_up_budget_keeps_nobody_from_names_that_are_known(harness: EngineHarness) -> None:
    """A program is refused the next name, and goes on with the others: its own client holds none of them."""
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        budget = ALL + "usernames: {per_day: 1}\n"
        async with running(harness, dc, PHONES[0], rest=budget), script(harness) as client:
            with pytest.raises(UsernameNotOccupiedError):
                await client(ResolveUsernameRequest("nobody_here"))
            with pytest.raises(FloodWaitError):
                await client(ResolveUsernameRequest("nobody_there"))
            with pytest.raises(UsernameNotOccupiedError):
                await client(ResolveUsernameRequest("nobody_here"))
