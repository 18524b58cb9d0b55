"""messages.search, with the unmodified Telethon client."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from telethon import errors
from telethon.tl import functions, types

from adapters.sandbox import Sandbox
from tests.adapters.sandbox.harness import Connect

ALICE, BOB = "+9996620001", "+9996620002"
BOBS_NAME = "user9996620002"


def every(client: Any, chat: Any, **wanted: Any) -> AsyncIterator[Any]:
    """Yield all of it, without the second that Telethon waits between pages."""
    messages: AsyncIterator[Any] = client.iter_messages(chat, wait_time=0, **wanted)
    return messages


async def texts_of(messages: AsyncIterator[Any]) -> list[str]:
    return [message.text async for message in messages]


async def test_a_group_is_searched_for_what_one_wrote(connected: Connect) -> None:
    """from_user and search together find an account's own messages with that text, in pages, in either order."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE, BOB])
        for number in range(1, 261):
            await dc.post("talk", f"{'plan' if number % 2 else 'idea'} {number}", BOB if number % 5 else ALICE)
        mine = [number for number in range(1, 261) if not number % 5]
        plans = [f"plan {number}" for number in mine if number % 2]
        assert await texts_of(every(alice, "talk", from_user="me", search="plan", reverse=True)) == plans
        assert await texts_of(every(alice, "talk", from_user="me", search="plan")) == plans[::-1]
        assert [m.id async for m in every(alice, "talk", from_user="me")] == mine[::-1]
        bobs = [m.id async for m in every(alice, "talk", from_user=BOBS_NAME, reverse=True)]
        assert bobs == [number for number in range(1, 261) if number % 5]


async def test_a_search_has_bounds_and_a_count(connected: Connect) -> None:
    """min_id, max_id, limit and offset_id bound what is found; a limit of 0 returns the number of matches."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        await dc.fill("talk", 300)

        async def found(**bounds: Any) -> list[int]:
            return [m.id async for m in every(alice, "talk", search="message", **bounds)]

        assert await found(min_id=290) == list(range(300, 290, -1))
        assert await found(max_id=5) == [4, 3, 2, 1]
        assert await found(limit=3) == [300, 299, 298]
        assert await found(offset_id=10, limit=2) == [9, 8]
        assert await found(min_id=100, max_id=104, reverse=True) == [101, 102, 103]
        assert (await alice.get_messages("talk", search="29", limit=0)).total == 13


async def test_a_search_is_bounded_by_the_server_too(connected: Connect) -> None:
    """The ids of a raw request bound its answer; Telethon itself never sends them."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        await dc.fill("talk", 20)
        peer = await alice.get_input_entity("talk")
        nothing = types.InputMessagesFilterEmpty()
        request = functions.messages.SearchRequest(peer, "", nothing, None, None, 0, 0, 100, 12, 8, 0)
        assert [m.id for m in (await alice(request)).messages] == [11, 10, 9]
        request.limit = 0
        answer = await alice(request)
        assert (answer.messages, answer.count) == ([], 20)


async def test_a_search_knows_letters_of_any_case_and_no_wildcards(connected: Connect) -> None:
    """Cyrillic and German are found in any case; % and _ are characters like others."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        for text in ("Привет всем", "STRASSE", "100 %", "a_b", "aXb"):
            await dc.post("talk", text)
        found = [await texts_of(every(alice, "talk", search=text)) for text in ("ПРИВЕТ", "straße", "%", "a_b")]
        assert found == [["Привет всем"], ["STRASSE"], ["100 %"], ["a_b"]]
        assert await texts_of(every(alice, "talk", search="nowhere")) == []
        assert len(await texts_of(every(alice, "talk", search=""))) == 5


async def test_a_private_chat_is_searched(connected: Connect) -> None:
    """In a private chat the caller's messages with a text and notes to itself are found; other chats are not."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.push(ALICE, "plan of Bob", BOB)
        await dc.push(ALICE, "plan of Telegram")
        await alice.send_message(BOBS_NAME, "my plan")
        await alice.send_message(BOBS_NAME, "my idea")
        await alice.send_message("me", "plan for me")
        assert await texts_of(every(alice, BOBS_NAME, search="plan")) == ["my plan", "plan of Bob"]
        assert await texts_of(every(alice, BOBS_NAME, from_user="me", search="plan")) == ["my plan"]
        assert await texts_of(every(alice, BOBS_NAME, from_user="me", reverse=True)) == ["my plan", "my idea"]
        assert await texts_of(every(alice, "me", from_user="me", search="plan")) == ["plan for me"]
        assert (await alice.get_messages(BOBS_NAME, search="plan", limit=0)).total == 2


async def test_a_broadcast_hides_its_authors(connected: Connect) -> None:
    """In a broadcast the channel's messages and the caller's own are found, but not those of other authors."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News", admins=[ALICE, BOB])
        await dc.post("news", "by the channel")
        await dc.post("news", "by Bob", BOB)
        await alice.send_message("news", "by me")
        assert await texts_of(every(alice, "news", from_user="me")) == ["by me"]
        assert await texts_of(every(alice, "news", from_user=BOBS_NAME)) == []
        assert len(await texts_of(every(alice, "news", from_user="news"))) == 3


async def test_a_group_that_speaks_itself_is_found_by_its_name(connected: Connect) -> None:
    """from_user may be the group: it finds what the group itself wrote, not what members did."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[BOB])
        await dc.post("talk", "by the group")
        await dc.post("talk", "by Bob", BOB)
        assert await texts_of(every(alice, "talk", from_user="talk")) == ["by the group"]


async def test_a_time_begins_and_ends_a_search(connected: Connect) -> None:
    """min_date and max_date are exclusive, and offset_date of getHistory begins below it."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        await dc.fill("talk", 10)
        peer = await alice.get_input_entity("talk")
        dates = [datetime.fromtimestamp(message.date, UTC) for message in dc.channel_messages("talk")]
        nothing = types.InputMessagesFilterEmpty()
        request = functions.messages.SearchRequest(peer, "", nothing, dates[2], dates[6], 0, 0, 100, 0, 0, 0)
        assert [m.id for m in (await alice(request)).messages] == [6, 5, 4]
        assert [m.id async for m in every(alice, "talk", search="m", offset_date=dates[3])] == [3, 2, 1]
        assert [m.id async for m in every(alice, "talk", offset_date=dates[3])] == [3, 2, 1]
        forwards = [m.id async for m in every(alice, "talk", offset_date=dates[7], reverse=True)]
        assert forwards == [8, 9, 10]


async def test_a_kind_of_message_that_the_sandbox_lacks_is_refused(connected: Connect) -> None:
    """The sandbox has text only, so a search for photos is refused clearly."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        with pytest.raises(errors.BadRequestError, match="FILTER_NOT_IN_SANDBOX"):
            await texts_of(every(alice, "talk", filter=types.InputMessagesFilterPhotos))
