"""The owner of an account sets, changes and removes its password, with Telethon's own edit_2fa."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from telethon import errors
from telethon.password import compute_check, compute_digest
from telethon.tl import functions, types

from adapters.sandbox import Sandbox
from tests.adapters.sandbox.harness import ALICE, Connect

OLD, NEW = "correct horse", "battery staple ☂"


async def log_in(client: Any, password: str) -> Any:
    """Do both steps of a login."""
    await client.send_code_request(ALICE)
    with pytest.raises(errors.SessionPasswordNeededError):
        await client.sign_in(ALICE, "22222")
    return await client.sign_in(password=password)


async def test_a_password_is_set(connected: Connect) -> None:
    """After edit_2fa(new_password) the next login needs it and gets the hint."""
    async with Sandbox() as dc, connected(dc, ALICE) as owner, connected(dc) as client:
        assert await owner.edit_2fa(new_password=NEW, hint="what a battery is") is True
        assert await log_in(client, NEW)
        assert (await client(functions.account.GetPasswordRequest())).hint == "what a battery is"


async def test_a_password_is_changed(connected: Connect) -> None:
    """After edit_2fa with both only the new one logs in."""
    async with Sandbox() as dc, connected(dc, ALICE) as owner, connected(dc) as client:
        await dc.set_password(ALICE, OLD)
        await owner.edit_2fa(OLD, NEW)
        with pytest.raises(errors.PasswordHashInvalidError):
            await log_in(client, OLD)
        assert await client.sign_in(password=NEW)


async def test_a_password_is_taken_away(connected: Connect) -> None:
    """After edit_2fa(current_password) the code alone logs in."""
    async with Sandbox() as dc, connected(dc, ALICE) as owner, connected(dc) as client:
        await dc.set_password(ALICE, OLD)
        await owner.edit_2fa(OLD)
        await client.send_code_request(ALICE)
        assert await client.sign_in(ALICE, "22222")


@pytest.mark.parametrize("current", [None, "wrong"])
async def test_the_old_password_is_needed(connected: Connect, current: str | None) -> None:
    """Without it, or with a wrong one, edit_2fa raises PasswordHashInvalidError and changes nothing."""
    async with Sandbox() as dc, connected(dc, ALICE) as owner, connected(dc) as client:
        await dc.set_password(ALICE, OLD)
        with pytest.raises(errors.PasswordHashInvalidError):
            await owner.edit_2fa(current, NEW)
        assert await log_in(client, OLD)


async def test_a_pending_login_cannot_change_the_password(connected: Connect) -> None:
    """The right code does not suffice to change the password: updatePasswordSettings needs the whole login."""
    async with Sandbox() as dc, connected(dc) as client:
        await dc.set_password(ALICE, OLD)
        await client.send_code_request(ALICE)
        with pytest.raises(errors.SessionPasswordNeededError):
            await client.sign_in(ALICE, "22222")
        with pytest.raises(errors.AuthKeyUnregisteredError):
            await client.edit_2fa(OLD, NEW)


async def test_there_is_no_mail(connected: Connect) -> None:
    """An address for recovery is refused with EmailInvalidError, and no password is set."""
    async with Sandbox() as dc, connected(dc, ALICE) as owner:
        with pytest.raises(errors.EmailInvalidError):
            await owner.edit_2fa(new_password=NEW, email="a@example.org", email_code_callback=lambda _: "1")
        assert not (await owner(functions.account.GetPasswordRequest())).has_password


@pytest.mark.parametrize(
    "corrupt",
    [
        lambda s: setattr(s, "new_algo", types.PasswordKdfAlgoUnknown()),
        lambda s: setattr(s.new_algo, "g", 2),
        lambda s: setattr(s.new_algo, "p", s.new_algo.p[:-1] + b"\0"),
        lambda s: setattr(s.new_algo, "salt1", s.new_algo.salt1[:8]),
        lambda s: setattr(s.new_algo, "salt1", bytes(257)),
        lambda s: setattr(s.new_algo, "salt2", b""),
        lambda s: setattr(s, "new_password_hash", bytes(range(200))),
        lambda s: setattr(s, "new_password_hash", bytes(255) + b"\1"),
        lambda s: setattr(s, "new_password_hash", s.new_algo.p),
        lambda s: setattr(s, "hint", "h" * 129),
    ],
)
async def test_a_verifier_of_another_algorithm_is_refused(connected: Connect, corrupt: Callable[[Any], None]) -> None:
    """Another algorithm, salts that are too short or long, a number out of range raise NewSettingsInvalidError."""
    async with Sandbox() as dc, connected(dc, ALICE) as owner:
        algo = (await owner(functions.account.GetPasswordRequest())).new_algo
        algo.salt1 += bytes(32)
        settings = types.account.PasswordInputSettings(algo, compute_digest(algo, NEW), "")
        corrupt(settings)
        change = functions.account.UpdatePasswordSettingsRequest(types.InputCheckPasswordEmpty(), settings)
        with pytest.raises(errors.NewSettingsInvalidError):
            await owner(change)
        assert not (await owner(functions.account.GetPasswordRequest())).has_password


async def test_settings_that_say_nothing_are_named(connected: Connect) -> None:
    """Settings without a new password raise NewSettingsEmptyError, and the old one stays."""
    async with Sandbox() as dc, connected(dc, ALICE) as owner:
        await dc.set_password(ALICE, OLD)
        answer = await owner(functions.account.GetPasswordRequest())
        nothing = types.account.PasswordInputSettings()
        change = functions.account.UpdatePasswordSettingsRequest(compute_check(answer, OLD), nothing)
        with pytest.raises(errors.NewSettingsEmptyError):
            await owner(change)
        assert (await owner(functions.account.GetPasswordRequest())).has_password


async def test_a_changed_password_survives_a_restart(connected: Connect, tmp_path: Path) -> None:
    """The verifier that the client made survives a restart."""
    async with Sandbox(state=tmp_path) as dc, connected(dc, ALICE) as owner:
        await owner.edit_2fa(new_password=NEW)
    async with Sandbox(state=tmp_path) as dc, connected(dc) as client:
        assert await log_in(client, NEW)
