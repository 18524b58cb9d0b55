"""A session comes into a place where another one's log was left behind, and takes nothing of it."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.session import file as files
from adapters.session import transfer
from adapters.session.backup import put_in_place
from adapters.session.transfer import PortableLogin
from tests.timeouts import TIMEOUT

OLD, NEW = bytes(range(256)), bytes(reversed(range(256)))
_KILLED = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("pragma journal_mode = " + sys.argv[2])
database.execute("pragma cache_size = 2")
database.execute("begin immediate")
database.execute("update sessions set auth_key = ?", (bytes(range(256)),))
rows = ((i, i, "x" * 500) for i in range(1, 300))
database.executemany("insert into entities (id, hash, name) values (?, ?, ?)", rows)
if sys.argv[2] == "wal":
    database.execute("commit")
os._exit(0)
"""


def telethon_file(path: Path, key: bytes) -> None:
    """Write a session file with Telethon's own class."""
    session = SQLiteSession(str(path))
    session.set_dc(2, "149.154.167.51", 443)
    session.auth_key = AuthKey(key)
    session.save()
    session.close()


def write_and_kill(path: Path, mode: str) -> None:
    """Have a program write into a session, and end without closing it."""
    subprocess.run([sys.executable, "-c", _KILLED, str(path), mode], check=True, timeout=TIMEOUT)


def created(place: Path, source: Path) -> None:
    """Create a session without a login."""
    files.create(place)


def imported(place: Path, source: Path) -> None:
    """Make a session of a login from a string."""
    transfer.create_session(place, PortableLogin(2, NEW, "149.154.167.51", 443))


def restored(place: Path, source: Path) -> None:
    """Put a copy of another session there."""
    put_in_place(source, place)


@pytest.mark.parametrize(("arrive", "key"), [(created, b""), (imported, NEW), (restored, NEW)])
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_log_that_was_left_behind_is_not_the_new_file_s(
    tmp_path: Path, arrive: Callable[[Path, Path], None], key: bytes, mode: str
) -> None:
    """The new file has its own login and no row of the former one, whose log is kept to the byte."""
    place, source = tmp_path / "a.session", tmp_path / "new.session"
    telethon_file(source, NEW)
    telethon_file(place, bytes(255) + b"1")
    write_and_kill(place, mode)
    log = place.with_name("a.session-wal" if mode == "wal" else "a.session-journal")
    content = log.read_bytes()
    place.rename(tmp_path / "moved")
    arrive(place, source)
    with closing(sqlite3.connect(place)) as database:
        assert database.execute("select auth_key from sessions").fetchone()[0] == key
        assert database.execute("select count(*) from entities").fetchone()[0] == 0
        assert database.execute("pragma integrity_check").fetchone()[0] == "ok"
    assert log.with_name(f"{log.name}.left-1").read_bytes() == content


def test_an_import_that_was_killed_leaves_nothing_for_the_next(tmp_path: Path) -> None:
    """The unfinished file of a killed import and its log have no part in the next login."""
    unfinished = tmp_path / ".a.session.import"
    telethon_file(tmp_path / "x.session", OLD)
    write_and_kill(tmp_path / "x.session", "wal")
    for suffix in ("", "-wal"):
        os.rename(tmp_path / f"x.session{suffix}", f"{unfinished}{suffix}")
    imported(tmp_path / "a.session", unfinished)
    with closing(sqlite3.connect(tmp_path / "a.session")) as database:
        assert database.execute("select auth_key from sessions").fetchone()[0] == NEW
    assert not list(tmp_path.glob(".a.session*"))


def test_a_source_whose_writer_was_killed_is_read(tmp_path: Path) -> None:
    """Its unfinished transaction is undone, as every program does that opens it."""
    source = tmp_path / "theirs.session"
    with closing(sqlite3.connect(source)) as database:
        database.execute("create table sessions (dc_id, api_id, test_mode, auth_key blob, date, user_id, is_bot)")
        database.execute("create table entities (id, hash, name)")
        database.execute("insert into sessions values (2, 1, 0, ?, 0, 777, 0)", (NEW,))
        database.commit()
    write_and_kill(source, "delete")
    found = transfer.read(source)
    assert found is not None
    assert found.key == NEW
