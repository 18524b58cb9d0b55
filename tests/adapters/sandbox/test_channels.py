"""Channels and groups, with the unmodified Telethon client."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from telethon import errors, events
from telethon.tl import functions, types

from adapters.sandbox import Sandbox, SandboxError, SandboxProcess
from adapters.sandbox.server.sandbox import DATABASE
from tests.adapters.sandbox.harness import Connect, marked_id, next_item, record_news

ALICE, BOB, CAROL = "+9996620001", "+9996620002", "+9996620003"


async def join(client: Any, username: str) -> None:
    await client(functions.channels.JoinChannelRequest(username))


async def test_joining_by_username_leads_to_new_messages(connected: Connect) -> None:
    """A client that joins by username gets what is posted from then on, with the right chat."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        channel = await dc.create_channel("news", "News")
        news = record_news(alice)
        await join(alice, "news")
        assert await dc.post("news", "hello") == 1
        assert await next_item(news) == (marked_id(channel), "hello")


async def test_only_members_are_pushed_a_message(connected: Connect) -> None:
    """Only members are pushed a message; leaving ends it, and cannot be done twice."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc, BOB) as bob:
        await dc.create_channel("news", "News", members=[ALICE])
        await bob.get_me()
        await alice(functions.channels.LeaveChannelRequest("news"))
        await dc.post("news", "hello")
        with pytest.raises(errors.UserNotParticipantError):
            await alice(functions.channels.LeaveChannelRequest("news"))
        assert dc.stats()["updates_pushed"] == 0


async def test_a_channel_is_read_newest_first(connected: Connect) -> None:
    """iter_messages reads a channel of several pages, each message once; a non-member may, as in all public ones."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News")
        for number in range(230):
            await dc.post("news", str(number))
        texts = [m.text async for m in alice.iter_messages("news", wait_time=0)]
        assert texts == [str(number) for number in reversed(range(230))]
        assert (await alice.get_messages("news", limit=0)).total == 230


async def test_a_channel_is_read_forwards(connected: Connect) -> None:
    """iter_messages(reverse=True, min_id=…) begins behind the id, oldest first, each message once."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News")
        for number in range(1, 231):
            await dc.post("news", str(number))
        ids = [m.id async for m in alice.iter_messages("news", reverse=True, min_id=17, wait_time=0)]
        assert ids == list(range(18, 231))
        few = [m.id async for m in alice.iter_messages("news", reverse=True, min_id=17, max_id=30, limit=5)]
        assert few == list(range(18, 23))


async def test_a_chat_of_two_is_read_forwards_too(connected: Connect) -> None:
    """The same window reads private chats: reverse=True with min_id, several pages."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        for number in range(1, 131):
            await dc.push(ALICE, str(number), BOB)
        ids = [m.id async for m in alice.iter_messages("user9996620002", reverse=True, min_id=10, wait_time=0)]
        assert ids == list(range(11, 131))


async def test_members_write_in_a_megagroup(connected: Connect) -> None:
    """A member's message is answered with its id, pushed to the others with its author, and recorded."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc, BOB) as bob:
        group = await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE, BOB])
        heard: asyncio.Queue[tuple[int, int, bool]] = asyncio.Queue()
        bob.add_event_handler(lambda e: heard.put((e.chat_id, e.sender_id, e.is_group)), events.NewMessage())
        await bob.get_me()
        sent = await alice.send_message("talk", "hello")
        assert (sent.id, sent.out, sent.chat_id) == (1, True, marked_id(group))
        assert await next_item(heard) == (marked_id(group), 9996620001, True)
        assert [(m.id, m.text, m.sender) for m in dc.channel_messages("talk")] == [(1, "hello", 9996620001)]


async def test_the_sender_does_not_get_its_own_message_as_news(connected: Connect) -> None:
    """The sending client counts its own message, so that the next one fits without a gap."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        group = await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        news = record_news(alice)
        await alice.send_message("talk", "mine")
        await dc.post("talk", "theirs")
        assert await next_item(news) == (marked_id(group), "theirs")
        assert "updates.getChannelDifference" not in dc.stats()["requests"]


async def test_admins_write_in_a_broadcast_and_the_channel_speaks(connected: Connect) -> None:
    """An admin's post is the channel's: readers see no author."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc, BOB) as bob:
        channel = await dc.create_channel("news", "News", members=[BOB], admins=[ALICE])
        await alice.send_message("news", "official")
        (message,) = await bob.get_messages("news", limit=1)
        assert (message.text, message.sender_id, message.post, message.out) == (
            "official",
            marked_id(channel),
            True,
            False,
        )


@pytest.mark.parametrize(("megagroup", "members"), [(False, [ALICE]), (False, []), (True, [])])
async def test_an_account_that_may_not_write_is_refused(
    connected: Connect, megagroup: bool, members: list[str]
) -> None:
    """A member of a broadcast and a non-member of either kind get CHAT_WRITE_FORBIDDEN, and nothing is recorded."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("place", "Place", megagroup=megagroup, members=members)
        with pytest.raises(errors.ChatWriteForbiddenError):
            await alice.send_message("place", "hello")
        assert dc.channel_messages("place") == []


async def test_a_random_id_works_once_in_a_channel(connected: Connect) -> None:
    """Sending again with the same random_id raises RandomIdDuplicateError, and uses up no number."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        peer = await alice.get_input_entity("talk")
        request = functions.messages.SendMessageRequest(peer, "once", random_id=42)
        await alice(request)
        # Past the client, which sleeps for 2 s after every ServerError.
        with pytest.raises(errors.RandomIdDuplicateError):
            await alice._sender.send(request)
        await dc.post("talk", "next")
        assert [(m.id, m.pts) for m in dc.channel_messages("talk")] == [(1, 2), (2, 3)]


async def test_all_dialogs_are_listed_once(connected: Connect) -> None:
    """iter_dialogs goes through several pages of private chats and channels, empty ones too, the newest first."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        names = [f"channel{number}" for number in range(220)]
        for number, name in enumerate(names):
            await dc.create_channel(name, name, members=[ALICE])
            if number % 2:
                await dc.post(name, "hello")
        for number in range(10):
            await dc.push(ALICE, "hi", f"+99966200{number + 10}")
        found = [dialog async for dialog in alice.iter_dialogs()]
        assert len(found) == len({dialog.id for dialog in found}) == 230
        moments = [dialog.date for dialog in found if dialog.message]
        assert moments == sorted(moments, reverse=True)
        assert {dialog.dialog.pts for dialog in found if dialog.is_channel} == {1, 2}


async def test_reading_a_channel_counts_it_down(connected: Connect) -> None:
    """What came after joining is unread until channels.readHistory, which never goes back; what came before is read."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News")
        await dc.post("news", "before")
        await join(alice, "news")
        await dc.post("news", "one")
        await dc.post("news", "two")
        (dialog,) = await alice.get_dialogs()
        assert (dialog.unread_count, dialog.name, dialog.message.text) == (2, "News", "two")
        await alice.send_read_acknowledge("news", max_id=2)
        assert (await alice.get_dialogs())[0].unread_count == 1
        await alice.send_read_acknowledge("news", max_id=1)
        assert (await alice.get_dialogs())[0].unread_count == 1


async def test_messages_are_found_by_their_ids(connected: Connect) -> None:
    """get_messages(ids=…) works in channels and in private chats; an unknown id is None."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News")
        await dc.post("news", "one")
        await dc.post("news", "two")
        await dc.push(ALICE, "mine", BOB)
        assert [m and m.text for m in await alice.get_messages("news", ids=[2, 9, 1])] == ["two", None, "one"]
        assert (await alice.get_messages("user9996620002", ids=1)).text == "mine"


async def test_members_are_listed(connected: Connect) -> None:
    """get_participants returns a megagroup's members, a part of them by name, and which are admins."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE, BOB], admins=[CAROL])
        assert [u.phone for u in await alice.get_participants("talk")] == ["9996620001", "9996620002", "9996620003"]
        assert [u.phone for u in await alice.get_participants("talk", search="6620002")] == ["9996620002"]
        admins = await alice.get_participants("talk", filter=types.ChannelParticipantsAdmins)
        assert [u.phone for u in admins] == ["9996620003"]
        assert (await alice.get_permissions("talk", "user9996620003")).is_admin
        full = (await alice(functions.channels.GetFullChannelRequest("talk"))).full_chat
        assert (full.participants_count, full.admins_count, full.pts) == (3, 1, 1)


async def test_readers_of_a_broadcast_are_hidden(connected: Connect) -> None:
    """Only admins of a broadcast see its members."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News", members=[ALICE])
        with pytest.raises(errors.ChatAdminRequiredError):
            await alice.get_participants("news")


async def test_a_wrong_access_hash_names_no_channel(connected: Connect) -> None:
    """A channel with another account's access hash is invalid; with its own one channels.getChannels answers."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        channel = await dc.create_channel("news", "News", members=[ALICE])
        with pytest.raises(errors.ChannelInvalidError):
            await alice(functions.channels.JoinChannelRequest(types.InputChannel(channel, 1)))
        chats = (await alice(functions.channels.GetChannelsRequest(["news"]))).chats
        assert [(chat.title, chat.left, chat.broadcast) for chat in chats] == [("News", False, True)]


async def test_channels_survive_a_restart_and_fit_into_an_older_file(tmp_path: Path) -> None:
    """A database from before channels existed is opened, and keeps what is made in it then."""
    async with Sandbox(state=tmp_path) as dc:
        await dc.push(ALICE, "old")
    with sqlite3.connect(tmp_path / DATABASE) as db:
        for table in ("channel_messages", "channel_members", "channels"):
            db.execute(f"DROP TABLE {table}")
    db.close()
    async with Sandbox(state=tmp_path) as dc:
        channel = await dc.create_channel("news", "News", members=[ALICE])
        await dc.post("news", "kept")
    async with Sandbox(state=tmp_path) as dc:
        assert await dc.create_channel("@News", "Newer") == channel
        assert [m.text for m in dc.channel_messages("NEWS")] == ["kept"]
        assert [m.text for m in dc.messages(ALICE)] == ["old"]
        assert dc.stats()["channels"] == 1


@pytest.mark.parametrize("username", ["x", "9news", "user9996620001", "with blank", "a" * 33])
async def test_a_username_that_cannot_be_is_refused(username: str) -> None:
    """Names that Telegram would not take, and those of accounts, are refused with a sentence."""
    async with Sandbox() as dc:
        with pytest.raises(SandboxError, match="not a username for a channel"):
            await dc.create_channel(username, "News")


async def test_mistakes_with_channels_have_sentences() -> None:
    """A missing channel, the other kind, a sender that is not in it, an empty text or title: each has its sentence."""
    async with Sandbox() as dc:
        with pytest.raises(SandboxError, match="no channel 'news'; create it"):
            await dc.post("news", "hello")
        await dc.create_channel("news", "News")
        with pytest.raises(SandboxError, match="broadcast channel already"):
            await dc.create_channel("news", "News", megagroup=True)
        with pytest.raises(SandboxError, match="not in @news"):
            await dc.post("news", "hello", ALICE)
        with pytest.raises(SandboxError, match="1 to 4096 characters"):
            await dc.post("news", " ")
        with pytest.raises(SandboxError, match="title of @other"):
            await dc.create_channel("other", "")


@pytest.mark.slow
async def test_a_sandbox_in_its_own_process_has_channels_too(connected: Connect) -> None:
    """create_channel, post and channel_messages work through the control connection, in several answers if need be."""
    async with SandboxProcess.start() as dc:
        channel = await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE], admins=[BOB])
        assert await dc.post("talk", "hello", ALICE) == 1
        for _ in range(30):
            await dc.post("talk", "ö" * 4096)
        messages = await dc.channel_messages("talk")
        assert [m.id for m in messages] == list(range(1, 32))
        assert (messages[0].channel, messages[0].text, messages[0].sender) == (channel, "hello", 9996620001)
        assert [m.id for m in await dc.channel_messages("talk", after=30)] == [31]
        assert (await dc.stats())["channels"] == 1
