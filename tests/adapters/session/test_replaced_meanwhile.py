"""Another file takes a session's place in the moment in which it is read, written or closed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from adapters.session import HoldfastSession
from adapters.session import file as files
from adapters.session.loading import SessionLoader
from tests.adapters.session.support import KEY, telethons, until, user

OTHER = b"o" * 256


@frozen
class Interrupted:
    """A connection during whose close something happens."""

    database: object
    happens: Callable[[], object]

    def close(self) -> None:
        """Close it, and let it happen."""
        self.database.close()  # type: ignore[attr-defined]  # sqlite3's
        self.happens()

    def __getattr__(self, name: str) -> object:
        return getattr(self.database, name)


def test_a_file_that_is_replaced_while_it_is_closed_is_read_again(tmp_path: Path) -> None:
    """A new login that comes just as the old file is closed is not taken for what is in memory."""
    path, new = telethons(tmp_path / "a.session"), telethons(tmp_path / "new.session", OTHER)
    session = HoldfastSession(path)
    live = session._live
    assert live is not None
    session.process_entities([user(1)])
    until(lambda: live._database is not None and session.agrees_with_file())
    live._database = Interrupted(live._database, lambda: new.rename(path))  # type: ignore[assignment]  # for this
    session.close()
    assert not session.agrees_with_file()
    session.reopen(adopt=True)
    assert session.auth_key is not None
    assert session.auth_key.key == OTHER
    session.close()


def test_a_file_that_is_replaced_after_a_write_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one that comes between a write and the look at what was written."""
    path, new = telethons(tmp_path / "a.session"), telethons(tmp_path / "new.session", OTHER)
    session = HoldfastSession(path)
    write = files.write

    def written(*arguments: object) -> bool:
        done = write(*arguments)  # type: ignore[arg-type]  # passed on
        new.rename(path)
        return done

    monkeypatch.setattr(files, "write", written)
    session.process_entities([user(1)])
    until(lambda: not new.exists())
    monkeypatch.undo()
    session.close()
    assert not session.agrees_with_file()


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What memory has is what the file has that is there at the end."""
    path, new = telethons(tmp_path / "a.session"), telethons(tmp_path / "new.session", OTHER)
    load = SessionLoader._load

    def loaded(loader: SessionLoader, writable: bool) -> object:
        found = load(loader, writable)
        if new.exists():
            new.rename(path)
        return found

    monkeypatch.setattr(SessionLoader, "_load", loaded)
    session = HoldfastSession(path)
    assert session.auth_key is not None
    assert session.auth_key.key == OTHER
    assert session.agrees_with_file()
    session.close()


def test_a_file_that_stays_as_it_is_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No second look is needed where nothing has changed."""
    path = telethons(tmp_path / "a.session")
    HoldfastSession(path).close()
    read: list[Path] = []
    load = SessionLoader._load

    def loaded(loader: SessionLoader, writable: bool) -> object:
        read.append(loader.path)
        return load(loader, writable)

    monkeypatch.setattr(SessionLoader, "_load", loaded)
    session = HoldfastSession(path)
    assert session.auth_key is not None
    assert session.auth_key.key == KEY
    assert session.agrees_with_file()
    session.close()
    assert read == [path]
