"""Readers of an engine's records when it ends."""

from typing import Any

from adapters.sqlite.errors import WriterClosed
from engine.app.journal import _flush


class ClosedJournal:
    """A journal whose writer was closed between a reader's look and its flush."""

    asked = False

    async def flush(self, *, routine: bool) -> None:
        assert not routine
        self.asked = True
        raise WriterClosed("engine.db: the writer is closed; write before closing")


async def test_a_journal_that_is_closed_is_no_error_for_a_reader() -> None:
    """A reader looks once more while the engine ends: the journal has written all it had, and nothing is raised."""
    journal: Any = ClosedJournal()
    await _flush(journal)
    assert journal.asked
