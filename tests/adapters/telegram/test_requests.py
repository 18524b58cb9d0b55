"""Requests through a link's client: each has a deadline, passes the holds, and its failure is told once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import attrs
import pytest
from telethon import TelegramClient, errors
from telethon.tl.functions.messages import GetDialogsRequest, SendMessageRequest
from telethon.tl.functions.updates import GetStateRequest
from telethon.tl.types import InputPeerEmpty, InputPeerSelf

from adapters.sandbox import Fault, FaultKind
from adapters.telegram import TelegramLink
from adapters.telegram.classify import Migrated, RequestDropped, RequestHeld
from states import Event, Hold
from states.clock import LONGEST_WAIT
from states.events import AccountLimited, AuthRejected, CaughtUp, FloodWait, SessionDuplicated, TimedOut
from tests.adapters.telegram.harness import DatacenterHarness, events_of
from tests.timeouts import TIMEOUT

DIALOGS = GetDialogsRequest(None, 0, InputPeerEmpty(), 10, 0)


@asynccontextmanager
async def opened(
    harness: DatacenterHarness, *, timeout: float = 2 * TIMEOUT, holds: tuple[Hold, ...] = ()
) -> AsyncIterator[TelegramLink]:
    """Yield a proven link whose requests wait for ``timeout`` seconds, and close it."""
    link = attrs.evolve(harness.connector(), request_timeout=timeout).link(1, holds)
    try:
        assert type((await link.open(timeout=TIMEOUT))[-1]).__name__ == "Connected"
        yield link
    finally:
        await link.close(timeout=TIMEOUT)


async def told(link: TelegramLink) -> Event:
    """Return the next thing that a link reports, besides having caught up."""
    with anyio.fail_after(TIMEOUT):
        async for event in events_of(link):
            if not isinstance(event, CaughtUp):
                return event
    raise AssertionError("the link ended without a word")


def refused(error: Exception) -> object:
    """Return a stand-in for Telethon's send, that answers every request with this error."""

    async def call(*_: object, **__: object) -> None:
        raise error

    return call


async def test_a_request_without_an_answer_ends_at_its_deadline(harness: DatacenterHarness) -> None:
    """A request that the server never answers raises ``TimeoutError`` and makes the link suspect."""
    async with harness as dc, opened(harness, timeout=0.2) as link:
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"GetDialogs was not answered within 0\.2 s"):
            await link.client(DIALOGS)
        assert time.monotonic() - began < TIMEOUT
        event = await told(link)
        assert isinstance(event, TimedOut)
        assert (event.what, event.link) == ("request", 1)


@pytest.mark.parametrize(
    ("code", "text", "told_as"), [(406, "AUTH_KEY_DUPLICATED", SessionDuplicated), (420, "FLOOD_WAIT_30", FloodWait)]
)
async def test_an_error_that_comes_too_late_is_told(
    harness: DatacenterHarness, code: int, text: str, told_as: type[Event]
) -> None:
    """A dead login and a flood wait count also where the caller has given the request up before the answer came."""
    async with harness as dc, opened(harness, timeout=0.1) as link:
        await dc.inject(Fault(FaultKind.RPC_ERROR, request="messages.getDialogs", code=code, text=text))
        await dc.inject(Fault(FaultKind.SLOW, request="messages.getDialogs", seconds=0.5))
        with pytest.raises(TimeoutError):
            await link.client(DIALOGS)
        assert isinstance(await told(link), TimedOut)
        assert isinstance(await told(link), told_as)


async def test_a_flood_wait_is_told_and_raised(harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller gets Telethon's own error, the account learns of its kind and seconds."""
    async with harness, opened(harness) as link:
        monkeypatch.setattr(TelegramClient, "_call", refused(errors.FloodWaitError(DIALOGS, 30)))
        with pytest.raises(errors.FloodWaitError):
            await link.client(DIALOGS)
        event = await told(link)
        assert isinstance(event, FloodWait)
        assert (event.seconds, event.request) == (30.0, "GetDialogs")


async def test_a_held_kind_is_not_sent(harness: DatacenterHarness) -> None:
    """While a kind is held nothing of it reaches the server, the caller learns how long, and other kinds go on."""
    until = time.time() + 50
    async with harness as dc, opened(harness, holds=(Hold(request="GetDialogs", until=until),)) as link:
        before = dc.stats()["requests"].get("messages.getDialogs", 0)
        with pytest.raises(RequestHeld) as held:
            await link.client(DIALOGS)
        assert 48 <= held.value.seconds <= 50
        assert dc.stats()["requests"].get("messages.getDialogs", 0) == before
        await link.client(GetStateRequest())


async def test_a_hold_ends_by_itself(harness: DatacenterHarness) -> None:
    """After its time the kind is sent again."""
    async with harness, opened(harness) as link:
        link.hold("GetDialogs", time.time() + 0.2)
        with pytest.raises(RequestHeld):
            await link.client(DIALOGS)
        await anyio.sleep(0.3)
        assert await link.client(DIALOGS)


async def test_slow_mode_holds_one_chat(harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait for one chat holds that chat's messages and no other's."""
    mine = SendMessageRequest(InputPeerSelf(), "text", random_id=1)
    async with harness as dc, opened(harness) as link:
        dc.authorize("+9996620002")
        other = await link.client.get_input_entity("user9996620002")
        theirs = SendMessageRequest(other, "text", random_id=2)
        with monkeypatch.context() as patched:
            patched.setattr(TelegramClient, "_call", refused(errors.SlowModeWaitError(theirs, 30)))
            with pytest.raises(errors.SlowModeWaitError):
                await link.client(theirs)
        event = await told(link)
        assert isinstance(event, FloodWait)
        assert event.request == "SendMessage in 9996620002"
        link.hold(event.request, time.time() + 30)
        with pytest.raises(RequestHeld):
            await link.client(theirs)
        assert await link.client(mine)


@pytest.mark.parametrize(
    ("error", "event"),
    [(errors.SessionRevokedError(DIALOGS), AuthRejected), (errors.PeerFloodError(DIALOGS), AccountLimited)],
)
async def test_a_request_that_speaks_of_the_account_is_told(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch, error: Exception, event: type[Event]
) -> None:
    """A revoked login or a limit is told whichever request meets it, while the link stays up."""
    async with harness, opened(harness) as link:
        monkeypatch.setattr(TelegramClient, "_call", refused(error))
        with pytest.raises(type(error)):
            await link.client(DIALOGS)
        assert isinstance(await told(link), event)


@pytest.mark.parametrize("error", [errors.ChatAdminRequiredError(DIALOGS), errors.RpcCallFailError(DIALOGS)])
async def test_a_request_s_own_error_is_its_caller_s(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What is wrong with one request says nothing of the link: nothing is told, and the link is proven again."""
    async with harness, opened(harness) as link:
        with monkeypatch.context() as patched:
            patched.setattr(TelegramClient, "_call", refused(error))
            with pytest.raises(type(error)):
                await link.client(DIALOGS)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await told(link)
        assert type((await link.probe(proof=True, timeout=TIMEOUT))[-1]).__name__ == "ProbeAnswered"


async def test_a_request_whose_link_goes_down_is_a_connection_error(harness: DatacenterHarness) -> None:
    """The caller is not cancelled when Telethon drops what was in flight: it gets an error that it can handle."""
    async with harness as dc, opened(harness) as link:
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        caught: list[BaseException] = []

        async def ask() -> None:
            try:
                await link.client(DIALOGS)
            except ConnectionError as exc:
                caught.append(exc)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await link.client.end()
        assert [type(exc) for exc in caught] == [RequestDropped]


async def test_a_cancelled_request_stays_cancelled(harness: DatacenterHarness) -> None:
    """A cancellation that was asked for is not turned into anything else."""
    async with harness as dc, opened(harness) as link:
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        asking = asyncio.ensure_future(link.client(DIALOGS))
        await anyio.wait_all_tasks_blocked()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_migration_never_costs_the_key(harness: DatacenterHarness) -> None:
    """Where Telethon would throw the key away and make a new one elsewhere, the file keeps it and an error says so."""
    async with harness, opened(harness) as link:
        connector = link.connector
        await link.client.session.flush()  # a file that is being written cannot be copied like this
        before = connector.session.read_bytes()
        with pytest.raises(Migrated, match="datacenter 4"):
            await link.client._switch_dc(4)
        assert link.client.session.auth_key
        await link.close(timeout=TIMEOUT)
        fingerprint = await connector.credentials()
        connector.session.write_bytes(before)
        assert await connector.credentials() == fingerprint


async def test_a_request_that_was_never_sent_ends_with_its_link(harness: DatacenterHarness) -> None:
    """What still waits to be sent when the link is closed does not wait for its whole deadline."""
    async with harness, opened(harness) as link:
        link.client._sender._connection.pause_writing()  # the first request leaves, and occupies who sends
        caught: list[BaseException] = []

        async def ask() -> None:
            try:
                await link.client(DIALOGS)
            except ConnectionError as exc:
                caught.append(exc)

        with anyio.fail_after(TIMEOUT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                assert len(link.client._sender._send_queue._deque) == 1
                await link.close(timeout=TIMEOUT)
        assert [type(exc) for exc in caught] == [RequestDropped]


@pytest.mark.parametrize("digits", [12, 117])
async def test_an_absurd_flood_wait_is_told_as_one_of_a_year(harness: DatacenterHarness, digits: int) -> None:
    """Over the wire: the caller gets the flood wait at once, and the account a number that it can compute with."""
    async with harness as dc, opened(harness) as link:
        text = "FLOOD_WAIT_" + "9" * digits
        await dc.inject(Fault(FaultKind.RPC_ERROR, code=420, text=text, request="messages.getDialogs"))
        with anyio.fail_after(TIMEOUT), pytest.raises(errors.FloodWaitError):
            await link.client(DIALOGS)
        event = await told(link)
        assert isinstance(event, FloodWait)
        assert event.seconds == LONGEST_WAIT


@pytest.mark.parametrize("set_by", [-3 * 3600.0, 3 * 3600.0])
async def test_a_hold_lasts_as_long_however_the_clock_is_set(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch, set_by: float
) -> None:
    """A flood wait of 30 s is neither over nor one of three hours when somebody sets the machine's clock."""
    async with harness, opened(harness) as link:
        link.hold("GetDialogs", time.time() + 30)
        real = time.time
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda: real() + set_by)
            with pytest.raises(RequestHeld) as held:
                await link.client(DIALOGS)
        assert 20 <= held.value.seconds <= 30
