"""Killed at any step of a backup, a restore or a migration, a process loses nothing, and the next one goes on."""

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapters.session.backup import back_up, backups_of, put_in_place
from adapters.sqlite import schema

KEY, NEWER = b"K" * 256, b"N" * 256
STEPS = ("replace", "rename", "fsync", "link", "unlink", "chmod", "utime")


def killed_at(number: int, action: Callable[[], Any]) -> bool:
    """Do something in a process of its own, which kills itself at a step; return whether there were so many steps."""
    child = os.fork()
    if child == 0:
        try:
            _count(number)
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _count(number: int) -> None:
    left = number

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            step()
            result = function(*args, **options)
            step()
            return result

        return call

    class Connection(sqlite3.Connection):
        execute = counted(sqlite3.Connection.execute)
        backup = counted(sqlite3.Connection.backup)
        commit = counted(sqlite3.Connection.commit)

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **options: connect(*args, **{"factory": Connection, **options})  # type: ignore


def write_session(path: Path, key: bytes) -> None:
    """Write a session with a key."""
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(
            """create table version (version integer primary key);
            create table sessions (dc_id integer primary key, server_address text, port integer, auth_key blob,
                takeout_id integer);
            create table entities (id integer primary key, hash integer not null, username text, phone integer,
                name text, date integer);
            create table sent_files (md5_digest blob, file_size integer, type integer, id integer, hash integer,
                primary key (md5_digest, file_size, type));
            create table update_state (id integer primary key, pts integer, qts integer, date integer, seq integer);
            insert into version values (7)"""
        )
        database.execute("insert into sessions values (2, '127.0.0.1', 443, ?, null)", (key,))


def keys_below(directory: Path) -> set[bytes]:
    """Return the keys of all files that can be read as sessions."""
    found = set()
    for path in directory.rglob("*.session*"):
        if path.suffix[:8] in (".session", ".unfinis") and not path.name.endswith(("-wal", "-shm", "-journal")):
            try:
                with closing(sqlite3.connect(path)) as database:
                    found |= {bytes(row[0]) for row in database.execute("select auth_key from sessions")}
            except sqlite3.DatabaseError:
                continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("state", ["good", "damaged", "missing"])
def test_a_restore_that_is_killed_at_any_step(tmp_path: Path, state: str) -> None:
    """What was there is there under some name, and the next restore succeeds."""
    number = 0
    while True:
        number += 1
        home = tmp_path / str(number)
        home.mkdir()
        session, backup = home / "a.session", home / "backup.session"
        write_session(backup, NEWER)
        if state == "good":
            write_session(session, KEY)
            back_up(session, home / "backups")
        elif state == "damaged":
            session.write_bytes(b"precious" * 700)
            session.with_name("a.session-wal").write_bytes(b"its log")
        more = killed_at(number, lambda backup=backup, session=session: put_in_place(backup, session))
        put_in_place(backup, session)
        assert {NEWER} | ({KEY} if state == "good" else set()) <= keys_below(home), number
        with closing(sqlite3.connect(session)) as database:
            assert bytes(database.execute("select auth_key from sessions").fetchone()[0]) == NEWER
        if state == "damaged":
            contents = [path.read_bytes() for path in home.iterdir() if ".damaged-" in path.name]
            assert b"precious" * 700 in contents, number
            assert b"its log" in contents, number
        if not more:
            break
    assert number > 5


@pytest.mark.slow
def test_a_backup_that_is_killed_at_any_step(tmp_path: Path) -> None:
    """The session is untouched, and there is a good backup after the next one."""
    number = 0
    while True:
        number += 1
        home = tmp_path / str(number)
        home.mkdir()
        session = home / "a.session"
        write_session(session, KEY)
        before = session.read_bytes()
        more = killed_at(number, lambda session=session, home=home: back_up(session, home / "backups"))
        back_up(session, home / "backups")
        assert session.read_bytes() == before
        assert any(backup.good for backup in backups_of(home / "backups", "a")), number
        if not more:
            break
    assert number > 5


@pytest.mark.slow
def test_a_migration_that_is_killed_at_any_step(tmp_path: Path) -> None:
    """The file has the old schema or the new one, with every row, and the next program migrates it."""
    number = 0
    while True:
        number += 1
        path = tmp_path / f"{number}.db"

        def migrate(path: Path = path) -> None:
            with closing(sqlite3.connect(path, isolation_level=None)) as database:
                schema.migrate(database, path)

        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            for statement in (each for step in schema.MIGRATIONS[:2] for each in step):
                database.execute(statement)
            database.execute("pragma user_version = 2")
            database.execute("insert into names (name) values ('A')")
        more = killed_at(number, migrate)
        migrate()
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("select name from names").fetchall() == [("A",)]
            assert database.execute("pragma user_version").fetchone() == (schema.VERSION,)
            assert database.execute("pragma quick_check").fetchone() == ("ok",)
        if not more:
            break
    assert number > 10
