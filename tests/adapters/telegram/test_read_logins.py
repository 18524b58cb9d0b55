"""Whose login a session file holds: read once, without a trace, and not at all where memory knows."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapters.session import file as files
from adapters.session.file import stat_stamp
from adapters.telegram import engine_session
from adapters.telegram.engine_session import EngineSession, SessionMemory, login_in, stored_user
from adapters.telegram.file_place import FilePlace
from tests.adapters.session.support import telethons


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the files that are opened from now on, in their order."""
    found: list[Path] = []
    connect = files.connect

    def counting(path: Path, **options: Any) -> sqlite3.Connection:
        found.append(path)
        return connect(path, **options)

    monkeypatch.setattr(files, "connect", counting)
    return found


def session(path: Path, mode: str) -> Path:
    """Make a session of user 77 in a journal mode."""
    telethons(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"pragma journal_mode = {mode}")
        with database:
            database.execute("insert into entities values (0, 77, null, null, null, null)")
    return path


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_file_is_read_once_and_left_as_it_was(tmp_path: Path, opened: list[Path], mode: str) -> None:
    """A log that reading left beside it would count as a change, so that it would be read again and again."""
    path = session(tmp_path / "a.session", mode)
    before = stat_stamp(path)
    first = login_in(path)
    assert (login_in(path), stored_user(path)) == (first, 77)
    assert first[0]
    assert first[1] == 77
    assert opened.count(path) == 1
    assert stat_stamp(path) == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.session"]


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    """Another user's login is seen at once."""
    path = session(tmp_path / "a.session", "delete")
    login_in(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update entities set hash = 78 where id = 0")
    assert (login_in(path)[1], stored_user(path)) == (78, 78)


def test_a_session_that_was_released_is_known_without_a_look(tmp_path: Path, opened: list[Path]) -> None:
    """Until another program writes to it: then the file is read."""
    path = session(tmp_path / "a.session", "wal")
    memory = SessionMemory()
    memory.session = EngineSession(FilePlace(path, tmp_path / "backups", "a"), None, memory)
    memory.session._contents.put_state(0, (1, 2, 3, 4))
    memory.session.release_blocking()
    opened.clear()
    known = memory.login_in_file()
    assert path not in opened
    assert known == login_in(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update sessions set auth_key = ?", (b"o" * 256,))
    assert memory.login_in_file() is None
    assert login_in(path)[0] not in ("", known[0] if known else "")


def test_a_user_that_is_no_number_is_none(tmp_path: Path) -> None:
    """Another program may have stored anything there."""
    path = session(tmp_path / "a.session", "delete")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update entities set hash = 'nobody' where id = 0")
    assert engine_session.login_in(path)[1] is None
