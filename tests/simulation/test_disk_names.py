"""The names of files on a disk, and files that SQLite does not write: what a power cut leaves of them."""

import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.simulation.disk import Disk

pytestmark = pytest.mark.skipif(bool(Disk.unavailable()), reason=Disk.unavailable())
SEEDS = range(40)


def after_power_cuts(directory: Path, act: Callable[[Path], None]) -> set[tuple[tuple[str, bytes], ...]]:
    """Do something in a directory, then cut the power; return all that is ever found in it, by many seeds."""
    found = set()
    for seed in SEEDS:
        place = directory / f"seed-{seed}"
        place.mkdir()
        (place / "old").write_bytes(b"old")
        with Disk(place, random.Random(seed)) as disk:
            act(place)
            disk.power_cut()
            disk.restore()
        found.add(tuple((path.name, path.read_bytes()) for path in sorted(place.iterdir())))
    return found


def sync(path: Path) -> None:
    """Make a file, or the names in a directory, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def test_what_was_there_stays(tmp_path: Path) -> None:
    """Nothing is done, and nothing is lost."""
    assert after_power_cuts(tmp_path, lambda place: None) == {(("old", b"old"),)}


def test_a_rename_happens_or_not(tmp_path: Path) -> None:
    """Without a sync of the directory, one of the two names is there, and never both or none."""
    seen = after_power_cuts(tmp_path, lambda place: os.rename(place / "old", place / "new"))
    assert seen == {(("old", b"old"),), (("new", b"old"),)}


def test_a_synced_directory_keeps_its_names(tmp_path: Path) -> None:
    """What was done before the sync stays done."""

    def act(place: Path) -> None:
        (place / "old").rename(place / "new")
        sync(place)

    assert after_power_cuts(tmp_path, act) == {(("new", b"old"),)}


def test_file_systems_keep_the_order(tmp_path: Path) -> None:
    """Of two renames the second is never there without the first."""

    def act(place: Path) -> None:
        (place / "old").rename(place / "aside")
        (place / "aside").rename(place / "new")

    assert after_power_cuts(tmp_path, act) == {(("old", b"old"),), (("aside", b"old"),), (("new", b"old"),)}


def test_a_file_that_was_replaced_can_come_back(tmp_path: Path) -> None:
    """The replaced file is there, or the new one: which has its content if that was synced."""

    def act(place: Path) -> None:
        (place / "fresh").write_bytes(b"new")
        sync(place / "fresh")
        os.replace(place / "fresh", place / "old")

    assert after_power_cuts(tmp_path, act) == {(("old", b"old"),), (("old", b"new"),)}


def test_a_file_that_was_not_synced_can_be_empty(tmp_path: Path) -> None:
    """A name does not make its content durable."""

    def act(place: Path) -> None:
        (place / "fresh").write_bytes(b"new")
        (place / "fresh").rename(place / "old")
        sync(place)

    assert {content for ((_, content),) in after_power_cuts(tmp_path, act)} >= {b"", b"new"}


def test_a_deleted_file_can_come_back(tmp_path: Path) -> None:
    """Its name is there again, with what it held."""
    assert after_power_cuts(tmp_path, lambda place: (place / "old").unlink()) == {(), (("old", b"old"),)}


def test_a_kill_changes_no_names(tmp_path: Path) -> None:
    """The kernel goes on when a process dies."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "old").write_bytes(b"old")
    with Disk(tmp_path / "disk", random.Random(1)) as disk:
        (tmp_path / "disk" / "old").rename(tmp_path / "disk" / "new")
        (tmp_path / "disk" / "more").write_bytes(b"more")
        disk.kill()
        (tmp_path / "disk" / "new").unlink()  # the dead process has not done that
        disk.restore()
    assert {path.name: path.read_bytes() for path in (tmp_path / "disk").iterdir()} == {"new": b"old", "more": b"more"}


@pytest.mark.parametrize(("level", "loses"), [("full", True), ("extra", False)])
def test_a_deleted_journal_comes_back_as_sqlite_says(tmp_path: Path, level: str, loses: bool) -> None:
    """In SQLite's oldest mode, synchronous = FULL loses a commit with the name of the journal, and EXTRA does not."""
    lost = 0
    for seed in SEEDS:
        place = tmp_path / f"seed-{seed}"
        place.mkdir()
        with Disk(place, random.Random(seed)) as disk:
            database = sqlite3.connect(place / "a.db", isolation_level=None)
            database.execute("pragma journal_mode = delete")
            database.execute(f"pragma synchronous = {level}")
            database.execute("create table rows (number)")
            for number in range(4):
                database.execute("insert into rows values (?)", (number,))
            disk.power_cut()
            disk.restore()
            with closing(sqlite3.connect(place / "a.db")) as found:
                assert found.execute("pragma integrity_check").fetchone()[0] == "ok"
                lost += 4 - found.execute("select count(*) from rows").fetchone()[0]
    assert bool(lost) is loses
