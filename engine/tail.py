"""``subscribe``: the journal as it grows, for a program. A composition root."""

from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path

import anyio
import anyio.to_thread
from attrs import define, field

from adapters.sqlite import Journal, JournalReader
from states import Entry

PAGE = 1000
"""Records that are read at a time."""


@define(eq=False)
class Tail:
    """Reads what was written into a journal, again and again, for as many as want it."""

    journal: Journal
    _news: anyio.Event = field(factory=anyio.Event, init=False)
    _over: bool = field(default=False, init=False)

    def rang(self, *, over: bool = False) -> None:
        """Take note that something was written, or that nothing more will be."""
        self._over = self._over or over
        self._news.set()
        self._news = anyio.Event()

    async def entries(self, after: int | None) -> AsyncIterator[Entry]:
        """Yield the records after the number ``after``, None: from now on, until the engine ends."""
        if after is None:
            await self.journal.flush()
            after = await anyio.to_thread.run_sync(_last, self.journal.path)
        while True:
            news = self._news
            if not self._over:
                await self.journal.flush()
            page = await anyio.to_thread.run_sync(_page, self.journal.path, after)
            for entry in page:
                after = entry.seq
                yield entry
            if not page:
                if self._over:
                    return
                await news.wait()


def _last(path: Path) -> int:
    with JournalReader.open(path) as reader:
        return reader.last_seq()


def _page(path: Path, after: int) -> list[Entry]:
    with JournalReader.open(path) as reader:
        return list(islice(reader.entries(after_seq=after), PAGE))
