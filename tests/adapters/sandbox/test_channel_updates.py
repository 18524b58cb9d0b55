"""What was missed in channels, and how far behind a client may be, with the unmodified Telethon client."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from telethon import errors, events
from telethon.sessions import SQLiteSession
from telethon.tl import functions, types

from adapters.sandbox import Sandbox
from tests.adapters.sandbox.harness import ALICE, Connect, NewSession, marked_id, next_item, record_news
from tests.timeouts import TIMEOUT

SessionKind = Callable[[NewSession, Sandbox, Path], Callable[[], Any]]


def string_session(new_session: NewSession, dc: Sandbox, _: Path) -> Callable[[], Any]:
    """Return a session in memory, used again as it is."""
    session = new_session(dc, ALICE)
    return lambda: session


def sqlite_session(new_session: NewSession, dc: Sandbox, directory: Path) -> Callable[[], Any]:
    """Return Telethon's own session file, opened anew each time."""
    file = str(directory / "alice")
    first, session = SQLiteSession(file), new_session(dc, ALICE)
    first.set_dc(dc.dc_id, "127.0.0.1", dc.port)
    first.auth_key = session.auth_key
    first.save()
    first.close()
    return lambda: SQLiteSession(file)


@pytest.mark.parametrize("kind", [string_session, sqlite_session])
@pytest.mark.parametrize("learns_by", ["dialogs", "push"])
async def test_what_was_missed_in_a_channel_arrives_once(
    connected: Connect, new_session: NewSession, tmp_path: Path, kind: SessionKind, learns_by: str
) -> None:
    """A message posted while the client was away arrives exactly once after it came back with catch_up.

    The client has the channel's pts from the list of dialogs, or from a message that it was pushed.
    """
    async with Sandbox() as dc:
        channel = await dc.create_channel("news", "News", members=[ALICE])
        session = kind(new_session, dc, tmp_path)
        async with connected(dc, session=session()) as first:
            news = record_news(first)
            if learns_by == "dialogs":
                await first.get_dialogs()
            else:
                await first.get_me()
                await dc.post("news", "seen")
                assert await next_item(news) == (marked_id(channel), "seen")
        await dc.post("news", "missed")
        again: asyncio.Queue[str] = asyncio.Queue()
        second = connected(dc, session=session())
        async with second as client:
            client.add_event_handler(lambda e: again.put(e.raw_text), events.NewMessage())
            assert await next_item(again) == "missed"
            await dc.post("news", "later")
            assert await next_item(again) == "later"
            assert again.empty()


async def difference(client: Any, pts: int, limit: int = 100) -> Any:
    channel = await client.get_input_entity("news")
    everything = types.ChannelMessagesFilterEmpty()
    return await client(functions.updates.GetChannelDifferenceRequest(channel, everything, pts, limit))


async def test_a_channel_difference_comes_in_slices(connected: Connect) -> None:
    """A long absence comes in slices, each leading to the next; the last one is marked, and then there is nothing."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News", members=[ALICE])
        for number in range(130):
            await dc.post("news", str(number))
        first = await difference(alice, 1)
        rest = await difference(alice, first.pts)
        assert [bool(slice_.final) for slice_ in (first, rest)] == [False, True]
        assert [m.message for m in first.new_messages + rest.new_messages] == [str(n) for n in range(130)]
        empty = await difference(alice, rest.pts)
        assert isinstance(empty, types.updates.ChannelDifferenceEmpty)
        assert (empty.final, empty.pts) == (True, rest.pts)


async def test_too_far_behind_in_a_channel_leads_to_its_end(connected: Connect) -> None:
    """Beyond the limit the client gets the dialog with the current pts; at the limit it still gets the messages."""
    async with Sandbox(max_missed_in_channel=3) as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News", members=[ALICE])
        for number in range(4):
            await dc.post("news", str(number))
        far = await difference(alice, 1)
        assert isinstance(far, types.updates.ChannelDifferenceTooLong)
        assert (far.dialog.pts, far.dialog.unread_count, far.messages[0].message) == (5, 4, "3")
        assert len((await difference(alice, 2)).new_messages) == 3


async def test_a_client_goes_on_after_too_much(connected: Connect, new_session: NewSession) -> None:
    """A client that missed too much in a channel still gets the next message."""
    async with Sandbox(max_missed_in_channel=3) as dc:
        session = new_session(dc, ALICE)
        await dc.create_channel("news", "News", members=[ALICE])
        async with connected(dc, session=session) as first:
            await first.get_dialogs()
        for number in range(5):
            await dc.post("news", str(number))
        async with connected(dc, session=session) as second:
            news = record_news(second)
            async with asyncio.timeout(TIMEOUT):
                while dc.stats()["requests"].get("updates.getChannelDifference", 0) < 2:
                    await asyncio.sleep(0.01)
            await dc.post("news", "next")
            assert (await next_item(news))[1] == "next"
            assert news.empty()


async def test_a_client_that_is_ahead_in_a_channel_is_brought_back(connected: Connect) -> None:
    """A pts that the channel has not reached is answered with ours; 0 is refused, as in Telegram."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News", members=[ALICE])
        assert (await difference(alice, 1000)).pts == 1
        with pytest.raises(errors.PersistentTimestampEmptyError):
            await difference(alice, 0)


async def test_strangers_have_no_difference_and_read_nothing_off(connected: Connect) -> None:
    """A request that only members may make is CHANNEL_PRIVATE to others."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News")
        with pytest.raises(errors.ChannelPrivateError):
            await difference(alice, 1)
        with pytest.raises(errors.ChannelPrivateError):
            await alice.send_read_acknowledge("news")


async def test_an_account_that_is_too_far_behind_gets_too_long(connected: Connect) -> None:
    """More missed messages than the limit are differenceTooLong with the current pts."""
    async with Sandbox(max_missed=3) as dc, connected(dc, ALICE) as alice:
        for number in range(4):
            await dc.push(ALICE, str(number))
        far = await alice(functions.updates.GetDifferenceRequest(pts=1, date=None, qts=0))
        assert isinstance(far, types.updates.DifferenceTooLong)
        assert far.pts == 5
        near = await alice(functions.updates.GetDifferenceRequest(pts=2, date=None, qts=0))
        assert len(near.new_messages) == 3


async def test_the_difference_names_only_channels_with_news(connected: Connect) -> None:
    """updates.getDifference lists the account's channels that were written in since the date, with their pts."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("silent", "Silent", members=[ALICE])
        await dc.create_channel("foreign", "Foreign")
        channel = await dc.create_channel("news", "News", members=[ALICE])
        await dc.post("foreign", "x")
        await dc.post("news", "x")
        state = await alice(functions.updates.GetStateRequest())
        answer = await alice(functions.updates.GetDifferenceRequest(1, state.date, 0))
        assert answer.other_updates == [types.UpdateChannelTooLong(channel, 2)]
        assert [(chat.id, chat.title) for chat in answer.chats] == [(channel, "News")]
