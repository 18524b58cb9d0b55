"""Following the journal as it grows, for a program."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Protocol

import anyio
import anyio.to_thread
from attrs import define, field

from states import Entry

PAGE_RECORDS = 1000
"""Records that are read at a time."""


class Records(Protocol):
    """The journal, opened for reading."""

    def last_seq(self) -> int:
        """Return the number of the newest record; 0 if there is none."""

    def entries(self, *, after_seq: int) -> Iterator[Entry]:
        """Yield the records after this one, in order."""


@define(eq=False)
class JournalFollower:
    """Reads what was written into a journal, again and again, for any number of readers.

    ``flush`` returns when what was written is durable, ``opened`` opens the journal for reading, in a thread.
    """

    flush: Callable[[], Awaitable[None]]
    opened: Callable[[], AbstractContextManager[Records]]
    _wakeup: anyio.Event = field(factory=anyio.Event, init=False)
    over: bool = field(default=False, init=False)
    """Whether nothing more will be written."""

    def wake(self, *, over: bool = False) -> None:
        """Take note that something was written, or that nothing more will be."""
        self.over = self.over or over
        self._wakeup.set()
        self._wakeup = anyio.Event()

    async def entries(self, after: int | None) -> AsyncIterator[Entry]:
        """Yield the records after the number ``after``, None: from now on, until the engine ends."""
        if after is None:
            await self.flush()
            after = await anyio.to_thread.run_sync(self._last)
        while True:
            wakeup = self._wakeup
            if not self.over:
                await self.flush()
            page = await anyio.to_thread.run_sync(self._page, after)
            for entry in page:
                after = entry.seq
                yield entry
            if not page:
                if self.over:
                    return
                await wakeup.wait()

    def _last(self) -> int:
        with self.opened() as records:
            return records.last_seq()

    def _page(self, after: int) -> list[Entry]:
        with self.opened() as records:
            return list(islice(records.entries(after_seq=after), PAGE_RECORDS))
