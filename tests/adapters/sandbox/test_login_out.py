"""Logging out: one key is nobody's any more."""

import pytest
from telethon import errors
from telethon.tl import functions

from adapters.sandbox import Sandbox
from tests.adapters.sandbox.looks import ALICE, STATE


async def test_the_other_sessions_stay(connected, new_session):
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


async def test_nobody_cannot_log_out(connected):
    """logOut of a key that is not logged in raises AuthKeyUnregisteredError."""
    async with Sandbox() as dc, connected(dc) as client:
        with pytest.raises(errors.AuthKeyUnregisteredError):
            await client(functions.auth.LogOutRequest())


async def test_a_second_step_ends_with_the_logout(connected):
    """Whoever logs out cannot go on with a login that waited for its password."""
    async with Sandbox() as dc, connected(dc, ALICE, catch_up=False) as client:
        await dc.set_password(ALICE, "correct horse")
        sent = await client.send_code_request(ALICE)
        with pytest.raises(errors.SessionPasswordNeededError):
            await client(functions.auth.SignInRequest(ALICE, sent.phone_code_hash, "22222"))
        await client(functions.auth.LogOutRequest())
        with pytest.raises(errors.AuthKeyUnregisteredError):
            await client(functions.account.GetPasswordRequest())
