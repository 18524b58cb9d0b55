"""Channels and groups, with the unmodified Telethon client."""

import asyncio

import pytest
from telethon import errors, events
from telethon.sessions import SQLiteSession
from telethon.tl import functions, types

from adapters.sandbox import Fault, FaultKind, Sandbox, SandboxError

ALICE, BOB, CAROL = "+9996620001", "+9996620002", "+9996620003"


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


async def join(client, username):
    await client(functions.channels.JoinChannelRequest(username))


async def test_joining_by_username_leads_to_new_messages(connected):
    """A client that joins by username is told what is posted from then on, with the right chat."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        channel = await dc.create_channel("news", "News")
        told = news_of(alice)
        await join(alice, "news")
        assert await dc.post("news", "hello") == 1
        assert await next_of(told) == (marked(channel), "hello")
