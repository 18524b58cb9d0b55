"""A message that is sent again under its random_id, as a client does that does not know whether it arrived."""

from pathlib import Path
from typing import Any

import pytest
from telethon import errors
from telethon.tl import functions

from adapters.sandbox import Sandbox
from tests.adapters.sandbox.harness import Connect, NewSession

ALICE, BOB = "+9996620001", "+9996620002"


async def send(client: Any, chat: Any, random_id: int | None = 42) -> None:
    request = functions.messages.SendMessageRequest(await client.get_input_entity(chat), "once", random_id=random_id)
    await client._sender.send(request)  # past the client, which sleeps for 2 s after every ServerError


@pytest.mark.parametrize("chat", ["talk", "user9996620002"])
async def test_a_random_id_works_once_over_all_connections_and_lives(
    connected: Connect, new_session: NewSession, tmp_path: Path, chat: str
) -> None:
    """Another connection of the account and a restarted sandbox refuse it too; the message is there once.

    Another account may use the same number, and the refused one leaves no gap.
    """
    async with Sandbox(state=tmp_path) as dc:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE, BOB])
        session = new_session(dc, ALICE)
        async with connected(dc, session=session) as one, connected(dc, ALICE) as two:
            await send(one, chat)
            with pytest.raises(errors.RandomIdDuplicateError):
                await send(two, chat)
    async with Sandbox(state=tmp_path) as dc:
        session.set_dc(dc.dc_id, "127.0.0.1", dc.port)
        async with connected(dc, session=session) as alice, connected(dc, BOB) as bob:
            with pytest.raises(errors.RandomIdDuplicateError):
                await send(alice, chat)
            assert len(await alice.get_messages(chat, search="once")) == 1
            await send(bob, "talk")
            await send(alice, chat, random_id=43)
            assert [m.text async for m in alice.iter_messages(chat, from_user="me", wait_time=0)] == ["once", "once"]
            ids = [m.id for m in dc.channel_messages("talk")]
            assert ids == list(range(1, len(ids) + 1))
