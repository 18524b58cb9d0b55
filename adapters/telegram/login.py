"""Logging in with Telegram's test numbers, which need no person: for the sandbox."""

from contextlib import suppress

import anyio
import anyio.to_thread
from telethon import TelegramClient
from telethon.sessions import SQLiteSession

from adapters.telegram.link import Connector

TEST_PREFIX = "99966"
KEY_TRIES = 3


async def log_in_test_account(connector: Connector, phone: str, *, patience: float = 60.0) -> None:
    """Log in with a test number (99966XYYYY, code XXXXX) and put the session where the connector expects it.

    The file takes its place only when the login is complete. Raises ``ValueError`` for another number,
    ``TimeoutError`` after ``patience`` seconds, and Telethon's errors.
    """
    digits = phone.lstrip("+")
    if not (digits.startswith(TEST_PREFIX) and digits.isdigit() and len(digits) == len(TEST_PREFIX) + 5):
        raise ValueError("the sandbox knows test numbers only: +99966XYYYY, where X is 1, 2 or 3")
    assert connector.address is not None, "test numbers log in at a data centre of one's own"
    dc_id, host, port = connector.address
    connector.session.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = connector.session.with_name(f".{connector.session.stem}.login.session")
    unfinished.unlink(missing_ok=True)
    session = await anyio.to_thread.run_sync(SQLiteSession, str(unfinished))
    unfinished.chmod(0o600)
    try:
        session.set_dc(dc_id, host, port)
        # One key exchange in 256 has to be repeated (dh_gen_retry), which Telethon does only when it may retry.
        proxy = connector.failover.choose()
        client = connector.client(session, timeout=patience, proxy=proxy, kind=TelegramClient, retries=KEY_TRIES)
        try:
            with anyio.fail_after(patience):
                await client.connect()
                sent = await client.send_code_request(phone)
                await client.sign_in(phone, digits[5] * 5, phone_code_hash=sent.phone_code_hash)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                await client.disconnect()
            session.close()
        unfinished.rename(connector.session)
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()
