"""Before a schema is upgraded there is a copy, and a version that finds a newer one says how to go back."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sqlite import JournalTooNew, copy
from adapters.sqlite.connect import open_database
from adapters.sqlite.copy import KEEP, copies_before_upgrades
from adapters.sqlite.errors import DatabaseUnusable
from adapters.sqlite.jobs import NewJob, add
from adapters.sqlite.schema import MIGRATIONS, VERSION, migrate
from tests.adapters.session.support import rows


def older(path: Path, version: int) -> Path:
    """Make a file as an earlier version left it."""
    path.parent.mkdir(exist_ok=True)
    with closing(open_database(path)) as database:
        for statement in (each for step in MIGRATIONS[:version] for each in step):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {version}")
        database.execute("INSERT INTO names (name) VALUES ('before')")
    return path


def upgrade(path: Path) -> None:
    """Open a file as this version does."""
    with closing(open_database(path)) as database:
        migrate(database, path)
        database.execute("INSERT OR IGNORE INTO names (name) VALUES ('after')")


@pytest.mark.parametrize("version", range(1, VERSION))
def test_the_copy_is_of_before_the_upgrade(tmp_path: Path, version: int) -> None:
    """It has the old schema and every row, is intact, and is for this user alone."""
    path = older(tmp_path / "data" / "engine.db", version)
    upgrade(path)
    [kept] = copies_before_upgrades(path)
    assert kept.parent == tmp_path / "data" / "backups"
    assert kept.name.startswith(f"engine.db-schema-{version}-")
    assert rows(kept, "PRAGMA user_version") == [version]
    assert rows(kept, "SELECT name FROM names") == ["before"]
    assert rows(kept, "PRAGMA integrity_check") == ["ok"]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert rows(path, "PRAGMA user_version") == [VERSION]


def test_a_new_file_and_one_of_this_version_need_none(tmp_path: Path) -> None:
    """There is nothing to go back to."""
    path = tmp_path / "data" / "engine.db"
    path.parent.mkdir()
    upgrade(path)
    upgrade(path)
    assert copies_before_upgrades(path) == []
    assert not (path.parent / "backups").exists()


def test_a_command_upgrades_with_a_copy_too(tmp_path: Path) -> None:
    """Whichever program opens the file first."""
    path = older(tmp_path / "data" / "engine.db", VERSION - 1)
    add(path, [NewJob(kind="send", data={})])
    assert len(copies_before_upgrades(path)) == 1


def test_without_a_copy_there_is_no_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves the file as it was, and the sentence says what to do."""
    path = older(tmp_path / "data" / "engine.db", VERSION - 1)

    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copy, "sync_file", full)
    with pytest.raises(DatabaseUnusable, match="No space left on device"):
        upgrade(path)
    assert rows(path, "PRAGMA user_version") == [VERSION - 1]
    assert copies_before_upgrades(path) == []
    monkeypatch.undo()
    upgrade(path)
    assert [each.name for each in (path.parent / "backups").iterdir()] == [copies_before_upgrades(path)[0].name]


def test_the_newest_three_are_kept(tmp_path: Path) -> None:
    """They are as large as the journal."""
    path = older(tmp_path / "data" / "engine.db", VERSION - 1)
    directory = path.parent / "backups"
    directory.mkdir()
    for day in range(1, 6):
        (directory / f"engine.db-schema-{day}-2020010{day}T000000Z").touch()
    upgrade(path)
    names = [each.name for each in copies_before_upgrades(path)]
    assert len(names) == KEEP
    assert names[1:] == ["engine.db-schema-5-20200105T000000Z", "engine.db-schema-4-20200104T000000Z"]


def test_a_newer_schema_is_refused_with_the_way_back(tmp_path: Path) -> None:
    """The sentence names the copy that this version can read; without one it names none. The file is not touched."""
    path = older(tmp_path / "data" / "engine.db", VERSION - 1)
    upgrade(path)
    [kept] = copies_before_upgrades(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(JournalTooNew, match=f"schema {VERSION + 1}, .* knows {VERSION}.*before the upgrade: {kept}"):
        upgrade(path)
    kept.rename(kept.with_name(f"engine.db-schema-{VERSION + 1}-20990101T000000Z"))
    with pytest.raises(JournalTooNew, match=r"or a newer one$"):
        upgrade(path)
    assert rows(path, "PRAGMA user_version") == [VERSION + 1]


def test_the_way_back_leads_back(tmp_path: Path) -> None:
    """The copy in the file's place is what it was, and is upgraded again."""
    path = older(tmp_path / "data" / "engine.db", VERSION - 1)
    upgrade(path)
    copies_before_upgrades(path)[0].rename(path)
    assert rows(path, "SELECT name FROM names") == ["before"]
    upgrade(path)
    assert sorted(rows(path, "SELECT name FROM names")) == ["after", "before"]
