"""Telethon's client waits in place for short floods, as far as the config, the borrower or the caller allows."""

import asyncio
import time

import anyio
import attrs
import pytest
from telethon import errors
from telethon.tl.functions.messages import GetDialogsRequest, SendMessageRequest
from telethon.tl.functions.updates import GetStateRequest
from telethon.tl.types import InputPeerEmpty, InputPeerSelf

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.telegram import TelegramLink, holds
from adapters.telegram.classify import RequestDropped
from adapters.telegram.holds import contexts_of, waits_of
from states.events import FloodWait
from tests.adapters.telegram.harness import DatacenterHarness
from tests.adapters.telegram.test_requests import opened, told
from tests.timeouts import TIMEOUT

DIALOGS = GetDialogsRequest(None, 0, InputPeerEmpty(), 10, 0)
SENDS = "messages.sendMessage"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "SLACK_SECONDS", 0.2)


async def flood(dc: Sandbox, request: str, seconds: int = 0, *, times: int = 1, name: str = "FLOOD_WAIT") -> None:
    """Have the next requests of a kind answered with a flood wait; one of 0 s lasts for the slack alone."""
    await dc.inject(Fault(FaultKind.RPC_ERROR, request=request, code=420, text=f"{name}_{seconds}", times=times))


def count(dc: Sandbox, request: str) -> int:
    """Return how many requests of a kind have reached the datacenter."""
    return int(dc.stats()["requests"].get(request, 0))


async def waiting(link: TelegramLink) -> None:
    """Return when a request waits in place."""
    with anyio.fail_after(TIMEOUT):
        while not waits_of(link.client):
            await anyio.sleep(0.005)


async def test_a_message_is_sent_once_after_a_short_flood(harness: DatacenterHarness) -> None:
    """The caller gets the answer as if nothing had been, the account learns of the flood, one message is there."""
    async with harness as dc, opened(harness) as link:
        link.client.flood_sleep_threshold = 60
        await flood(dc, SENDS)
        sent = await link.client.send_message("me", "hello")
        event = await told(link)
        assert isinstance(event, FloodWait)
        assert event.request == "SendMessage"
        assert [message.id for message in await link.client.get_messages("me", limit=5)] == [sent.id]
        assert count(dc, SENDS) == 2


@pytest.mark.parametrize("name", ["SLOWMODE_WAIT", "FLOOD_PREMIUM_WAIT"])
async def test_every_wait_of_the_server_is_waited_for(harness: DatacenterHarness, name: str) -> None:
    """Slow mode of the chat, and the wait of accounts without Premium, are waited for like any other."""
    async with harness as dc, opened(harness) as link:
        await flood(dc, SENDS, name=name)
        assert await link.client(SendMessageRequest(InputPeerSelf(), "x", random_id=1), flood_sleep_threshold=60)
        assert count(dc, SENDS) == 2


async def test_the_config_s_bound_holds_where_nobody_says_otherwise(harness: DatacenterHarness) -> None:
    """That of the account's connector as it is at the moment of the request; 0 raises at once, as before."""
    async with harness as dc:
        connector = attrs.evolve(harness.connector(), wait_up_to=60.0)
        link = connector.link(1)
        await link.open(timeout=TIMEOUT)
        try:
            await flood(dc, "messages.getDialogs")
            assert await link.client(DIALOGS)
            connector.wait_up_to = 0.0
            await flood(dc, "messages.getDialogs")
            with pytest.raises(errors.FloodWaitError):
                await link.client(DIALOGS)
        finally:
            await link.close(timeout=TIMEOUT)


async def test_the_caller_s_bound_comes_before_the_borrower_s(harness: DatacenterHarness) -> None:
    """``client(request, flood_sleep_threshold=…)`` decides; without it ``client.flood_sleep_threshold`` does."""
    async with harness as dc, opened(harness) as link:
        link.client.flood_sleep_threshold = 60
        assert link.client.flood_sleep_threshold == 60
        await flood(dc, "messages.getDialogs", 30)
        with pytest.raises(errors.FloodWaitError) as raised:
            await link.client(DIALOGS, flood_sleep_threshold=10)
        assert raised.value.seconds == 30


async def test_a_lost_link_ends_the_wait_as_it_ends_a_request(harness: DatacenterHarness) -> None:
    """Whoever waits gets ``RequestDropped``, a ``ConnectionError``, and nothing more is sent."""
    async with harness as dc, opened(harness) as link:
        await flood(dc, "messages.getDialogs", 30)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_dropped, link)
            await waiting(link)
            assert count(dc, "messages.getDialogs") == 1
            await link.close(timeout=TIMEOUT)
        assert waits_of(link.client) == ()


async def _dropped(link: TelegramLink) -> None:
    with pytest.raises(RequestDropped):
        await link.client(DIALOGS, flood_sleep_threshold=60)


async def test_nothing_of_the_engine_s_own_waits(harness: DatacenterHarness) -> None:
    """A proof that is held is replaced by a ping, whatever others wait for, and other kinds of requests go on."""
    async with harness as dc, opened(harness) as link:
        link.client.flood_sleep_threshold = 60
        await flood(dc, "updates.getState", 30)
        waiter = asyncio.ensure_future(link.client(GetStateRequest()))
        await waiting(link)
        link.hold("GetState", time.time() + 30)  # as the account decides upon the flood
        waiter.cancel()
        events = await link.probe(proof=True, timeout=TIMEOUT)
        assert type(events[-1]).__name__ == "ProbeAnswered"
        assert await link.client(DIALOGS)


async def test_a_name_that_has_to_be_looked_up_waits_outside_the_request_s_deadline(harness: DatacenterHarness) -> None:
    """A request that needs an entity is not given up because the question for it waited in place."""
    async with harness as dc, opened(harness, timeout=0.6) as link:
        dc.authorize("+9996620002")
        link.client.flood_sleep_threshold = 60
        await flood(dc, "contacts.resolveUsername", 0, times=3)
        assert await link.client(SendMessageRequest("user9996620002", "x", random_id=1))


async def test_several_at_once_are_never_sent_twice(harness: DatacenterHarness) -> None:
    """Of a list some may be done already: a flood in it is raised, and none is repeated."""
    async with harness as dc, opened(harness) as link:
        link.client.flood_sleep_threshold = 60
        await flood(dc, SENDS)
        with pytest.raises(errors.MultiError):
            await link.client([SendMessageRequest(InputPeerSelf(), "x", random_id=number) for number in (1, 2)])
        assert count(dc, SENDS) == 2


async def test_a_wait_knows_whose_it_is(harness: DatacenterHarness) -> None:
    """The context of the caller is there as long as it waits, also where a task of its own made the request."""
    async with harness as dc, opened(harness) as link:
        await flood(dc, "messages.getDialogs", 30)
        asking = asyncio.ensure_future(link.client(DIALOGS, flood_sleep_threshold=60))
        await waiting(link)
        assert len(list(contexts_of(link.client))) == 1
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert list(contexts_of(link.client)) == []
