"""Key exchange and login, with the unmodified Telethon client."""

from typing import Any

import pytest
from telethon import errors
from telethon.network import connection as modes
from telethon.tl import functions

from adapters.sandbox import Sandbox
from tests.adapters.sandbox.harness import Connect, NewSession

PHONE = "+9996620001"


async def test_a_new_client_makes_a_key_and_logs_in(connected: Connect) -> None:
    """A client without a session gets a key, a code and an account."""
    async with Sandbox() as dc, connected(dc) as client:
        await client.send_code_request(PHONE)
        me = await client.sign_in(PHONE, "22222")
        assert (me.phone, dc.stats()["keys_made"]) == ("9996620001", 1)
        state = await client(functions.updates.GetStateRequest())
        assert state.pts == 1


async def test_the_wrong_code_is_refused_and_the_right_one_still_works(connected: Connect) -> None:
    """A wrong code raises PhoneCodeInvalidError and does not use the sent code up."""
    async with Sandbox() as dc, connected(dc) as client:
        await client.send_code_request(PHONE)
        with pytest.raises(errors.PhoneCodeInvalidError):
            await client.sign_in(PHONE, "11111")
        assert (await client.sign_in(PHONE, "22222")).id == 9996620001


async def test_a_code_can_be_used_once(connected: Connect) -> None:
    """The hash of a code that was used is expired."""
    async with Sandbox() as dc, connected(dc) as client:
        sent = await client.send_code_request(PHONE)
        await client.sign_in(PHONE, "22222")
        with pytest.raises(errors.PhoneCodeExpiredError):
            await client(functions.auth.SignInRequest(PHONE, sent.phone_code_hash, "22222"))


async def test_a_missing_code_is_named(connected: Connect) -> None:
    """signIn without a code raises PhoneCodeEmptyError."""
    async with Sandbox() as dc, connected(dc) as client:
        sent = await client.send_code_request(PHONE)
        with pytest.raises(errors.PhoneCodeEmptyError):
            await client(functions.auth.SignInRequest(PHONE, sent.phone_code_hash, ""))


async def test_only_test_numbers_exist(connected: Connect) -> None:
    """A number outside Telegram's test range gets no code."""
    async with Sandbox() as dc, connected(dc) as client:
        with pytest.raises(errors.PhoneNumberInvalidError):
            await client.send_code_request("+4915112345678")


@pytest.mark.parametrize(
    "request_", [functions.updates.GetStateRequest(), functions.account.UpdateStatusRequest(offline=False)]
)
async def test_without_a_login_requests_are_unauthorised(connected: Connect, request_: Any) -> None:
    """A key that is not logged in gets 401 AUTH_KEY_UNREGISTERED."""
    async with Sandbox() as dc, connected(dc) as client:
        with pytest.raises(errors.AuthKeyUnregisteredError):
            await client(request_)


async def test_a_registered_key_needs_no_login(connected: Connect) -> None:
    """``authorize`` gives a key with which the client is logged in at once."""
    async with Sandbox() as dc, connected(dc, PHONE) as client:
        assert (await client.get_me()).phone == "9996620001"
        assert dc.stats()["keys_made"] == 0


async def test_after_logging_out_the_key_has_no_account(connected: Connect) -> None:
    """auth.logOut takes the login from the key and leaves the connection up."""
    # A client that is catching up would ask for the difference, get 401 and disconnect itself.
    async with Sandbox() as dc, connected(dc, PHONE, catch_up=False) as client:
        await client(functions.auth.LogOutRequest())
        with pytest.raises(errors.AuthKeyUnregisteredError):
            await client(functions.updates.GetStateRequest())
        assert client.is_connected()


@pytest.mark.parametrize(
    "mode",
    [
        modes.ConnectionTcpFull,
        modes.ConnectionTcpAbridged,
        modes.ConnectionTcpIntermediate,
        modes.ConnectionTcpObfuscated,
    ],
)
async def test_every_framing_of_the_client_is_understood(connected: Connect, mode: Any) -> None:
    """Each of Telethon's transports exchanges a key and gets answers."""
    async with Sandbox() as dc, connected(dc, connection=mode) as client:
        assert (await client(functions.help.GetNearestDcRequest())).this_dc == 2


async def test_a_key_survives_a_string_session(connected: Connect, new_session: NewSession) -> None:
    """The key of an exchange has 256 bytes, so that saving a session and loading it gives the same key."""
    from telethon.sessions import StringSession

    async with Sandbox() as dc:
        session = new_session(dc)
        async with connected(dc, session=session):
            pass
        again = StringSession(session.save())
        async with connected(dc, session=again) as client:
            assert (await client(functions.help.GetNearestDcRequest())).this_dc == 2
        assert dc.stats()["keys_made"] == 1
