"""The login settings, across the border of the sandbox's process."""

from pathlib import Path

import pytest
from telethon import errors

from adapters.sandbox import NumberStatus, SandboxError, SandboxProcess
from tests.adapters.sandbox.harness import Connect

PHONE, OTHER = "+9996620001", "+9996620002"
CODE = "22222"
TOKEN = "7000000001:a-token_of_a_bot-in-tests"


@pytest.mark.slow
async def test_each_command_about_logins_crosses_the_border(connected: Connect, tmp_path: Path) -> None:
    """Passwords, codes, numbers, QR codes and bots work from outside; refusals come back; no secret is logged."""
    tokens = [TOKEN]
    async with SandboxProcess.start(tmp_path) as sandbox, connected(sandbox) as client:
        await sandbox.set_number_status(OTHER, NumberStatus.BANNED)
        with pytest.raises(errors.PhoneNumberBannedError):
            await client.send_code_request(OTHER)
        await sandbox.set_password(PHONE, "correct horse", "horse")
        await client.send_code_request(PHONE)
        assert await sandbox.expire_codes(PHONE) == 1
        with pytest.raises(errors.PhoneCodeExpiredError):
            await client.sign_in(PHONE, CODE)
        await client.send_code_request(PHONE)
        with pytest.raises(errors.SessionPasswordNeededError):
            await client.sign_in(PHONE, CODE)
        assert await client.sign_in(password="correct horse")
        await sandbox.set_token_lifetime(600)
        async with connected(sandbox) as other:
            login = await other.qr_login()
            assert await sandbox.expire_tokens() == 1
            with pytest.raises(SandboxError, match="AUTH_TOKEN_EXPIRED"):
                await sandbox.accept_token(PHONE, login.url)
            await login.recreate()
            await sandbox.accept_token(PHONE, login.token)
            tokens.append(login.url.removeprefix("tg://login?token="))
        port = await sandbox.open_dc(4)
        async with connected(sandbox, request_retries=1) as elsewhere:
            await elsewhere.send_code_request("+9996640001")
            assert (elsewhere.session.dc_id, elsewhere.session.port) == (4, port)
        assert await sandbox.make_bot(TOKEN, 4) == 7000000001
        await sandbox.expire_bot_token(TOKEN)
        async with connected(sandbox) as bot:
            with pytest.raises(errors.AccessTokenExpiredError):
                await bot.sign_in(bot_token=TOKEN)
        with pytest.raises(SandboxError, match="1 to 256"):
            await sandbox.set_password(PHONE, "")
    log = (tmp_path / "sandbox.log").read_text()
    assert not any(secret in log for secret in ("correct horse", CODE, *tokens))
