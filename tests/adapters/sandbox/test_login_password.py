"""The second step of a login: a password that the datacenter verifies without having it."""

import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from telethon import errors
from telethon.password import compute_check
from telethon.tl import functions, types

from adapters.sandbox import Sandbox, SandboxError
from adapters.sandbox.server.sandbox import DATABASE
from tests.adapters.sandbox.harness import Connect

PHONE = "+9996620001"
CODE = "22222"
PASSWORD = "correct horse ☂"


async def first_step(client: Any) -> None:
    """Enter the right code, after which the password is asked for."""
    await client.send_code_request(PHONE)
    with pytest.raises(errors.SessionPasswordNeededError):
        await client.sign_in(PHONE, CODE)


async def test_the_password_logs_in(connected: Connect) -> None:
    """signIn raises SessionPasswordNeededError, and the password finishes the login."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.set_password(PHONE, PASSWORD)
        await first_step(client)
        assert await client.get_me() is None
        assert (await client.sign_in(password=PASSWORD)).phone == PHONE.lstrip("+")
        assert (await client(functions.updates.GetStateRequest())).pts == 1


async def test_start_goes_through_both_steps(connected: Connect) -> None:
    """Telethon's own start() logs in with code and password."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.set_password(PHONE, PASSWORD)
        await client.start(PHONE, PASSWORD, code_callback=lambda: CODE)
        assert await client.is_user_authorized()


async def test_the_wrong_password_is_refused_and_the_right_one_still_works(connected: Connect) -> None:
    """A wrong password raises PasswordHashInvalidError and leaves the login pending."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.set_password(PHONE, PASSWORD)
        await first_step(client)
        with pytest.raises(errors.PasswordHashInvalidError):
            await client.sign_in(password="wrong")
        assert await client.sign_in(password=PASSWORD)


async def test_the_hint_is_sent(connected: Connect) -> None:
    """getPassword carries the hint; a password without one says none."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.set_password(PHONE, PASSWORD, "what a horse is")
        await first_step(client)
        assert (await client(functions.account.GetPasswordRequest())).hint == "what a horse is"
        await dc.set_password(PHONE, PASSWORD)
        assert (await client(functions.account.GetPasswordRequest())).hint is None


async def test_a_challenge_is_good_for_one_answer(connected: Connect) -> None:
    """An answer to any challenge but the last raises SrpIdInvalidError, and so does one that was used."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.set_password(PHONE, PASSWORD)
        await first_step(client)
        stale = await client(functions.account.GetPasswordRequest())
        fresh = await client(functions.account.GetPasswordRequest())
        with pytest.raises(errors.SrpIdInvalidError):
            await client(functions.auth.CheckPasswordRequest(compute_check(stale, PASSWORD)))
        with pytest.raises(errors.SrpIdInvalidError):
            await client(functions.auth.CheckPasswordRequest(compute_check(fresh, PASSWORD)))
        assert await client.sign_in(password=PASSWORD)


@pytest.mark.parametrize("multiple", [0, 1])
async def test_a_number_that_gives_the_secret_away_is_refused(connected: Connect, multiple: int) -> None:
    """A = 0 and A = p, which would give the shared secret away, raise PasswordHashInvalidError."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.set_password(PHONE, PASSWORD)
        await first_step(client)
        answer = await client(functions.account.GetPasswordRequest())
        prime = int.from_bytes(answer.current_algo.p, "big")
        honest = compute_check(answer, "wrong")
        forged = types.InputCheckPasswordSRP(answer.srp_id, (multiple * prime).to_bytes(256, "big"), honest.M1)
        with pytest.raises(errors.PasswordHashInvalidError):
            await client(functions.auth.CheckPasswordRequest(forged))


async def test_no_password_is_no_proof(connected: Connect) -> None:
    """inputCheckPasswordEmpty does not get past a password."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.set_password(PHONE, PASSWORD)
        await first_step(client)
        with pytest.raises(errors.PasswordHashInvalidError):
            await client(functions.auth.CheckPasswordRequest(types.InputCheckPasswordEmpty()))


async def test_without_the_first_step_there_is_no_second(connected: Connect) -> None:
    """getPassword and checkPassword of a key without a pending login raise AuthKeyUnregisteredError."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.set_password(PHONE, PASSWORD)
        for request in (
            functions.account.GetPasswordRequest(),
            functions.auth.CheckPasswordRequest(types.InputCheckPasswordEmpty()),
        ):
            with pytest.raises(errors.AuthKeyUnregisteredError):
                await client(request)


async def test_a_password_that_was_removed_is_not_asked_for(connected: Connect) -> None:
    """Without its password the account logs in with the code alone."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.set_password(PHONE, PASSWORD)
        await dc.set_password(PHONE, None)
        await client.send_code_request(PHONE)
        assert await client.sign_in(PHONE, CODE)
        assert not (await client(functions.account.GetPasswordRequest())).has_password


async def test_the_password_survives_a_restart_as_a_verifier(connected: Connect, tmp_path: Path) -> None:
    """The store verifies the password after a restart, and does not contain it."""
    async with Sandbox(state=tmp_path) as dc:
        await dc.set_password(PHONE, PASSWORD)
    with sqlite3.connect(tmp_path / DATABASE) as db:
        (row,) = db.execute("SELECT * FROM passwords").fetchall()
    db.close()
    assert not any(PASSWORD.encode() in (v if isinstance(v, bytes) else str(v).encode()) for v in row)
    async with Sandbox(state=tmp_path) as dc, connected(dc) as client:
        await first_step(client)
        assert await client.sign_in(password=PASSWORD)


async def test_no_secret_is_logged(connected: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the code nor the password nor the hint is in any line of the sandbox's log."""
    caplog.set_level(logging.DEBUG, "adapters.sandbox")
    async with Sandbox() as dc, connected(dc) as client:
        await dc.set_password(PHONE, PASSWORD, "hinted")
        await first_step(client)
        with pytest.raises(errors.PasswordHashInvalidError):
            await client.sign_in(password="wrong")
        await client.sign_in(password=PASSWORD)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("adapters.sandbox")]
    assert not any(secret in line for secret in (PASSWORD, CODE, "hinted") for line in ours)


@pytest.mark.parametrize(
    ("password", "hint", "word"), [("", "", "1 to"), ("x" * 257, "", "1 to"), ("x", "h" * 129, "hint")]
)
async def test_a_password_has_bounds(password: str, hint: str, word: str) -> None:
    """An empty or overlong password or hint is refused with a sentence."""
    async with Sandbox() as dc:
        with pytest.raises(SandboxError, match=word):
            await dc.set_password(PHONE, password, hint)
