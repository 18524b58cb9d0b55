"""Logins to and from other programs: byte for byte theirs, round trips, and hostile input."""

import base64
import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession, StringSession

from adapters.session import transfer
from adapters.session.errors import SessionError
from adapters.session.transfer import NoLogin, PortableLogin

KEY = bytes(range(256))
LOGIN = PortableLogin(2, KEY, "149.154.167.51", 443, 777, False, False)
KURIGRAM = """
CREATE TABLE sessions (dc_id INTEGER PRIMARY KEY, server_address TEXT, port INTEGER, api_id INTEGER, test_mode INTEGER,
    auth_key BLOB, date INTEGER NOT NULL, user_id INTEGER, is_bot INTEGER);
CREATE TABLE version (number INTEGER PRIMARY KEY); INSERT INTO version VALUES (7);
"""


def encode(form: str, *values: object) -> str:
    """Return what Pyrogram's ``export_session_string`` returns."""
    return base64.urlsafe_b64encode(struct.pack(form, *values)).decode().rstrip("=")


@pytest.mark.parametrize("host", ["149.154.167.51", "2001:67c:4e8:f002::a"])
def test_telethon_reads_our_string_and_we_read_its(host: str) -> None:
    """A string is the same, to the byte, as that of the real ``StringSession``."""
    theirs = StringSession()
    theirs.set_dc(2, host, 443)
    theirs.auth_key = AuthKey(KEY)
    found = transfer.from_text(theirs.save())
    assert (found.dc_id, found.host, found.port, found.key) == (2, host, 443, KEY)
    assert transfer.telethon_string(found) == theirs.save()
    again = StringSession(transfer.telethon_string(found))
    assert (again.dc_id, again.server_address, again.auth_key.key) == (2, host, KEY)


@pytest.mark.parametrize(
    ("text", "test_mode"),
    [
        (encode(">B?256sI?", 2, False, KEY, 777, False), False),
        (encode(">B?256sQ?", 2, False, KEY, 777, False), False),
        (encode(">BI?256sQ?", 2, 12345, False, KEY, 777, False), False),
        (encode(">BI?256sQ?", 2, 12345, True, KEY, 777, False), True),
    ],
)
def test_each_string_of_pyrogram_is_read(text: str, test_mode: bool) -> None:
    """All three lengths are a login; a login of the test servers has their address."""
    found = transfer.from_text(f"  {text}\n")
    assert (found.dc_id, found.key, found.user_id, found.test_mode) == (2, KEY, 777, test_mode)
    assert (found.host, found.port) == (("149.154.167.40", 80) if test_mode else ("149.154.167.51", 443))


def test_pyrograms_string_is_written_as_it_writes_it() -> None:
    """The string is the one of its own format, without padding."""
    assert transfer.pyrogram_string(LOGIN, 12345) == encode(">BI?256sQ?", 2, 12345, False, KEY, 777, False)
    with pytest.raises(NoLogin, match="which user"):
        transfer.pyrogram_string(PortableLogin(2, KEY, "149.154.167.51", 443), 12345)


def test_pyrograms_file_goes_there_and_back(tmp_path: Path) -> None:
    """The file has Pyrogram's tables, is private, and is read again as the same login."""
    path = tmp_path / "theirs.session"
    transfer.write_pyrogram(path, LOGIN, 12345)
    assert transfer.read(path) == LOGIN
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(path)) as database:
        row = database.execute("select dc_id, api_id, test_mode, auth_key, user_id, is_bot from sessions").fetchone()
        assert row == (2, 12345, 0, KEY, 777, 0)
        assert database.execute("select number from version").fetchone() == (3,)
        database.execute(
            "REPLACE INTO peers (id, access_hash, type, username, phone_number) VALUES (1, 2, 'user', 'a', 'b')"
        )
    with pytest.raises(FileExistsError):
        transfer.write_pyrogram(path, LOGIN, 12345)


def test_kurigrams_file_is_read(tmp_path: Path) -> None:
    """Its schema has the address as well."""
    path = tmp_path / "theirs.session"
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(KURIGRAM)
        database.execute("insert into sessions values (4, '149.154.167.92', 443, 1, 0, ?, 0, 777, 1)", (KEY,))
    assert transfer.read(path) == PortableLogin(4, KEY, "149.154.167.92", 443, 777, True)


def test_a_session_that_was_made_is_one_of_telethons(tmp_path: Path) -> None:
    """Telethon reads it, it is private, and its owner's number is where Telethon looks for it."""
    path = tmp_path / "a.session"
    transfer.create_session(path, LOGIN)
    assert path.stat().st_mode & 0o777 == 0o600
    theirs = SQLiteSession(str(path))
    assert (theirs.dc_id, theirs.server_address, theirs.port, theirs.auth_key.key) == (2, LOGIN.host, 443, KEY)
    assert theirs.get_entity_rows_by_id(0)[:2] == (0, 777)
    theirs.close()
    assert transfer.login_of(path) == LOGIN
    assert [each.name for each in tmp_path.iterdir()] == ["a.session"]
    assert transfer.read(path) is None  # it is copied as it is


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1" + "A" * 352,
        "1" + "!" * 351,
        "A" * 362,
        "_" * 351,
        transfer.telethon_string(LOGIN)[:-3],
        "x" * 100_000,
        encode(">BI?256sQ?", 0, 1, False, KEY, 777, False),
        encode(">BI?256sQ?", 99, 1, False, KEY, 777, False),
    ],
)
def test_what_is_no_login_is_refused_without_quoting_it(text: str) -> None:
    """The sentence has nothing of the text in it."""
    with pytest.raises(NoLogin) as told:
        transfer.from_bytes(text.encode())
    assert len(text) < 10 or text[:20] not in str(told.value)


@given(some.binary(max_size=600) | some.text(alphabet="ABCab012-_=", min_size=340, max_size=372).map(str.encode))
def test_any_bytes_are_a_login_or_a_sentence(data: bytes) -> None:
    """Nothing else comes out, whatever goes in."""
    login, said = None, ""
    try:
        login = transfer.from_bytes(data)
    except NoLogin as exc:
        said = str(exc)
    assert said.isprintable()
    assert len(login.key) == 256 if login else "; " in said


@pytest.mark.parametrize("spoil", ["zero", "short", "text", "cut", "no row", "address", "directory", "fifo"])
def test_a_hostile_file_is_refused(tmp_path: Path, spoil: str) -> None:
    """Keys of the wrong size, addresses that are none, damaged and odd files end in a sentence."""
    path = tmp_path / "theirs.session"
    if spoil == "directory":
        path.mkdir()
    elif spoil == "fifo":
        os.mkfifo(path)
    else:
        key: object = {"zero": bytes(256), "short": b"abc", "text": "x" * 10_000_000}.get(spoil, KEY)
        host = "evil.example" if spoil == "address" else None
        with closing(sqlite3.connect(path)) as database, database:
            database.executescript(KURIGRAM)
            if spoil != "no row":
                database.execute("insert into sessions values (2, ?, 443, 1, 0, ?, 0, 777, 1)", (host, key))
        if spoil == "cut":
            os.truncate(path, 3000)
    with pytest.raises(SessionError if spoil != "cut" else Exception):
        transfer.read(path)


def test_a_login_shows_no_key() -> None:
    """Its repr has neither the key nor a part of it."""
    assert repr(KEY)[2:10] not in repr(LOGIN)


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("149.154.167.51", "149.154.167.51"),  # makes it as long as a string of Telethon's with IPv6
        ("91.108.56.130", "91.108.56.130"),
        ("venus.web.telegram.org", "149.154.167.51"),
    ],
)
def test_a_string_of_gramjs_is_read(host: str, reached: str) -> None:
    """It has the address as text; that of a browser becomes the one where its key is known, too."""
    data = struct.pack(f">BH{len(host)}sH256s", 2, len(host), host.encode(), 443, KEY)
    found = transfer.from_text("1" + base64.b64encode(data).decode())
    assert (found.dc_id, found.host, found.port, found.key) == (2, reached, 443, KEY)


@pytest.mark.parametrize("host", ["149.154.167.40", "2001:67c:4e8:f002::e", "::ffff:149.154.167.40"])
def test_a_login_of_a_test_datacenter_stays_one(tmp_path: Path, host: str) -> None:
    """Telethon's formats have no word for it, and Pyrogram would look for the key at the real datacenter."""
    theirs = StringSession()
    theirs.set_dc(2, host, 80)
    theirs.auth_key = AuthKey(KEY)
    assert transfer.from_text(theirs.save()).test_mode
    transfer.create_session(tmp_path / "a.session", PortableLogin(2, KEY, host, 80, 777))
    assert transfer.login_of(tmp_path / "a.session").test_mode


def test_random_text_of_the_right_length_is_no_login() -> None:
    """A string of another program may be as long as Pyrogram's; its yes and no are none then."""
    text = encode(">BIB256sQB", 2, 12345, 77, KEY, 777, 99)
    with pytest.raises(NoLogin, match="is none"):
        transfer.from_text(text)
