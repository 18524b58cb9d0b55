"""Backups: whole, private, rotated, and never at the expense of a good one."""

import os
import shutil
import sqlite3
import stat
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telethon.sessions import SQLiteSession

from adapters.session import HoldfastSession, SessionDamaged, SessionError
from adapters.session.backup import back_up, backups_of, last_good, put_in_place, safe_name, set_aside
from tests.adapters.session.support import KEY, change, killed, program, rows, stored_bytes, telethons, user
from tests.adapters.session.test_trouble import damage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a session file of Telethon's, with an entity in it."""
    return telethons(tmp_path / "account1.session", entities=3)


def test_a_backup_is_a_single_private_file_that_telethon_opens(path: Path) -> None:
    """Login and entities are in it, it is its owner's alone, and so is its directory."""
    copy = back_up(path, path.parent / "backups")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    assert rows(copy, "pragma journal_mode") == ["delete"]
    opened = SQLiteSession(str(copy))
    assert (opened.auth_key.key, opened.get_entity_rows_by_id(3)) == (KEY, (3, 21))
    opened.close()
    assert [entry.name for entry in copy.parent.iterdir()] == [copy.name]


def test_a_backup_has_what_is_still_in_the_log_of_a_file_in_use(path: Path) -> None:
    """The engine need not stop: what was written a moment ago is in the copy."""
    session = HoldfastSession(path)
    session.process_entities([user(9)])
    session.flush().wait()
    assert path.with_name("account1.session-wal").stat().st_size > 0
    copy = back_up(path, path.parent / "backups")
    assert rows(copy) == [1, 2, 3, 9]
    assert rows(copy, "pragma journal_mode") == ["delete"]
    session.close()


WRITES = """
import sys
from adapters.session import HoldfastSession
from telethon.tl.types import User
session = HoldfastSession(sys.argv[1])
number = 100
while True:
    number += 1
    session.process_entities([User(id=number, access_hash=1, first_name="A")])
    session.flush().wait()
    print(number, flush=True)
"""


def test_a_backup_while_another_process_writes_is_whole(path: Path) -> None:
    """Whatever the moment, the copy is intact and has all that was durable before it."""
    with program(WRITES, path) as other:
        for _ in range(5):
            last = int(other.say())
            copy = back_up(path, path.parent / "backups")
            assert rows(copy, "pragma integrity_check") == ["ok"]
            assert last in rows(copy)


@pytest.mark.parametrize("source", ["damaged", "without a login", "empty", "missing"])
def test_what_is_not_worth_a_backup_takes_no_good_ones_place(path: Path, source: str) -> None:
    """A bad source is refused in a sentence, and the backups are what they were."""
    directory = path.parent / "backups"
    good = [back_up(path, directory, keep=1)]
    path.unlink()
    match source:
        case "damaged":
            damage(telethons(path, entities=500))
        case "without a login":
            telethons(path, key=None)
        case "empty":
            path.touch()
    with pytest.raises(SessionError, match=r"account1\.session: "):
        back_up(path, directory, keep=1)
    assert [copy.path for copy in backups_of(directory, "account1")] == good
    assert [entry for entry in directory.iterdir() if entry not in good] == []


@settings(max_examples=20)
@given(steps=st.lists(st.sampled_from(["good", "damaged", "empty"]), max_size=8), keep=st.integers(1, 3))
def test_rotation_keeps_the_newest_and_always_a_good_one(steps: list[str], keep: int) -> None:
    """After any history there are at most ``keep``, all good, and one if there ever was a good source."""
    with tempfile.TemporaryDirectory() as name:
        path, directory = Path(name, "account1.session"), Path(name, "backups")
        made = []
        for number, step in enumerate(steps):
            path.unlink(missing_ok=True)
            if step == "empty":
                path.touch()
            else:
                telethons(path, bytes([number]) * 256, entities=200)
            if step == "damaged":
                damage(path)
            try:
                made.append(back_up(path, directory, keep=keep))
            except SessionError:
                continue
        found = backups_of(directory, "account1")
        assert [copy.path for copy in found] == made[::-1][:keep]
        assert all(copy.good for copy in found)


def test_accounts_do_not_share_backups(path: Path) -> None:
    """Whatever their names, the backups of two accounts are told apart, and no name leaves the directory."""
    directory, names = path.parent / "backups", ["A", "A-20260101T000000Z", "../A", "Ä/B", "a b", "!22", "™", "😀" * 64]
    for name in names:
        back_up(path, directory, name=name)
    assert [len(backups_of(directory, name)) for name in names] == [1] * len(names)
    assert len({safe_name(name) for name in names}) == len(names)
    assert len(list(directory.iterdir())) == len(names)


def test_content_is_put_in_place_under_a_program_that_has_the_file_open(path: Path) -> None:
    """A reader of the present content sees the new one afterwards, and no lock or log does any harm."""
    source = telethons(path.parent / "new.session", b"n" * 256)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("pragma journal_mode = wal")
        reader.execute("update sessions set dc_id = 4")
        reader.commit()
        put_in_place(source, path)
        assert reader.execute("select auth_key from sessions").fetchone() == (b"n" * 256,)
    assert rows(path, "pragma integrity_check") == ["ok"]


def test_a_missing_file_is_made_and_a_damaged_one_set_aside(path: Path) -> None:
    """Where nothing good is, the source becomes the file; what was damaged is beside it, byte by byte."""
    source = telethons(path.parent / "new.session", b"n" * 256)
    path.write_bytes(b"junk" * 1000)
    put_in_place(source, path)
    assert rows(path, "select auth_key from sessions") == [b"n" * 256]
    (aside,) = path.parent.glob("account1.session.damaged-*")
    assert aside.read_bytes() == b"junk" * 1000
    path.unlink()
    put_in_place(source, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_bad_source_changes_nothing(path: Path) -> None:
    """What is no good is not put anywhere."""
    before = path.read_bytes()
    bad = path.parent / "bad.session"
    bad.write_bytes(b"junk" * 1000)
    with pytest.raises(SessionDamaged, match="choose another one"):
        put_in_place(bad, path)
    assert path.read_bytes() == before


def test_setting_aside_never_overwrites(path: Path) -> None:
    """Two damaged files of one second are both kept, with what belongs to them."""
    kept = []
    for number in range(3):
        path.write_bytes(bytes([number]))
        path.with_name("account1.session-wal").write_bytes(b"log")
        kept.append(set_aside(path))
    assert [one.read_bytes() for one in kept] == [b"\0", b"\1", b"\2"]
    assert all(one.with_name(f"{one.name}-wal").exists() for one in kept)


def test_the_last_good_one_is_found_behind_a_bad_one(path: Path) -> None:
    """A backup that was damaged afterwards is passed over."""
    directory = path.parent / "backups"
    good = back_up(path, directory)
    bad = directory / good.name.replace("-2", "-9", 1)
    shutil.copy(good, bad)
    damage(bad)
    found = last_good(directory, "account1")
    assert found is not None
    assert found.path == good


def test_what_has_not_changed_needs_no_other_backup(path: Path) -> None:
    """A backup a minute keeps what there was before; the one that still holds says when that was last seen."""
    directory = path.parent / "backups"
    first = back_up(path, directory)
    change(path, "update sessions set dc_id = 4")
    second = back_up(path, directory)
    os.utime(second, (0, 0))
    assert [back_up(path, directory, keep=2) for _ in range(5)] == [second] * 5
    assert [copy.path for copy in backups_of(directory, "account1")] == [second, first]
    newest = backups_of(directory, "account1")[0]
    assert (datetime.now(UTC) - newest.confirmed_at).total_seconds() < 60


def test_a_clock_that_was_set_back_makes_no_backup_an_old_one(path: Path) -> None:
    """The one that was made last is the newest, and never the one that goes."""
    directory = path.parent / "backups"
    earlier = back_up(path, directory)
    earlier = earlier.rename(directory / "account1-20990101T000000Z.session")
    change(path, "update sessions set dc_id = 4")
    latest = back_up(path, directory, keep=2)
    assert [copy.path for copy in backups_of(directory, "account1")] == [latest, earlier]


BACKS_UP = """
import sqlite3, sys
from pathlib import Path
from adapters.session.backup import back_up
path = Path(sys.argv[1])
for number in range(8):
    database = sqlite3.connect(path, timeout=30)
    database.execute("insert or replace into entities values (?, 0, '', '', '', 0)", (int(sys.argv[2]) + number,))
    database.commit()
    database.close()
    back_up(path, path.parent / "backups", keep=1000)
print("done", flush=True)
"""


def test_two_programs_may_back_up_the_same_session_at_once(path: Path) -> None:
    """Neither hurts the other's copy, takes its name, or leaves anything behind."""
    with program(BACKS_UP, path, 1000) as one, program(BACKS_UP, path, 2000) as other:
        assert (one.say(), other.say()) == ("done", "done")
    directory = path.parent / "backups"
    copies = backups_of(directory, "account1")
    assert len(copies) >= 8
    assert all(copy.good for copy in copies)
    assert len(list(directory.iterdir())) == len(copies)


def test_what_a_dead_program_left_unfinished_goes(path: Path) -> None:
    """An old unfinished copy is removed by the next backup; a fresh one may be another program's."""
    directory = path.parent / "backups"
    directory.mkdir()
    old, new = directory / ".account1-old.unfinished", directory / ".account1-new.unfinished"
    for left in (old, new):
        left.touch()
    os.utime(old, (0, 0))
    back_up(path, directory)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_file_whose_writer_was_killed_is_backed_up_and_replaced(path: Path) -> None:
    """Half a transaction is in no backup, and none comes over what is put in place."""
    source = telethons(path.parent / "new.session", b"n" * 256)
    assert rows(back_up(killed(path, "delete"), path.parent / "backups")) == [1, 2, 3]
    put_in_place(source, killed(path, "delete"))
    assert rows(path, "select auth_key from sessions") == [b"n" * 256]
    assert rows(path, "pragma integrity_check") == ["ok"]


def test_pages_of_another_size_fit_in(path: Path) -> None:
    """An SQLite of before 2016 made smaller pages, which cannot be changed under a write-ahead log."""
    source = telethons(path.parent / "new.session", b"n" * 256)
    change(source, "pragma page_size = 1024", "vacuum")
    change(path, "pragma journal_mode = wal")
    put_in_place(source, path)
    assert rows(path, "select auth_key from sessions") == [b"n" * 256]
    assert rows(path, "pragma journal_mode") == ["wal"]


@pytest.mark.parametrize("there", ["database", "pyrogram", "newer", "junk", "empty"])
def test_what_is_not_a_session_is_never_overwritten(path: Path, there: str) -> None:
    """Another program's database at that place, or a newer Telethon's session, is set aside byte by byte."""
    source = telethons(path.parent / "new.session", b"n" * 256)
    match there:
        case "newer":
            change(path, "update version set version = 99")
        case "junk" | "empty":
            path.write_bytes(b"junk" * 1000 if there == "junk" else b"")
        case _:
            path.unlink()
            tables = ["sessions", "peers", "version"] if there == "pyrogram" else ["precious"]
            change(path, *(f"create table {table} (number)" for table in tables))
    before = path.read_bytes()
    aside = put_in_place(source, path)
    assert aside is not None
    assert aside.read_bytes() == before
    assert rows(path, "select auth_key from sessions") == [b"n" * 256]


def test_a_bad_source_of_a_backup_is_not_touched(path: Path) -> None:
    """Whatever is refused stays as it was, with what belongs to it."""
    directory = path.parent / "backups"
    for bad in (b"", b"junk" * 1000):
        path.write_bytes(bad)
        before = stored_bytes(path)
        with pytest.raises(SessionError):
            back_up(path, directory)
        assert stored_bytes(path) == before
