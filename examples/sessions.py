"""Use a session file without 'database is locked', and without blocking the event loop.

API_ID=12345 API_HASH=0123… python sessions.py account1.session
"""

import asyncio
import os
import sys

from telethon import TelegramClient

from engine import HoldfastSession


async def main(file: str, api_id: int, api_hash: str) -> None:
    """Say whose session this is, and how many chats it has."""
    async with TelegramClient(HoldfastSession(file), api_id, api_hash) as client:
        me = await client.get_me()
        chats = [dialog async for dialog in client.iter_dialogs()]
        print(f"{me.phone}: {len(chats)} chats")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(os.environ["API_ID"]), os.environ["API_HASH"]))
