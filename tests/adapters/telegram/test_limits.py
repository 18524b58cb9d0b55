"""Limits by their meaning, with Telethon's client: which requests are held, what is said, and what ends a limit."""

import asyncio
import time

import anyio
import pytest
from telethon import errors
from telethon.tl import TLObject, functions, types
from telethon.tl.alltlobjects import tlobjects
from telethon.tl.functions.messages import GetHistoryRequest, SendMessageRequest
from telethon.tl.types import InputPeerSelf

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.telegram import TelegramLink
from adapters.telegram.classify import RequestHeld, classify
from adapters.telegram.job_errors import classify_job_error
from adapters.telegram.limits import freeze_of, is_write, limits_on
from adapters.telegram.refusals import OF_CHAT
from states.events import AccountLimited, CaughtUp, Event, LimitLifted
from states.jobs import Flooded, Lost, Raised
from states.limits import LIMIT_SECONDS, STRANGERS, WRITES
from tests.adapters.telegram.harness import DatacenterHarness
from tests.adapters.telegram.test_requests import opened, told

OTHER = "+9996620002"
GROUP = "some_group"
SENDS = "messages.sendMessage"
ME = InputPeerSelf()


async def refuse(dc: Sandbox, text: str, code: int = 400, *, request: str = SENDS, times: int = 1) -> None:
    """Have the next requests of a kind refused."""
    await dc.inject(Fault(FaultKind.RPC_ERROR, request=request, code=code, text=text, times=times))


async def stranger(dc: Sandbox, link: TelegramLink) -> object:
    """Return a person who does not know the account."""
    dc.authorize(OTHER)
    return await link.client.get_input_entity("user9996620002")


def sent(dc: Sandbox) -> int:
    """Return how many messages were asked to be sent."""
    return int(dc.stats()["requests"].get(SENDS, 0))


async def test_a_peer_flood_holds_what_is_for_strangers_and_nothing_else(harness: DatacenterHarness) -> None:
    """Reading, notes to oneself and groups go on; nothing more is sent to a stranger, nor is anybody invited."""
    async with harness as dc, opened(harness) as link:
        them = await stranger(dc, link)
        await dc.create_channel(GROUP, "Test", megagroup=True, members=["+9996620001"])
        await refuse(dc, "PEER_FLOOD")
        with pytest.raises(errors.PeerFloodError):
            await link.client.send_message(them, "hello")
        event = await told(link)
        assert isinstance(event, AccountLimited)
        assert event.limit == STRANGERS
        before = sent(dc)
        with pytest.raises(RequestHeld) as held:
            await link.client.send_message(them, "again")
        assert (held.value.kind, sent(dc)) == (STRANGERS, before)
        with pytest.raises(RequestHeld):
            await link.client(functions.channels.InviteToChannelRequest(GROUP, [them]))
        await link.client.send_message("me", "a note")
        await link.client.send_message(GROUP, "to all")
        assert await link.client.get_messages(GROUP, limit=5)


async def test_who_wrote_first_is_no_stranger(harness: DatacenterHarness) -> None:
    """A limited account may always answer, as @SpamBot says."""
    async with harness as dc, opened(harness) as link:
        them = await stranger(dc, link)
        link.hold(STRANGERS, time.time() + LIMIT_SECONDS)
        with pytest.raises(RequestHeld):
            await link.client.send_message(them, "hello")
        await dc.push("+9996620001", "hi", OTHER)
        assert await link.client.send_message(them, "hello yourself")


async def test_a_frozen_account_reads_and_says_where_to_appeal(harness: DatacenterHarness) -> None:
    """Writes are held, reading goes on, and the account learns the date of its deletion and the address."""
    async with harness as dc, opened(harness) as link:
        await dc.freeze("+9996620001", 1_800_000_000, "https://t.me/spambot?start=x")
        with pytest.raises(errors.FrozenMethodInvalidError):
            await link.client(SendMessageRequest(ME, "x", random_id=1))
        event = await told(link)
        assert isinstance(event, AccountLimited)
        assert (event.limit, event.deletion, event.appeal) == (
            WRITES, 1_800_000_000.0, "https://t.me/spambot?start=x",
        )  # fmt: skip
        before = sent(dc)
        with pytest.raises(RequestHeld):
            await link.client(SendMessageRequest(ME, "x", random_id=2))
        assert sent(dc) == before
        assert await link.client(GetHistoryRequest(ME, 0, None, 0, 5, 0, 0, 0))


async def test_a_frozen_account_is_told_without_its_config(harness: DatacenterHarness) -> None:
    """Where the datacenter does not say more, the limit is told all the same."""
    async with harness as dc, opened(harness) as link:
        await refuse(dc, "FROZEN_METHOD_INVALID", 420)
        await refuse(dc, "METHOD_INVALID", request="help.getAppConfig")
        with pytest.raises(errors.RPCError):
            await link.client(SendMessageRequest(ME, "x", random_id=1))
        event = await told(link)
        assert isinstance(event, AccountLimited)
        assert (event.limit, event.deletion, event.appeal) == (WRITES, None, "")


async def test_a_message_that_goes_through_proves_the_end_of_a_limit(harness: DatacenterHarness) -> None:
    """The first request after the hold is the probe: a refusal holds anew, an answer is the end."""
    async with harness as dc, opened(harness) as link:
        events: list[Event] = []
        link.watch(events.append)
        link.hold(WRITES, time.time() - 1)
        await refuse(dc, "FROZEN_METHOD_INVALID", 420)
        with pytest.raises(errors.RPCError):
            await link.client(SendMessageRequest(ME, "x", random_id=1))
        with pytest.raises(RequestHeld):
            await link.client(SendMessageRequest(ME, "x", random_id=1))
        link.hold(WRITES, time.time() - 1)
        await link.client(SendMessageRequest(ME, "x", random_id=2))
        assert [type(event) for event in events if not isinstance(event, CaughtUp)] == [AccountLimited, LimitLifted]
        assert events[-1] == LimitLifted(link=1, limit=WRITES)


async def test_reading_proves_nothing_of_a_limit(harness: DatacenterHarness) -> None:
    """Only what the limit would have refused says that it is over."""
    async with harness, opened(harness) as link:
        link.hold(WRITES, time.time() - 1)
        await link.client(GetHistoryRequest(ME, 0, None, 0, 5, 0, 0, 0))
        assert link.client.limits == {WRITES}


async def test_a_retry_releases_what_was_held(harness: DatacenterHarness) -> None:
    """The law ends the hold, and the request is sent."""
    async with harness, opened(harness) as link:
        link.hold(WRITES, time.time() + LIMIT_SECONDS)
        link.hold(WRITES, 0.0)
        assert await link.client(SendMessageRequest(ME, "x", random_id=1))


async def test_the_premium_wait_concerns_its_kind_alone(harness: DatacenterHarness) -> None:
    """Like any flood wait."""
    async with harness as dc, opened(harness) as link:
        await refuse(dc, "FLOOD_PREMIUM_WAIT_30", 420, request="messages.getDialogs")
        with pytest.raises(errors.FloodPremiumWaitError):
            await link.client.get_dialogs()
        with pytest.raises(RequestHeld):
            await link.client.get_dialogs()
        assert await link.client.send_message("me", "x")


@pytest.mark.parametrize("text", sorted(OF_CHAT))
def test_a_refusal_of_one_chat_is_the_job_s_alone_and_final(text: str) -> None:
    """It says in a sentence what the chat does not allow, is not tried again, and says nothing of the account."""
    exc = errors.rpc_message_to_error(types.RpcError(400, text), SendMessageRequest(ME, "x"))
    assert not isinstance(classify(exc), AccountLimited)
    end = classify_job_error(exc, None)
    assert isinstance(end, Raised)
    assert end.final
    assert end.detail.startswith(OF_CHAT[text])


@pytest.mark.parametrize(
    ("code", "text", "end"),
    [
        (400, "PEER_FLOOD", Flooded(STRANGERS, 0.0, alone=True, seconds=LIMIT_SECONDS)),
        (420, "FROZEN_METHOD_INVALID", Flooded(WRITES, 0.0, alone=True, seconds=LIMIT_SECONDS)),
        (420, "FLOOD", Lost("", limited=True)),
    ],
)
def test_a_job_that_meets_a_limit_stays_with_its_account(code: int, text: str, end: Flooded | Lost) -> None:
    """It waits, or is held with all work; no limit sends it to the next account."""
    exc = errors.rpc_message_to_error(types.RpcError(code, text), SendMessageRequest(ME, "x"))
    found = classify_job_error(exc, None)
    if isinstance(end, Lost):
        assert isinstance(found, Lost)
        assert found.limited
    else:
        assert isinstance(found, Flooded)
        assert (found.request, found.alone, found.of_chat, found.seconds) == (end.request, True, True, LIMIT_SECONDS)


def test_each_request_of_telegram_s_reads_or_writes() -> None:
    """All that Telethon knows: whatever is named as a question changes nothing, and messages, votes and calls do."""
    known = [kind for kind in tlobjects.values() if kind.__name__.endswith("Request")]
    writes = {kind for kind in known if is_write(kind.__new__(kind))}
    assert {functions.messages.SendMessageRequest, functions.messages.SendVoteRequest} <= writes
    assert {functions.contacts.AddContactRequest, functions.channels.JoinChannelRequest} <= writes
    for kind in (functions.updates.GetDifferenceRequest, functions.upload.GetFileRequest, functions.PingRequest):
        assert kind not in writes
    assert functions.auth.LogOutRequest not in writes


JSON_STRING, JSON_NUMBER = types.JsonString, types.JsonNumber


@pytest.mark.parametrize(
    ("until", "appeal", "found"),
    [
        (JSON_NUMBER(1e9), JSON_STRING("https://t.me/a"), (1e9, "https://t.me/a")),
        (JSON_NUMBER(float("nan")), JSON_STRING("https://evil.example"), (None, "")),
        (JSON_STRING("soon"), JSON_NUMBER(1.0), (None, "")),
        (JSON_NUMBER(-5.0), JSON_STRING("https://t.me/" + "a" * 10**6), (None, "")),
    ],
)
def test_a_hostile_config_of_a_frozen_account_says_nothing(
    until: TLObject, appeal: TLObject, found: tuple[float | None, str]
) -> None:
    """A number that is no time, an address that is not Telegram's, and a text without end are left out."""
    values = {"freeze_until_date": until, "freeze_appeal_url": appeal, "other": until}
    config = types.JsonObject([types.JsonObjectValue(key, value) for key, value in values.items()])
    assert freeze_of(types.help.AppConfig(1, config)) == found
    assert freeze_of(None) == (None, "")
    assert freeze_of(types.help.AppConfigNotModified()) == (None, "")


async def test_a_program_that_borrows_the_client_is_not_kept_waiting_for_a_day(harness: DatacenterHarness) -> None:
    """However long it would wait, a limit has no end that it could wait for: it is told at once."""
    async with harness, opened(harness) as link:
        link.hold(WRITES, time.time() + LIMIT_SECONDS)
        with anyio.fail_after(5), pytest.raises(RequestHeld):
            await link.client(SendMessageRequest(ME, "x", random_id=1), flood_sleep_threshold=86_400)


@pytest.mark.parametrize("text", ["PEER_FLOOD", None, "PEER_ID_INVALID"])
async def test_one_request_finds_out_whether_a_limit_lasts(harness: DatacenterHarness, text: str | None) -> None:
    """However many are sent at once when its hold is over: the others are held until that one was answered."""
    async with harness as dc, opened(harness) as link:
        them, events = await stranger(dc, link), list[Event]()
        link.watch(events.append)
        link.hold(STRANGERS, time.time() - 1)
        if text is not None:
            await refuse(dc, text)
        ends = await asyncio.gather(*(link.client.send_message(them, "x") for _ in range(8)), return_exceptions=True)
        assert (sent(dc), sum(isinstance(end, RequestHeld) for end in ends)) == (1, 7)
        told = [type(event) for event in events if isinstance(event, AccountLimited | LimitLifted)]
        assert told == {"PEER_FLOOD": [AccountLimited], None: [LimitLifted]}.get(text, [])
        if text == "PEER_FLOOD":
            with pytest.raises(RequestHeld):
                await link.client.send_message(them, "held for a day")
        else:
            assert await link.client.send_message(them, "not held any longer")


async def test_oneself_is_no_stranger_and_somebody_from_a_chat_is(harness: DatacenterHarness) -> None:
    """However they are addressed: by one's own id, or by a message that they wrote in a group."""
    async with harness, opened(harness) as link:
        link.hold(STRANGERS, time.time() + LIMIT_SECONDS)
        me = await link.client.get_me(input_peer=False)
        own = types.InputPeerUser(me.id, me.access_hash or 0)
        assert await limits_on(link.client, SendMessageRequest(own, "x"), link.client.limits) == []
        them = types.InputPeerUserFromMessage(types.InputPeerChannel(7, 7), 1, me.id + 1)
        with pytest.raises(RequestHeld):
            await link.client(SendMessageRequest(them, "x", random_id=1))
