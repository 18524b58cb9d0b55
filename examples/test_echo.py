"""Test a Telethon program without Telegram: the sandbox is a datacenter on this machine.

pytest examples/test_echo.py
"""

import asyncio

from echo import echo
from telethon import TelegramClient
from telethon.crypto import AuthKey, rsa
from telethon.sessions import StringSession

from adapters.sandbox import Fault, FaultKind, Sandbox

ALICE, BOB = "+9996620001", "+9996620002"


def client_of(sandbox: Sandbox, phone: str) -> TelegramClient:
    """Return a client of the sandbox that is logged in already."""
    rsa.add_key(sandbox.public_key, old=False)
    session = StringSession()
    session.set_dc(sandbox.dc_id, "127.0.0.1", sandbox.port)
    session.auth_key = AuthKey(sandbox.authorize(phone))
    return TelegramClient(session, api_id=1, api_hash="0" * 32)


async def test_the_echo_comes_back_after_a_lost_connection() -> None:
    """A message that arrives after a reset is repeated as well."""
    async with Sandbox() as sandbox, client_of(sandbox, ALICE) as client:
        echo(client)
        await sandbox.push(ALICE, "one", sender=BOB)
        await until(sandbox, ["one", "one"])
        await sandbox.inject(Fault(FaultKind.RESET, account=ALICE))
        await client.get_me()  # answered over the next connection
        await sandbox.push(ALICE, "two", sender=BOB)
        await until(sandbox, ["one", "one", "two", "two"])


async def until(sandbox: Sandbox, texts: list[str]) -> None:
    """Wait until this is what Bob has seen of the conversation."""
    async with asyncio.timeout(10):
        while [message.text for message in sandbox.messages(BOB)] != texts:
            await asyncio.sleep(0.01)
