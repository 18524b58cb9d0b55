"""What updates cover is what Telethon counts, and nothing that it counts is kept from the handlers."""

import inspect
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from telethon._updates import EntityCache, MessageBox, SessionState
from telethon._updates.messagebox import ENTRY_ACCOUNT
from telethon._updates.session import ChannelState
from telethon.tl import functions, types
from telethon.tl.types import messages, updates

from adapters.telegram.boxes import (
    ACCOUNT,
    Advance,
    MessageRange,
    affected_update,
    of_channel_difference,
    of_difference,
    of_envelope,
    of_update,
)
from states.ledger import HoleCause, Interval
from tests.adapters.telegram.harness import PHONE, DatacenterHarness
from tests.adapters.telegram.test_inbox import delivering, linked, listening, until
from tests.adapters.telegram.test_unreadable import push

CHANNEL = 1_000_000_001
DATE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AT = DATE.timestamp()


def message(number: int, peer: Any) -> types.Message:
    """Return a message."""
    return types.Message(number, peer, DATE, "text")


def numbered() -> Iterator[Any]:
    """Yield an update of each kind that has a pts, in the account's box and in a channel's."""
    for name, kind in vars(types).items():
        if not (name.startswith("Update") and inspect.isclass(kind) and kind is not types.UpdateChannelTooLong):
            continue
        wanted = inspect.signature(kind).parameters
        if "pts" not in wanted:
            continue
        peer = types.PeerChannel(CHANNEL) if "Channel" in name else types.PeerUser(5)
        full = message(7, peer) if name.endswith("Message") and "Short" not in name else "text"
        known = {
            "pts": 12, "pts_count": 2, "channel_id": CHANNEL, "message": full, "peer": peer, "id": 7, "date": DATE,
            "user_id": 5, "chat_id": 5, "from_id": 5,
        }  # fmt: skip
        yield kind(**{name: known.get(name, []) for name, each in wanted.items() if each.default is each.empty})


def box_at(pts: int) -> MessageBox:
    """Return Telethon's count of updates, with the account and a channel at this number."""
    box = MessageBox(logging.getLogger("test"))
    box.load(SessionState(1, 1, False, pts, 0, int(AT), 0, None), [ChannelState(CHANNEL, pts)])
    return box


@pytest.mark.parametrize("update", list(numbered()), ids=lambda each: type(each).__name__)
async def test_an_update_covers_what_telethon_counts(update: Any) -> None:
    """It is counted by a box that is where it begins, which is then where it ends; no other box moves."""
    advance = of_update(update)
    assert advance is not None
    box, processed = box_at(advance.interval.after), list[Any]()
    box.process_updates(types.UpdateShort(update, DATE), EntityCache(), processed)
    entry = advance.box or ENTRY_ACCOUNT
    assert processed == [update]
    others = {ENTRY_ACCOUNT, CHANNEL} - {entry}
    assert box.map[entry].pts == advance.interval.upto == 12
    assert all(box.map[other].pts == advance.interval.after for other in others)


def test_new_messages_are_counted_with_their_numbers_and_dates() -> None:
    """Of a full and of a short message; an edit says nothing of when its message was new."""
    seen = MessageRange(7, 7, AT, AT)
    peer = types.PeerUser(5)
    assert of_update(types.UpdateNewMessage(message(7, peer), 4, 1)) == Advance(ACCOUNT, Interval(3, 4), seen, at=AT)
    short = types.UpdateShortMessage(7, 5, "text", 4, 1, DATE)
    assert list(of_envelope(short)) == [Advance(ACCOUNT, Interval(3, 4), seen, at=AT)]
    assert of_update(types.UpdateEditMessage(message(7, peer), 4, 1)) == Advance(ACCOUNT, Interval(3, 4), at=0.0)


def test_a_difference_covers_what_was_asked_for_up_to_its_state() -> None:
    """Whole or in parts; an empty one covers nothing, and one that is too long is lost."""
    state = types.updates.State(9, 0, DATE, 0, 0)
    found = [message(3, types.PeerUser(5)), message(2, types.PeerUser(5))]
    seen = MessageRange(2, 3, AT, AT)
    whole = updates.Difference(found, [], [], [], [], state)
    part = updates.DifferenceSlice(found, [], [], [], [], state)
    asked = AT + 50
    assert of_difference(4, whole, asked) == Advance(ACCOUNT, Interval(4, 9), seen, at=asked)
    assert of_difference(4, part, asked) == Advance(ACCOUNT, Interval(4, 9), seen, at=AT)  # it says that there is more
    empty = updates.DifferenceEmpty(DATE, 0)
    assert of_difference(4, empty, asked) == Advance(ACCOUNT, Interval(4, 4), at=asked)
    assert of_difference(4, updates.DifferenceTooLong(90)) == Advance(ACCOUNT, Interval(4, 90), lost=HoleCause.TOO_LONG)


def test_a_channel_s_difference_covers_what_was_asked_for() -> None:
    """The latest messages of one that is too long do not count: Telethon drops them."""
    found = [message(3, types.PeerChannel(CHANNEL))]
    part = updates.ChannelDifference(9, found, [], [], [], final=False)
    asked, seen = AT + 50, MessageRange(3, 3, AT, AT)
    assert of_channel_difference(CHANNEL, 4, part, asked) == Advance(CHANNEL, Interval(4, 9), seen, at=AT)
    part.final = True
    assert of_channel_difference(CHANNEL, 4, part, asked) == Advance(CHANNEL, Interval(4, 9), seen, at=asked)
    empty = updates.ChannelDifferenceEmpty(4, final=True)
    assert of_channel_difference(CHANNEL, 4, empty, asked) == Advance(CHANNEL, Interval(4, 4), at=asked)
    dialog = types.Dialog(types.PeerChannel(CHANNEL), 1, 1, 1, 0, 0, 0, 0, types.PeerNotifySettings(), pts=90)
    too_long = updates.ChannelDifferenceTooLong(dialog, found, [], [], final=True)
    assert of_channel_difference(CHANNEL, 4, too_long) == Advance(CHANNEL, Interval(4, 90), lost=HoleCause.TOO_LONG)


def test_numbers_that_a_request_used_up_in_a_channel_are_the_channel_s() -> None:
    """Also within another request; those of private chats Telethon counts by itself."""
    answer = messages.AffectedMessages(12, 2)
    request = functions.channels.DeleteMessagesRequest(types.InputChannel(CHANNEL, 1), [1, 2])
    wrapped = functions.InvokeWithoutUpdatesRequest(request)
    for each in (request, wrapped):
        found = of_update(affected_update(each, answer))
        assert found is not None
        assert (found.box, found.interval) == (CHANNEL, Interval(10, 12))
    assert affected_update(functions.messages.DeleteMessagesRequest([1, 2]), answer) is None
    assert affected_update(request, types.Updates([], [], [], DATE, 0)) is None


async def test_a_short_message_reaches_the_handlers(harness: DatacenterHarness) -> None:
    """Telegram sends private messages without media in short form, where the envelope is the update."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account), linked(account) as link:
            await dc.push(PHONE, "full")
            await until(heard, 1)
            pts = link.client._message_box.map[ENTRY_ACCOUNT].pts
            push(dc, bytes(types.UpdateShortMessage(7, 777000, "short", pts + 1, 1, DATE)))
            await until(heard, 2)
    assert heard == ["full", "short"]


async def test_deletions_in_a_channel_leave_the_account_s_count_alone(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Telethon would take the channel's numbers for the account's, and drop the next private message as known."""
    async with harness:
        account = harness.connector()
        async with delivering(account), linked(account) as link:
            box = link.client._message_box
            pts = box.map[ENTRY_ACCOUNT].pts
            request = functions.channels.DeleteMessagesRequest(types.InputChannel(CHANNEL, 1), [1])
            link.client._sender._count_own(request, messages.AffectedMessages(pts + 1, 1))
            await link.client.get_me()
    assert box.map[ENTRY_ACCOUNT].pts == pts
    assert box.map[CHANNEL].pts == pts + 1
