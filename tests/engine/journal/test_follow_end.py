"""The end of a follower: what was written while it read for the last time is given, too."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio.from_thread

from engine.journal.follow import JournalFollower
from states import Entry, State

ENTRY = Entry(
    seq=1, account="Account 1", life=1, at=1.0, source=State.SHUTTING_DOWN, event="Closed", payload={},
    rule="shutting_down.Closed", target=State.SHUTTING_DOWN, attempt=0, failures=0, delay=None, draw=None,
    deadline=None, effects=(), detail="", cause=(), dwell=1.0,
)  # fmt: skip


class LateRecord:
    """A journal into which the last record is written, and whose engine ends, while a page is read."""

    def __init__(self) -> None:
        self.written: list[Entry] = []
        self.follower = JournalFollower(self.flush, self.opened)

    async def flush(self) -> None:
        pass

    @contextmanager
    def opened(self) -> Iterator[Any]:
        yield self

    def entries(self, *, after_seq: int) -> Iterator[Entry]:
        page = [entry for entry in self.written if entry.seq > after_seq]
        if not self.written:
            self.written.append(ENTRY)
            anyio.from_thread.run_sync(lambda: self.follower.wake(over=True))
        return iter(page)


async def test_a_record_that_is_written_during_the_last_look_is_given() -> None:
    """The engine ended while a page without it was under way, so one more page is read."""
    journal = LateRecord()
    with anyio.fail_after(30):
        assert [entry async for entry in journal.follower.entries(0)] == [ENTRY]
