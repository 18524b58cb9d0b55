"""Readers of an engine's records when it ends."""

from typing import Any

import pytest

from adapters.sqlite.errors import WriterClosed, WriterFenced
from engine.app.journal import _flush


class EndedJournal:
    """A journal whose writer ended between a reader's look and its flush."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = False

    async def flush(self, *, routine: bool) -> None:
        assert not routine
        self.asked = True
        raise self.error


@pytest.mark.parametrize(
    "error",
    [WriterClosed("engine.db: the writer is closed"), WriterFenced("the life is over")],
    ids=["closed", "fenced"],
)
async def test_a_journal_that_has_ended_is_no_error_for_a_reader(error: Exception) -> None:
    """A reader looks once more while the engine, or a node's life, ends: the journal has written all it will."""
    journal: Any = EndedJournal(error)
    await _flush(lambda: journal)
    assert journal.asked
