"""Files beside the database that a look at a read-only database has left: they must not keep rows from being saved."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sqlite import JournalWriter
from adapters.sqlite.connect import open_read_only
from adapters.sqlite.errors import DatabaseUnusable
from adapters.sqlite.open_file import INDEX, LOG, beside
from states import Snapshot
from states.events import Started
from tests.adapters.sqlite.support import a_journal, decide


def by_mode(path: Path, _: int) -> bool:
    """Say whether a file's mode allows its owner to write, which a superuser does not ask."""
    return bool(path.exists() and path.stat().st_mode & 0o200)


async def left_behind(path: Path) -> list[Path]:
    """Make a journal, look at it while it is read-only, and make it writable again; return what the look has left."""
    async with a_journal(path):
        pass
    path.chmod(0o400)
    with closing(open_read_only(path)):
        pass
    path.chmod(0o600)
    for each in (found := [beside(path, LOG), beside(path, INDEX)]):
        each.touch()
        each.chmod(0o400)  # as SQLite makes them beside such a file
    return found


async def test_a_journal_that_was_read_only_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files beside it get its mode, and records are saved."""
    path = tmp_path / "engine.db"
    left = await left_behind(path)
    monkeypatch.setattr(os, "access", by_mode)
    made = decide(Snapshot(), Started(), 7.0)
    async with a_journal(path) as journal:
        await journal.write("Account 1", made.record, made.snapshot)
        await journal.flush()
        assert [each.stat().st_mode & 0o777 for each in left] == [0o600, 0o600]
    with closing(sqlite3.connect(path)) as stored:
        assert stored.execute("SELECT count(*) FROM journal").fetchone() == (1,)


async def test_a_log_that_cannot_be_made_writable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine does not begin with it: its rows would be lost at the stop."""
    path = tmp_path / "engine.db"
    await left_behind(path)
    monkeypatch.setattr(os, "access", lambda each, mode: not str(each).endswith(INDEX))
    with pytest.raises(DatabaseUnusable, match=r"engine\.db-shm: the database is read-only; make the file"):
        await JournalWriter.open(path, on_trouble=lambda *_: None)
