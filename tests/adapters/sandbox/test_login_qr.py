"""Logging in by a QR code: shown by one client, accepted by another or by the sandbox."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from telethon import errors
from telethon.tl import functions, types

from adapters.sandbox import Sandbox, SandboxError
from tests.adapters.sandbox.harness import ALICE, BOB, STATE, Connect

ACCEPT = functions.auth.AcceptLoginTokenRequest
IMPORT = functions.auth.ImportLoginTokenRequest
PASSWORD = "correct horse"


@asynccontextmanager
async def waiting(login: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """Start the wait for the scan, as Telethon wants it; in the end the task has what wait() returned."""
    task = asyncio.create_task(login.wait(5))
    await asyncio.sleep(0)  # its handler is there now
    yield task
    await asyncio.wait([task])


async def test_a_scanned_code_logs_in(connected: Connect) -> None:
    """wait() returns the account that scanned the code, and the client has its state."""
    async with Sandbox() as dc, connected(dc) as client:
        login = await client.qr_login()
        async with waiting(login) as task:
            dc.accept_token(ALICE, login.url)
        assert (await task).phone == ALICE.lstrip("+")
        assert (await client(STATE())).pts == 1


async def test_another_client_accepts_the_code(connected: Connect) -> None:
    """acceptLoginToken of a client that is logged in wakes the one that waits, and returns the new session."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc) as client:
        login = await client.qr_login()
        async with waiting(login) as task:
            assert (await alice(ACCEPT(login.token))).api_id == client.api_id
        assert (await task).id == (await alice.get_me()).id


async def test_only_the_client_that_shows_the_code_is_woken(connected: Connect) -> None:
    """Of two clients that wait, the one whose code was scanned is logged in, and the other waits on."""
    async with Sandbox() as dc, connected(dc) as one, connected(dc) as two:
        login, other = await one.qr_login(), await two.qr_login()
        async with waiting(login) as task, waiting(other) as waits:
            dc.accept_token(ALICE, login.token)
            await task
            assert not waits.done()
            dc.accept_token(BOB, other.token)
        assert (await waits).phone == BOB.lstrip("+")


async def test_a_code_that_was_accepted_before_the_wait_is_found(connected: Connect) -> None:
    """A client that missed the update asks once more and is logged in."""
    async with Sandbox() as dc, connected(dc) as client:
        login = await client.qr_login()
        dc.accept_token(ALICE, login.token)
        success = await client(functions.auth.ExportLoginTokenRequest(1, "hash", []))
        assert isinstance(success, types.auth.LoginTokenSuccess)
        assert (await client.get_me()).phone == ALICE.lstrip("+")


async def test_with_a_password_the_code_is_the_first_step(connected: Connect) -> None:
    """wait() raises SessionPasswordNeededError, and the password finishes the login."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.set_password(ALICE, PASSWORD)
        login = await client.qr_login()
        async with waiting(login) as task:
            dc.accept_token(ALICE, login.token)
        with pytest.raises(errors.SessionPasswordNeededError):
            await task
        assert (await client.sign_in(password=PASSWORD)).phone == ALICE.lstrip("+")


async def test_a_code_lives_as_long_as_it_is_set_to(connected: Connect) -> None:
    """The lifetime can be set, and the client gets it."""
    async with Sandbox() as dc, connected(dc) as client:
        dc.set_token_lifetime(600)
        left = (await client.qr_login()).expires - datetime.now(UTC)
        assert 590 < left.total_seconds() <= 600


async def test_an_expired_code_is_refused_and_a_recreated_one_works(connected: Connect) -> None:
    """An expired code cannot be accepted; recreate() shows another that can."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc) as client:
        login = await client.qr_login()
        old = login.token
        assert dc.expire_tokens() == 1
        for request in (ACCEPT(old), IMPORT(old)):
            with pytest.raises(errors.AuthTokenExpiredError):
                await alice(request)
        await login.recreate()
        assert login.token != old
        async with waiting(login) as task:
            await alice(ACCEPT(login.token))
        assert await task


async def test_a_code_that_is_not_scanned_times_out(connected: Connect) -> None:
    """wait() raises TimeoutError, and the code still works afterwards."""
    async with Sandbox() as dc, connected(dc) as client:
        login = await client.qr_login()
        with pytest.raises(TimeoutError):
            await login.wait(0.01)
        async with waiting(login) as task:
            dc.accept_token(ALICE, login.token)
        assert await task


async def test_a_code_is_accepted_once(connected: Connect) -> None:
    """A second acceptance raises AuthTokenAlreadyAcceptedError, before the login and after it."""
    async with Sandbox() as dc, connected(dc, BOB) as bob, connected(dc) as client:
        login = await client.qr_login()
        async with waiting(login) as task:
            dc.accept_token(ALICE, login.token)
            with pytest.raises(errors.AuthTokenAlreadyAcceptedError):
                await bob(ACCEPT(login.token))
        await task
        for request in (ACCEPT(login.token), IMPORT(login.token)):
            with pytest.raises(errors.AuthTokenAlreadyAcceptedError):
                await bob(request)


async def test_a_token_that_was_never_shown_is_invalid(connected: Connect) -> None:
    """Accepting or importing any other bytes raises AuthTokenInvalidError."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        for request in (ACCEPT(b"nonsense"), IMPORT(b"nonsense")):
            with pytest.raises(errors.AuthTokenInvalidError):
                await alice(request)


async def test_an_account_that_is_there_already_cannot_accept(connected: Connect) -> None:
    """Accounts that the client names as logged in raise AuthTokenExceptionError; the others may accept."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc) as client:
        login = await client.qr_login(ignored_ids=[int(ALICE)])
        with pytest.raises(errors.AuthTokenExceptionError):
            await alice(ACCEPT(login.token))
        async with waiting(login) as task:
            dc.accept_token(BOB, login.token)
        assert await task


async def test_a_refused_scan_has_a_sentence(connected: Connect) -> None:
    """accept_token says why, in Telegram's words, and does not repeat the token."""
    async with Sandbox() as dc, connected(dc) as client:
        login = await client.qr_login()
        dc.expire_tokens()
        with pytest.raises(SandboxError, match="AUTH_TOKEN_EXPIRED") as caught:
            dc.accept_token(ALICE, login.url)
        assert login.url not in str(caught.value)
