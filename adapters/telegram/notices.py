"""What a session's file has to say to its account, link or no link: from the writer's threads to the loop."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import anyio
import attrs
from attrs import define, field

from states.events import DatabaseRecovered, Event, Failure

BOUND: Final = 32
"""Notices that may wait to be read; of more, the latest are told."""


@define(eq=False)
class Notices:
    """A queue that any thread may put into, and one task reads."""

    link: int = field(default=0, init=False)
    """The link that uses the file, or used it last."""
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _found: deque[Event] = field(factory=lambda: deque(maxlen=BOUND), init=False)
    _wake: anyio.Event = field(factory=anyio.Event, init=False)

    def put(self, event: Failure | DatabaseRecovered) -> None:
        """Take note of an event; from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._add, event)

    def _add(self, event: Failure | DatabaseRecovered) -> None:
        self._found.append(attrs.evolve(event, link=self.link) if isinstance(event, Failure) else event)
        self._wake.set()

    async def events(self) -> AsyncIterator[Event]:
        """Yield them, for ever; to be cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            while self._found:
                yield self._found.popleft()
            self._wake = anyio.Event()
            await self._wake.wait()
