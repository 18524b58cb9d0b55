"""Edits, deletions and replies: what other clients are pushed, what a client missed, and what is there afterwards."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from telethon import errors, events
from telethon.tl import functions, types

from adapters.sandbox import Sandbox
from adapters.sandbox.server.sandbox import DATABASE
from tests.adapters.sandbox.harness import ALICE, BOB, Connect, NewSession, next_item

CHANGES = (
    types.UpdateEditMessage,
    types.UpdateDeleteMessages,
    types.UpdateEditChannelMessage,
    types.UpdateDeleteChannelMessages,
)


def record_changes(client: Any) -> asyncio.Queue[Any]:
    changes: asyncio.Queue[Any] = asyncio.Queue()
    client.add_event_handler(changes.put, events.Raw(CHANGES))
    return changes


async def test_changes_of_a_channel_are_pushed_with_their_numbers(connected: Connect) -> None:
    """A member is pushed an edit with the new text, and a deletion that counts one for each message."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News", members=[ALICE])
        changes = record_changes(alice)
        await alice.get_me()
        first, second = await dc.post("news", "one"), await dc.post("news", "two")
        await dc.edit("news", first, "uno")
        assert await dc.delete("news", [first, second, 99]) == 2
        edit, deletion = await next_item(changes), await next_item(changes)
        assert (edit.message.message, edit.pts, edit.pts_count) == ("uno", 4, 1)
        assert edit.message.edit_date is not None
        assert (deletion.messages, deletion.pts, deletion.pts_count) == ([first, second], 6, 2)


async def test_private_changes_reach_both_sides(connected: Connect) -> None:
    """Bob is pushed what Alice edits and deletes, by his own numbering, and the history of both shows it."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc, BOB) as bob:
        await dc.push(BOB, "so that his numbers differ")
        changes = record_changes(bob)
        await bob.get_me()
        peer = await alice.get_input_entity(f"user{BOB.removeprefix('+')}")
        sent = await alice.send_message(peer, "helo")
        await alice.edit_message(peer, sent.id, "hello")
        edit = await next_item(changes)
        assert (edit.message.message, edit.message.id) == ("hello", 2)
        assert [m.message for m in await alice.get_messages(peer, limit=5)] == ["hello"]
        answer = await alice.delete_messages(peer, [sent.id], revoke=True)
        assert answer[0].pts_count == 1
        assert (await next_item(changes)).messages == [2]
        assert [m.message for m in await alice.get_messages(peer, limit=5)] == []
        assert [(m.text, m.deleted is not None) for m in dc.messages(BOB)][1:] == [("hello", True)]


async def test_only_authors_edit_and_the_same_text_is_no_edit(connected: Connect) -> None:
    """Whoever did not write a message may not edit or delete it, and an edit without a change is refused."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("group", "Group", megagroup=True, members=[ALICE, BOB])
        theirs, mine = await dc.post("group", "his", BOB), await dc.post("group", "hers", ALICE)
        with pytest.raises(errors.MessageAuthorRequiredError):
            await alice.edit_message("group", theirs, "other")
        with pytest.raises(errors.MessageDeleteForbiddenError):
            await alice.delete_messages("group", [theirs])
        with pytest.raises(errors.MessageNotModifiedError):
            await alice.edit_message("group", mine, "hers")
        await alice.edit_message("group", mine, "ours")
        await alice.delete_messages("group", [mine])
        assert [m.message for m in await alice.get_messages("group", limit=5)] == ["his"]
        assert (await alice.get_messages("group", limit=0)).total == 1


async def test_a_difference_holds_present_texts_and_the_changes(connected: Connect) -> None:
    """What was missed in a channel: new messages as they are now, without deleted ones, and the changes apart."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News", members=[ALICE])
        ids = [await dc.post("news", text) for text in ("one", "two", "three")]
        await dc.edit("news", ids[0], "uno")
        await dc.edit("news", ids[1], "due")
        await dc.delete("news", ids[1:2])
        channel = await alice.get_input_entity("news")
        everything = types.ChannelMessagesFilterEmpty()
        ask = functions.updates.GetChannelDifferenceRequest
        first = await alice(ask(channel, everything, 1, 4))
        assert ([m.message for m in first.new_messages], first.pts, first.final) == (["uno", "three"], 5, False)
        assert [u.message.message for u in first.other_updates] == ["uno"]
        rest = await alice(ask(channel, everything, first.pts, 4))
        assert (rest.new_messages, rest.pts, rest.final) == ([], 7, True)
        assert [type(u).__name__ for u in rest.other_updates] == ["UpdateDeleteChannelMessages"]


async def test_the_difference_of_an_account_holds_its_changes(connected: Connect) -> None:
    """An edit and a deletion in a private chat come back as other updates, and end at the account's number."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        first, second = await dc.push(ALICE, "one"), await dc.push(ALICE, "two")
        await dc.edit(ALICE, first, "uno")
        await dc.delete(ALICE, [second])
        answer = await alice(functions.updates.GetDifferenceRequest(pts=3, date=None, qts=0))
        assert [(type(u).__name__, u.pts) for u in answer.other_updates] == [
            ("UpdateEditMessage", 4),
            ("UpdateDeleteMessages", 5),
        ]
        assert (answer.new_messages, answer.state.pts) == ([], 5)


async def test_a_reply_names_its_message_by_the_readers_numbers(connected: Connect) -> None:
    """In a channel a reply names the message for all; in a private chat each side sees its own number."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc, BOB) as bob:
        await dc.create_channel("news", "News", members=[ALICE])
        question = await dc.post("news", "?")
        await dc.post("news", "!", reply_to=question)
        assert (await alice.get_messages("news", limit=1))[0].reply_to_msg_id == question
        await dc.push(BOB, "so that his numbers differ")
        peer = await alice.get_input_entity(f"user{BOB.removeprefix('+')}")
        asked = await alice.send_message(peer, "?")
        await alice.send_message(peer, "!", reply_to=asked)
        author = await bob.get_input_entity(f"user{ALICE.removeprefix('+')}")
        assert (await bob.get_messages(author, limit=1))[0].reply_to_msg_id == 2


async def test_a_channel_with_a_late_edit_has_news(connected: Connect) -> None:
    """A client whose date is later than the last message hears of a channel that was edited since."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News", members=[ALICE])
        await dc.fill("news", 1)
        message = dc.channel_messages("news")[0]
        await dc.edit("news", message.id, "edited")
        edited = dc.channel_messages("news")[0].edited
        assert edited is not None
        answer = await alice(functions.updates.GetDifferenceRequest(pts=1, date=edited, qts=0))
        assert [u.channel_id for u in answer.other_updates] == [dc._hub.store.channels.named("news").id]


async def test_a_state_of_before_there_were_edits_is_read(
    connected: Connect, new_session: NewSession, tmp_path: Path
) -> None:
    """Tables without the columns of edits get them, and their messages can be edited and deleted."""
    async with Sandbox(state=tmp_path) as dc:
        session = new_session(dc, ALICE)
        await dc.create_channel("news", "News", members=[ALICE])
        await dc.post("news", "old")
        await dc.push(ALICE, "old")
    with sqlite3.connect(tmp_path / DATABASE) as db:
        db.execute("DROP TABLE events")
        db.execute("DROP INDEX channel_messages_deleted")
        for table, columns in {
            "messages": ("edited", "deleted", "reply_to", "twin"),
            "channel_messages": ("edited", "deleted", "reply_to"),
        }.items():
            for column in columns:
                db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    async with Sandbox(state=tmp_path) as dc:
        session.set_dc(dc.dc_id, "127.0.0.1", dc.port)
        async with connected(dc, session=session) as alice:
            await dc.edit("news", 1, "new")
            await dc.delete(ALICE, [1])
            assert [m.message for m in await alice.get_messages("news", limit=5)] == ["new"]
            assert dc.messages(ALICE)[0].deleted is not None
