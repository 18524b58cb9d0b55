"""Opening a database file."""

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sqlite import DatabaseUnusable, open_database, open_read_only
from states.events import DatabaseCorrupt, DatabaseLocked, DatabaseUnavailable


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("busy_timeout", 30_000), ("cache_size", -64_000), ("synchronous", 2)],
)
def test_settings(tmp_path: Path, pragma: str, value: object) -> None:
    """The connection has the settings of the design."""
    with closing(open_database(tmp_path / "a.db")) as connection:
        assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)
        assert connection.isolation_level is None


def test_created_files_are_private(tmp_path: Path) -> None:
    """A new file, its WAL and the new directories above it are for this user alone, whatever the umask."""
    path = tmp_path / "new" / "deep" / "a.db"
    umask = os.umask(0)
    try:
        with closing(open_database(path)) as connection:
            connection.execute("CREATE TABLE t (x)")
            assert [_mode(path), _mode(Path(f"{path}-wal"))] == [0o600, 0o600]
            assert [_mode(path.parent), _mode(path.parent.parent)] == [0o700, 0o700]
    finally:
        os.umask(umask)


def test_existing_permissions_are_left_alone(tmp_path: Path) -> None:
    """What was there already keeps the permissions that its owner gave it."""
    path = tmp_path / "a.db"
    path.touch()
    path.chmod(0o640)
    open_database(path).close()
    assert _mode(path) == 0o640


@pytest.mark.parametrize("name", ["a b?mode=rw#x%41.db", ":memory:", "ä'\".db"])
def test_odd_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is a path, not a URI, also with the characters that mean something in one."""
    monkeypatch.chdir(tmp_path)
    with closing(open_database(Path(name))) as connection:
        connection.execute("CREATE TABLE here (x)")
        with closing(open_read_only(Path(name))) as reader:
            assert reader.execute("SELECT name FROM sqlite_master").fetchall() == [("here",)]
    assert (tmp_path / name).exists()


def test_read_only_cannot_write_or_create(tmp_path: Path) -> None:
    """Opening for reading makes no file, and its connection refuses to write."""
    with pytest.raises(DatabaseUnusable) as caught:
        open_read_only(tmp_path / "a.db")
    assert isinstance(caught.value.failure, DatabaseUnavailable)
    assert not (tmp_path / "a.db").exists()
    open_database(tmp_path / "a.db").close()
    with closing(open_read_only(tmp_path / "a.db")) as reader, pytest.raises(sqlite3.OperationalError):
        reader.execute("CREATE TABLE t (x)")


def test_no_database(tmp_path: Path) -> None:
    """A file that is not a database is refused with its path and what to do, and is not touched."""
    path = tmp_path / "a.db"
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    before = path.read_bytes()
    for opening in (open_database, open_read_only):
        with pytest.raises(DatabaseUnusable, match=r"a\.db: the file is not a database .*restore it") as caught:
            opening(path)
        assert isinstance(caught.value.failure, DatabaseCorrupt)
    assert path.read_bytes() == before


def test_parent_is_a_file(tmp_path: Path) -> None:
    """A path that cannot exist is the same kind of error as one that SQLite cannot open."""
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnusable, match="check the path") as caught:
        open_database(tmp_path / "file" / "a.db")
    assert isinstance(caught.value.failure, DatabaseUnavailable)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_directory(tmp_path: Path) -> None:
    """A directory without the right to write gives the typed error."""
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DatabaseUnusable) as caught:
            open_database(tmp_path / "a.db")
    finally:
        tmp_path.chmod(0o700)
    assert isinstance(caught.value.failure, DatabaseUnavailable)


def test_locked_while_opening(tmp_path: Path) -> None:
    """A file that another program holds exclusively is reported as locked after the busy timeout."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseUnusable, match="locked by another program") as caught:
            open_database(path, busy_timeout=0.05)
        assert isinstance(caught.value.failure, DatabaseLocked)


def test_a_file_is_read_whose_writer_was_killed_before_there_was_a_log(tmp_path: Path) -> None:
    """SQLite rolls the unfinished transaction back, which a connection for reading cannot do."""
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE here (x)")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO here VALUES (?)", [("x" * 500,)] * 200)  # some of it is in the file already
        for suffix in ("", "-journal"):
            shutil.copy(tmp_path / f"a.db{suffix}", tmp_path / f"killed.db{suffix}")
        connection.execute("ROLLBACK")
    with closing(open_read_only(tmp_path / "killed.db")) as reader:
        assert reader.execute("SELECT count(*) FROM here").fetchone() == (0,)
