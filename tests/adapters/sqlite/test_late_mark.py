"""A file that could not be marked at once, or whose mark is not in it yet: its loss is noticed all the same."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from adapters.sqlite.connect import open_database
from adapters.sqlite.memory import Memory
from adapters.sqlite.open_file import Loss, OpenFile
from adapters.sqlite.rescue import Rescue
from adapters.sqlite.schema import NAME, migrate
from adapters.sqlite.written_database import WrittenDatabase
from tests.adapters.sqlite.test_lost_file import delete, move, overwrite, replace, scribble


class Opened:
    """A database as a writer has it open, and what was told about it."""

    def __init__(self, path: Path) -> None:
        self.path, self.told = path, list[Rescue]()
        memory = Memory(path)
        connection = open_database(path)
        migrate(connection, path)
        memory.load(connection)
        self.file = WrittenDatabase(
            path=path, connection=connection, busy_timeout=0.01, memory=memory, on_rescue=self.told.append
        )

    def write(self) -> None:
        """Write a row as the thread does."""
        assert self.file.find_failure() is None
        self.file.write([(NAME, [("a",)])], lambda: True)

    def names(self) -> list[str]:
        """Return what another program reads."""
        with closing(sqlite3.connect(self.path)) as other:
            return [name for (name,) in other.execute("SELECT name FROM names")]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Open a database that nothing has marked yet."""
    at = Opened(tmp_path / "data" / "engine.db")
    yield at
    at.file.close()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold the right to write, as a command does whose disk is slow."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Read what is there now: what is written later cannot be moved from the log into the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM jobs").fetchone()
        yield


def precious(told: Rescue) -> bool:
    """Return whether the file that was set aside is whole."""
    assert told.aside is not None
    with closing(sqlite3.connect(told.aside)) as database:
        intact = database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return intact and database.execute("SELECT value FROM foreign_data").fetchall() == [("precious",)]


@pytest.mark.parametrize("lose", [overwrite, scribble, replace, delete, move])
def test_a_row_is_never_in_a_file_without_a_mark(opened: Opened, lose: Callable[[Path], None]) -> None:
    """A file that was locked at the start gets its mark with the first row; after that each loss is noticed."""
    with writing(opened.path):
        opened.file.begin()
        assert opened.file.find_failure() is None
        assert not opened.file.opened.is_marked
    opened.file.write([(NAME, [("a",)])], lambda: True)
    lose(opened.path)
    assert opened.file.find_failure() is None
    (told,) = opened.told
    assert told.loss in {Loss.OVERWRITTEN, Loss.REPLACED, Loss.GONE}
    assert lose not in (overwrite, replace) or precious(told)
    opened.write()
    assert "a" in opened.names()


@pytest.mark.parametrize(
    ("lose", "loss"), [(replace, Loss.REPLACED), (delete, Loss.GONE), (scribble, Loss.OVERWRITTEN)]
)
def test_a_file_without_a_mark_is_watched(opened: Opened, lose: Callable[[Path], None], loss: Loss) -> None:
    """Which file it is, is known from the start, also while a lock keeps the mark from being written."""
    with writing(opened.path):
        opened.file.begin()
        lose(opened.path)
        assert opened.file.opened.look() is loss


def test_the_mark_of_an_earlier_engine_tells_a_foreign_file(tmp_path: Path) -> None:
    """While a lock keeps this engine's mark out, the file has that of the one before; nothing is put into another."""
    path = tmp_path / "engine.db"
    with closing(open_database(path, busy_timeout=0.01)) as connection:
        connection.execute("PRAGMA application_id = 5")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("CREATE TABLE jobs (number)")
        file = OpenFile(path, connection)
        with writing(path):
            file.begin()
            overwrite(path)
            assert file.look() is Loss.OVERWRITTEN
        foreign = path.read_bytes()
        file.begin()
        assert file.look() is Loss.OVERWRITTEN
        assert path.read_bytes() == foreign
    file.close()


def test_a_mark_that_is_rolled_back_is_written_again(opened: Opened) -> None:
    """The first batch fails, and its mark with it: the next one brings another."""
    with writing(opened.path):
        opened.file.begin()
    with pytest.raises(sqlite3.Error):
        opened.file.write([(NAME, [("a", "one too many")])], lambda: True)
    assert opened.file.opened.look() is None
    opened.file.write([(NAME, [("a",)])], lambda: True)
    assert opened.file.find_failure() is None
    assert opened.told == []
    overwrite(opened.path)
    assert opened.file.find_failure() is None
    assert precious(opened.told[0])


def test_a_file_whose_mark_is_in_the_log_alone_is_told_from_another(opened: Opened) -> None:
    """A reader keeps the mark out of the file; one without a mark is not taken for it, and keeps what it has."""
    with reading(opened.path):
        opened.file.begin()
        opened.write()
        overwrite(opened.path)
        assert opened.file.find_failure() is None
    (told,) = opened.told
    assert told.loss is Loss.OVERWRITTEN
    assert precious(told)


def test_what_another_program_moves_at_the_same_time_is_no_loss(tmp_path: Path) -> None:
    """It has begun before the mark was written, and puts a header into the file that is older: one from the log."""
    path = tmp_path / "engine.db"
    with closing(open_database(path)) as connection:
        connection.execute("CREATE TABLE jobs (number)")
        file = OpenFile(path, connection)
        with reading(path):  # keeps the mark in the log
            file.begin()
            first_page = Path(f"{path}-wal").read_bytes()[32 + 24 :][:4096]
            assert first_page[:100] != file._before
            with path.open("r+b") as other:
                other.write(first_page)
            assert file.look() is None
            overwrite(path)
            assert file.look() is Loss.OVERWRITTEN
    file.close()


def test_an_older_copy_is_another_file(tmp_path: Path) -> None:
    """Also the file's own earlier content, put back over it before the mark has come there."""
    path = tmp_path / "engine.db"
    with closing(open_database(path)) as connection:
        connection.execute("CREATE TABLE jobs (number)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copyfile(path, tmp_path / "old.db")
        connection.execute("CREATE TABLE more (number)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        file = OpenFile(path, connection)
        with reading(path):
            file.begin()
            assert file.look() is None
            shutil.copyfile(tmp_path / "old.db", path)
            assert file.look() is Loss.OVERWRITTEN
    file.close()


def test_a_directory_that_cannot_be_read_ends_nothing(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which file it is cannot be told at the start: the thread goes on, and finds out later."""

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("adapters.sqlite.open_file.identity", refused)
        opened.file.begin()
        opened.write()
    opened.write()
    delete(opened.path)
    opened.write()
    assert [told.loss for told in opened.told] == [Loss.GONE]


def test_a_header_that_was_moved_on_while_it_was_looked_at_is_read_again(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program moved the log, and began it again, between the two readings: the file is the one it was."""
    opened.file.begin()
    opened.write()
    real = OpenFile._read_header
    stale = [real(opened.file.opened)[:68] + bytes(32)]
    monkeypatch.setattr(OpenFile, "_read_header", lambda file: stale.pop() if stale else real(file))
    opened.write()
    assert stale == []
    assert opened.told == []
