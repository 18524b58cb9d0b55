"""A hostile datacenter: each of its tricks ends the link as a broken protocol, and memory stays small."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from telethon.tl.functions.help import GetConfigRequest

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.telegram import TelegramLink, inbound
from states.events import Connected, Event, ProtocolBroken, TimedOut
from tests.adapters.telegram.harness import DatacenterHarness, events_of
from tests.timeouts import TIMEOUT

TRICKS = {
    "gzip_bomb": "more than 4,194,304 bytes",
    "gzip_result": "more than 4,194,304 bytes",
    "packed": "holds another packed one",
    "container": "a container claims to have 100,000 messages",
    "nesting": "within more than 64 others",
    "entities": "more than 4,194,304 bytes",
    "frame": "a frame claims to have 2,147,483,6",
}


@asynccontextmanager
async def link_to(harness: DatacenterHarness) -> AsyncIterator[tuple[Sandbox, TelegramLink]]:
    """Yield a datacenter and a proven link to it."""
    async with harness as dc:
        connector = harness.connector()
        link = connector.link(1)
        assert isinstance((await link.open(timeout=TIMEOUT))[-1], Connected)
        try:
            yield dc, link
        finally:
            await link.close(timeout=TIMEOUT)
            await connector.settle()


async def end_of(link: TelegramLink) -> list[Event]:
    """Return all events until the link ends, or until it is told to be broken."""
    found: list[Event] = []
    with anyio.fail_after(TIMEOUT):
        async for event in events_of(link):
            found.append(event)
            if isinstance(event, ProtocolBroken):
                break
    return found


async def ask(link: TelegramLink) -> None:
    """Send a request, whose fate does not matter."""
    try:
        await link.client(GetConfigRequest())
    except (Exception, asyncio.CancelledError):
        return


@pytest.mark.parametrize("trick", TRICKS)
async def test_each_trick_is_a_broken_protocol(harness: DatacenterHarness, trick: str) -> None:
    """The event says what came."""
    async with link_to(harness) as (dc, link), anyio.create_task_group() as tasks:
        await dc.inject(Fault(FaultKind.HOSTILE, text=trick, request="help.getConfig"))
        tasks.start_soon(ask, link)
        events = await end_of(link)
        broken = [event for event in events if isinstance(event, ProtocolBroken)]
        assert broken
        assert TRICKS[trick] in broken[0].detail
        tasks.cancel_scope.cancel()


async def test_a_difference_without_end_is_noticed(harness: DatacenterHarness) -> None:
    """Parts without news do not go on for ever."""
    async with link_to(harness) as (dc, link), anyio.create_task_group() as tasks:
        await dc.inject(Fault(FaultKind.HOSTILE, text="differences", request="updates.getDifference", duration=600))
        before = dc.stats()["requests"].get("updates.getDifference", 0)
        tasks.start_soon(link.client.catch_up)
        events = await end_of(link)
        assert "do not come to an end" in next(e for e in events if isinstance(e, ProtocolBroken)).detail
        assert dc.stats()["requests"]["updates.getDifference"] - before < 20
        tasks.cancel_scope.cancel()


async def test_a_frame_that_drips_has_a_deadline(harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte a second keeps no link alive."""
    monkeypatch.setattr(inbound, "FRAME_SECONDS", 0.2)
    monkeypatch.setattr("adapters.sandbox.server.connection.DRIP_SECONDS", 0.01)
    async with link_to(harness) as (dc, link), anyio.create_task_group() as tasks:
        await dc.inject(Fault(FaultKind.HOSTILE, text="drip", request="help.getConfig"))
        tasks.start_soon(ask, link)
        found = []
        with anyio.fail_after(TIMEOUT):
            async for event in events_of(link):
                found.append(event)
        assert any(isinstance(event, TimedOut) and "was not complete within" in event.detail for event in found)
        tasks.cancel_scope.cancel()
