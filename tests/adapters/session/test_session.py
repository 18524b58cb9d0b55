"""A session of ours in Telethon's file: durable keys, write-behind, one owner."""

import asyncio
import gc
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.session import (
    HoldfastSession,
    NotASession,
    SessionHeld,
    SessionNotSaved,
    SessionReplaced,
    SessionTooNew,
    file,
    owner_of,
    writer,
)
from adapters.session import holdfast_session as module
from adapters.session.backup import backups_of
from adapters.session.owner import lock_path
from tests.adapters.session.support import (
    HOLDS,
    KEY,
    QUICK,
    RecordingSession,
    locked,
    program,
    rows,
    telethons,
    until,
    user,
)
from tests.timeouts import TIMEOUT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the session of a test is."""
    return tmp_path / "sessions" / "account1.session"


async def test_a_key_is_durable_when_save_returns(path: Path) -> None:
    """Another program reads the key as soon as ``await save()`` is over, with the session still open."""
    session = HoldfastSession(path)
    session.set_dc(2, "127.0.0.1", 443)
    session.auth_key = AuthKey(KEY)
    await session.save()
    found = rows(path, "select auth_key from sessions")
    await session.close()
    assert found == [KEY]


async def test_saving_waits_for_nothing_but_a_key(path: Path) -> None:
    """With the file locked, entities let ``save`` return at once, and a new key does not."""
    session = RecordingSession(telethons_in(path), timeouts=QUICK)
    with locked(path):
        session.process_entities([user(1)])
        await asyncio.wait_for(session.save(), TIMEOUT)
        session.auth_key = AuthKey(b"n" * 256)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.save(), 0.2)
    await session.save()
    assert rows(path, "select auth_key from sessions") == [b"n" * 256]
    await session.close()


async def test_saving_waits_for_a_key_that_is_just_being_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the writer has taken and not yet written is not durable, and a bug of the writer loses none."""
    session = RecordingSession(telethons_in(path), timeouts=QUICK)
    begun, go_on, write = threading.Event(), threading.Event(), file.write

    def write_slowly(*args: Any) -> bool:
        begun.set()
        assert go_on.wait(TIMEOUT)
        monkeypatch.setattr(file, "write", write)
        raise ZeroDivisionError

    monkeypatch.setattr(file, "write", write_slowly)
    monkeypatch.setattr(writer, "BUG_PAUSE_SECONDS", 0.01)
    session.auth_key = AuthKey(b"n" * 256)
    session.save()
    assert await asyncio.to_thread(begun.wait, TIMEOUT)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(session.save(), 0.1)
    go_on.set()
    await session.save()
    assert rows(path, "select auth_key from sessions") == [b"n" * 256]
    await session.close()


async def test_a_key_that_cannot_be_saved_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while ``save`` raises a sentence, so the key is never used."""
    monkeypatch.setattr(module, "SAVE_TIMEOUT", 0.1)
    session = RecordingSession(telethons_in(path), timeouts=QUICK)
    with locked(path):
        session.auth_key = AuthKey(b"n" * 256)
        with pytest.raises(SessionNotSaved, match=r"account1\.session.*see what holds the file"):
            await session.save()
    await session.close()


def telethons_in(path: Path) -> Path:
    """Make a file of Telethon's there, and its directory."""
    path.parent.mkdir(exist_ok=True)
    return telethons(path)


def test_what_is_remembered_reaches_the_file_by_itself(path: Path) -> None:
    """Entities are in the file a moment later without a ``save``, and no transaction stays open."""
    session = HoldfastSession(telethons_in(path), timeouts=QUICK)
    session.process_entities([user(1), user(2)])
    until(lambda: rows(path) == [1, 2])
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        other.execute("begin immediate")
        other.execute("rollback")
    session.close()


def test_closing_leaves_one_file_and_nothing_else(path: Path) -> None:
    """After ``close`` there is neither a log nor a lock, and everything is in the one file that can be copied."""
    session = HoldfastSession(path)
    session.auth_key = AuthKey(KEY)
    session.process_entities([user(1)])
    session.close()
    assert [entry.name for entry in path.parent.iterdir()] == ["account1.session"]
    assert rows(path) == [1]


def test_an_idle_session_keeps_no_descriptor_but_its_locks(path: Path) -> None:
    """A moment after the last write the file is closed, and whole, though the session is in use."""
    session = HoldfastSession(telethons_in(path), timeouts=QUICK)
    session.process_entities([user(1)])
    until(lambda: rows(path) == [1])
    until(lambda: not path.with_name("account1.session-wal").exists())
    until(lambda: sorted(descriptors(path)) == ["account1.session", "account1.session.lock"])
    session.close()


def descriptors(path: Path) -> list[str]:
    """Return which files beside the session this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(link.readlink())
    return [target.name for target in found if target.parent == path.parent]


def test_many_sessions_share_few_threads(tmp_path: Path) -> None:
    """A hundred sessions that write at once need two threads, and all of it is written."""
    before = set(threading.enumerate())  # writers of other tests have threads, too, which end after some seconds
    sessions = [HoldfastSession(tmp_path / f"account{number}", timeouts=QUICK) for number in range(100)]
    for session in sessions:
        session.process_entities([user(1)])
    until(lambda: all(rows(Path(session.filename)) == [1] for session in sessions))
    begun = set(threading.enumerate()) - before
    assert sum(thread.name.startswith("session writer") for thread in begun) <= 2
    for session in sessions:
        session.close()


def test_a_new_file_is_its_owners_alone(path: Path) -> None:
    """File and directory are made with private permissions, whatever the umask."""
    before = os.umask(0)
    try:
        session = HoldfastSession(path)
        session.auth_key = AuthKey(KEY)
        session.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


# --- one owner -------------------------------------------------------------------------------------------------------


def test_another_program_is_named(path: Path) -> None:
    """Opening a session that another program has fails at once, and the error says which process on which host."""
    with program(HOLDS, path) as other:
        assert other.say() == "held"
        owner = owner_of(path)
        assert owner is not None
        assert owner.pid == other.process.pid
        with pytest.raises(SessionHeld, match=rf"used by process {owner.pid} \(.*\) on {owner.host}, since 20"):
            HoldfastSession(path)


def test_a_dead_program_holds_nothing(path: Path) -> None:
    """After ``kill -9`` the lock file is still there, names a dead process, and is taken over."""
    with program(HOLDS, path) as other:
        assert other.say() == "held"
        other.process.kill()
        other.process.wait()
    assert lock_path(path).exists()
    assert owner_of(path) is None
    session = HoldfastSession(path)
    assert (owner_of(path) or pytest.fail("nobody holds it")).pid == os.getpid()
    session.close()
    assert not lock_path(path).exists()


def test_two_sessions_in_one_program_exclude_each_other(path: Path) -> None:
    """Telethon would let them lock each other out; here the second is told, and may have it after the first."""
    first = HoldfastSession(path)
    with pytest.raises(SessionHeld, match="in this very program already"):
        HoldfastSession(path)
    first.close()
    HoldfastSession(path).close()


def test_a_forgotten_session_holds_nothing(path: Path) -> None:
    """A session without references lets go of its file."""
    HoldfastSession(path)
    gc.collect()
    HoldfastSession(path).close()


def test_a_closed_session_is_opened_again_when_it_is_used(path: Path) -> None:
    """As with Telethon's, a client can connect again after it was disconnected."""
    session = HoldfastSession(path)
    session.close()
    session.auth_key = AuthKey(KEY)
    session.close()
    assert rows(path, "select auth_key from sessions") == [KEY]


def test_a_closed_session_does_not_overwrite_a_newer_login(path: Path) -> None:
    """If another program has logged in with the file meanwhile, its key stays, and the old session says so."""
    session = HoldfastSession(telethons_in(path))
    session.close()
    telethons(path, b"n" * 256)
    with pytest.raises(SessionReplaced, match="another login"):
        session.auth_key = AuthKey(b"o" * 256)
    assert rows(path, "select auth_key from sessions") == [b"n" * 256]


# --- bad input -------------------------------------------------------------------------------------------------------


def pyrograms(path: Path) -> None:
    """Make a session file as Pyrogram does."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "create table sessions (dc_id integer primary key, api_id integer, test_mode integer, auth_key blob,"
            " date integer not null, user_id integer, is_bot integer);"
            "create table peers (id integer primary key, access_hash integer, type integer not null, username text,"
            " phone_number text, last_update_on integer not null);"
            "create table version (number integer primary key); insert into version values (3);"
        )


def newer(path: Path) -> None:
    """Make a session file of a Telethon that does not exist yet."""
    telethons(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update version set version = 9")


def another(path: Path) -> None:
    """Make a database of something else."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table invoices (id integer)")


BAD = {
    "empty": (lambda path: path.touch(), NotASession, "the file is empty; restore a backup of it, or"),
    "no database": (
        lambda path: path.write_bytes(b"somebody's letter, and a long one " * 100),
        NotASession,
        "neither a session nor any other SQLite database",
    ),
    "short": (lambda path: path.write_bytes(b"x"), NotASession, "neither a session nor any other SQLite database"),
    "Pyrogram": (pyrograms, NotASession, "a session of Pyrogram, not of Telethon"),
    "newer": (newer, SessionTooNew, r"a newer Telethon wrote this session \(schema 9, known here is 8\)"),
    "another": (another, NotASession, "an SQLite database, but not a session of Telethon"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_a_session_is_refused_in_a_sentence_and_left_alone(path: Path, kind: str) -> None:
    """The message names the file and the mistake; not a byte of the file and nothing beside it has changed."""
    make, error, says = BAD[kind]
    path.parent.mkdir()
    make(path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    with pytest.raises(error, match=says) as caught:
        HoldfastSession(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("version", range(2, 8))
def test_an_older_file_is_upgraded_as_telethon_does_it_after_a_backup(path: Path, version: int) -> None:
    """Telethon opens the result, the login is kept, and the file as it was is in the backups."""
    telethons_in(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update version set version = ?", (version,))
        if version < 8:
            database.execute("alter table sessions drop column tmp_auth_key")
        if version < 7:
            database.execute("alter table entities drop column date")
        if version < 5:
            database.execute("alter table sessions drop column takeout_id")
        if version < 4:
            database.execute("drop table update_state")
    session = HoldfastSession(path)
    assert session.auth_key.key == KEY
    session.close()
    (backup,) = backups_of(path.parent / "backups", "account1")
    assert rows(backup.path, "select version from version") == [version]
    opened = SQLiteSession(str(path))
    assert opened.auth_key.key == KEY
    opened.close()


def test_the_end_of_a_program_writes_what_was_not_closed(path: Path) -> None:
    """A script that forgets to close its session loses nothing by ending."""
    code = f"""
from adapters.session import HoldfastSession
from telethon.tl.types import User
session = HoldfastSession({str(path)!r})
session.process_entities([User(id=1, access_hash=1, first_name="A")])
"""
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=root, timeout=TIMEOUT)
    assert rows(path) == [1]
