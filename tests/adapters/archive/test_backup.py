"""An archive has everything, as it is at one moment, and is as private as the logins in it."""

import json
import sqlite3
import stat
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from adapters.archive import pack as packing
from adapters.archive.errors import ArchiveError, Unsettled
from adapters.archive.unpack import read_manifest
from adapters.sqlite.errors import DatabaseUnusable
from adapters.sqlite.schema import VERSION
from tests.adapters.archive.support import Home, entries
from tests.adapters.session.support import change, rows, telethons
from tests.adapters.session.test_trouble import damage


def test_it_has_everything(home: Home, archive: Path) -> None:
    """Config, sessions and journal are in it, in this order behind the manifest, which is true."""
    found = entries(archive)
    names = ["manifest.json", "config.yaml", "sessions/0001.session", "sessions/0002.session", "engine.db"]
    assert [entry.name for entry, _ in found] == names
    manifest = read_manifest(archive)
    assert [member.size for member in manifest.members] == [len(data) for _, data in found[1:]]
    assert [member.place for member in manifest.members] == [
        "",
        "sessions/account1.session",
        "sessions/account2.session",
        "data/engine.db",
    ]
    assert manifest.schema == VERSION
    assert json.loads(found[0][1])["members"][1]["account"] == "account1"
    assert home.left() == []


def test_it_is_private(home: Home, archive: Path) -> None:
    """Nobody else can read it, also if the umask lets them, nor the files that it unpacks to."""
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with tarfile.open(archive) as tar:
        assert {entry.mode for entry in tar.getmembers()} == {0o600}


def test_nothing_is_overwritten(home: Home, archive: Path) -> None:
    """A file that is there, or a link, stays; the sentence says what to do."""
    before = archive.read_bytes()
    with pytest.raises(ArchiveError, match="not overwritten; give another name"):
        home.pack(archive)
    assert archive.read_bytes() == before


def test_a_writer_in_the_middle_of_a_transaction_is_not_waited_for(home: Home, tmp_path: Path) -> None:
    """The copy has what was committed, whatever another program writes meanwhile, and has its log's rows."""
    with closing(sqlite3.connect(home.database, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("INSERT INTO names (name) VALUES ('committed')")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO names (name) VALUES ('not committed')")
        packed = home.pack(tmp_path / "a.tar.gz")
        writer.execute("COMMIT")
    copy = tmp_path / "copy.db"
    copy.write_bytes(next(data for entry, data in entries(packed.path) if entry.name == "engine.db"))
    assert rows(copy, "SELECT name FROM names") == ["committed"]


def test_rows_that_are_written_between_two_steps_do_not_begin_the_copy_again(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is copied as it was when the copy began, in as many steps as it takes."""
    from adapters.sqlite import copy

    with closing(sqlite3.connect(home.database, isolation_level=None)) as writer:
        writer.executemany("INSERT INTO names (name) VALUES (?)", [(f"{n:05}" * 50,) for n in range(500)])
        steps = 0

        class Counting(sqlite3.Connection):
            def backup(self, target: sqlite3.Connection, **options: object) -> None:  # type: ignore[override]
                def step(*_: object) -> None:
                    nonlocal steps
                    steps += 1
                    writer.execute("INSERT INTO names (name) VALUES (?)", (f"later {steps}",))

                super().backup(target, pages=4, progress=step)

        connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda *a, **o: connect(*a, **{"factory": Counting, **o}))
        copy.copy_database(home.database, tmp_path / "copy.db")
    assert 10 < steps < 200
    assert rows(tmp_path / "copy.db", "SELECT count(*) FROM names") == [500]


def test_a_login_that_changes_meanwhile_is_copied_again(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session in the archive has the login that its account had when the journal was copied."""
    copied = packing._copy_database
    logins = [b"N" * 256, b"M" * 256]

    def log_in(source: packing.Source, directory: Path) -> None:
        if logins and source.name == "engine.db":
            change(home.sessions[0], f"update sessions set auth_key = x'{logins.pop().hex()}'")
        copied(source, directory)

    monkeypatch.setattr(packing, "_copy_database", log_in)
    packed = home.pack(tmp_path / "a.tar.gz")
    copy = tmp_path / "copy.session"
    copy.write_bytes(next(data for entry, data in entries(packed.path) if entry.name == "sessions/0001.session"))
    assert rows(copy, "select auth_key from sessions") == [b"N" * 256]


def test_logins_that_never_settle_are_told(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After five rounds there is a sentence, and no archive."""
    copied, number = packing._copy_database, 0

    def log_in(source: packing.Source, directory: Path) -> None:
        nonlocal number
        number += 1
        change(home.sessions[0], f"update sessions set auth_key = x'{number:02x}'")
        copied(source, directory)

    monkeypatch.setattr(packing, "_copy_database", log_in)
    with pytest.raises(Unsettled, match="try again when nobody logs in"):
        home.pack(tmp_path / "a.tar.gz")
    assert not list(tmp_path.glob("*.tar.gz"))


def test_what_a_session_learns_meanwhile_is_not_waited_for(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only another login is copied again: a session that is a moment older than the journal loses nothing."""
    copied, count = packing._copy_database, 0

    def learn(source: packing.Source, directory: Path) -> None:
        nonlocal count
        count += 1
        change(home.sessions[0], f"update sessions set port = {count}")
        copied(source, directory)

    monkeypatch.setattr(packing, "_copy_database", learn)
    home.pack(tmp_path / "a.tar.gz")
    assert count == 1


@pytest.mark.parametrize(
    ("spoil", "why", "expected"),
    [
        (lambda path: path.unlink(), "no such file yet", True),
        (lambda path: (path.unlink(), telethons(path, key=None)), "no login", True),
        (damage, "damaged", False),
        (lambda path: path.write_bytes(b""), "empty", False),
        (lambda path: path.write_text("hello" * 500), "text", False),
    ],
    ids=["missing", "no login", "damaged", "empty", "a text"],
)
def test_a_session_that_cannot_be_used_is_left_out(
    home: Home, tmp_path: Path, spoil: object, why: str, expected: bool
) -> None:
    """The others are in the archive, and its manifest says which one is not, and whether that is as it should be."""
    spoil(home.sessions[0])  # type: ignore[operator]
    [left] = home.pack(tmp_path / "a.tar.gz").manifest.left_out
    assert (left.account, left.expected) == ("account1", expected)
    assert why in left.why
    assert [entry.name for entry, _ in entries(tmp_path / "a.tar.gz")][2:] == ["sessions/0002.session", "engine.db"]


def test_a_damaged_journal_is_told(home: Home, tmp_path: Path) -> None:
    """There is no archive without the journal: an earlier one is better."""
    size = home.database.stat().st_size
    with home.database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises((ArchiveError, DatabaseUnusable), match="damaged"):
        home.pack(tmp_path / "a.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_an_engine_that_never_ran_has_no_journal(home: Home, tmp_path: Path) -> None:
    """The archive has the rest, and says so."""
    home.database.unlink()
    assert home.pack(tmp_path / "a.tar.gz").manifest.schema is None
    assert read_manifest(tmp_path / "a.tar.gz").schema is None
