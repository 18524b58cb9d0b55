"""``ConnectionMonitor`` over clients that a script owns: real ones, hurt as the guide's own monitor could not bear."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from telethon import TelegramClient, events
from telethon.crypto import AuthKey, rsa
from telethon.sessions import StringSession

from adapters.sandbox import Fault, FaultKind, Sandbox
from engine import ConnectionMonitor
from states import Policy
from states.schedules import Backoff, BackoffSchedules, Patience, Suspicion
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002")
SHORT = Policy(
    connecting=Patience(patience=(3.0,)),
    reconnecting=Patience(patience=(3.0,)),
    timeout=Suspicion(patience=(0.2, 1.0)),
    backoff=BackoffSchedules(network=Backoff(first=0.2, cap=0.4)),
)


@asynccontextmanager
async def script(dc: Sandbox, phone: str = PHONES[0], **settings: Any) -> AsyncIterator[TelegramClient]:
    """Be a script that has a connected client, with whatever settings it likes."""
    rsa.add_key(dc.public_key, old=False)
    session = StringSession()
    session.set_dc(dc.dc_id, "127.0.0.1", dc.port)
    session.auth_key = AuthKey(dc.authorize(phone))
    client = TelegramClient(session, 1, "0" * 32, **settings)
    await client.connect()
    try:
        yield client
    finally:
        await client.disconnect()


@asynccontextmanager
async def watching(client: TelegramClient, interval: float = 0.1) -> AsyncIterator[ConnectionMonitor]:
    """Watch a client for the length of the block."""
    monitor = ConnectionMonitor(check_interval=interval, policy=SHORT)
    monitor.register_client("Account 1", client)
    monitor.start_monitoring()
    try:
        yield monitor
    finally:
        await monitor.stop_monitoring()


async def until(monitor: ConnectionMonitor, status: str, **wanted: int) -> dict[str, Any]:
    """Wait until the client has this status and so many of what is wanted at least; return its numbers."""
    with anyio.fail_after(TIMEOUT):
        while True:
            stats = monitor.get_stats()["Account 1"]
            if stats["status"] == status and all(stats[key] >= least for key, least in wanted.items()):
                return stats
            await anyio.sleep(0.01)


@pytest.mark.parametrize("auto_reconnect", [True, False])
async def test_a_reset_is_healed_in_place(auto_reconnect: bool) -> None:
    """After RST the script's own object is usable again, and its own handlers hear what comes."""
    async with Sandbox() as dc, script(dc, auto_reconnect=auto_reconnect) as client:
        heard: list[str] = []

        @client.on(events.NewMessage)
        async def note(event: Any) -> None:
            heard.append(event.raw_text)

        async with watching(client) as monitor:
            await until(monitor, "healthy")
            await dc.inject(Fault(FaultKind.RESET))
            await until(monitor, "healthy", reconnects=1)
            assert (await client.get_me()).phone == PHONES[0][1:]
            await dc.push(PHONES[0], "after")
            with anyio.fail_after(TIMEOUT):
                while not heard:
                    await anyio.sleep(0.01)
    assert heard == ["after"]


async def test_what_was_missed_while_away_is_heard() -> None:
    """A message that came during an outage reaches the script's handler once after it."""
    async with Sandbox() as dc, script(dc, auto_reconnect=False) as client:
        heard: list[str] = []

        @client.on(events.NewMessage)
        async def note(event: Any) -> None:
            heard.append(event.raw_text)

        async with watching(client) as monitor:
            await until(monitor, "healthy")
            await dc.inject(Fault(FaultKind.REFUSE))
            await dc.inject(Fault(FaultKind.RESET))
            await until(monitor, "backoff")
            await dc.push(PHONES[0], "away")
            await dc.clear()
            await until(monitor, "healthy", reconnects=1)
            with anyio.fail_after(TIMEOUT):
                while not heard:
                    await anyio.sleep(0.01)
            await anyio.sleep(0.1)
    assert heard == ["away"]


async def test_a_dead_backend_makes_no_storm() -> None:
    """Where Telethon's own reconnection connects thousands of times, the monitor makes a handful of attempts."""
    async with Sandbox() as dc, script(dc, auto_reconnect=True) as client, watching(client) as monitor:
        await until(monitor, "healthy")
        before = dc.stats()["accepted"]
        await dc.inject(Fault(FaultKind.ACCEPT_THEN_CLOSE, duration=1.0))
        await dc.inject(Fault(FaultKind.RESET))
        await until(monitor, "healthy", reconnects=1)
        assert dc.stats()["accepted"] - before <= 10


async def test_a_silence_is_a_timeout_and_two_are_a_reconnect() -> None:
    """The first unanswered question makes it ``timeout`` with one failure; after the second it is reconnected."""
    async with Sandbox() as dc, script(dc, auto_reconnect=False) as client, watching(client) as monitor:
        await until(monitor, "healthy")
        began = time.time()
        await dc.inject(Fault(FaultKind.BLACKHOLE, duration=1.8))
        assert (await until(monitor, "timeout"))["failures"] == 1
        stats = await until(monitor, "healthy", reconnects=1)
        assert stats["last_success"].timestamp() > began


async def test_a_revoked_login_is_not_healthy() -> None:
    """Where ``get_me()`` hides a 401, the monitor says what is wrong and what to do, and asks no more."""
    async with Sandbox() as dc, script(dc) as client, watching(client) as monitor:
        await until(monitor, "healthy")
        await dc.inject(Fault(FaultKind.REVOKE))
        stats = await until(monitor, "auth_failed")
        assert stats["action"] == "log_in"
        assert "key is not registered" in stats["cause"]


async def test_stopping_gives_the_client_back_as_it_was() -> None:
    """After ``stop_monitoring`` the client is connected, reconnects as its owner wished, and no task is left."""
    async with Sandbox() as dc, script(dc, auto_reconnect=True, connection_retries=7) as client:
        async with watching(client) as monitor:
            await until(monitor, "healthy")
            assert client._sender._auto_reconnect is False
        assert client.is_connected()
        assert (client._sender._auto_reconnect, client._sender._retries) == (True, 7)
        assert monitor.get_stats()["Account 1"]["status"] == "healthy"
        await monitor.stop_monitoring()


async def test_clients_can_come_later_and_names_are_unique() -> None:
    """A client that is registered while the monitor runs is watched, too; a name that is taken is refused."""
    async with Sandbox() as dc, script(dc) as one, script(dc, PHONES[1]) as two, watching(one) as monitor:
        await until(monitor, "healthy")
        with pytest.raises(ValueError, match="registered already"):
            monitor.register_client("Account 1", two)
        monitor.register_client("Account 2", two)
        with anyio.fail_after(TIMEOUT):
            while monitor.get_stats()["Account 2"]["status"] != "healthy":
                await anyio.sleep(0.01)


async def test_the_status_block_is_the_guide_s(capsys: pytest.CaptureFixture[str]) -> None:
    """``print_status`` prints the block that the user knows, line by line."""
    async with Sandbox() as dc, script(dc) as client, watching(client) as monitor:
        await until(monitor, "healthy")
        monitor.print_status()
    printed = capsys.readouterr().out.splitlines()
    rule = "=" * 60
    assert printed[:4] == [rule, "CONNECTION STATUS", rule, ""]
    assert printed[4:8] == ["✅ Account 1", "  Status: healthy", "  Failures: 0", "  Reconnects: 0"]
    assert re.fullmatch(r"  Last Success: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", printed[8])
    assert printed[9:] == [rule]


def test_an_interval_is_more_than_nothing() -> None:
    """A nonsensical interval is refused in a sentence."""
    with pytest.raises(ValueError, match="check_interval is a number of seconds above 0"):
        ConnectionMonitor(check_interval=0)
