"""Readers of an engine's records when it ends."""

from pathlib import Path

import anyio
import pytest

from adapters.sqlite import JournalWriter
from adapters.sqlite.errors import WriterClosed
from engine.app.engine import _flush
from tests.timeouts import TIMEOUT


async def test_a_journal_that_is_closed_is_no_error_for_a_reader(tmp_path: Path) -> None:
    """A reader looks once more while the engine ends: the journal has written all it had, and nothing is raised."""
    journal = await JournalWriter.open(tmp_path / "engine.db", on_trouble=lambda *_: None)
    await journal.aclose(timeout=TIMEOUT)
    with pytest.raises(WriterClosed):
        await journal.flush(routine=False)
    with anyio.fail_after(TIMEOUT):
        await _flush(journal)
