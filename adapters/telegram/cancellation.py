"""Tells a cancellation of the present task from one that Telethon makes when a client goes down."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from adapters.telegram.classify import RequestDropped

T = TypeVar("T")


async def translate_cancellation(awaitable: Awaitable[T]) -> T:
    """Await something of Telethon's; if Telethon cancels it, raise ``RequestDropped``.

    When a client goes down, it cancels all that waits for an answer, and that would look like a cancellation of the
    present task.
    """
    task = asyncio.current_task()
    try:
        return await awaitable
    except asyncio.CancelledError as exc:
        if task is not None and task.cancelling():
            raise
        raise RequestDropped from exc
