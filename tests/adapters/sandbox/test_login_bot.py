"""Bots: a token instead of number, code and password."""

import sqlite3
from pathlib import Path

import pytest
from telethon import errors
from telethon.tl import functions

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sandbox.server.sandbox import DATABASE
from tests.adapters.sandbox.harness import ALICE, STATE, Connect, next_item, record_texts

BOT = 7000000001
TOKEN = f"{BOT}:a-token_of_a_bot-in-tests"
OTHER_TOKEN = f"{BOT}:another-token_of_that_bot"


async def test_a_bot_logs_in_with_its_token(connected: Connect) -> None:
    """Telethon's start() with a token logs in a bot, which has no number, and it gets its state."""
    async with Sandbox() as dc, connected(dc) as client:
        assert dc.make_bot(TOKEN) == BOT
        await client.start(bot_token=TOKEN)
        me = await client.get_me()
        assert (me.id, me.bot, me.phone) == (BOT, True, None)
        assert await client.is_bot()
        assert (await client(STATE())).pts == 1


@pytest.mark.parametrize("token", [OTHER_TOKEN, "7000000002:a-token_of_a_bot-in-tests", "nonsense", "9996620001:x"])
async def test_an_unknown_token_is_refused(connected: Connect, token: str) -> None:
    """A wrong secret, an unknown bot, a text that is not a token and a user's id raise AccessTokenInvalidError."""
    async with Sandbox() as dc, connected(dc) as client:
        dc.make_bot(TOKEN)
        await dc.push(ALICE, "exists")
        with pytest.raises(errors.AccessTokenInvalidError):
            await client.sign_in(bot_token=token)
        assert await client.get_me() is None


async def test_an_expired_token_says_so_and_can_be_made_good_again(connected: Connect) -> None:
    """After expire_bot_token the token raises AccessTokenExpiredError, until the bot is made with it once more."""
    async with Sandbox() as dc, connected(dc) as client:
        dc.make_bot(TOKEN)
        dc.expire_bot_token(TOKEN)
        with pytest.raises(errors.AccessTokenExpiredError):
            await client.sign_in(bot_token=TOKEN)
        dc.make_bot(TOKEN)
        assert (await client.sign_in(bot_token=TOKEN)).bot


async def test_a_new_token_takes_the_place_of_the_old_one(connected: Connect) -> None:
    """Making a bot anew keeps its id and makes its old token worthless."""
    async with Sandbox() as dc, connected(dc) as client:
        assert dc.make_bot(TOKEN) == dc.make_bot(OTHER_TOKEN)
        with pytest.raises(errors.AccessTokenInvalidError):
            await client.sign_in(bot_token=TOKEN)
        assert await client.sign_in(bot_token=OTHER_TOKEN)


async def test_a_bot_survives_a_restart_without_its_token(connected: Connect, tmp_path: Path) -> None:
    """The store recognises the token and does not contain it."""
    async with Sandbox(state=tmp_path) as dc:
        dc.make_bot(TOKEN)
    with sqlite3.connect(tmp_path / DATABASE) as db:
        assert not any(TOKEN in line or TOKEN.encode().hex() in line.lower() for line in db.iterdump())
    db.close()
    async with Sandbox(state=tmp_path) as dc, connected(dc) as client:
        assert (await client.sign_in(bot_token=TOKEN)).id == BOT


async def test_a_bot_is_an_account_like_others(connected: Connect) -> None:
    """A bot is named by its id: it can get messages and faults, and be logged in without its token."""
    async with Sandbox() as dc:
        dc.make_bot(TOKEN)
        name = f"bot{BOT}"
        async with connected(dc, name) as client:
            texts = record_texts(client)
            await client(STATE())
            await dc.push(name, "hello", ALICE)
            assert await next_item(texts) == "hello"
            await dc.inject(Fault(FaultKind.RPC_ERROR, name, code=400, text="PEER_FLOOD", request="updates.getState"))
            with pytest.raises(errors.PeerFloodError):
                await client(STATE())


async def test_what_bots_may_not_do_is_refused(connected: Connect) -> None:
    """A request that only users may make raises BotMethodInvalidError."""
    async with Sandbox() as dc, connected(dc) as client:
        dc.make_bot(TOKEN)
        await client.sign_in(bot_token=TOKEN)
        with pytest.raises(errors.BotMethodInvalidError):
            await client(functions.contacts.GetContactsRequest(0))


async def test_a_bot_has_no_number_to_log_in_with(connected: Connect) -> None:
    """A bot's name is refused where a phone number is expected."""
    async with Sandbox() as dc, connected(dc) as client:
        dc.make_bot(TOKEN)
        with pytest.raises(errors.PhoneNumberInvalidError):
            await client(functions.auth.SignInRequest(f"bot{BOT}", "hash", "22222"))
