"""How tests look at a real client: whether it lives, how it ended, what it was told."""

import asyncio

import anyio
from telethon import events
from telethon.tl import functions

ALICE, BOB = "+9996620001", "+9996620002"
PING = functions.PingRequest
STATE = functions.updates.GetStateRequest


async def end_of(client):
    """How the client's connection ends."""
    async with asyncio.timeout(3):
        return await client.disconnected


async def alive(client):
    """Whether a ping is answered soon."""
    with anyio.move_on_after(0.3):
        return (await client(PING(7))).ping_id == 7
    return False


async def answered(client, request, within=0.3):
    """Whether a request is answered soon."""
    with anyio.move_on_after(within):
        await client(request)
        return True
    return False


def inbox_of(client):
    """A queue of the texts that the client is told about."""
    texts = asyncio.Queue()

    async def note(event):
        await texts.put(event.raw_text)

    client.add_event_handler(note, events.NewMessage(incoming=True))
    return texts


async def next_of(queue):
    """The next of them."""
    async with asyncio.timeout(3):
        return await queue.get()
