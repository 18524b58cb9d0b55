"""What the tests of channels share: listening to a client, and how it names a channel."""

import asyncio

from telethon import events


def news_of(client):
    """A queue of (chat, text) of every new message that the client is told about."""
    told = asyncio.Queue()

    async def note(event):
        await told.put((event.chat_id, event.raw_text))

    client.add_event_handler(note, events.NewMessage(incoming=True))
    return told


async def next_of(queue):
    async with asyncio.timeout(5):
        return await queue.get()


def marked(channel_id):
    """The id as Telethon's high-level calls show it."""
    return -1_000_000_000_000 - channel_id
