"""A session that can only be read is used: what changes stays in memory, and is said."""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from adapters.session.inspect import inspect
from adapters.sqlite.connect import open_database
from tests.adapters.session.support import KEY, QUICK, RecordingSession, change, rows, telethons, until, user


@contextmanager
def mounted(directory: Path, *, where: Path) -> Iterator[None]:
    """Mount a directory read-only; skip the test where this user may not."""
    for command in (["mount", "--bind", directory, where], ["mount", "-o", "remount,ro,bind", where]):
        if subprocess.run(command, check=False, capture_output=True).returncode:
            subprocess.run(["umount", where], check=False, capture_output=True)
            pytest.skip("this user cannot mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", where], check=True)


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path]:
    """Return a directory for files, and the one where it is mounted read-only."""
    (tmp_path / "files").mkdir()
    (tmp_path / "mounted").mkdir()
    return tmp_path / "files", tmp_path / "mounted"


@pytest.mark.parametrize("kind", ["plain", "wal", "a full log", "older"])
def test_a_session_on_a_read_only_mount_is_used(place: tuple[Path, Path], kind: str) -> None:
    """The login is read, also from a log; what changes is known at once, reported, and not a byte is written."""
    files, mount = place
    path = telethons(files / "a.session", entities=3)
    if kind == "older":
        change(path, "update version set version = 7", "alter table sessions drop column tmp_auth_key")
    elif kind != "plain":
        change(path, "pragma journal_mode = wal")
    with closing(open_database(path)) if kind == "a full log" else contextmanager(lambda: (yield))() as keeping:
        if keeping is not None:
            keeping.execute("update entities set username = 'in_the_log' where id = 1")
        with mounted(files, where=mount):
            session = RecordingSession(mount / "a.session", timeouts=QUICK, create=False)
            assert session.auth_key.key == KEY
            if kind == "a full log":
                assert session.get_entity_rows_by_username("in_the_log") is not None
            session.process_entities([user(9)])
            assert session.get_entity_rows_by_id(9) is not None
            until(lambda: session.told)
            assert "read-only" in session.told[0].detail
            assert "in memory alone; make the file" in session.told[0].detail
            with session._live._using:  # its writer may be at work on the connection that this closes
                session._live._abandon([])
            assert inspect(mount / "a.session").key is True
    assert 9 not in rows(path)
    assert not (files / "a.session.lock").exists()


def test_a_mount_that_becomes_writable_gets_what_was_kept(place: tuple[Path, Path]) -> None:
    """Nothing that changed meanwhile is lost, if the place can be written before the process ends."""
    files, mount = place
    telethons(files / "a.session")
    with mounted(files, where=mount):
        session = RecordingSession(mount / "a.session", timeouts=QUICK, create=False)
        session.process_entities([user(9)])
        until(lambda: session.told)
        subprocess.run(["mount", "-o", "remount,rw,bind", mount], check=True)
        until(lambda: 9 in rows(files / "a.session"))
        session.close()
