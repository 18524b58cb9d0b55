"""Logging out: a key without an account again."""

import pytest
from telethon import errors
from telethon.tl import functions

from adapters.sandbox import Sandbox
from tests.adapters.sandbox.harness import ALICE, BOB, STATE, Connect, NewSession, next_item, record_texts


async def test_the_other_sessions_stay(connected: Connect, new_session: NewSession) -> None:
    """Telethon's log_out() ends its own session only; its key is unregistered and can be logged in anew."""
    async with Sandbox() as dc, connected(dc, ALICE) as other:
        session = new_session(dc, ALICE)
        key = session.auth_key
        async with connected(dc, session=session) as client:
            assert await client.log_out() is True
        again = new_session(dc)
        again.auth_key = key
        async with connected(dc, session=again, catch_up=False) as client:
            with pytest.raises(errors.AuthKeyUnregisteredError):
                await client(STATE())
            await client.send_code_request(ALICE)
            assert await client.sign_in(ALICE, "22222")
        assert (await other(STATE())).pts == 1


async def test_a_key_without_an_account_cannot_log_out(connected: Connect) -> None:
    """logOut of a key that is not logged in raises AuthKeyUnregisteredError."""
    async with Sandbox() as dc, connected(dc) as client:
        with pytest.raises(errors.AuthKeyUnregisteredError):
            await client(functions.auth.LogOutRequest())


async def test_a_second_step_ends_with_the_logout(connected: Connect) -> None:
    """A client that logs out cannot go on with a login that waited for its password."""
    async with Sandbox() as dc, connected(dc, ALICE, catch_up=False) as client:
        await dc.set_password(ALICE, "correct horse")
        sent = await client.send_code_request(ALICE)
        with pytest.raises(errors.SessionPasswordNeededError):
            await client(functions.auth.SignInRequest(ALICE, sent.phone_code_hash, "22222"))
        await client(functions.auth.LogOutRequest())
        with pytest.raises(errors.AuthKeyUnregisteredError):
            await client(functions.account.GetPasswordRequest())


@pytest.mark.parametrize("next_owner", [None, BOB])
async def test_no_connection_of_the_key_gets_more_updates(
    connected: Connect, new_session: NewSession, next_owner: str | None
) -> None:
    """A second connection of a key that was logged out, or in as another account, gets none of the first's updates."""
    async with Sandbox() as dc, connected(dc, ALICE) as watch:
        session, second = new_session(dc, ALICE), new_session(dc)
        second.auth_key = session.auth_key
        async with (
            connected(dc, session=second, catch_up=False) as other,
            connected(dc, session=session, catch_up=False) as client,  # after the other: in parallel is forbidden
        ):
            heard, heard_by_watch = record_texts(other), record_texts(watch)
            await watch(STATE())
            await client(functions.auth.LogOutRequest())
            if next_owner is not None:
                await client.send_code_request(next_owner)
                await client.sign_in(next_owner, "22222")
            await dc.push(ALICE, "not for this key")
            assert await next_item(heard_by_watch) == "not for this key"
            # What was pushed before this answer has been read by now.
            await other(functions.help.GetNearestDcRequest())
            assert heard.empty()
