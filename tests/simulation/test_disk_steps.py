"""A disk that stops at each step of what makes, upgrades, copies and replaces a file.

Nothing is lost, and it can be repeated; what was done is done, also when the power is cut in the next moment.
"""

import random
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import pytest
from attrs import frozen

from adapters.session import file as files
from adapters.session.backup import back_up, backups_of, plan_moves, put_in_place
from adapters.session.backup import move as move_backups
from adapters.session.errors import NotASession
from adapters.session.schema import schema_of
from adapters.session.transfer import PortableLogin, create_session, write_pyrogram, write_text
from adapters.sqlite import schema
from adapters.sqlite.connect import open_database
from adapters.sqlite.jobs import NewJob, add
from adapters.sqlite.renames import Rename, forget_files, pending_files, rename
from tests.adapters.session.test_killed_midway import write_session
from tests.simulation.disk import Disk

pytestmark = pytest.mark.skipif(bool(Disk.unavailable()), reason=Disk.unavailable())
KEY, NEWER = b"K" * 256, b"N" * 256
LOGIN = PortableLogin(2, NEWER, "127.0.0.1", 443, user_id=7)


@frozen
class Work:
    """Something that is stopped in its midst. ``check`` is told whether it was done."""

    prepare: Callable[[Path], object]
    act: Callable[[Path], object]
    check: Callable[[Path, bool], None]


def keys_in(path: Path) -> bytes:
    """Return the key of a session, which must be intact."""
    with closing(files.connect(path, mode="rw", timeout=1.0)) as database:
        assert database.execute("pragma integrity_check").fetchone()[0] == "ok"
        schema_of(database, path)
        return files.load_identity(database).key


def a(home: Path) -> Path:
    return home / "a.session"


def copy_of(home: Path) -> Path:
    (found,) = backups_of(home / "backups", "a")
    return found.path


def old_and_backup(home: Path) -> None:
    """Make a session, and a backup of a newer login."""
    write_session(home / "newer.session", NEWER)
    back_up(home / "newer.session", home / "backups", name="a")
    (home / "newer.session").unlink()
    write_session(a(home), KEY)


def damaged_and_backup(home: Path) -> None:
    """Make a damaged session, and a backup of it."""
    old_and_backup(home)
    a(home).write_bytes(b"spoilt" * 999)


def check_restored(home: Path, done: bool) -> None:
    """Either content, whole, or what was damaged: under its name or another one."""
    assert keys_in(copy_of(home)) == NEWER
    if done:
        assert keys_in(a(home)) == NEWER
    elif a(home).exists() and not a(home).read_bytes().startswith(b"spoilt"):
        assert keys_in(a(home)) in (KEY, NEWER)
    else:
        assert any(each.read_bytes().startswith(b"spoilt") for each in home.glob("a.session*"))


def check_backup(home: Path, done: bool) -> None:
    """The session is as it was; a backup that has a name is whole."""
    assert keys_in(a(home)) == KEY
    found = backups_of(home / "backups", "a")
    assert [keys_in(each.path) for each in found] == [KEY] * len(found)
    assert found or not done


def check_new(home: Path, done: bool) -> None:
    """The file is there as a whole, or not at all."""
    assert a(home).exists() or not done
    if a(home).exists():
        assert keys_in(a(home)) == NEWER


def check_text(home: Path, done: bool) -> None:
    """What was exported is there when the command is over."""
    if done:
        assert (home / "login.txt").read_text() == "text\n"


def check_pyrogram(home: Path, done: bool) -> None:
    """The file is there as a whole, or not at all."""
    path = home / "other.session"
    assert path.exists() or not done
    if path.exists():
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("select auth_key from sessions").fetchone() == (NEWER,)


def upgrade(home: Path) -> None:
    """Complete an older session as opening it does."""
    back_up(a(home), home / "backups")
    with closing(files.connect(a(home), mode="rw", timeout=1.0)) as database:
        files.upgrade(database, schema_of(database, a(home)).statements)


def migrate(home: Path) -> None:
    """Make or complete the engine's database."""
    with closing(open_database(home / "engine.db")) as database:
        schema.migrate(database, home / "engine.db")


def database_of(version: int) -> Callable[[Path], None]:
    """Return what makes a database as an older version has left it, with a name in it."""

    def prepare(home: Path) -> None:
        if version:
            with closing(open_database(home / "engine.db")) as database:
                for step in schema.MIGRATIONS[:version]:
                    for statement in step:
                        database.execute(statement)
                database.execute(f"pragma user_version = {version}")
                database.execute("insert into names (name) values ('one')")

    return prepare


def check_database(version: int) -> Callable[[Path, bool], None]:
    """Return what looks at a database that was made or completed."""

    def check(home: Path, done: bool) -> None:
        path = home / "engine.db"
        if not path.exists():
            assert not done
            assert not version
            return
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("pragma integrity_check").fetchone()[0] == "ok"
            found = schema.schema_version(database, path)
            assert found in ((schema.VERSION,) if done else (version, schema.VERSION))
            if version:
                assert database.execute("select name from names").fetchall() == [("one",)]

    return check


def named_files(home: Path) -> None:
    """Make a database with jobs, and backups, of two accounts."""
    migrate(home)
    for name, key in (("one", KEY), ("two", NEWER)):
        add(home / "engine.db", [NewJob(kind="k", data={"of": name}, account=name)])
        write_session(home / "any.session", key)
        back_up(home / "any.session", home / "backups", name=name)
        (home / "any.session").unlink()


def swap(home: Path) -> None:
    """Let two accounts swap their names, as a start of the engine does: rows first, then files."""
    path = home / "engine.db"
    with closing(sqlite3.connect(path)) as database:
        swapped = database.execute("select count(*) from renames").fetchone()[0]
    if not swapped:
        moves = plan_moves(home / "backups", {"one": "two", "two": "one"})
        rename(path, [Rename(former="one", name="two"), Rename(former="two", name="one")], moves, 1.0)
    if moves := pending_files(path):
        move_backups(home / "backups", moves)
        forget_files(path)


def check_swapped(home: Path, done: bool) -> None:
    """Rows and files have their old names or the new ones, and in the end all have the new ones."""
    with closing(sqlite3.connect(home / "engine.db")) as database:
        rows = dict(database.execute("select json_extract(data, '$.of'), account from jobs"))
    backups = {name: [keys_in(each.path) for each in backups_of(home / "backups", name)] for name in ("one", "two")}
    assert sorted([*backups["one"], *backups["two"]]) == [KEY, NEWER]
    assert rows in ({"one": "one", "two": "two"}, {"one": "two", "two": "one"})
    if done:
        assert rows == {"one": "two", "two": "one"}
        assert backups == {"one": [NEWER], "two": [KEY]}


WORKS = {
    "backup": Work(
        lambda home: write_session(a(home), KEY), lambda home: back_up(a(home), home / "backups"), check_backup
    ),
    "restore": Work(old_and_backup, lambda home: put_in_place(copy_of(home), a(home)), check_restored),
    "restore over damage": Work(damaged_and_backup, lambda home: put_in_place(copy_of(home), a(home)), check_restored),
    "upgrade": Work(lambda home: write_session(a(home), KEY), upgrade, check_backup),
    "import": Work(lambda home: None, lambda home: create_session(a(home), LOGIN), check_new),
    "export as text": Work(lambda home: None, lambda home: write_text(home / "login.txt", "text"), check_text),
    "export": Work(lambda home: None, lambda home: write_pyrogram(home / "other.session", LOGIN, 1), check_pyrogram),
    "make the journal": Work(database_of(0), migrate, check_database(0)),
    "migrate the journal": Work(database_of(2), migrate, check_database(2)),
    "swap names": Work(named_files, swap, check_swapped),
}


def stop(work: Work, home: Path, number: int, seed: int, *, power: bool) -> bool:
    """Do it, stopped at a step, and again; return whether there were so many steps."""
    home.mkdir()
    work.prepare(home)
    with Disk(home, random.Random(f"{number} {seed}")) as disk:
        disk.kill_at_write(number, lambda: None, power=power)
        try:
            work.act(home)
        except Exception:
            if not disk.is_frozen:
                raise
        disk.kill_at_write(0, lambda: None)
        stopped = disk.is_frozen
        if stopped:
            disk.restore()
            work.check(home, False)
            with suppress(FileExistsError, NotASession):  # it was there already, which the check looks at
                work.act(home)
        disk.power_cut()
        disk.restore()
        work.check(home, True)
        return stopped


def stop_at_steps(work: Work, directory: Path, steps: Iterable[int], power_cuts: int) -> int:
    """Stop it at these steps, as far as there are so many, each by a kill and by power cuts; return how many."""
    stops = 0
    for number in steps:
        before = stops
        for seed in range(power_cuts + 1):
            try:
                stops += stop(work, directory / f"{number}-{seed}", number, seed, power=seed > 0)
            except BaseException as exc:
                exc.add_note(f"step {number}, seed {seed}")
                raise
        if stops == before:
            break
    return stops


@pytest.mark.parametrize("name", WORKS)
def test_a_disk_that_stops_at_some_steps(tmp_path: Path, name: str) -> None:
    """Killed or without power at a write or a change of a name: nothing is lost, and the next try succeeds."""
    assert stop_at_steps(WORKS[name], tmp_path, (1, 5, 23), 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKS)
def test_a_disk_that_stops_at_every_third_step(tmp_path: Path, name: str) -> None:
    """The same until the work has no step left; all steps, with several power cuts each, take seven minutes."""
    assert stop_at_steps(WORKS[name], tmp_path, count(1, 3), 1)
