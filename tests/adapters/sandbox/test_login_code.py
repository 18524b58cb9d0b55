"""Codes: sent, sent again, cancelled, expired; numbers that get none; floods before the login."""

from pathlib import Path
from typing import Any

import pytest
from telethon import errors
from telethon.tl import functions, types

from adapters.sandbox import Fault, FaultKind, NumberStatus, Sandbox, SandboxError
from tests.adapters.sandbox.harness import Connect

PHONE, OTHER = "+9996620001", "+9996620002"
CODE = "22222"


async def test_an_expired_code_is_refused_and_a_new_one_works(connected: Connect) -> None:
    """After expire_codes signIn raises PhoneCodeExpiredError, and Telethon asks for another code by itself."""
    async with Sandbox() as dc, connected(dc) as client:
        await client.send_code_request(PHONE)
        assert dc.expire_codes(PHONE) == 1
        with pytest.raises(errors.PhoneCodeExpiredError):
            await client.sign_in(PHONE, CODE)
        await client.send_code_request(PHONE)
        assert (await client.sign_in(PHONE, CODE)).phone == PHONE.lstrip("+")


async def test_codes_of_others_live_on(connected: Connect) -> None:
    """expire_codes of one number leaves the codes of the others, and without a number it ends them all."""
    async with Sandbox() as dc, connected(dc) as client:
        await client.send_code_request(PHONE)
        await client.send_code_request(OTHER)
        assert (dc.expire_codes(OTHER), dc.expire_codes(OTHER), dc.expire_codes()) == (1, 0, 1)


async def test_a_code_is_sent_again_in_other_ways(connected: Connect) -> None:
    """resendCode names the next way each time, with the same hash, until none is left; the code still works."""
    async with Sandbox() as dc, connected(dc) as client:
        ways = [await client.send_code_request(PHONE) for _ in range(3)]
        assert [type(sent.type) for sent in ways] == [
            types.auth.SentCodeTypeApp,
            types.auth.SentCodeTypeSms,
            types.auth.SentCodeTypeCall,
        ]
        assert [type(sent.next_type) for sent in ways] == [types.auth.CodeTypeSms, types.auth.CodeTypeCall, type(None)]
        assert len({sent.phone_code_hash for sent in ways}) == 1
        with pytest.raises(errors.SendCodeUnavailableError):
            await client.send_code_request(PHONE)
        assert await client.sign_in(PHONE, CODE)


async def test_an_expired_code_is_not_sent_again(connected: Connect) -> None:
    """resendCode for an expired hash raises PhoneCodeExpiredError."""
    async with Sandbox() as dc, connected(dc) as client:
        sent = await client.send_code_request(PHONE)
        dc.expire_codes()
        with pytest.raises(errors.PhoneCodeExpiredError):
            await client(functions.auth.ResendCodeRequest(PHONE, sent.phone_code_hash))


async def test_a_code_that_was_called_off_is_expired(connected: Connect) -> None:
    """After cancelCode the hash is worthless, for signing in and for cancelling once more."""
    async with Sandbox() as dc, connected(dc) as client:
        sent = await client.send_code_request(PHONE)
        cancel = functions.auth.CancelCodeRequest(PHONE, sent.phone_code_hash)
        assert await client(cancel) is True
        with pytest.raises(errors.PhoneCodeExpiredError):
            await client.sign_in(PHONE, CODE)
        with pytest.raises(errors.PhoneCodeExpiredError):
            await client(cancel)


@pytest.mark.parametrize(
    "request_",
    [
        functions.auth.SignInRequest(PHONE, "", CODE),
        functions.auth.ResendCodeRequest(PHONE, ""),
        functions.auth.CancelCodeRequest(PHONE, ""),
    ],
)
async def test_a_missing_hash_is_named(connected: Connect, request_: Any) -> None:
    """Without phone_code_hash each request of a code raises PhoneCodeHashEmptyError."""
    async with Sandbox() as dc, connected(dc) as client:
        with pytest.raises(errors.PhoneCodeHashEmptyError):
            await client(request_)


async def test_a_hash_that_is_not_ascii_is_only_wrong(connected: Connect) -> None:
    """A hash of any characters is compared and refused, without an internal error."""
    async with Sandbox() as dc, connected(dc) as client:
        await client.send_code_request(PHONE)
        with pytest.raises(errors.PhoneCodeExpiredError):
            await client(functions.auth.SignInRequest(PHONE, "häsh", CODE))
        assert dc.stats()["protocol_errors"] == {}


async def test_a_banned_number_gets_no_code_until_it_is_usual_again(connected: Connect) -> None:
    """sendCode to a banned number raises PhoneNumberBannedError; the status can be reset."""
    async with Sandbox() as dc, connected(dc) as client:
        dc.set_number_status(PHONE, NumberStatus.BANNED)
        with pytest.raises(errors.PhoneNumberBannedError):
            await client.send_code_request(PHONE)
        dc.set_number_status(PHONE, "usual")
        assert await client.send_code_request(PHONE)


async def test_a_number_without_an_account_is_asked_to_sign_up(connected: Connect) -> None:
    """With the right code Telethon raises PhoneNumberUnoccupiedError; the key stays logged out, without an account."""
    async with Sandbox() as dc, connected(dc) as client:
        dc.set_number_status(PHONE, NumberStatus.UNOCCUPIED)
        await client.send_code_request(PHONE)
        with pytest.raises(errors.PhoneCodeInvalidError):
            await client.sign_in(PHONE, "11111")
        with pytest.raises(errors.PhoneNumberUnoccupiedError):
            await client.sign_in(PHONE, CODE)
        assert await client.get_me() is None
        assert dc.stats()["accounts"] == 0


async def test_a_number_without_an_account_has_nothing_to_push_to() -> None:
    """The sandbox itself makes no account for an unoccupied number either."""
    async with Sandbox() as dc:
        dc.set_number_status(PHONE, NumberStatus.UNOCCUPIED)
        with pytest.raises(SandboxError, match="unoccupied"):
            await dc.push(PHONE, "hello")


async def test_what_a_number_is_survives_a_restart(connected: Connect, tmp_path: Path) -> None:
    """The status of a number is kept with the state."""
    async with Sandbox(state=tmp_path) as dc:
        dc.set_number_status(PHONE, NumberStatus.BANNED)
    async with Sandbox(state=tmp_path) as dc, connected(dc) as client:
        with pytest.raises(errors.PhoneNumberBannedError):
            await client.send_code_request(PHONE)


async def test_a_flood_at_the_door_carries_its_seconds(connected: Connect) -> None:
    """An rpc_error for auth.* hits a client that is not logged in; the next client gets its code."""
    async with Sandbox() as dc:
        await dc.inject(Fault(FaultKind.RPC_ERROR, code=420, text="FLOOD_WAIT_77", request="auth.*"))
        async with connected(dc) as client:
            with pytest.raises(errors.FloodWaitError) as caught:
                await client.send_code_request(PHONE)
            assert caught.value.seconds == 77
        async with connected(dc) as client:
            assert await client.send_code_request(PHONE)


async def test_a_flood_at_the_door_can_be_for_one_number(connected: Connect) -> None:
    """A request that names a number is hit by a fault of that account, and of no other."""
    async with Sandbox() as dc, connected(dc) as client:
        fault = Fault(FaultKind.RPC_ERROR, PHONE, code=400, text="PHONE_PASSWORD_FLOOD", request="auth.sendCode")
        await dc.inject(fault)
        assert await client.send_code_request(OTHER)
        with pytest.raises(errors.PhonePasswordFloodError):
            await client.send_code_request(PHONE)
