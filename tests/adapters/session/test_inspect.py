"""Looks into session files: what each one is, and that none is changed by a look."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.session.inspect import Inspection, enable_wal, inspect, is_shared
from tests.adapters.session.support import HOLDS, KEY, change, killed, locked, program, rows, stored_bytes, telethons
from tests.adapters.session.test_trouble import damage


def healthy(path: Path) -> None:
    """Make a file as Telethon leaves it."""
    telethons(path, entities=3)


def with_log(path: Path) -> None:
    """Make one with a write-ahead log."""
    change(telethons(path), "pragma journal_mode = wal")


def of_schema(number: int) -> Callable[[Path], None]:
    """Return what makes a file of an older or newer Telethon."""
    return lambda path: (change(telethons(path), f"update version set version = {number}"), None)[1]


def tables(*names: str) -> Callable[[Path], None]:
    """Return what makes another program's database."""
    return lambda path: (change(path, *(f"create table {name} (number)" for name in names)), None)[1]


FILES: dict[str, tuple[Callable[[Path], object], Callable[[Inspection], bool]]] = {
    "healthy": (healthy, lambda found: (found.intact, found.key, found.journal) == (True, True, "delete")),
    "with a log": (with_log, lambda found: found.journal == "wal"),
    "killed, log": (lambda path: killed(telethons(path), "wal"), lambda found: found.key is True),
    "killed, journal": (
        lambda path: killed(telethons(path), "delete"),
        lambda found: (found.interrupted, found.intact, found.key, found.problem) == (True, True, True, ""),
    ),
    "older": (of_schema(7), lambda found: found.version == 7),
    "newer": (of_schema(99), lambda found: "a newer Telethon" in found.problem and not found.damaged),
    "no login": (lambda path: telethons(path, key=None), lambda found: (found.key, found.login) == (False, "")),
    "half a key": (
        lambda path: change(telethons(path), "update sessions set auth_key = x'00'"),
        lambda found: found.key is False,
    ),
    "pyrogram": (tables("sessions", "peers", "version"), lambda found: "Pyrogram" in found.problem),
    "other database": (tables("precious"), lambda found: "not a session of Telethon" in found.problem),
    "junk": (
        lambda path: path.write_bytes(b"junk" * 1000),
        lambda found: "neither a session" in found.problem,
    ),
    "empty": (lambda path: path.touch(), lambda found: "is empty" in found.problem),
    "damaged": (
        lambda path: damage(telethons(path, entities=500)),
        lambda found: found.damaged or found.intact is False,
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_look_says_what_a_file_is_and_changes_nothing(tmp_path: Path, kind: str) -> None:
    """Bytes, times and neighbours are as before: of the file, of its log and of what a killed program left."""
    make, is_told = FILES[kind]
    path = tmp_path / "account1.session"
    make(path)
    before = stored_bytes(path)
    found = inspect(path)
    assert is_told(found), found
    assert stored_bytes(path) == before
    assert str(KEY) not in repr(found)


def test_a_copy_has_the_same_login(tmp_path: Path) -> None:
    """Files of one login are told from files of two, without the key being shown."""
    logins = [
        inspect(telethons(tmp_path / f"{key!r}{n}.session", key * 256)).login for key in (b"a", b"b") for n in "12"
    ]
    assert logins[0] == logins[1] != logins[2] == logins[3]
    assert len(logins[0]) == 16


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_lock_of_another_program_is_noticed(tmp_path: Path, mode: str) -> None:
    """In either journal mode, and only while it is held."""
    path = change(telethons(tmp_path / "account1.session"), f"pragma journal_mode = {mode}")
    with locked(path):
        assert inspect(path).locked
    assert not inspect(path).locked


def test_the_owner_is_named(tmp_path: Path) -> None:
    """Its process is known from the lock file, and a lock of SQLite's is not taken for another program's."""
    path = telethons(tmp_path / "account1.session")
    with program(HOLDS, path) as other:
        assert other.say() == "held"
        found = inspect(path)
    assert found.owner is not None
    assert (found.owner.pid, found.locked) == (other.process.pid, False)


def test_a_log_is_turned_on(tmp_path: Path) -> None:
    """And that it is on is asked of the file."""
    path = telethons(tmp_path / "account1.session")
    assert enable_wal(path)
    assert rows(path, "pragma journal_mode") == ["wal"]


def test_a_shared_directory_is_recognised(tmp_path: Path) -> None:
    """/tmp, the root and a home are not closed to others; a directory of one's own is."""
    assert [is_shared(path) for path in (Path("/tmp"), Path("/"), Path.home())] == [True] * 3
    assert not is_shared(tmp_path)
