"""A module for the config: ``work: {modules: [my_work.py]}``.

uv run python -m engine jobs add config.yaml count_words chat=@some_group word=hello
"""

import asyncio
from typing import Any

import attrs
from telethon import TelegramClient, events

from engine import JobHandle, job_kind, on, while_healthy


@attrs.frozen
class Count:
    """What such a job is given; it is checked when the job is added."""

    chat: str
    word: str


@job_kind("count_words", data=Count)
async def count_words(job: JobHandle, client: TelegramClient) -> dict[str, Any]:
    """Count a word in a chat, from the last checkpoint on."""
    seen, count = job.saved.get("seen", 0), job.saved.get("count", 0)
    async for message in client.iter_messages(job.data.chat, reverse=True, min_id=seen):
        seen, count = message.id, count + message.raw_text.split().count(job.data.word)
        await job.checkpoint({"seen": seen, "count": count}, done=seen)
    return {"count": count}


@on(events.NewMessage(pattern="ping"))
async def answer(event: events.NewMessage.Event) -> None:
    """Answer each ping once."""
    await event.reply("pong")


@while_healthy
async def print_unread(client: TelegramClient) -> None:
    """Print every minute how many messages are unread, with the client of the moment."""
    while True:
        dialogs = await client.get_dialogs(limit=20)
        print(f"{sum(dialog.unread_count for dialog in dialogs)} unread")
        await asyncio.sleep(60)
