"""The engine's database damaged in part while it is open: cut, scribbled over where only readers look, restored."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from adapters.sqlite import JournalWriter
from adapters.sqlite.errors import DatabaseUnusable
from adapters.sqlite.jobs import NewJob, add
from adapters.sqlite.open_file import Loss
from tests.adapters.sqlite.test_lost_file import NEW, Place, place
from tests.timeouts import TIMEOUT

PAGE = 4096


def move_log(path: Path) -> None:
    """Move the log into the file, as a checkpoint by another program does."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def add_many(at: Place, count: int = 200) -> None:
    """Add jobs of later, which no memory has, as a command does."""
    jobs = [NewJob(kind="send", data={"text": "x" * 200}, due=time.time() + 3600) for _ in range(count)]
    add(at.path, jobs)
    move_log(at.path)


async def rescued(journal: JournalWriter, told: list[object]) -> None:
    """Wait until a new file is there."""
    with anyio.fail_after(TIMEOUT):
        while not told:
            await journal.look()
            await anyio.sleep(0.01)


async def test_a_file_that_is_cut_in_half_is_noticed(tmp_path: Path) -> None:
    """The header is right, nothing is written to the lost pages, and yet jobs are not "damaged" for ever."""
    async with place(tmp_path / "engine.db") as at:
        add_many(at)
        await at.journal.look()
        assert at.told == []
        os.truncate(at.path, at.path.stat().st_size // 2)
        await at.journal.look()
        (told,) = at.told
        assert told.loss is Loss.CUT_SHORT
        assert 1 in at.jobs()
        assert add(at.path, [NewJob(kind="send", data={})]).start > max(1, *at.jobs()[:-1])


async def test_a_file_that_grows_and_shrinks_by_itself_is_not_cut(tmp_path: Path) -> None:
    """Another program may add pages, and give free ones back."""
    async with place(tmp_path / "engine.db") as at:
        add_many(at)
        await at.journal.look()
        with closing(sqlite3.connect(at.path, isolation_level=None)) as other:
            other.execute("DELETE FROM jobs WHERE id > 3")
            other.execute("VACUUM")
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        await at.journal.look()
        await at.journal.look()
        assert at.told == []


async def test_damage_that_a_reader_finds_is_mended_by_the_writer(tmp_path: Path) -> None:
    """What the writer does not touch is damaged: the read fails once, and then there is a new file with the jobs."""
    async with place(tmp_path / "engine.db") as at:
        add_many(at)
        store = at.journal.jobs
        with closing(sqlite3.connect(at.path)) as other:
            (root,) = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs'").fetchone()
        with at.path.open("r+b") as file:
            file.seek((root - 1) * PAGE)
            file.write(b"junk" * (PAGE // 4))
        with pytest.raises(DatabaseUnusable):
            await store.job(100)
        await rescued(at.journal, at.told)  # type: ignore[arg-type]
        assert at.told[0].loss is Loss.DAMAGED
        job = await store.job(1)
        assert job is not None
        await store.aclose()


async def test_jobs_that_a_damaged_file_still_shows_are_in_the_new_one(tmp_path: Path) -> None:
    """Somebody was promised them: also those of later, which no memory has."""
    async with place(tmp_path / "engine.db") as at:
        add_many(at)
        known = at.jobs()
        with closing(sqlite3.connect(at.path)) as other:
            (root,) = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'snapshots'").fetchone()
        with at.path.open("r+b") as file:
            file.seek((root - 1) * PAGE)
            file.write(b"junk" * (PAGE // 4))
        at.journal._writer.suspect()
        await rescued(at.journal, at.told)  # type: ignore[arg-type]
        assert at.told[0].loss is Loss.DAMAGED
        assert at.jobs() == known
        assert add(at.path, [NewJob(kind="send", data={})]).start == max(known) + 1


async def test_a_backup_that_is_restored_through_sqlite_is_noticed(tmp_path: Path) -> None:
    """``.restore`` of the sqlite3 program replaces everything in one transaction; the file on disk is the same."""
    async with place(tmp_path / "engine.db") as at:
        old = tmp_path / "old.db"
        with closing(sqlite3.connect(at.path)) as source, closing(sqlite3.connect(old)) as target:
            source.backup(target)  # a copy of the file alone has not what is in its log still
        await at.journal.save("Account 1", (await at.journal.snapshots())["Account 1"])
        with closing(sqlite3.connect(old)) as source, closing(sqlite3.connect(at.path)) as target:
            source.execute("DELETE FROM jobs")
            source.execute("PRAGMA application_id = 0")
            source.commit()
            source.backup(target)
        await at.journal.look()
        (told,) = at.told
        assert told.loss is Loss.OVERWRITTEN
        assert 1 in at.jobs()


async def test_a_mark_that_a_reader_kept_out_of_the_file_comes_there_later(tmp_path: Path) -> None:
    """Until the mark is in the file, any other database is taken for the engine's: most have the mark 0."""
    path = tmp_path / "engine.db"
    async with place(path) as at:
        await at.journal.save("Account 1", NEW)
        await at.journal.flush()
        file = at.journal._writer._file.opened
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM jobs").fetchone()
            file._write_mark()
            file._move_mark()
            assert len(file._marks) == 2
        await at.journal.look()
        assert len(file._marks) == 1
        assert at.told == []


async def test_a_table_that_another_program_deletes_comes_back(tmp_path: Path) -> None:
    """The writer goes on in a new file; it does not stop for ever with "no such table"."""
    async with place(tmp_path / "engine.db") as at:
        with closing(sqlite3.connect(at.path)) as other:
            other.execute("DROP TABLE snapshots")
        await at.journal.save("Account 1", NEW)
        await at.journal.flush()
        assert [told.loss for told in at.told] == [Loss.DAMAGED]
        assert at.stored()["Account 1"] is NEW.state
        assert at.jobs() == [1, 2, 3]
