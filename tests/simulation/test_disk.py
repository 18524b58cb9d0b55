"""The disk under SQLite: SQLite keeps its promises on it, and it finds out where they are not asked for."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.disk import Disk

pytestmark = pytest.mark.skipif(bool(Disk.unavailable()), reason=Disk.unavailable())
SEEDS = range(25)
Database = sqlite3.Connection


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return the directory of a disk."""
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.fixture
def disk(directory: Path) -> Iterator[Disk]:
    """Return a disk that is installed."""
    with Disk(directory, random.Random(7)) as disk:
        yield disk


def open_file(path: Path, *settings: str) -> Database:
    """Open a database with a table; without settings as the journal is opened."""
    database = sqlite3.connect(path, isolation_level=None)
    for setting in settings or ("journal_mode = wal", "synchronous = full"):
        database.execute(f"pragma {setting}")
    database.execute("create table if not exists rows (number integer primary key, filling text)")
    return database


def write(database: Database, rng: random.Random, number: int) -> None:
    """Commit a transaction with one row that tells its number, and some others of the same one."""
    database.execute("begin immediate")
    database.execute("insert into rows values (?, ?)", (number * 10, "x" * rng.randrange(3000)))
    for each in range(rng.randrange(4)):
        database.execute("insert into rows values (?, ?)", (number * 10 + 1 + each, "y" * rng.randrange(900)))
    if rng.random() < 0.2:
        database.execute("delete from rows where number < ? and number % 10", (number * 5,))
    database.execute("commit")


def found(path: Path) -> list[int]:
    """Return the numbers of the transactions that a file has, which must be intact and have a beginning of them all."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("pragma integrity_check").fetchone()[0] == "ok"
        with suppress(sqlite3.OperationalError):  # not even the table is there
            numbers = [row[0] // 10 for row in database.execute("select number from rows where number % 10 = 0")]
            assert numbers == list(range(len(numbers)))
            return numbers
        return []


def lost_by_power_cut(directory: Path, seed: int, *settings: str, **options: Any) -> int:
    """Write until the power is cut, at any write; return how many committed transactions are missing."""
    rng = random.Random(seed)
    committed = 0
    with Disk(directory, rng, **options) as disk:
        for _ in range(3):  # what is left is gone on with
            disk.kill_at_write(rng.choice((rng.randrange(1, 30), rng.randrange(1, 400))), lambda: None, power=True)
            path = directory / "a.db"
            database = open_file(path, *settings)
            while not disk.is_frozen:
                if rng.random() < 0.1 and committed:
                    database.close()
                    database = open_file(path, *settings)
                if rng.random() < 0.1:
                    database.execute("pragma wal_checkpoint(truncate)")
                with suppress(sqlite3.Error):  # what it reads is not what it has written any more
                    write(database, rng, committed)
                committed += not disk.is_frozen
            del database
            disk.restore()
            there = found(path)
            if len(there) > committed:  # the last one was not acknowledged, but is there
                assert len(there) == committed + 1
                committed += 1
            if len(there) < committed:
                return committed - len(there)
    return 0


@pytest.mark.parametrize("mode", ["wal", "truncate", "persist"])
def test_nothing_that_was_synced_is_lost(directory: Path, mode: str) -> None:
    """With synchronous = FULL, every transaction that was committed is there after a power cut, whole."""
    for seed in SEEDS:
        (directory / str(seed)).mkdir()
        lost = lost_by_power_cut(directory / str(seed), seed, f"journal_mode = {mode}", "synchronous = full")
        assert lost == 0, f"seed {seed}"


def test_without_a_sync_at_each_commit_the_file_is_whole_but_older(directory: Path) -> None:
    """With synchronous = NORMAL in a WAL, a power cut takes the latest transactions, and only those."""
    lost = []
    for seed in SEEDS:
        (directory / str(seed)).mkdir()
        lost.append(lost_by_power_cut(directory / str(seed), seed, "journal_mode = wal", "synchronous = normal"))
    assert sum(map(bool, lost)) > len(lost) / 4


def test_a_disk_that_lies_loses_what_was_committed(directory: Path) -> None:
    """Where a sync makes nothing durable, the same check finds a loss or damage: it is able to fail."""
    caught = 0
    for seed in SEEDS:
        (directory / str(seed)).mkdir()
        try:
            caught += lost_by_power_cut(directory / str(seed), seed, loses_synced=True) > 0
        except (AssertionError, sqlite3.DatabaseError):
            caught += 1
    assert caught > len(SEEDS) / 2


def test_a_kill_loses_nothing_that_was_written(directory: Path) -> None:
    """What a killed process has committed is there, synced or not; what it had begun is not."""
    for seed in SEEDS:
        rng = random.Random(seed)
        path = directory / f"{seed}.db"
        with Disk(directory, rng) as disk:
            database = open_file(path, "journal_mode = wal", "synchronous = off")
            disk.kill_at_write(rng.randrange(1, 200), lambda: None)
            committed = 0
            while not disk.is_frozen:
                with suppress(sqlite3.Error):
                    write(database, rng, committed)
                committed += not disk.is_frozen
            disk.restore()
            assert len(found(path)) == committed


def test_a_kill_leaves_what_was_not_synced_to_the_next_power_cut(disk: Disk, directory: Path) -> None:
    """The kernel still has what a killed process has written, and loses it with the power."""
    disk.rng = random.Random(1)
    path = directory / "a.db"
    database = open_file(path, "journal_mode = wal", "synchronous = off", "wal_autocheckpoint = 0")
    for number in range(20):
        write(database, disk.rng, number)
    disk.kill()
    disk.restore()
    assert path.with_name("a.db-wal").stat().st_size > 0
    disk.power_cut()
    disk.restore()
    assert len(found(path)) < 20


def test_one_of_two_processes_is_killed(disk: Disk, directory: Path) -> None:
    """Only the files of the killed one are frozen; the other one writes on."""
    one, other = open_file(directory / "one.db"), open_file(directory / "other.db")
    write(one, disk.rng, 0)
    write(other, disk.rng, 0)
    disk.kill(directory / "one.db")
    write(one, disk.rng, 1)
    write(other, disk.rng, 1)
    disk.restore()
    with pytest.raises(sqlite3.ProgrammingError):
        one.execute("select 1")
    write(other, disk.rng, 2)
    other.close()
    assert [len(found(directory / name)) for name in ("one.db", "other.db")] == [1, 3]


def test_old_connections_do_no_harm_to_the_next_life(disk: Disk, directory: Path) -> None:
    """A connection of a dead process is closed before its files are replaced: it would delete the new ones' log."""
    path = directory / "a.db"
    old = open_file(path)
    write(old, disk.rng, 0)
    disk.kill()
    disk.restore()
    new = open_file(path)
    write(new, disk.rng, 1)
    old.close()
    del old
    write(new, disk.rng, 2)
    disk.power_cut()
    disk.restore()
    assert found(path) == [0, 1, 2]


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(disk: Disk, directory: Path) -> None:
    """A transaction that does not fit is refused as a whole, and nothing that was committed is lost by it."""
    path = directory / "a.db"
    database = open_file(path)
    disk.full(50_000)
    committed = 0
    with suppress(sqlite3.OperationalError):
        for committed in range(100):
            write(database, disk.rng, committed)
    if database.in_transaction:
        database.execute("rollback")
    assert 0 < committed < 99
    disk.mend()
    write(database, disk.rng, committed)
    disk.power_cut()
    disk.restore()
    assert len(found(path)) == committed + 1


def test_a_broken_disk_acknowledges_nothing(directory: Path) -> None:
    """Where syncing fails, what was not acknowledged may be lost for good; all that is acknowledged later is there."""
    for seed in SEEDS:
        rng = random.Random(seed)
        path = directory / f"{seed}.db"
        with Disk(directory, rng) as disk:
            database = open_file(path)
            committed = 0
            for _ in range(20):
                if rng.random() < 0.4:
                    disk.broken()
                try:
                    write(database, rng, committed)
                    committed += 1
                except sqlite3.OperationalError:
                    if database.in_transaction:
                        database.execute("rollback")
                disk.mend()
            disk.power_cut()
            disk.restore()
        assert len(found(path)) == committed


def test_the_same_seed_gives_the_same_files(directory: Path) -> None:
    """Whatever the disk decides comes from its seed, and so do the random numbers in the files: they are byte-equal."""
    images = []
    for name in ("one", "two"):
        (directory / name).mkdir()
        rng = random.Random(3)
        with Disk(directory / name, rng) as disk:
            database = open_file(directory / name / "a.db", "journal_mode = wal", "synchronous = normal")
            disk.kill_at_write(150, lambda: None, power=True)
            for number in range(60):
                with suppress(sqlite3.Error):
                    write(database, rng, number)
            disk.restore()
            images.append({path.name: path.read_bytes() for path in (directory / name).iterdir()})
    assert set(images[0]) == {"a.db", "a.db-wal"}
    assert images[0] == images[1]


def test_what_fails_inside_of_sqlite_is_raised_at_the_next_call(disk: Disk, directory: Path) -> None:
    """An exception in a call from C has nobody above it: it is kept."""

    def fail(path: str) -> None:
        raise LookupError(f"of the test, for {path}")

    disk.on_sync = fail
    with closing(sqlite3.connect(directory / "a.db")) as database, pytest.raises(sqlite3.OperationalError):
        database.execute("create table rows (number)")
    with pytest.raises(BaseExceptionGroup) as raised:
        disk.check()
    assert raised.group_contains(LookupError, match="of the test")
    disk.on_sync = None
    disk.check()


def test_a_commit_takes_its_time_outside_of_sqlite(disk: Disk, directory: Path) -> None:
    """The hook before a commit may do what it likes, even use SQLite; the one after a sync counts."""
    seen: list[int] = []
    syncs: list[str] = []
    database = open_file(directory / "a.db")
    disk.before_commit = lambda: seen.append(database.execute("select count(*) from rows").fetchone()[0])
    disk.on_sync = syncs.append
    write(database, random.Random(2), 0)
    assert len(seen) == 1
    assert seen[0] > 0
    assert {Path(path).name for path in syncs} <= {"a.db", "a.db-wal"}
    assert syncs
    database.close()


def test_other_files_are_no_concern_of_the_disk(disk: Disk, tmp_path: Path) -> None:
    """A database outside of the directory is written as ever."""
    database = open_file(tmp_path / "a.db")
    before = disk.writes
    write(database, disk.rng, 0)
    disk.power_cut()
    write(database, disk.rng, 1)
    database.close()
    assert len(found(tmp_path / "a.db")) == 2
    assert disk.writes == before == 0


def test_files_stay_as_they_are_when_the_disk_is_removed(directory: Path) -> None:
    """A connection that outlives the disk goes on with SQLite's own functions."""
    with Disk(directory, random.Random(7)):
        database = open_file(directory / "a.db")
        write(database, random.Random(1), 0)
    write(database, random.Random(1), 1)
    database.close()
    assert len(found(directory / "a.db")) == 2
