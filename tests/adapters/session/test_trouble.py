"""Files that cannot be written: locked, full, read-only, deleted, replaced, damaged. Nothing is lost, all is told."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import attrs
import pytest
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession
from telethon.tl.types import Channel, ChatPhotoEmpty, User

from adapters.session import SessionDamaged
from adapters.session import live as module
from adapters.session.backup import back_up, put_in_place
from adapters.session.contents import Contents
from states.events import DatabaseCorrupt, DatabaseLocked, DatabaseRecovered, DatabaseUnavailable
from tests.adapters.session.support import KEY, QUICK, RecordingSession, locked, program, rows, telethons, until, user
from tests.timeouts import TIMEOUT

NOBODY = 65534
"""The id of a user without rights."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a session file of Telethon's."""
    return telethons(tmp_path / "account1.session")


LOCKS = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("begin immediate")
print("locked", flush=True)
sys.stdin.readline()
database.execute("rollback")
print("free", flush=True)
sys.stdin.read()
"""


def test_a_file_that_another_process_has_locked_is_written_when_it_is_free(path: Path) -> None:
    """The lock is on record with how long and how much waits, then that it is over; every row is there, once."""
    session = RecordingSession(path, timeouts=QUICK)
    with program(LOCKS, path) as other:
        assert other.say() == "locked"
        for number in range(1, 6):
            session.process_entities([user(number)])
        until(lambda: len(session.told) >= 3)
        assert rows(path) == []
        assert other.process.stdin is not None
        other.process.stdin.write("\n")
        other.process.stdin.flush()
        assert other.say() == "free"
        until(lambda: session.names() == ["DatabaseLocked", "DatabaseRecovered"])
    assert rows(path) == [1, 2, 3, 4, 5]
    locks = [event for event in session.told if isinstance(event, DatabaseLocked)]
    assert [event.waited for event in locks] == sorted(event.waited for event in locks)
    assert locks[0].waited >= QUICK.report_after
    assert locks[-1].unsaved == 5
    (recovered,) = [event for event in session.told if isinstance(event, DatabaseRecovered)]
    assert recovered.waited >= locks[-1].waited
    assert recovered.written == 5
    session.close()


def test_a_file_that_was_read_at_first_gets_its_log_later(path: Path) -> None:
    """A reader keeps the write-ahead log from being turned on; the first visit after it turns it on."""
    session = RecordingSession(path, timeouts=QUICK)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("begin")
        reader.execute("select * from entities").fetchall()
        session.process_entities([user(1)])
        until(lambda: session.told)
    until(lambda: rows(path) == [1])
    assert rows(path, "pragma journal_mode") == ["wal"]
    session.close()


def test_the_loop_never_waits_for_a_lock(path: Path) -> None:
    """Whatever is asked of a session while its file is locked is answered from memory at once."""
    session = RecordingSession(path, timeouts=attrs.evolve(QUICK, busy=2 * TIMEOUT))
    with locked(path):
        session.process_entities([user(1)])
        until(lambda: session.told)
        began = time.monotonic()
        for number in range(2, 100):
            session.process_entities([user(number)])
            assert session.get_entity_rows_by_id(number) == (number, number * 7)
        assert time.monotonic() - began < TIMEOUT
    session.close()
    assert rows(path) == list(range(1, 100))


def test_a_passing_lock_is_not_worth_a_word(path: Path) -> None:
    """A lock that is over soon is not reported."""
    session = RecordingSession(path, timeouts=attrs.evolve(QUICK, report_after=TIMEOUT))
    with locked(path):
        session.process_entities([user(1)])
        time.sleep(0.1)
    until(lambda: rows(path) == [1])
    assert session.told == []
    session.close()


def test_one_locked_file_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """Two threads write ten files while three others are locked."""
    held = [telethons(tmp_path / f"held{number}.session") for number in range(3)]
    free = [telethons(tmp_path / f"free{number}.session") for number in range(10)]
    sessions = [RecordingSession(path, timeouts=QUICK) for path in (*held, *free)]
    with locked(held[0]), locked(held[1]), locked(held[2]):
        for session in sessions:
            session.process_entities([user(1)])
        until(lambda: all(rows(path) == [1] for path in free))
        assert all(rows(path) == [] for path in held)
    until(lambda: all(rows(path) == [1] for path in held))
    for session in sessions:
        session.close()


async def test_more_entities_wait_when_too_many_wait_already(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound an answer's entities hold its request up, until the file is written."""
    monkeypatch.setattr("adapters.session.holdfast_session.MAX_ROWS", 10)
    session = RecordingSession(path, timeouts=QUICK)
    with locked(path):
        assert session.process_entities([user(number) for number in range(1, 10)]) is None
        more = session.process_entities([user(10), user(11)])
        assert more is not None
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(more, 0.2)
        later = session.process_entities([user(12)])
    assert later is not None
    await later
    assert rows(path) == list(range(1, 13))
    assert session.process_entities([user(13)]) is None
    await session.close()


def test_rows_of_a_commit_under_way_count_as_unsaved() -> None:
    """Rows that a commit has taken count until it is through, so that an attempt at a locked file makes no room."""
    contents = Contents()
    contents.put_entities([(number, 7, None, None, None) for number in (1, 2)], now=1)
    taken, _ = contents.take()
    contents.put_entities([(3, 7, None, None, None)], now=1)
    assert contents.rows_unsaved == 3
    contents.give_back(taken)
    assert contents.rows_unsaved == 3
    contents.take()
    contents.confirm()
    assert contents.rows_unsaved == 0


async def test_a_lock_at_the_end_is_waited_for(path: Path) -> None:
    """Closing a locked file ends when the lock does, and everything is there."""
    session = RecordingSession(path, timeouts=QUICK)
    with locked(path):
        session.process_entities([user(1)])
        closing = session.close()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(module_future(closing)), 0.2)
    await session.close()
    assert rows(path) == [1]


def module_future(saved: object) -> "asyncio.Future[None]":
    """Return a future that can be given up without giving up the closing."""
    future = saved._future  # type: ignore[attr-defined]
    copy: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda _: copy.get_loop().call_soon_threadsafe(copy.cancel))
    return copy


# --- disks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of its own, of 512 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a disk")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


def test_a_full_disk_loses_nothing(disk: Path) -> None:
    """It is told at once, memory goes on, and when there is room again everything is written."""
    path = telethons(disk / "account1.session")
    session = RecordingSession(path, timeouts=QUICK)
    filler = disk / "filler"
    fill(filler)
    everybody = [user(number) for number in range(1, 2001)]
    session.process_entities(everybody)
    until(lambda: session.told)
    assert isinstance(session.told[0], DatabaseUnavailable)
    assert "SQLITE_FULL" in session.told[0].detail or "SQLITE_IOERR" in session.told[0].detail
    assert session.get_entity_rows_by_id(2000) == (2000, 14000)
    filler.unlink()
    until(lambda: session.names() == ["DatabaseUnavailable", "DatabaseRecovered"])
    assert rows(path) == list(range(1, 2001))
    session.close()
    assert rows(path, "pragma integrity_check") == ["ok"]


@pytest.fixture
def users_own() -> Iterator[Path]:
    """Return a directory of a user without rights elsewhere, and be that user for the length of the test."""
    place = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(place, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    yield place
    if root:
        os.seteuid(0)
    place.chmod(0o700)
    shutil.rmtree(place)


def test_a_directory_that_becomes_read_only_loses_nothing(users_own: Path) -> None:
    """It is told at once, memory goes on, and when it can be written again everything is."""
    path = telethons(users_own / "account1.session")
    session = RecordingSession(path, timeouts=QUICK)
    users_own.chmod(0o500)
    session.process_entities([user(1)])
    until(lambda: session.told)
    assert isinstance(session.told[0], DatabaseUnavailable)
    assert session.get_entity_rows_by_id(1) == (1, 7)
    users_own.chmod(0o700)
    until(lambda: session.names() == ["DatabaseUnavailable", "DatabaseRecovered"])
    assert rows(path) == [1]
    session.close()


def test_a_session_in_a_directory_that_cannot_be_written_is_used_and_told(users_own: Path) -> None:
    """Where no lock can be made the session is read all the same; what changes waits in memory, and that is said."""
    path = telethons(users_own / "account1.session")
    users_own.chmod(0o500)
    session = RecordingSession(path, timeouts=QUICK, create=False)
    session.process_entities([user(1)])
    until(lambda: session.told)
    assert "in memory alone; make the file and its directory writable" in session.told[0].detail
    users_own.chmod(0o700)
    until(lambda: session.names() == ["DatabaseUnavailable", "DatabaseRecovered"])
    session.close()
    assert rows(path) == [1]


# --- deleted, replaced, damaged --------------------------------------------------------------------------------------


def test_a_deleted_file_is_noticed_and_not_made_again(path: Path, tmp_path: Path) -> None:
    """A file that was deleted stays deleted; put back, it gets everything that it missed."""
    session = RecordingSession(path, timeouts=QUICK)
    kept = tmp_path / "kept"
    path.rename(kept)
    session.process_entities([user(1)])
    until(lambda: session.told)
    assert isinstance(session.told[0], DatabaseUnavailable)
    assert "deleted while it is in use" in session.told[0].detail
    assert not path.exists()
    kept.rename(path)
    until(lambda: session.names() == ["DatabaseUnavailable", "DatabaseRecovered"])
    assert rows(path) == [1]
    session.close()


def test_a_file_that_was_replaced_by_a_copy_gets_everything(path: Path, tmp_path: Path) -> None:
    """An older copy of the same login that was put there is updated."""
    copy = telethons(tmp_path / "copy.session")
    session = RecordingSession(path, timeouts=QUICK)
    session.process_entities([user(1)])
    until(lambda: rows(path) == [1])
    until(lambda: not path.with_name("account1.session-wal").exists())
    copy.replace(path)
    inode = path.stat().st_ino
    session.process_entities([user(2)])
    until(lambda: rows(path) == [1, 2])
    session.close()
    assert rows(path) == [1, 2]
    assert path.stat().st_ino == inode


def test_nothing_is_written_into_another_login(path: Path) -> None:
    """If the file was given another key, it keeps to itself what the old login knew, and says so."""
    session = RecordingSession(path, timeouts=QUICK)
    other = SQLiteSession(str(path))
    other.auth_key = AuthKey(b"n" * 256)
    other.close()
    session.process_entities([user(1)])
    until(lambda: session.told)
    assert "holds another login now" in session.told[0].detail  # type: ignore[attr-defined]
    assert rows(path) == []
    assert session._live is not None
    session._live.contents.take()  # or the end of the tests would wait for it


def damage(path: Path) -> None:
    """Overwrite the middle of a database."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 3)


def test_a_damaged_file_is_set_aside_and_the_backup_named(path: Path) -> None:
    """It is renamed, never deleted, with every byte as it was; the message names it and the last good backup."""
    good = back_up(path, path.parent / "backups")
    damage(path)
    before = path.read_bytes()
    with pytest.raises(
        SessionDamaged, match=r"was set aside as account1\.session\.damaged-.*last good backup is"
    ) as told:
        RecordingSession(path)
    assert str(good) in str(told.value)
    (aside,) = path.parent.glob("account1.session.damaged-*")
    assert aside.read_bytes() == before
    assert not path.exists()
    put_in_place(good, path)
    session = RecordingSession(path)
    assert session.auth_key.key == KEY
    session.close()


def test_a_file_that_is_damaged_while_it_is_in_use_is_set_aside(path: Path) -> None:
    """The account hears of it once, with where the file is now; the other files go on."""
    telethons(path, entities=3000)
    session = RecordingSession(path, timeouts=QUICK)
    damage(path)
    session.process_entities([user(number) for number in range(1, 3000, 50)])
    session.set_dc(3, "127.0.0.1", 443)
    until(lambda: session.told)
    assert [type(event) for event in session.told] == [DatabaseCorrupt]
    assert "there is no backup" in session.told[0].detail  # type: ignore[attr-defined]
    assert len(list(path.parent.glob("account1.session.damaged-*Z"))) == 1
    assert not path.exists()


def test_the_bound_is_what_the_session_uses() -> None:
    """The number that the tests lower is the one of the writer."""
    assert module.MAX_ROWS == 10_000


@pytest.mark.parametrize(
    "odd", [Channel(2**63 - 1, "C", ChatPhotoEmpty(), None, access_hash=1), User(5, access_hash=2**70)]
)
def test_a_number_without_room_keeps_nothing_from_being_written(path: Path, odd: Channel | User) -> None:
    """A channel's marked id, or a hash, that SQLite cannot store is left out, and the others are in the file."""
    session = RecordingSession(path, timeouts=QUICK)
    session.process_entities([odd, user(1)])
    session.close().wait()
    assert rows(path) == [1]
    assert session.told == []
