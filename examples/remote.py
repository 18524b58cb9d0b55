"""A script that uses an account of a running engine: it answers, sends, and lists chats, without a login of its own.

python remote.py CONFIG ACCOUNT

The engine's config lets it in:

    remote:
      programs:
        reporter:
          accounts: "Account *"
          methods: [users.getUsers, contacts.resolveUsername, messages.get*, messages.sendMessage]
          updates: true
"""

import asyncio
import sys

from telethon import events
from telethon.tl import types

from engine import RemoteClient

client = RemoteClient(sys.argv[1], sys.argv[2], name="reporter")


@client.on(events.NewMessage(incoming=True, pattern="ping"))  # type: ignore[untyped-decorator]  # Telethon is untyped
async def answer(event: events.NewMessage.Event) -> None:
    """Answer each message once, also those that came while this script was away."""
    await event.respond("pong")
    await client.disconnect()


@client.on(events.Raw(types.UpdatesTooLong))  # type: ignore[untyped-decorator]  # as above
async def missed(_: types.UpdatesTooLong) -> None:
    """Hear that this script was away for too long: read the history instead."""
    print("some updates fell out")


async def main() -> None:
    """Work until a ping was answered."""
    async with client:
        print((await client.get_me()).first_name)
        async for dialog in client.iter_dialogs(limit=10):
            print(dialog.name)
        await client.send_message("me", "The reporter is here")
        await client.run_until_disconnected()


asyncio.run(main())
