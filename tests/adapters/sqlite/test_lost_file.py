"""The engine's database lost while it is open: deleted, moved, replaced, overwritten, cut short."""

import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import pytest

from adapters.sqlite import JournalReader, JournalWriter, Rescue
from adapters.sqlite.jobs import NewJob, add
from adapters.sqlite.open_file import Loss
from states import Policy, Snapshot, State
from tests.adapters.sqlite.support import TIMEOUTS
from tests.timeouts import TIMEOUT

OLD = Snapshot(state=State.HEALTHY, life=1)
NEW = Snapshot(state=State.BACKOFF, life=1)


class Place:
    """A journal with a snapshot, three jobs of which one is in memory, and what was told about its file."""

    def __init__(self, journal: JournalWriter, told: list[Rescue]) -> None:
        self.journal, self.told, self.path = journal, told, journal.path

    def stored(self) -> dict[str, State]:
        """Return the accounts' states, as another program reads them."""
        with JournalReader.open(self.path) as reader:
            return {name: snapshot.state for name, (snapshot, _) in reader.snapshots().items()}

    def jobs(self) -> list[int]:
        """Return the numbers of the queued jobs, as another program reads them."""
        with closing(sqlite3.connect(self.path)) as other:
            return [number for (number,) in other.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY id")]


@asynccontextmanager
async def place(path: Path) -> AsyncIterator[Place]:
    """Open a journal, and fill it."""
    told: list[Rescue] = []
    journal = await JournalWriter.open(path, on_trouble=lambda *_: None, on_rescue=told.append, timeouts=TIMEOUTS)
    try:
        await journal.begin_life("Account 1", 1.0, Policy(), OLD)
        await journal.begin_life("Account 2", 1.0, Policy(), OLD)
        store = journal.jobs
        assert list(await store.add([NewJob(kind="send", data={"n": number}) for number in range(3)])) == [1, 2, 3]
        await store.ready("send", None, 1)
        await store.aclose()
        await journal.flush()
        yield Place(journal, told)
    finally:
        with anyio.CancelScope(shield=True):
            await journal.aclose(TIMEOUT)


def delete(path: Path) -> None:
    """Delete the file alone."""
    path.unlink()


def delete_all(path: Path) -> None:
    """Delete the file and those beside it."""
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def move(path: Path) -> None:
    """Move the file away."""
    path.rename(path.with_name("elsewhere.db"))


def remove_directory(path: Path) -> None:
    """Remove the whole directory."""
    shutil.rmtree(path.parent)


def rename_directory(path: Path) -> None:
    """Give the directory another name."""
    path.parent.rename(path.parent.with_name("renamed"))


def remove_log(path: Path) -> None:
    """Remove the log, and the index of it."""
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()


def remove_index(path: Path) -> None:
    """Remove the index of the log alone."""
    Path(f"{path}-shm").unlink()


def replace(path: Path) -> None:
    """Put another database in its place, by a rename."""
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other)) as database, database:
        database.execute("CREATE TABLE foreign_data (value TEXT)")
        database.execute("INSERT INTO foreign_data VALUES ('precious')")
    other.rename(path)


def put_link(path: Path) -> None:
    """Move it, and put a link to it in its place."""
    moved = path.rename(path.with_name("moved.db"))
    path.symlink_to(moved)


def overwrite(path: Path) -> None:
    """Copy another database over it, as ``cp`` does: the inode stays."""
    replace(other := path.with_name("copied.db"))
    shutil.copyfile(other, path)


def truncate(path: Path) -> None:
    """Cut it to nothing."""
    os.truncate(path, 0)


def scribble(path: Path) -> None:
    """Overwrite it with what is no database."""
    with path.open("r+b") as file:
        file.write(b"junk" * 2000)


WHOLE = [delete, delete_all, move, remove_directory, rename_directory, remove_log, remove_index, replace, put_link]
PARTLY = [overwrite, truncate, scribble]


@pytest.mark.parametrize("lose", [*WHOLE, *PARTLY])
async def test_the_journal_goes_on_in_a_new_file(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    """Whatever happens to the file: it is told once, snapshots and jobs are in a new one, and so is what comes then."""
    async with place(tmp_path / "data" / "engine.db") as at:
        lose(at.path)
        await at.journal.look()
        assert at.stored() == {"Account 1": State.HEALTHY, "Account 2": State.HEALTHY}
        assert at.jobs() == ([1, 2, 3] if lose in WHOLE else [1])
        await at.journal.save("Account 1", NEW)
        await at.journal.flush()
        await at.journal.look()
        assert at.stored()["Account 1"] is State.BACKOFF
        (told,) = at.told
        assert told.whole is (lose in WHOLE)
        assert add(at.path, [NewJob(kind="send", data={})]) == range(4, 5) if lose in WHOLE else True
    with closing(sqlite3.connect(at.path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("lose", [replace, overwrite])
async def test_foreign_data_are_set_aside(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    """The file that took the place is kept, whole, under the name that is told."""
    async with place(tmp_path / "data" / "engine.db") as at:
        lose(at.path)
        await at.journal.look()
        (told,) = at.told
        assert told.aside is not None
        with closing(sqlite3.connect(told.aside)) as database:
            assert database.execute("SELECT value FROM foreign_data").fetchone() == ("precious",)
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("lose", [delete, overwrite])
async def test_rows_that_come_before_the_look_are_not_lost(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    """A write alone notices the loss; nobody has to ask."""
    async with place(tmp_path / "data" / "engine.db") as at:
        lose(at.path)
        await at.journal.save("Account 2", NEW)
        await at.journal.flush()
        assert at.stored() == {"Account 1": State.HEALTHY, "Account 2": State.BACKOFF}
        assert len(at.told) == 1


async def test_a_backup_of_this_life_is_noticed_when_it_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that was made after the start, and put back with ``cp`` after the log was moved, is not written on."""
    monkeypatch.setattr("adapters.sqlite.open_file.MAX_LOG_BYTES", 65_536)
    async with place(tmp_path / "data" / "engine.db") as at:
        backup = tmp_path / "backup.db"
        shutil.copyfile(at.path, backup)
        for number in range(200):  # until the log is long enough to be moved into the file
            await at.journal.begin_life(f"Account {number}", 1.0, Policy(), OLD)
            if number % 5 == 0:
                await at.journal.flush()
        await at.journal.flush()
        shutil.copyfile(backup, at.path)
        await at.journal.look()
        (told,) = at.told
        assert told.loss is Loss.OVERWRITTEN
        assert len(at.stored()) == 200


async def test_jobs_of_a_file_that_a_command_made_are_taken_over(tmp_path: Path) -> None:
    """A job that was added to a new file before the loss was noticed is done, under a number that is told."""
    async with place(tmp_path / "data" / "engine.db") as at:
        remove_directory(at.path)
        assert add(at.path, [NewJob(kind="send", data={"late": True})]) == range(1, 2)
        await at.journal.look()
        (told,) = at.told
        assert told.renumbered == ((1, 4),)
        assert at.jobs() == [1, 2, 3, 4]


async def test_nothing_is_told_while_nothing_happens(tmp_path: Path) -> None:
    """Commands that write, checkpoints by others, and times and modes that change are no loss."""
    async with place(tmp_path / "data" / "engine.db") as at:
        add(at.path, [NewJob(kind="send", data={})])
        with closing(sqlite3.connect(at.path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.utime(at.path)
        at.path.chmod(0o640)
        await at.journal.look()
        await at.journal.save("Account 1", NEW)
        await at.journal.flush()
        await at.journal.look()
        assert at.told == []
        assert at.jobs() == [1, 2, 3, 4]


async def test_a_new_file_that_cannot_be_made_is_told_and_tried_again(tmp_path: Path) -> None:
    """Without a place for the directory the rows wait; once there is one, nothing is missing."""
    troubles: list[object] = []
    told: list[Rescue] = []
    path = tmp_path / "data" / "engine.db"
    journal = await JournalWriter.open(
        path, on_trouble=lambda failure, _: troubles.append(failure), on_rescue=told.append, timeouts=TIMEOUTS
    )
    try:
        await journal.begin_life("Account 1", 1.0, Policy(), OLD)
        await journal.flush()
        shutil.rmtree(path.parent)
        path.parent.write_text("in the way")
        await journal.save("Account 1", NEW)
        with anyio.fail_after(TIMEOUT):
            while not troubles:
                await anyio.sleep(0.01)
        path.parent.unlink()
        await journal.flush()
        assert len(told) == 1
        with JournalReader.open(path) as reader:
            assert reader.snapshots()["Account 1"][0].state is State.BACKOFF
    finally:
        await journal.aclose(TIMEOUT)
