"""Session files with values that no Telethon writes: used if bare Telethon uses them, and named if not."""

import base64
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from adapters.session import HoldfastSession, NotASession, SessionDamaged, SessionError
from adapters.session.backup import put_in_place
from adapters.session.transfer import NoLogin, from_bytes, read
from tests.adapters.session.support import KEY, rows, telethons, user

FOURTH = "server_address = '149.154.167.91'"
TRIGGER = "create trigger t after insert on update_state begin delete from sessions; end"
ROW = "select dc_id, server_address, port, auth_key from sessions"
PLAIN = f"""
create table version (version integer primary key); insert into version values (8);
create table sessions (dc_id, server_address, port, auth_key blob, takeout_id, tmp_auth_key);
insert into sessions (dc_id, server_address, port, auth_key) values (2, '127.0.0.1', 4430, x'{KEY.hex()}');
create table update_state (id integer primary key, pts integer, qts integer, date integer, seq integer);
"""


def made(path: Path, change: str) -> Path:
    """Make a session file in which one statement has changed something."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(PLAIN + change)
    return path


@pytest.mark.parametrize(
    ("change", "address"),
    {
        "a port as float": ("update sessions set port = 4430.0", (2, "127.0.0.1", 4430)),
        "a port with spaces": ("update sessions set port = ' 4430 '", (2, "127.0.0.1", 4430)),
        "a port as bytes": ("update sessions set port = x'34343330'", (2, "127.0.0.1", 4430)),
        "a port of no digits": ("update sessions set port = '\u00b2'", (2, "127.0.0.1", 443)),
        "a port of 5,000 digits": (f"update sessions set port = '{'9' * 5000}'", (2, "127.0.0.1", 443)),
        "an address as bytes": ("update sessions set server_address = x'3132372e302e302e31'", (2, "127.0.0.1", 4430)),
        "a number as text": ("update sessions set dc_id = '2'", (2, "127.0.0.1", 4430)),
        "no number": (f"update sessions set dc_id = null, {FOURTH}", (4, "149.154.167.91", 4430)),
        "number 0": (f"update sessions set dc_id = 0, {FOURTH}", (4, "149.154.167.91", 4430)),
    }.values(),
)
def test_an_address_is_read_however_it_is_stored(tmp_path: Path, change: str, address: tuple[int, str, int]) -> None:
    """A value of another type is understood, and stays in the file to the letter when something else is written."""
    path = made(tmp_path / "account1.session", change)
    before = rows(path, ROW)
    session = HoldfastSession(path)
    assert (session.dc_id, session.server_address, session.port) == address
    session.takeout_id = 5
    session.process_entities([user(9)])
    session.close()
    assert rows(path, ROW) == before
    assert rows(path, "select takeout_id from sessions") == [5]


def test_an_address_that_is_no_text_does_not_end_the_reading(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are read with replacements, wherever the row is read."""
    path = made(tmp_path / "account1.session", "update sessions set server_address = cast(x'ff31' as text)")
    session = HoldfastSession(path)
    assert session.auth_key.key == KEY
    session.close()


@pytest.mark.parametrize("value", ["'a'", "x'00'", "1e300", "null"])
def test_a_position_that_is_no_number_is_left_out(tmp_path: Path, value: str) -> None:
    """An update state that cannot be compared is none; the other ones stay."""
    change = f"insert into update_state values (0, {value}, {value}, {value}, {value}), (7, 1, 1, 1, 1)"
    session = HoldfastSession(made(tmp_path / "account1.session", change))
    assert [number for number, _ in session.get_update_states()] == [7]
    session.close()


def test_a_view_of_a_cache_does_not_hinder_its_completion(tmp_path: Path) -> None:
    """A converter's own views are kept, and the table below them gets what it lacks."""
    change = (
        "create table entities (id integer, hash integer not null, username text, phone integer, name text);"
        "insert into entities (id, hash, username) values (7, 77, 'seven'); "
        "create view people as select * from entities;"
    )
    session = HoldfastSession(made(tmp_path / "account1.session", change))
    assert session.get_entity_rows_by_username("seven") == (7, 77)
    session.close()
    assert rows(tmp_path / "account1.session", "select id from people") == [7]


def test_a_trigger_cannot_change_the_login(tmp_path: Path) -> None:
    """A write of other rows that would touch the row with the key is undone."""
    path = made(tmp_path / "account1.session", TRIGGER)
    session = HoldfastSession(path)
    session._contents.put_state(0, (1, 1, 1, 1))
    session._live.visit()  # type: ignore[union-attr]
    assert [row[3] for row in closing_rows(path)] == [KEY]
    session._contents.take()
    session.close()


def closing_rows(path: Path) -> list[tuple[object, ...]]:
    """Return the rows of ``sessions``."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute(ROW).fetchall()


FOREIGN: dict[str, tuple[Callable[[Path], object], str]] = {
    "tdata": (lambda path: (path.mkdir(), (path / "key_datas").touch()), "tdata directory of Telegram Desktop"),
    "a file of tdata": (lambda path: path.write_bytes(b"TDF$" + bytes(range(256)) * 9), "of Telegram Desktop"),
    "zip": (lambda path: path.write_bytes(b"PK\3\4" + bytes(range(256)) * 9), "a zip archive"),
    "MadelineProto": (lambda path: path.write_bytes(b"<?php __halt_compiler();" + KEY * 9), "MadelineProto"),
    "UTF-16": (lambda path: path.write_bytes("session Жук".encode("utf-16") * 50), "is a text"),
    "a login as text": (lambda path: path.write_text(string()), "'session import'"),
}


def string() -> str:
    """Return a string session."""
    key = bytes(range(256))
    return "1" + base64.urlsafe_b64encode(struct.pack(">B4sH256s", 2, bytes([149, 154, 167, 51]), 443, key)).decode()


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_session_is_named(tmp_path: Path, kind: str) -> None:
    """The error says what the file is, quotes nothing of it, and leaves it where it is."""
    path = tmp_path / "account1.session"
    make, named = FOREIGN[kind]
    make(path)
    with pytest.raises(SessionError, match=named) as raised:
        HoldfastSession(path)
    assert isinstance(raised.value, NotASession | SessionDamaged) or path.exists()
    assert string()[20:60] not in str(raised.value)
    assert path.exists()


@pytest.mark.parametrize(
    "text",
    [b"\xef\xbb\xbf%s", b"%s\r\n", b'"%s"', b"'%s'\n"],
)
def test_a_string_is_read_as_programs_store_it(text: bytes) -> None:
    """A mark of the encoding, quotes and ends of lines are no part of it."""
    assert from_bytes(text % string().encode()).key == bytes(range(256))


def test_a_string_that_a_mail_has_wrapped_is_read() -> None:
    """Line breaks within it are none of it."""
    text = string()
    assert from_bytes("\n".join(text[at : at + 76] for at in range(0, len(text), 76)).encode()).dc_id == 2


def test_a_view_in_place_of_foreign_sessions_is_not_asked(tmp_path: Path) -> None:
    """A file of another program could keep the import busy for ever."""
    with closing(sqlite3.connect(tmp_path / "p.session")) as database:
        database.execute(
            "create view sessions as with recursive c(x) as (select 1 union all select x + 1 from c) "
            "select 2 dc_id, 0 test_mode, null auth_key, count(*) user_id, 0 is_bot from c"
        )
    with pytest.raises(NoLogin, match="is a view"):
        read(tmp_path / "p.session")


def test_a_session_with_half_a_key_is_not_put_in_place(tmp_path: Path) -> None:
    """An import or a restore of it would seem to have succeeded."""
    source = telethons(tmp_path / "source.session")
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("update sessions set auth_key = x'0011'")
    with pytest.raises(SessionDamaged, match="its key is not whole"):
        put_in_place(source, tmp_path / "account1.session")
    assert not (tmp_path / "account1.session").exists()
