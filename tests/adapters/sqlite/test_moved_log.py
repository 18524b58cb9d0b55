"""When the log of a database is moved into the file: when it is long, and not at each write after that."""

from pathlib import Path

import pytest

from adapters.sqlite.open_file import OpenFile
from states import Policy, Snapshot
from tests.adapters.sqlite.support import a_journal


async def test_a_log_that_was_full_once_is_not_moved_at_each_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the log was moved, it is moved again when it is full again: its file does not stay as long as it was."""
    monkeypatch.setattr("adapters.sqlite.open_file.MAX_LOG_BYTES", 400_000)
    moved = 0
    mark = OpenFile._write_mark

    def counting(self: OpenFile) -> None:
        nonlocal moved
        moved += 1
        mark(self)

    async with a_journal(tmp_path / "engine.db") as journal:
        monkeypatch.setattr(OpenFile, "_write_mark", counting)
        for number in range(60):
            await journal.begin_life(f"Account {number}", 1.0, Policy(), Snapshot())
            await journal.flush()
    assert 1 <= moved <= 10
