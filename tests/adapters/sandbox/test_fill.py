"""Channels with an earlier history, and how long it takes to read one."""

import time
from pathlib import Path
from typing import Any

import pytest
from telethon.crypto import AuthKey
from telethon.tl import functions, types

from adapters.sandbox import Sandbox, SandboxError, SandboxProcess
from adapters.sandbox.store.paging import HistoryWindow
from tests.adapters.sandbox.harness import Connect, NewSession, marked_id, next_item, record_news

ALICE, BOB = "+9996620001", "+9996620002"
DAYS = 3 * 24 * 3600


def members_of(dc: Sandbox, name: str) -> set[int]:
    """Return the ids of the members, as the datacenter knows them."""
    channels = dc._hub.store.channels
    return {member.account for member in channels.members(channels.named(name).id)}


def work(dc: Sandbox, name: str, window: HistoryWindow) -> int:
    """Return how many steps SQLite takes to read a page of a hundred messages and to count them all."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    store = dc._hub.store
    channel = store.channels.named(name)
    store._db.set_progress_handler(count, 1)
    try:
        assert len(store.channels.history(channel, window)) == 100
        assert store.channels.count_messages(channel) == channel.last_message
    finally:
        store._db.set_progress_handler(None, 0)
    return steps


async def test_a_group_is_filled_by_a_few_members(connected: Connect) -> None:
    """A client reads the numbered messages, oldest first, of the last three days, each by a member that it can name."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        assert await dc.fill("talk", 230) == 230
        messages = [m async for m in alice.iter_messages("talk", reverse=True, wait_time=0)]
        assert [(m.id, m.text) for m in messages] == [(n, f"Message {n}") for n in range(1, 231)]
        moments = [m.date.timestamp() for m in messages]
        assert moments == sorted(moments)
        assert 0 <= time.time() - moments[-1] < 60
        assert DAYS - 3600 < moments[-1] - moments[0] <= DAYS
        members = {user.id async for user in alice.iter_participants("talk")}
        assert {m.sender.id for m in messages} == members - {9996620001}
        assert len(members) == 6


async def test_a_broadcast_is_filled_by_itself(connected: Connect) -> None:
    """In a broadcast only the channel is an author, and it gets no members."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        channel = await dc.create_channel("news", "News", members=[ALICE])
        await dc.fill("news", 20)
        assert {m.sender_id async for m in alice.iter_messages("news", wait_time=0)} == {marked_id(channel)}
        full = await alice(functions.channels.GetFullChannelRequest("news"))
        assert full.full_chat.participants_count == 1


async def test_a_channel_that_has_as_many_is_left_alone() -> None:
    """Filling counts what exists: it adds the missing messages behind it, later than it, and otherwise none."""
    async with Sandbox() as dc:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        await dc.post("talk", "first", ALICE)
        assert [await dc.fill("talk", upto) for upto in (0, 1)] == [0, 0]
        assert members_of(dc, "talk") == {9996620001}
        assert [await dc.fill("talk", upto) for upto in (5, 5, 3, 8)] == [4, 0, 0, 3]
        messages = dc.channel_messages("talk")
        assert [m.text for m in messages] == ["first", *(f"Message {n}" for n in range(2, 9))]
        assert [(m.id, m.pts) for m in messages] == [(n, n + 1) for n in range(1, 9)]
        assert [m.date for m in messages] == sorted(m.date for m in messages)
        assert await dc.post("talk", "next") == 9


async def test_a_history_is_not_pushed(connected: Connect) -> None:
    """A history is not pushed; a member that had read everything has read it, and other marks stay as they were."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc, BOB) as bob:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE, BOB])
        await bob.get_me()
        await dc.post("talk", "hello")
        await alice.send_read_acknowledge("talk", max_id=1)
        pushed = dc.stats()["updates_pushed"]
        await dc.fill("talk", 50)
        assert dc.stats()["updates_pushed"] == pushed
        unread = [(await client.get_dialogs())[0].unread_count for client in (alice, bob)]
        assert unread == [0, 50]


async def test_a_history_is_caught_up_with_like_anything_missed(connected: Connect, new_session: NewSession) -> None:
    """A client that was away while the channel was filled gets each message once, in order, when it comes back."""
    async with Sandbox() as dc:
        channel = await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        session = new_session(dc, ALICE)
        async with connected(dc, session=session) as alice:
            news = record_news(alice)
            await alice.get_me()
            await dc.post("talk", "known")
            assert await next_item(news) == (marked_id(channel), "known")
        await dc.fill("talk", 150)
        async with connected(dc, session=session) as alice:
            news = record_news(alice)
            texts = [await next_item(news) for _ in range(149)]
            await dc.post("talk", "live")
            assert [*texts, await next_item(news)] == [
                *((marked_id(channel), f"Message {n}") for n in range(2, 151)),
                (marked_id(channel), "live"),
            ]


async def test_too_long_a_history_is_too_long_a_difference(connected: Connect) -> None:
    """A fill beyond the limit for one channel is answered with channelDifferenceTooLong, like any absence."""
    async with Sandbox(max_missed_in_channel=100) as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        await dc.fill("talk", 101)
        peer = await alice.get_input_entity("talk")
        everything = types.ChannelMessagesFilterEmpty()
        request = functions.updates.GetChannelDifferenceRequest(peer, everything, pts=1, limit=100)
        answer = await alice(request)
        assert isinstance(answer, types.updates.ChannelDifferenceTooLong)
        assert answer.dialog.pts == 102
        request.pts = 2
        assert isinstance(await alice(request), types.updates.ChannelDifference)


@pytest.mark.parametrize("upto", [-1, 100_001])
async def test_a_history_is_bounded(upto: int) -> None:
    """A number out of range is refused with a sentence."""
    async with Sandbox() as dc:
        await dc.create_channel("news", "News")
        with pytest.raises(SandboxError, match=f"0 to 100000 messages, not {upto}"):
            await dc.fill("news", upto)


@pytest.mark.slow
async def test_a_long_history_is_made_and_read_in_seconds() -> None:
    """A hundred thousand messages are written within the answer's timeout (10 s), and all of them read in 15 s."""
    async with SandboxProcess.start() as dc:
        await dc.create_channel("news", "News", megagroup=True)
        assert await dc.fill("news", 100_000) == 100_000
        start = time.monotonic()
        messages = await dc.channel_messages("news")
        assert time.monotonic() - start < 15
        assert [m.id for m in messages] == list(range(1, 100_001))


async def test_a_page_costs_the_same_however_deep_it_lies() -> None:
    """For a page anywhere in a long channel SQLite does at most twice what it does for one of a short channel."""
    async with Sandbox() as dc:
        for name, length in (("short", 200), ("long", 20_000)):
            await dc.create_channel(name, name)
            await dc.fill(name, length)
        limit = 2 * work(dc, "short", HistoryWindow(100))
        assert work(dc, "long", HistoryWindow(100)) < limit
        assert work(dc, "long", HistoryWindow(100, offset_id=101)) < limit
        assert work(dc, "long", HistoryWindow(100, offset_id=1, add_offset=-100)) < limit
        assert work(dc, "long", HistoryWindow(100, offset_id=10_000, add_offset=-50)) < limit


@pytest.mark.slow
async def test_a_restarted_sandbox_has_the_group_and_its_members(
    connected: Connect, new_session: NewSession, tmp_path: Path
) -> None:
    """A second start on the same directory finds members, admins and history; asking for them again adds nothing."""

    async def logged_in(dc: SandboxProcess) -> Any:
        session = new_session(dc)
        session.auth_key = AuthKey(await dc.authorize(ALICE))
        return session

    async with SandboxProcess.start(tmp_path) as dc:
        first = await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE], admins=[BOB])
        await dc.fill("talk", 40)
        async with connected(dc, session=await logged_in(dc)) as alice:
            before = [(user.id, user.participant.to_dict()) async for user in alice.iter_participants("talk")]
    async with SandboxProcess.start(tmp_path) as dc:
        async with connected(dc, session=await logged_in(dc)) as alice:
            after = [(user.id, user.participant.to_dict()) async for user in alice.iter_participants("talk")]
            assert after == before
            assert len(before) == 7
            (dialog,) = await alice.get_dialogs()
            assert (dialog.name, dialog.is_group, dialog.unread_count) == ("Talk", True, 0)
        assert await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE], admins=[BOB]) == first
        assert await dc.fill("talk", 40) == 0
        assert len(await dc.channel_messages("talk")) == 40
