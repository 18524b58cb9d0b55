"""Jobs in a file: what concerns the file. What both stores promise of jobs is in ``tests/storage``."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite import open_database
from adapters.sqlite.errors import JournalMissing
from adapters.sqlite.jobs import JobStore, NewJob, add, change
from adapters.sqlite.schema import MIGRATIONS, VERSION
from states.jobs import Cancelled
from tests.adapters.sqlite.support import a_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a file of jobs will be."""
    return tmp_path / "engine.db"


def rows(path: Path, query: str) -> list[Any]:
    """Return what another program reads."""
    with closing(sqlite3.connect(path)) as other:
        return other.execute(query).fetchall()


def test_nothing_to_add_makes_no_file(path: Path) -> None:
    """An empty list makes no file and no job; the first job makes it."""
    assert list(add(path, [])) == []
    assert not path.exists()
    assert list(add(path, [NewJob(kind="k", data={})])) == [1]
    assert path.exists()


def test_a_wish_without_a_file_is_a_sentence(path: Path) -> None:
    """No file is made by mistake."""
    with pytest.raises(JournalMissing, match=r"engine\.db: there is no such file; add a job or run the engine first"):
        change(path, [1], Cancelled())
    assert not path.exists()


def test_a_file_from_before_there_were_jobs_gets_them(path: Path) -> None:
    """A journal of the second schema keeps what it has, and takes jobs from then on."""
    with closing(open_database(path)) as db:
        for step in MIGRATIONS[:2]:
            for statement in step:
                db.execute(statement)
        db.execute("PRAGMA user_version = 2")
        db.execute("INSERT INTO names (name) VALUES ('Account 1')")
    assert list(add(path, [NewJob(kind="k", data={})])) == [1]
    assert rows(path, "PRAGMA user_version") == [(VERSION,)]
    assert rows(path, "SELECT name FROM names") == [("Account 1",)]


async def test_a_store_can_be_closed_and_read_again(path: Path) -> None:
    """Closing lets go of the file; a later question opens it anew."""
    async with a_journal(path) as journal:
        store: JobStore = journal.jobs
        await store.add([NewJob(kind="k", data={"n": 1})])
        assert await store.job(2) is None
        await store.aclose()
        await store.aclose()
        job = await store.job(1)
        assert job is not None
        assert job.data == {"n": 1}
        await store.aclose()
