"""A program around the engine: it prints messages, sends one, and watches the journal.

python program.py [CONFIG]
"""

import asyncio
import sys

from telethon import events

from engine import Engine

engine = Engine.from_config(sys.argv[1] if len(sys.argv) > 1 else "config.yaml")


@engine.on(events.NewMessage(), accounts="Account *")
async def note(event: events.NewMessage.Event) -> None:
    """Hear of each new message once, whatever happened to the connection meanwhile."""
    print(event.raw_text)


async def main() -> None:
    """Keep the accounts connected for as long as the block runs."""
    async with engine:
        # A Telethon client, for one piece of work: the next one may be another.
        client = await engine.account("Account 1").ready()
        print((await client.get_me()).first_name)
        message = {"to": "me", "text": "Hello"}
        number = await engine.add_job("send", message, account="Account 1")
        print((await engine.finished(number)).state)
        async for entry in engine.subscribe(after=0):  # the journal, as it is written
            print(entry.account, entry.event, entry.target)
            if entry.event == "Connected":
                break


asyncio.run(main())
