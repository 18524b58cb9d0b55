"""Messages, updates and what was missed, with the unmodified Telethon client."""

import asyncio
from typing import Any

import pytest
from telethon import errors, events
from telethon.tl import functions, types

from adapters.sandbox import Fault, FaultKind, Sandbox
from tests.adapters.sandbox.harness import ALICE, BOB, Connect, NewSession, next_item, record_texts
from tests.timeouts import TIMEOUT


async def lost(client: Any) -> None:
    """Wait until the client knows that its connection is gone."""
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(ConnectionResetError):
            await client.disconnected


async def test_a_message_reaches_the_other_account(connected: Connect) -> None:
    """A message of one client reaches the other, and both copies are stored."""
    async with Sandbox() as dc, connected(dc, BOB) as bob, connected(dc, ALICE) as alice:
        texts = record_texts(bob)
        found = await alice(functions.contacts.ResolvePhoneRequest("9996620002"))
        await alice.send_message(found.users[0], "hello")
        assert await next_item(texts) == "hello"
        assert [(m.text, m.out) for m in dc.messages(ALICE)] == [("hello", True)]
        assert [(m.text, m.out, m.sender) for m in dc.messages(BOB)] == [("hello", False, 9996620001)]


async def test_a_pushed_message_arrives(connected: Connect) -> None:
    """``push`` reaches a connected client at once."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        texts = record_texts(alice)
        assert await dc.push(ALICE, "news") == 1
        assert await next_item(texts) == "news"


async def test_a_client_that_wants_no_updates_gets_none(connected: Connect) -> None:
    """invokeWithoutUpdates makes a session that gets no updates."""
    async with Sandbox() as dc, connected(dc, ALICE, receive_updates=False) as alice:
        await alice.get_me()
        await dc.push(ALICE, "news")
        await alice.get_me()
        assert dc.stats()["updates_pushed"] == 0


async def test_the_other_session_of_the_sender_gets_the_message(connected: Connect) -> None:
    """A message sent in one session is pushed to the account's other sessions, and not back to its own."""
    async with Sandbox() as dc, connected(dc, ALICE) as one, connected(dc, ALICE):
        await one.send_message("me", "note")
        assert dc.stats()["updates_pushed"] == 1


async def test_a_random_id_works_once(connected: Connect) -> None:
    """Sending again with the same random_id raises RandomIdDuplicateError and stores nothing."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        request = functions.messages.SendMessageRequest(types.InputPeerSelf(), "once", random_id=42)
        await alice(request)
        # Past the client, which sleeps for 2 s after every ServerError.
        with pytest.raises(errors.RandomIdDuplicateError):
            await alice._sender.send(request)
        assert len(dc.messages(ALICE)) == 1


async def test_what_was_missed_arrives_after_reconnecting(connected: Connect, new_session: NewSession) -> None:
    """A message that came while the connection was down is in the difference of the next client."""
    async with Sandbox() as dc:
        session = new_session(dc, ALICE)
        async with connected(dc, session=session) as first:
            await first.get_me()
            await dc.inject(Fault(FaultKind.RESET))
            await lost(first)
            await dc.push(ALICE, "missed")
        second_texts: asyncio.Queue[str] = asyncio.Queue()
        async with connected(dc, session=session) as second:
            second.add_event_handler(lambda e: second_texts.put(e.raw_text), events.NewMessage())
            assert await next_item(second_texts) == "missed"


async def test_a_client_that_is_ahead_is_brought_back(connected: Connect) -> None:
    """A client whose pts the datacenter has not reached gets our number, and then new messages."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        request = functions.updates.GetDifferenceRequest(pts=1000, date=None, qts=0)
        answer = await alice(request)
        assert isinstance(answer, types.updates.DifferenceTooLong)
        assert answer.pts == 1


async def test_a_long_absence_comes_in_slices(connected: Connect) -> None:
    """More than a hundred missed messages come in slices whose states lead from one to the next."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        for number in range(130):
            await dc.push(ALICE, str(number))
        first = await alice(functions.updates.GetDifferenceRequest(pts=1, date=None, qts=0))
        assert isinstance(first, types.updates.DifferenceSlice)
        rest = await alice(functions.updates.GetDifferenceRequest(first.intermediate_state.pts, date=None, qts=0))
        assert isinstance(rest, types.updates.Difference)
        texts = [m.message for m in first.new_messages + rest.new_messages]
        assert texts == [str(number) for number in range(130)]


async def test_nothing_missed_is_an_empty_difference(connected: Connect) -> None:
    """A client that knows everything gets an empty difference."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        answer = await alice(functions.updates.GetDifferenceRequest(pts=1, date=None, qts=0))
        assert isinstance(answer, types.updates.DifferenceEmpty)


async def test_history_is_paged(connected: Connect) -> None:
    """iter_messages reads a chat of several pages, newest first, each message once."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        for number in range(120):
            await dc.push(ALICE, str(number), BOB)
        await alice.get_dialogs()
        texts = [m.text async for m in alice.iter_messages(9996620002)]
        assert texts == [str(number) for number in reversed(range(120))]


async def test_reading_a_chat_counts_it_down(connected: Connect) -> None:
    """messages.readHistory sets the unread count of a dialog to zero."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.push(ALICE, "one", BOB)
        (dialog,) = await alice.get_dialogs()
        assert (dialog.unread_count, dialog.name) == (1, "User 9996620002")
        await alice.send_read_acknowledge(dialog.input_entity)
        (dialog,) = await alice.get_dialogs()
        assert dialog.unread_count == 0


async def test_a_wrong_access_hash_is_refused(connected: Connect) -> None:
    """A peer with another account's access hash is invalid."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.push(ALICE, "hi", BOB)
        with pytest.raises(errors.PeerIdInvalidError):
            await alice(functions.messages.SendMessageRequest(types.InputPeerUser(9996620002, 1), "x", random_id=1))


async def test_a_request_that_is_not_there_is_named_and_counted(connected: Connect) -> None:
    """A method that the sandbox lacks is a clear RPC error and shows in the statistics."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        with pytest.raises(errors.BadRequestError, match="METHOD_NOT_IN_SANDBOX"):
            await alice(functions.account.GetWallPapersRequest(0))
        assert dc.stats()["unknown_requests"] == {"account.getWallPapers": 1}
