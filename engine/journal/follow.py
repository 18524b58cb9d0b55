"""Follows the journal as it grows, for programs."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Protocol

import anyio.to_thread
import structlog
from attrs import define, field

from engine.fleet.watchers import describe, pause_after
from engine.wakeup import Wakeup
from states import Entry

PAGE_RECORDS = 1000
"""Records that are read at a time."""

log = structlog.get_logger("holdfast.journal")


class Records(Protocol):
    """The journal, opened for reading."""

    def last_seq(self) -> int:
        """Return the number of the newest record; 0 if there is none."""

    def entries(self, *, after_seq: int) -> Iterator[Entry]:
        """Yield the records after this one, in order."""


@define(eq=False)
class JournalFollower:
    """Reads new records of the journal for any number of readers.

    ``flush`` returns when the records so far are durable. ``opened`` opens the journal for reading, and is called in a
    thread. A file that cannot be read for now is read again after a pause.
    """

    flush: Callable[[], Awaitable[None]]
    opened: Callable[[], AbstractContextManager[Records]]
    _wakeup: Wakeup = field(factory=Wakeup, init=False)
    over: bool = field(default=False, init=False)
    """Whether nothing more will be written."""

    def wake(self, *, over: bool = False) -> None:
        """Wake the readers: records were written, or (``over``) no more will be."""
        self.over = self.over or over
        self._wakeup.notify()

    async def entries(self, after: int | None) -> AsyncIterator[Entry]:
        """Yield the records after the number ``after`` (None: from now on) until the engine ends."""
        if after is None:
            await self.flush()
            after = await anyio.to_thread.run_sync(self._last)
        failures = 0
        while True:
            upcoming = self._wakeup.upcoming  # before reading: records that are written meanwhile then end the wait
            over = self.over  # before reading as well: what was written since may be missing from the page
            if not over:
                await self.flush()
            try:
                page = await anyio.to_thread.run_sync(self._page, after)
            except Exception as exc:
                if self.over:
                    raise
                failures += 1
                if failures == 1:
                    log.warning("journal_unreadable", detail=describe(exc))
                await anyio.sleep(pause_after(failures))
                continue
            failures = 0
            for entry in page:
                after = entry.seq
                yield entry
            if not page:
                if over:
                    return
                await upcoming.wait()

    def _last(self) -> int:
        with self.opened() as records:
            return records.last_seq()

    def _page(self, after: int) -> list[Entry]:
        with self.opened() as records:
            return list(islice(records.entries(after_seq=after), PAGE_RECORDS))
