"""Files as converters, older Telethons and other programs make them: used if they can be, and named if not."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from telethon.sessions import SQLiteSession

from adapters.session import HoldfastSession, NotASession, SessionDamaged, SessionError
from adapters.session.backup import back_up, backups_of
from adapters.session.inspect import inspect
from adapters.telegram.classify import classify
from states.events import AuthRejected, ConfigRefused, DatabaseCorrupt, DatabaseUnavailable
from states.snapshot import ACTION_OF_CAUSE, Action
from tests.adapters.session.support import KEY, rows, stored_bytes, telethons, user

VERSION = "create table version (version integer primary key); insert into version values (%d);"
SESSIONS = (
    "create table sessions (dc_id integer primary key, server_address text, port integer, auth_key blob%s);"
    "insert into sessions (dc_id, server_address, port, auth_key) values (2, '127.0.0.1', 443, x'" + KEY.hex() + "');"
)
ENTITIES = (
    "create table entities (id integer primary key, hash integer not null, username text, phone integer, name text%s);"
    "insert into entities (id, hash, username) values (7, 77, 'seven');"
)
FILES_2 = (
    "create table sent_files (md5_digest blob, file_size integer, file_id integer, part_count integer, "
    "primary key(md5_digest, file_size));"
)
FILES = (
    "create table sent_files (md5_digest blob, file_size integer, type integer, id integer, hash integer, "
    "primary key(md5_digest, file_size, type));"
)
STATES = "create table update_state (id integer primary key, pts integer, qts integer, date integer, seq integer);"
TAKEOUT, TMP, DATE = ", takeout_id integer", ", tmp_auth_key blob", ", date integer"

USABLE = {
    "schema 1": VERSION % 1 + SESSIONS % "" + ENTITIES % "",
    "schema 2": VERSION % 2 + SESSIONS % "" + ENTITIES % "" + FILES_2,
    "schema 3": VERSION % 3 + SESSIONS % "" + ENTITIES % "" + FILES,
    "schema 4": VERSION % 4 + SESSIONS % "" + ENTITIES % "" + FILES + STATES,
    "schema 5": VERSION % 5 + SESSIONS % TAKEOUT + ENTITIES % "" + FILES + STATES,
    "schema 6": VERSION % 6 + SESSIONS % TAKEOUT + ENTITIES % "" + FILES + STATES,
    "schema 7": VERSION % 7 + SESSIONS % TAKEOUT + ENTITIES % DATE + FILES + STATES,
    "7 without caches": VERSION % 7 + SESSIONS % TAKEOUT + ENTITIES % DATE,
    "7 with the login alone": VERSION % 7 + SESSIONS % TAKEOUT,
    "8 with the login alone": VERSION % 8 + SESSIONS % (TAKEOUT + TMP),
    "8 without the columns of 8": VERSION % 8 + SESSIONS % "" + ENTITIES % "" + FILES + STATES,
    "3 with the tables of 7": VERSION % 3 + SESSIONS % TAKEOUT + ENTITIES % DATE + FILES + STATES,
    "7 with the files of 2": VERSION % 7 + SESSIONS % TAKEOUT + ENTITIES % DATE + FILES_2 + STATES,
    "no version": SESSIONS % "" + ENTITIES % "",
    "an empty version": "create table version (version integer primary key);" + SESSIONS % TAKEOUT,
    "version 0": VERSION % 0 + SESSIONS % TAKEOUT,
    "several versions": VERSION % 6 + "insert into version values (7);" + SESSIONS % TAKEOUT,
    "more columns": VERSION % 8
    + SESSIONS % (TAKEOUT + TMP + ", user_id integer, phone text default ''")
    + ENTITIES % (DATE + ", about text")
    + FILES
    + STATES.replace("seq integer", "seq integer, note text"),
    "another order": VERSION
    % 8
    + "create table sessions (auth_key blob, tmp_auth_key blob, port integer, takeout_id integer, server_address text,"
    " dc_id integer primary key); insert into sessions (dc_id, server_address, port, auth_key)"
    f" values (2, '127.0.0.1', 443, x'{KEY.hex()}');"
    "create table entities (name text, date integer, hash integer not null, id integer primary key, phone integer,"
    " username text); insert into entities (id, hash, username) values (7, 77, 'seven');"
    "create table update_state (seq integer, date integer, qts integer, pts integer, id integer primary key);",
    "no primary keys": VERSION % 8
    + (SESSIONS % (TAKEOUT + TMP)).replace(" primary key", "")
    + (ENTITIES % DATE).replace(" primary key", "")
    + STATES.replace(" primary key", "")
    + "insert into entities (id, hash, username) values (7, 77, 'seven'), (null, 1, 'none');",
    "capital letters": (VERSION % 8 + SESSIONS % (TAKEOUT + TMP) + ENTITIES % DATE).replace("sessions", "Sessions"),
    "caches that are views": VERSION % 8
    + SESSIONS % (TAKEOUT + TMP)
    + "create view entities as select 7 as id, 77 as hash, 'seven' as username, null as phone, '' as name, 0 as date;"
    "create view update_state as select 0 as id, 1 as pts, 1 as qts, 1 as date, 1 as seq;",
    "a view more": VERSION % 8 + SESSIONS % (TAKEOUT + TMP) + "create view v as select dc_id from sessions;",
    "a row without a key before": (VERSION % 8 + SESSIONS % (TAKEOUT + TMP))
    + "insert into sessions (dc_id, server_address, port, auth_key) values (1, '10.0.0.1', 443, x'');",
    "a port as text": (VERSION % 8 + SESSIONS % (TAKEOUT + TMP)).replace("port integer", "port text"),
    "a key as text": VERSION % 8 + (SESSIONS % (TAKEOUT + TMP)).replace(f"x'{KEY.hex()}'", f"'{KEY.decode()}'"),
}


OURS = ("another order", "more columns", "a row without a key before", "a key as text")
"""Files that Telethon itself cannot read."""
CACHES_KEPT = [kind for kind in USABLE if "seven" in USABLE[kind] and not kind.endswith(tuple("12345"))]


def make(path: Path, script: str) -> Path:
    """Make a database."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a session."""
    return tmp_path / "account1.session"


@pytest.mark.parametrize("kind", USABLE)
def test_a_file_with_a_login_is_used_whatever_it_lacks(path: Path, kind: str) -> None:
    """The login is read, everything can be written, and Telethon opens the result."""
    make(path, USABLE[kind])
    assert inspect(path).key is True, inspect(path)
    session = HoldfastSession(path)
    assert (session.dc_id, session.server_address, session.port) == (2, "127.0.0.1", 443)
    assert session.auth_key.key == KEY
    session.process_entities([user(9)])
    session.takeout_id = 5
    session.close()
    assert 9 in rows(path)
    opened = (HoldfastSession if kind in OURS else SQLiteSession)(str(path))
    assert (opened.auth_key.key, opened.takeout_id) == (KEY, 5)
    opened.process_entities([user(9), user(10)])
    opened.close()
    assert rows(path, "select count(*) from entities where id in (9, 10)") == [2]


@pytest.mark.parametrize(
    "kind", [kind for kind in USABLE if "seven" in USABLE[kind] and not kind.endswith(tuple("12345"))]
)
def test_what_a_file_knows_of_others_is_kept(path: Path, kind: str) -> None:
    """Entities survive the completion, except those of schemas whose access hashes may be wrong."""
    session = HoldfastSession(make(path, USABLE[kind]))
    assert session.get_entity_rows_by_username("seven") == (7, 77)
    session.close()


def test_a_second_login_in_a_file_stays(path: Path) -> None:
    """Only the account's own row is ever written; another row with a key is somebody's login."""
    other = b"o" * 256
    make(path, USABLE["schema 7"])
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("insert into sessions (dc_id, auth_key) values (4, ?)", (other,))
    session = HoldfastSession(path)
    session.takeout_id = 5
    session.close()
    assert rows(path, "select auth_key from sessions order by dc_id") == [KEY, other]


def test_an_older_file_that_was_never_logged_in_wants_a_login(path: Path) -> None:
    """Nothing of it is damaged: it has no key, no backup is needed, and the session is the empty one that it is."""
    script = VERSION % 7 + (SESSIONS % TAKEOUT).partition("insert")[0] + ENTITIES % DATE + FILES + STATES
    session = HoldfastSession(make(path, script))
    assert not session.auth_key
    session.close()
    assert backups_of(path.parent / "backups", "account1") == []
    assert rows(path, "select version from version") == [8]


PYROGRAM = (
    "create table sessions (dc_id integer primary key, api_id integer, test_mode integer, auth_key blob,"
    " date integer not null, user_id integer, is_bot integer);"
    "create table peers (id integer primary key, access_hash integer, type integer not null, phone_number text,"
    " last_update_on integer not null default 0);"
    "create table version (number integer primary key); insert into version values (%d);"
)
KURIGRAM = (
    "create table usernames (id integer, username text, foreign key (id) references peers(id));"
    "create table update_state (id integer primary key, pts integer, qts integer, date integer, seq integer);"
)
TELETHON_2 = (
    "create table version (version integer primary key); insert into version values (10);"
    "create table datacenter (id integer primary key, ipv4_addr text, ipv6_addr text, auth blob);"
    "create table user (id integer primary key, dc integer not null, bot integer not null, username text);"
    "create table update_state (pts integer not null, qts integer not null, date integer not null, seq integer);"
    "create table channel_state (id integer primary key, pts integer not null);"
)


def _bytes(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def _script(script: str) -> Callable[[Path], object]:
    return lambda path: make(path, script)


def _cut(size: int) -> Callable[[Path], object]:
    return lambda path: os.truncate(telethons(path, entities=300), size)


UNUSABLE: dict[str, tuple[Callable[[Path], object], type, str, Action | None]] = {
    "empty": (lambda path: path.touch(), AuthRejected, "the file is empty", Action.LOG_IN),
    "no tables": (_script("create table t (x); drop table t;"), AuthRejected, "has no tables", Action.LOG_IN),
    "text": (_bytes(b"telegram:\n  api_id: 7\n" * 99), DatabaseCorrupt, "is a text", Action.RESTORE_SESSION),
    "json": (_bytes('{"clé": 1}'.encode() * 99), DatabaseCorrupt, "is a text", Action.RESTORE_SESSION),
    "short text": (_bytes(b"x"), DatabaseCorrupt, "is a text", Action.RESTORE_SESSION),
    "zeros": (_bytes(bytes(8192)), DatabaseCorrupt, "nothing but zeros", Action.RESTORE_SESSION),
    "encrypted": (_bytes(os.urandom(8192)), DatabaseCorrupt, "encrypted or of another", Action.RESTORE_SESSION),
    "cut in its header": (_cut(100), DatabaseCorrupt, "only the first bytes", Action.RESTORE_SESSION),
    "cut": (_cut(9000), DatabaseCorrupt, "set aside", Action.RESTORE_SESSION),
    "directory": (lambda path: path.mkdir(), ConfigRefused, "this is a directory", Action.MEND_CONFIG),
    "pipe": (os.mkfifo, ConfigRefused, "a pipe", Action.MEND_CONFIG),
    "pyrogram 1": (_script(PYROGRAM % 3), ConfigRefused, "session of Pyrogram", Action.MEND_CONFIG),
    "kurigram": (_script(PYROGRAM % 6 + KURIGRAM), ConfigRefused, "session of Pyrogram", Action.MEND_CONFIG),
    "telethon 2": (_script(TELETHON_2), ConfigRefused, r"Telethon 2 \(schema 10\)", Action.MEND_CONFIG),
    "newer": (_script(VERSION % 9 + SESSIONS % ""), ConfigRefused, "a newer Telethon", Action.MEND_CONFIG),
    "other database": (_script("create table invoices (id)"), ConfigRefused, "not a session", Action.MEND_CONFIG),
    "half a key": (
        _script(VERSION % 8 + (SESSIONS % (TAKEOUT + TMP)).replace(KEY.hex(), "00ff")),
        DatabaseCorrupt,
        "has not 256 bytes",
        Action.RESTORE_SESSION,
    ),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_cannot_be_used_is_named_and_has_its_own_action(path: Path, kind: str) -> None:
    """Each kind is its own event with its own action, in one sentence with the path; and the file stays as it is."""
    produce, event, says, action = UNUSABLE[kind]
    produce(path)
    before = stored_bytes(path) if path.is_file() else {}
    looked = inspect(path)
    assert looked.problem or looked.intact is False
    with pytest.raises(SessionError, match=says) as caught:
        HoldfastSession(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    failure = classify(caught.value)
    assert type(failure) is event
    assert ACTION_OF_CAUSE[type(failure).__name__] is action
    if kind != "cut" and before:
        assert stored_bytes(path) == before


@pytest.mark.parametrize("kind", ["empty", "zeros", "cut in its header"])
def test_a_file_that_was_a_session_once_is_restored_and_not_logged_in_anew(path: Path, kind: str) -> None:
    """What is empty or no database any more, and has a good backup, names the backup."""
    good = back_up(telethons(path), path.parent / "backups", name="account1")
    path.unlink()
    UNUSABLE[kind][0](path)
    with pytest.raises(SessionDamaged) as caught:
        HoldfastSession(path)
    assert str(good) in str(caught.value)


def test_what_could_not_be_read_is_not_damaged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk says nothing about the file: it is tried again, and nothing is set aside."""
    telethons(path)

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("adapters.session.loading.schema_of", fail)
    with pytest.raises(Exception, match="Input/output error") as caught:
        HoldfastSession(path)
    assert isinstance(classify(caught.value), DatabaseUnavailable)
    assert path.exists()


def test_a_view_in_place_of_the_login_is_refused(path: Path) -> None:
    """What cannot be written is not opened, and says so."""
    script = VERSION % 8 + (SESSIONS % "").replace("sessions", "rows")
    make(path, script + "create view sessions as select * from rows;")
    with pytest.raises(NotASession, match="is a view"):
        HoldfastSession(path)
