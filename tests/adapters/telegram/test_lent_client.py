"""A client that the engine lends: what its borrowers do ends neither the connection nor the login."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import anyio
import pytest
from telethon import TelegramClient, functions
from telethon.crypto import AuthKey
from telethon.sessions import MemorySession
from telethon.tl.types import CodeSettings

from adapters.sandbox import Fault, FaultKind
from adapters.telegram.classify import RequestDropped
from adapters.telegram.job_errors import classify_job_error
from adapters.telegram.lent import LentClientError
from states.events import CaughtUp, NetworkLost, Unexpected
from states.jobs import Lost, Raised
from tests.adapters.telegram.harness import DatacenterHarness, events_of
from tests.adapters.telegram.test_requests import DIALOGS, opened
from tests.timeouts import TIMEOUT

LOG_OUT = functions.auth.LogOutRequest()
SEND_CODE = functions.auth.SendCodeRequest("+9996620001", 1, "0" * 32, CodeSettings())


async def with_block(client: Any) -> None:
    async with client as same:
        assert same is client


async def unawaited(client: Any) -> None:
    client.disconnect()


async def connects(client: Any) -> None:
    await client.connect()


async def starts(client: Any) -> None:
    assert await client.start(phone=lambda: "+1", bot_token="no") is client


async def disconnects(client: Any) -> None:
    await asyncio.wait_for(client.disconnect(), TIMEOUT)


async def saves(client: Any) -> None:
    client.session.save()
    client.session.close()


async def disconnects_elsewhere(client: Any) -> None:
    await asyncio.to_thread(client.disconnect)


@pytest.mark.parametrize(
    "habit",
    [with_block, unawaited, connects, starts, disconnects, saves, disconnects_elsewhere],
    ids=lambda f: f.__name__,
)
async def test_a_habit_of_scripts_does_nothing(
    harness: DatacenterHarness, habit: Callable[[Any], Awaitable[None]]
) -> None:
    """What a script does around its work changes nothing for others: the same connection goes on."""
    async with harness as dc, opened(harness) as link:
        for _ in range(5):
            await habit(link.client)
        assert await link.client(DIALOGS)
        assert dc.stats()["accepted"] == 1


def setting(name: str, value: Any) -> Callable[[Any], Awaitable[None]]:
    """Return what sets an attribute of the client."""

    async def sets(client: Any) -> None:
        setattr(client, name, value)

    return sets


def asking(*requests: Any) -> Callable[[Any], Awaitable[None]]:
    """Return what sends requests."""

    async def asks(client: Any) -> None:
        await client(requests[0] if len(requests) == 1 else list(requests))

    return asks


async def elsewhere(client: Any) -> None:
    await asyncio.to_thread(lambda: asyncio.run(client.get_me()))


async def update_elsewhere(client: Any) -> None:
    await asyncio.to_thread(lambda: asyncio.run(client.catch_up()))


async def past_the_client(client: Any) -> None:
    await client._sender.send(LOG_OUT)


async def sets_another_key(client: Any) -> None:
    client.session.auth_key = AuthKey(bytes(256))


REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda client: client.log_out(), "python -m engine logout"),
    (asking(LOG_OUT), "python -m engine logout"),
    (asking(DIALOGS, LOG_OUT), "python -m engine logout"),
    (asking(functions.InvokeWithoutUpdatesRequest(LOG_OUT)), "python -m engine logout"),
    (past_the_client, "python -m engine logout"),
    (asking(functions.DestroyAuthKeyRequest()), "python -m engine logout"),
    (asking(functions.account.DeleteAccountRequest("x")), "official app"),
    (asking(functions.InvokeWithLayerRequest(100, DIALOGS)), "layer"),
    (asking(functions.PingDelayDisconnectRequest(1, 0)), "pings by itself"),
    (asking(SEND_CODE), "python -m engine login"),
    (lambda client: client.qr_login(), "python -m engine login"),
    (lambda client: client.send_code_request("+9996620001"), "python -m engine login"),
    (lambda client: client._sender.disconnect(), "end the job"),
    (lambda client: client._disconnect(), "end the job"),
    (lambda client: client.run_until_disconnected(), "return"),
    (lambda client: client.set_receive_updates(False), "handlers"),
    (lambda client: asyncio.to_thread(client.set_proxy, ("socks5", "127.0.0.1", 1)), "in the config"),
    (lambda client: asyncio.to_thread(client.session.delete), "python -m engine logout"),
    (setting("session", MemorySession()), "an account of its own"),
    (setting("session", None), "an account of its own"),
    (setting("auto_reconnect", True), "reconnects"),
    (sets_another_key, "keeps its key"),
    (elsewhere, "run_coroutine_threadsafe"),
    (update_elsewhere, "run_coroutine_threadsafe"),
]


async def test_what_would_hurt_others_is_refused_in_a_sentence(harness: DatacenterHarness) -> None:
    """Each raises in the code that does it, says what to do instead, counts as that job's attempt, and does nothing."""
    async with harness as dc, opened(harness) as link:
        client = link.client
        for tries, instead in REFUSED:
            with pytest.raises(LentClientError, match=instead) as refused:
                await tries(client)
            assert isinstance(classify_job_error(refused.value, client), Raised)
            assert "\n" not in str(refused.value)
        assert await client(DIALOGS)
        assert not [event for event in link._events if not isinstance(event, CaughtUp)], "the account hears of none"
        asked = dc.stats()["requests"]
        assert dc.stats()["accepted"] == 1
        assert not {name for name in asked if name.startswith("auth.")}
        with closing(sqlite3.connect(link.connector.session)) as file:
            assert file.execute("select length(auth_key) from sessions").fetchone() == (256,)


async def test_another_thread_has_the_loop_for_its_requests(harness: DatacenterHarness) -> None:
    """``client.loop`` is the client's own, from whichever thread it is read."""
    async with harness, opened(harness) as link:

        def ask() -> Any:
            return asyncio.run_coroutine_threadsafe(link.client(DIALOGS), link.client.loop).result(TIMEOUT)

        assert await asyncio.to_thread(ask)


async def test_reconnection_cannot_be_switched_on(harness: DatacenterHarness) -> None:
    """Whatever is set, Telethon never makes connections by itself."""
    async with harness as dc, opened(harness) as link:
        link.client._sender._auto_reconnect = True
        link.client._sender._retries = 100
        await dc.inject(Fault(FaultKind.RESET))
        with anyio.fail_after(TIMEOUT):
            assert NetworkLost in [type(event) async for event in events_of(link)]
        assert dc.stats()["accepted"] == 1


async def test_a_client_whose_link_is_over_makes_no_other(harness: DatacenterHarness) -> None:
    """``connect`` on it is a lost connection: the job goes on with the next client, and no second one exists."""
    async with harness as dc, opened(harness) as link:
        await dc.inject(Fault(FaultKind.RESET))
        with anyio.fail_after(TIMEOUT):
            _ = [event async for event in events_of(link)]
        for tries in (link.client.connect, link.client.start):
            with pytest.raises(RequestDropped) as lost:
                await tries()
            assert isinstance(classify_job_error(lost.value, link.client), Lost)
        assert dc.stats()["accepted"] == 1


async def closes_sender(client: Any) -> None:
    await client._sender._disconnect()


async def closes_connection(client: Any) -> None:
    await client._sender._connection.disconnect()


async def closes_writer(client: Any) -> None:
    client._sender._connection._writer.close()


async def aborts(client: Any) -> None:
    client._sender._connection._writer.transport.abort()


INSIDE = [closes_sender, closes_connection, closes_writer, aborts]


@pytest.mark.parametrize("way", INSIDE, ids=lambda way: way.__name__)
async def test_a_connection_that_was_closed_from_within_is_not_the_network_s_loss(
    harness: DatacenterHarness, way: Callable[[Any], Awaitable[None]]
) -> None:
    """Who goes as far as Telethon's inner parts is found out: the event says that code of this process did it."""
    async with harness, opened(harness) as link:
        await way(link.client)
        with anyio.fail_after(TIMEOUT):
            [told] = [event async for event in events_of(link) if not isinstance(event, CaughtUp)]
        assert isinstance(told, Unexpected)
        assert "code in this process closed the connection" in told.detail


@pytest.mark.parametrize("kind", [FaultKind.CLOSE, FaultKind.RESET])
async def test_what_the_other_side_ends_is_the_network_s_loss(harness: DatacenterHarness, kind: FaultKind) -> None:
    """The other side's end is told apart from one's own."""
    async with harness as dc, opened(harness) as link:
        await dc.inject(Fault(kind))
        with anyio.fail_after(TIMEOUT):
            [told] = [event async for event in events_of(link) if not isinstance(event, CaughtUp)]
        assert isinstance(told, NetworkLost)


async def test_a_loss_that_is_noticed_while_sending_is_the_network_s_and_costs_a_job_no_attempt(
    harness: DatacenterHarness,
) -> None:
    """Telethon closes its connection itself then: neither the event nor the job's error blames code of this process."""
    async with harness as dc, opened(harness) as link:
        link.client._sender._connection._writer.transport.pause_reading()  # so that the loss is not read first
        await dc.inject(Fault(FaultKind.RESET))
        with anyio.fail_after(TIMEOUT):
            with pytest.raises(ConnectionError) as lost:
                await link.client.get_me()
            [told] = [event async for event in events_of(link) if not isinstance(event, CaughtUp)]
        assert isinstance(told, NetworkLost)
        assert isinstance(classify_job_error(lost.value, link.client), Lost)


async def test_a_second_client_of_the_login_never_speaks(harness: DatacenterHarness) -> None:
    """Two connections with one key destroy it: a client made with the lent one's session is refused before it sends."""
    async with harness as dc, opened(harness) as link:
        second = TelegramClient(link.client.session, 1, "0" * 32)
        for _ in range(2):
            with pytest.raises(LentClientError, match="use the client that the engine lends"):
                await second.connect()
            await second.disconnect()
        assert await link.client(DIALOGS)
        assert dc.stats()["logins_destroyed"] == 0
