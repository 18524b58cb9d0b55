"""A restore puts everything back, keeps what was there, and can be killed and given again."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from adapters.archive.errors import ArchiveError, ArchiveTooNew, BadArchive, DataInUse, RestoreUnfinished
from adapters.archive.marker import NAME, check_mark
from adapters.session import HoldfastSession, OwnerLock, SessionHeld
from adapters.sqlite.schema import VERSION
from adapters.system import EngineLock, LockHeld
from tests.adapters.archive.support import Home, with_file, with_manifest
from tests.adapters.session.support import HOLDS, change, program, rows
from tests.adapters.session.test_killed_midway import killed_at


def asides(home: Home) -> list[str]:
    """Return what was kept, by the names that it had."""
    return sorted(path.name.partition(".aside-")[0] for path in home.path.rglob("*.aside-*"))


def test_everything_is_as_it_was(home: Home, archive: Path) -> None:
    """Config, sessions and journal have their content again, and what was there meanwhile is kept beside them."""
    home.add_job("second")
    home.config.write_text("something else")
    change(home.sessions[0], "update sessions set port = 1")
    done = home.restore(archive)
    assert home.jobs() == ["first"]
    assert "no test reads" in home.config.read_text()
    assert rows(home.sessions[0], "select port from sessions") == [443]
    assert asides(home) == ["account1.session", "account2.session", "config.yaml", "engine.db"]
    assert done.same == ()
    assert done.waiting_jobs == 1
    [aside] = [each.aside for each in done.placed if each.target.path == home.database]
    assert aside is not None
    assert rows(aside, "SELECT count(*) FROM jobs") == [2]
    assert home.left() == []


def test_a_machine_on_which_nothing_is(archive: Path, tmp_path: Path) -> None:
    """All files are made, for this user alone, where the config's own place is now."""
    there = Home(tmp_path / "elsewhere" / "deep")
    there.restore(archive)
    assert there.jobs() == ["first"]
    assert asides(there) == []
    for path in (there.config, there.database, *there.sessions):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(there.database.parent.stat().st_mode) == 0o700
    session = HoldfastSession(str(there.sessions[1]))
    assert session.auth_key is not None
    session.close()


def test_a_session_keeps_its_journal_mode(home: Home, tmp_path: Path) -> None:
    """One with a write-ahead log has it again, with nothing beside the file, and one without has none."""
    logged, plain = home.sessions
    with closing(sqlite3.connect(logged)) as database:
        database.execute("PRAGMA journal_mode = WAL")
    archive = home.pack(tmp_path / "other.tar.gz").path
    for session in home.sessions:
        session.unlink()
    home.restore(archive)
    assert [path.read_bytes()[18:20] for path in (logged, plain)] == [b"\2\2", b"\1\1"]
    assert [path.name for path in logged.parent.iterdir() if path.name.endswith(("-wal", "-shm", "-journal"))] == []


def test_it_can_be_given_again(home: Home, archive: Path) -> None:
    """The second time nothing is left to do, and nothing is set aside."""
    home.add_job("second")
    home.restore(archive)
    kept = asides(home)
    again = home.restore(archive)
    assert again.placed == ()
    assert asides(home) == kept


def test_the_log_beside_the_journal_does_not_spoil_the_new_one(home: Home, archive: Path) -> None:
    """What a killed engine has left in its log goes with the old file, and is in neither place lost."""
    code = "import sqlite3, os, sys; d = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    code += "d.execute(\"INSERT INTO names (name) VALUES ('in the log')\"); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, home.database], check=True)
    assert home.database.with_name("engine.db-wal").stat().st_size
    done = home.restore(archive)
    [aside] = [each.aside for each in done.placed if each.target.path == home.database]
    assert aside is not None
    assert rows(aside, "SELECT name FROM names") == ["in the log"]
    assert rows(home.database, "SELECT name FROM names") == []


def test_a_damaged_journal_is_set_aside(home: Home, archive: Path) -> None:
    """A restore is for the time when what is there cannot be read: it goes, with its log, under another name."""
    home.database.write_bytes(b"no database" * 1000)
    home.database.with_name("engine.db-wal").write_bytes(b"what was in its log")
    home.restore(archive)
    assert home.jobs() == ["first"]
    kept = {path.name[-4:]: path.read_bytes() for path in home.database.parent.glob("engine.db.aside-*")}
    assert kept.pop("-wal") == b"what was in its log"
    assert [content[:11] for content in kept.values()] == [b"no database"]


def test_an_engine_that_runs_is_in_the_way(home: Home, archive: Path) -> None:
    """Its lock is asked for, and nothing is replaced."""
    home.add_job("second")
    with EngineLock(home.database.with_name("engine.lock")).held(0.0), pytest.raises(LockHeld, match="stop it first"):
        home.restore(archive)
    assert home.jobs() == ["first", "second"]


def test_the_lock_of_the_present_config_is_asked_for_too(home: Home, archive: Path, tmp_path: Path) -> None:
    """The config that is there may have its data elsewhere than the archive's."""
    lock = tmp_path / "other" / "engine.lock"
    lock.parent.mkdir()
    with EngineLock(lock).held(0.0), pytest.raises(LockHeld):
        home.restore(archive, locks=[lock])


def test_a_session_in_use_is_in_the_way(home: Home, archive: Path) -> None:
    """A script that has one of the sessions is named."""
    with program(HOLDS, home.sessions[1]) as script:
        assert script.say() == "held"
        with pytest.raises(SessionHeld, match=f"process {script.process.pid}"):
            home.restore(archive)
    lock = OwnerLock(home.sessions[0])  # those that were taken before are free again
    lock.acquire()
    lock.release()


OPENS = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("select count(*) from sqlite_master").fetchone()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("which", ["engine.db", "account1.session"])
def test_a_program_that_has_a_file_open_is_in_the_way(home: Home, archive: Path, which: str) -> None:
    """It would write into a file that nobody reads any more; the sentence names it."""
    path = home.database if which == "engine.db" else home.sessions[0]
    with program(OPENS, path) as other:
        assert other.say() == "open"
        with pytest.raises(DataInUse, match=f"{which}: process {other.process.pid} has this file open"):
            home.restore(archive)
    assert asides(home) == []


def test_a_newer_archive_is_refused(home: Home, archive: Path) -> None:
    """So is one whose journal is newer, whatever its manifest says of it."""
    with_manifest(archive, lambda said: said.update(schema=VERSION + 1))
    with pytest.raises(ArchiveTooNew, match=f"has schema {VERSION + 1}.*knows {VERSION}.*a newer one"):
        home.restore(archive)
    with_manifest(archive, lambda said: said.update(format=2))
    with pytest.raises(ArchiveTooNew, match="a newer Holdfast wrote this archive"):
        home.restore(archive)


def test_a_newer_journal_in_it_is_refused(home: Home, archive: Path, tmp_path: Path) -> None:
    """The file itself counts."""
    before = home.content()
    newer = tmp_path / "newer.db"
    newer.write_bytes(home.database.read_bytes())
    with closing(sqlite3.connect(newer)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(ArchiveTooNew, match=r"a newer Holdfast wrote the engine\.db in it"):
        home.restore(with_file(archive, "engine.db", newer.read_bytes()))
    assert home.content() == before


@pytest.mark.parametrize("bad", ["damaged", "a session", "a text"])
def test_a_journal_that_cannot_be_used_replaces_nothing(home: Home, archive: Path, bad: str) -> None:
    """Hashes that agree are not enough: SQLite's integrity check and the tables decide."""
    content = home.database.read_bytes()
    if bad == "damaged":
        content = content[:4096] + b"\xff" * (len(content) - 4096)
    elif bad == "a session":
        content = home.sessions[0].read_bytes()
    else:
        content = b"hello " * 1000
    home.add_job("second")
    with pytest.raises(BadArchive, match=r"engine\.db in it"):
        home.restore(with_file(archive, "engine.db", content))
    assert home.jobs() == ["first", "second"]
    assert asides(home) == []
    assert home.left() == []
    check_mark(home.database.parent)


def test_a_session_that_is_none_replaces_nothing(home: Home, archive: Path) -> None:
    """A database of another program is no session."""
    with pytest.raises(BadArchive, match=r"sessions/0001.session in it is no session"):
        home.restore(with_file(archive, "sessions/0001.session", home.database.read_bytes()))


def test_a_disk_without_room_is_told_before_anything_is_written(
    home: Home, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence has both figures."""
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(ArchiveError, match=r"need [\d,]+ bytes, and .* has 1,000 free; free some space"):
        home.restore(archive)
    assert home.left() == []


def test_no_hard_links_are_needed(home: Home, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems have none; what was there is kept all the same."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "no hard links here")

    home.add_job("second")
    monkeypatch.setattr(os, "link", refuse)
    home.restore(archive)
    assert home.jobs() == ["first"]
    assert asides(home) == ["account1.session", "account2.session", "engine.db"]


@pytest.mark.slow
def test_a_restore_that_is_killed_at_any_step(archive: Path, tmp_path: Path) -> None:
    """No file is half there or gone, what was there is kept, no engine starts, and the next restore completes it."""
    number, marked = 1, 0
    while True:
        number += 3  # a step counts twice, before and after it
        home = Home(tmp_path / f"home{number}").fill()
        home.add_job("second")
        home.config.write_text("something else")
        for session in home.sessions:
            change(session, "update sessions set port = 1")
        more = killed_at(number, lambda home=home: home.restore(archive))
        for session in home.sessions:
            assert rows(session, "select port from sessions") in ([1], [443]), number
        assert home.jobs() in (["first", "second"], ["first"]), number
        assert home.config.exists(), number
        replaced = home.jobs() == ["first"]
        mark = home.database.with_name(NAME)
        if mark.exists():
            marked += 1
            with pytest.raises(RestoreUnfinished, match=f"give 'restore' again, with {archive}"):
                check_mark(home.database.parent)
        else:  # nothing was replaced, or everything
            assert replaced == ("no test reads" in home.config.read_text()), number
        home.restore(archive)
        check_mark(home.database.parent)
        assert home.jobs() == ["first"], number
        assert "no test reads" in home.config.read_text()
        for session in home.sessions:
            assert rows(session, "select port from sessions") == [443]
        assert asides(home) == ["account1.session", "account2.session", "config.yaml", "engine.db"], number
        assert home.left() == [], number
        if not more:
            break
    assert number > 20
    assert marked > 5
