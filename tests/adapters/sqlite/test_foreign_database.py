"""Another program's database, or one that lacks tables, in the place of ``engine.db``."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sqlite import JournalReader, JournalWriter
from adapters.sqlite.errors import DatabaseUnusable
from adapters.sqlite.job_reader import JobReader
from adapters.sqlite.jobs import NewJob, add
from tests.adapters.sqlite.support import TIMEOUTS
from tests.timeouts import TIMEOUT


def read_journal(path: Path) -> None:
    """As ``log`` and ``status`` do."""
    JournalReader.open(path).close()


def read_jobs(path: Path) -> None:
    """As ``jobs list`` does."""
    with JobReader.open(path):
        pass


def add_job(path: Path) -> None:
    """As ``jobs add`` does."""
    add(path, [NewJob(kind="send", data={})])


async def open_journal(path: Path) -> None:
    """As ``run`` does."""
    journal = await JournalWriter.open(path, on_trouble=lambda *_: None, timeouts=TIMEOUTS)
    await journal.aclose(TIMEOUT)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Make a database of another program, as a session file is one."""
    path = tmp_path / "engine.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE sessions (dc_id INTEGER, auth_key BLOB)")
        database.execute("INSERT INTO sessions VALUES (2, 'precious')")
    return path


@pytest.mark.parametrize("use", [read_journal, read_jobs, add_job])
def test_the_database_of_another_program_is_not_touched(foreign: Path, use: Callable[[Path], None]) -> None:
    """It is no journal without entries, and no place for the engine's tables: not a byte of it changes."""
    before = foreign.read_bytes()
    with pytest.raises(DatabaseUnusable, match="the database of another program; move it away"):
        use(foreign)
    assert foreign.read_bytes() == before


async def test_an_engine_does_not_start_with_the_database_of_another_program(foreign: Path) -> None:
    """It would write its tables beside a login."""
    before = foreign.read_bytes()
    with pytest.raises(DatabaseUnusable, match="the database of another program"):
        await open_journal(foreign)
    assert foreign.read_bytes() == before


async def test_a_database_that_lacks_tables_is_named(tmp_path: Path) -> None:
    """One sentence instead of ``no such table``."""
    path = tmp_path / "engine.db"
    await open_journal(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE snapshots")
    for use in (read_journal, read_jobs, add_job):
        with pytest.raises(DatabaseUnusable, match=r"lacks tables \(snapshots\)"):
            use(path)
    with pytest.raises(DatabaseUnusable, match="lacks tables"):
        await open_journal(path)
