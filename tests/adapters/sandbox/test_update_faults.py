"""Updates that do not come as they should, with the unmodified Telethon client: what it sees, and what it misses."""

import pytest
from telethon import utils
from telethon.errors import ChannelPrivateError
from telethon.tl import functions, types

from adapters.sandbox import Fault, FaultKind, Sandbox, SandboxError
from adapters.sandbox.faults.kinds import WRONG_PTS_BY
from tests.adapters.sandbox.harness import ALICE, STATE, Connect, is_alive, is_answered, next_item, record_texts

CHANNEL = "updates.getChannelDifference"


def peer_dialogs(*channels: types.Channel) -> functions.messages.GetPeerDialogsRequest:
    """Return the request for these channels' numbers."""
    peers = [types.InputDialogPeer(utils.get_input_peer(channel)) for channel in channels]
    return functions.messages.GetPeerDialogsRequest(peers)


async def test_peer_dialogs_have_the_numbers_of_channels_and_of_the_account(connected: Connect) -> None:
    """Each channel comes with its pts, and the state is that of updates.getState."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        for name in ("news", "talk"):
            await dc.create_channel(name, name, members=[ALICE])
        await dc.post("talk", "first")
        channels = [await client.get_entity(name) for name in ("news", "talk")]
        found = await client(peer_dialogs(*channels))
        state = await client(STATE())
    assert [(dialog.peer.channel_id, dialog.pts) for dialog in found.dialogs] == [
        (channels[0].id, 1), (channels[1].id, 2),
    ]  # fmt: skip
    assert (found.state.pts, found.state.qts) == (state.pts, state.qts)
    assert [message.message for message in found.messages] == ["first"]


@pytest.mark.parametrize("others", [0, 1])
async def test_one_channel_of_others_refuses_all_peer_dialogs(connected: Connect, others: int) -> None:
    """A channel that the account is not in is refused, and whatever was asked for with it."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.create_channel("news", "News", members=[ALICE])
        await dc.create_channel("other", "Other", members=[])
        names = [*["news"][:others], "other"]
        with pytest.raises(ChannelPrivateError):
            await client(peer_dialogs(*[await client.get_entity(name) for name in names]))


async def test_updates_of_one_channel_are_lost(connected: Connect) -> None:
    """The other channel's are pushed, and private messages."""
    async with Sandbox() as dc, connected(dc, ALICE, catch_up=False) as client:
        texts = record_texts(client)
        for name in ("news", "talk"):
            await dc.create_channel(name, name, members=[ALICE])
        assert await is_answered(client, STATE())
        await dc.inject(Fault(FaultKind.LOST_UPDATE, ALICE, channel="@News"))
        await dc.post("news", "lost")
        await dc.post("talk", "found")
        await dc.push(ALICE, "private")
        assert [await next_item(texts), await next_item(texts)] == ["found", "private"]
        assert await is_alive(client)
        assert texts.empty()


async def test_a_difference_is_answered_as_empty(connected: Connect) -> None:
    """The account's and a channel's: the client believes it, and is behind."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.create_channel("news", "News", members=[ALICE])
        await dc.push(ALICE, "missed")
        await dc.post("news", "missed, too")
        await dc.inject(Fault(FaultKind.LOST_DIFFERENCE, ALICE))
        news = await client.get_input_entity("news")
        account = await client(functions.updates.GetDifferenceRequest(1, 0, 0))
        channel = await client(
            functions.updates.GetChannelDifferenceRequest(news, types.ChannelMessagesFilterEmpty(), 1, 100)
        )
        assert isinstance(account, types.updates.DifferenceEmpty)
        assert isinstance(channel, types.updates.ChannelDifferenceEmpty)
        assert channel.pts == 1
        assert await is_answered(client, STATE()), "other requests are answered as always"


async def test_a_wrong_number_hides_what_follows(connected: Connect) -> None:
    """A client that has no number of a channel yet takes the wrong one for its own, and ignores what follows."""
    async with Sandbox() as dc, connected(dc, ALICE, catch_up=False) as client:
        texts = record_texts(client)
        channel = await dc.create_channel("news", "News", members=[ALICE])
        assert await is_answered(client, STATE())
        await dc.inject(Fault(FaultKind.WRONG_PTS, ALICE, times=1, channel="news"))
        await dc.post("news", "with a wrong number")
        assert await next_item(texts) == "with a wrong number"
        await dc.post("news", "ignored")
        await dc.push(ALICE, "private")
        assert await next_item(texts) == "private"
        assert client._message_box.map[channel].pts == 2 + WRONG_PTS_BY


async def test_an_unknown_constructor_is_not_read(connected: Connect) -> None:
    """Telethon logs it and goes on without the message."""
    async with Sandbox() as dc, connected(dc, ALICE, catch_up=False) as client:
        texts = record_texts(client)
        assert await is_answered(client, STATE())
        await dc.inject(Fault(FaultKind.UNKNOWN_UPDATE, ALICE, times=1))
        await dc.push(ALICE, "unknown")
        assert await is_alive(client)
        assert texts.empty()
        assert dc.stats()["faults"] == {"unknown_update": 1}


async def test_a_channel_says_that_there_is_too_much_to_list(connected: Connect) -> None:
    """With a request named, the account's own difference is as always."""
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        await dc.create_channel("news", "News", members=[ALICE])
        for number in range(3):
            await dc.post("news", f"{number}")
        await dc.inject(Fault(FaultKind.TOO_LONG, ALICE, request=CHANNEL))
        news = await client.get_input_entity("news")
        channel = await client(
            functions.updates.GetChannelDifferenceRequest(news, types.ChannelMessagesFilterEmpty(), 1, 100)
        )
        assert isinstance(channel, types.updates.ChannelDifferenceTooLong)
        assert channel.dialog.pts == 4
        account = await client(functions.updates.GetDifferenceRequest(1, 0, 0))
        assert not isinstance(account, types.updates.DifferenceTooLong)


@pytest.mark.parametrize("kind", [FaultKind.TOO_LONG, FaultKind.LOST_DIFFERENCE])
def test_a_difference_is_no_other_request(kind: FaultKind) -> None:
    """A fault of differences cannot be told to hit anything else."""
    with pytest.raises(SandboxError, match=r"hits updates\.getDifference or updates\.getChannelDifference"):
        Fault(kind, request="messages.*")
