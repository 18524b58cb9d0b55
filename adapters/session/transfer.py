"""A login on its way between this program and others: Telethon, Pyrogram and Kurigram; GramJS's strings come in only.

Nothing here prints, quotes or logs what it reads: it is as good as the account. Each format is the one that its program
writes and reads: Telethon's ``StringSession``, Pyrogram's session strings (three lengths; Kurigram reads the same), and
the SQLite file of Pyrogram 2 (schema 3), which Kurigram brings to its own schema when it opens it.
"""

import base64
import binascii
import codecs
import ipaddress
import os
import re
import sqlite3
import struct
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from adapters.session import file as files
from adapters.session.address import PORT, TELEGRAM, address_of
from adapters.session.backup import open_recovered, take_name
from adapters.session.errors import NotASession, SessionError
from adapters.session.schema import KEY_BYTES, as_bytes, check_is_file
from adapters.sqlite.connect import create_privately
from adapters.sqlite.errors import translating_errors

MAX_TEXT_BYTES: Final = 64 * 1024
"""Of a file with a string session: more is none."""
MAX_FILE_BYTES: Final = 1024**3
_MAGIC: Final = b"SQLite format 3\0"
_TEST: Final = {1: "149.154.175.10", 2: "149.154.167.40", 3: "149.154.175.117"}
"""Telegram's test datacenters, port 80, as Pyrogram has them built in."""
_TEST_PORT: Final = 80
_TEST_HOSTS: Final = {*_TEST.values(), "2001:b28:f23d:f001::e", "2001:67c:4e8:f002::e", "2001:b28:f23d:f003::e"}
"""By these a login is known to be of a test datacenter where a format has no word for that."""
_MEDIA: Final = {203: "91.105.192.100"}
_WEB_HOSTS: Final = ".web.telegram.org"
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9.:-]+")
_NO_STRING: Final = "it has the length of a string session, and is none; see that it was copied without a change"
_VERSION: Final = "1"
"""The first character of Telethon's strings."""
_TELETHON: Final = {352: 4, 368: 16}
"""Bytes of the address, by the characters of the string without padding."""
_GRAMJS_HEAD: Final = struct.Struct(">BH")
"""GramJS writes Telethon's string with the address as text, and its length before it."""
_PYROGRAM: Final = {351: ">BB256sIB", 356: ">BB256sQB", 362: ">BIB256sQB"}
"""The formats of Pyrogram's strings, by their characters: the first, then with long user ids, then with an app."""
_PYROGRAM_SCHEMA: Final = (
    "CREATE TABLE sessions (dc_id INTEGER PRIMARY KEY, api_id INTEGER, test_mode INTEGER, auth_key BLOB, "
    "date INTEGER NOT NULL, user_id INTEGER, is_bot INTEGER)",
    "CREATE TABLE peers (id INTEGER PRIMARY KEY, access_hash INTEGER, type INTEGER NOT NULL, username TEXT, "
    "phone_number TEXT, last_update_on INTEGER NOT NULL DEFAULT (CAST(STRFTIME('%s', 'now') AS INTEGER)))",
    "CREATE TABLE version (number INTEGER PRIMARY KEY)",
    "CREATE INDEX idx_peers_id ON peers (id)",
    "CREATE INDEX idx_peers_username ON peers (username)",
    "CREATE INDEX idx_peers_phone_number ON peers (phone_number)",
    "CREATE TRIGGER trg_peers_last_update_on AFTER UPDATE ON peers BEGIN UPDATE peers SET last_update_on = "
    "CAST(STRFTIME('%s', 'now') AS INTEGER) WHERE id = NEW.id; END",
)
_PYROGRAM_VERSION: Final = 3
_SELF: Final = 0
"""Telethon stores the account's own id as the hash of the entity with this id."""


class NoLogin(SessionError):
    """What was given is no login that can be read here; the message never quotes it."""


@frozen
class PortableLogin:
    """A login: the key, which datacenter knows it, and whose it is, as far as that is known."""

    dc_id: int
    key: bytes = field(repr=False)
    host: str
    port: int
    user_id: int | None = None
    is_bot: bool = False
    test_mode: bool = False


def checked(
    dc_id: Any, key: Any, host: Any = None, port: Any = None, *, user_id: Any = None, is_bot: Any = False, test: Any = 0
) -> PortableLogin:
    """Return the login that foreign values make; raise ``NoLogin`` if they make none."""
    key = as_bytes(key)
    if len(key) != KEY_BYTES or not any(key):
        raise NoLogin("there is no key of 256 bytes in it: it was never logged in, or it was cut; log in instead")
    if type(dc_id) is not int or not 0 < dc_id < 1000:
        raise NoLogin("the number of its datacenter is none that Telegram has; log in instead")
    known = _TEST if test else {**TELEGRAM, **_MEDIA}
    if not host:
        host, port = known.get(dc_id), _TEST_PORT if test else PORT
    try:
        address = ipaddress.ip_address(str(host).strip("[] "))
    except ValueError:
        raise NoLogin("the address of its datacenter is none, and its number is not known; log in instead") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    host, test = str(address), bool(test) or str(mapped or address) in _TEST_HOSTS
    if type(port) is not int or not 0 < port < 65536:
        port = PORT
    user_id = user_id if type(user_id) is int and 0 < user_id < 2**63 else None
    return PortableLogin(dc_id, key, host, port, user_id, bool(is_bot), test)


# --- strings ---------------------------------------------------------------------------------------------------------


def from_text(text: str) -> PortableLogin:
    """Return the login in a string of Telethon, Pyrogram, Kurigram or GramJS. Raises ``NoLogin``."""
    plain = "".join(text.split()).strip("'\"").rstrip("=")  # a mail breaks lines, and a program's text has quotes
    if plain.startswith(_VERSION) and (login := _from_gramjs(plain[1:])) is not None:
        return login
    if plain.startswith(_VERSION) and len(plain) in _TELETHON:
        size = _TELETHON[len(plain)]
        dc_id, host, port, key = struct.unpack(f">B{size}sH{KEY_BYTES}s", _decode(plain[1:], 1 + size + 2 + KEY_BYTES))
        return checked(dc_id, key, str(ipaddress.ip_address(host)), port)
    if (form := _PYROGRAM.get(len(plain))) is not None:
        values = struct.unpack(form, _decode(plain, struct.calcsize(form)))
        dc_id, test, key, user_id, is_bot = values if len(values) == 5 else (values[0], *values[2:])
        if test > 1 or is_bot > 1:  # a byte of random data is rarely yes or no
            raise NoLogin(_NO_STRING)
        return checked(dc_id, key, user_id=user_id, is_bot=is_bot, test=test)
    raise NoLogin(
        "this is neither a session file nor a string session of Telethon (353 characters), Pyrogram or Kurigram (351, "
        f"356 or 362): it has {len(plain)}; see that all of it was copied"
    )


def _from_gramjs(text: str) -> PortableLogin | None:
    """Return the login in a string of GramJS, without its version; None if it is another program's, or none.

    With an address of 14 characters it is as long as one of Telethon's with IPv6.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        dc_id, size = _GRAMJS_HEAD.unpack_from(data)
        host = data[_GRAMJS_HEAD.size :][:size].decode("ascii")
        port, key = struct.unpack(f">H{KEY_BYTES}s", data[_GRAMJS_HEAD.size + size :])
    except (ValueError, struct.error):  # the errors of base64 and of ASCII are of the former kind
        return None
    if not _HOST_NAME.fullmatch(host):
        return None
    known = host.endswith(_WEB_HOSTS)  # those speak over WebSockets; the number says where the same key is known
    return checked(dc_id, key, None if known else host, port)


def _decode(text: str, size: int) -> bytes:
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != size:
        raise NoLogin(_NO_STRING)
    return found


def telethon_string(login: PortableLogin) -> str:
    """Return the login as ``telethon.sessions.StringSession`` writes it."""
    address = ipaddress.ip_address(login.host).packed
    packed = struct.pack(f">B{len(address)}sH{KEY_BYTES}s", login.dc_id, address, login.port, login.key)
    return _VERSION + base64.urlsafe_b64encode(packed).decode("ascii")


def pyrogram_string(login: PortableLogin, api_id: int) -> str:
    """Return the login as Pyrogram 2 and Kurigram export it. Raises ``NoLogin`` if its owner is not known."""
    values = (login.dc_id, api_id, login.test_mode, login.key, _owner(login), login.is_bot)
    return base64.urlsafe_b64encode(struct.pack(_PYROGRAM[362], *values)).decode("ascii").rstrip("=")


def _owner(login: PortableLogin) -> int:
    if login.user_id is None:
        raise NoLogin(
            "the session does not say which user it belongs to, and Pyrogram needs that; let the account connect once, "
            "which stores it"
        )
    return login.user_id


# --- files -----------------------------------------------------------------------------------------------------------


def read(path: Path) -> PortableLogin | None:
    """Return the login in a file; None for a session file of Telethon, which is copied as it is.

    Raises ``NoLogin`` and other ``SessionError``, ``DatabaseUnusable`` and ``OSError``.
    """
    check_is_file(path)
    with path.open("rb") as file:
        start = file.read(MAX_TEXT_BYTES + 1)
    if not start.startswith(_MAGIC):
        return from_bytes(start)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise NoLogin(f"{path}: the file has more than a gigabyte, and no session file is so large")
    with translating_errors(path), closing(open_recovered(path)) as database:
        database.execute("pragma trusted_schema = off")
        kinds = database.execute("select type from sqlite_master where lower(name) = 'sessions'").fetchall()
        if kinds == [("view",)]:
            raise NoLogin("its table sessions is a view, which may be anything; make a table of it")
        there = {row[1].lower() for row in database.execute("pragma table_info(sessions)")}
        if not {"user_id", "is_bot", "auth_key", "dc_id"} <= there:
            return None
        names = ("dc_id", "auth_key", "server_address", "port", "user_id", "is_bot", "test_mode")
        chosen = ", ".join(name if name in there else "null" for name in names)
        size = f"(auth_key is null or length(auth_key) <= {KEY_BYTES})"
        row = database.execute(f"select {chosen} from sessions where {size} limit 1").fetchone()
    dc_id, key, host, port, user_id, is_bot, test = row or (None,) * 7
    return checked(dc_id, key, host, port, user_id=user_id, is_bot=is_bot, test=test)


def from_bytes(data: bytes) -> PortableLogin:
    """Return the login in the text of a file. Raises ``NoLogin``."""
    if len(data) > MAX_TEXT_BYTES:
        raise NoLogin("it is too long for a string session, and is no session file; name the right file")
    try:
        return from_text(data.removeprefix(codecs.BOM_UTF8).decode("ascii"))
    except UnicodeDecodeError:
        raise NoLogin("it is neither a session file nor the text of a string session; name the right file") from None


def login_of(session: Path) -> PortableLogin:
    """Return the login in a session file of Telethon; the caller owns it. Raises ``SessionError`` and such."""
    with (
        translating_errors(session),
        closing(files.connect(session, mode="rw", timeout=files.OPEN_TIMEOUT)) as database,  # ro would leave its log
    ):
        database.execute("pragma query_only = on")
        identity = files.load_identity(database)
        owner = None
        with suppress(sqlite3.Error):
            owner = database.execute("select hash from entities where id = ?", (_SELF,)).fetchone()
    _, host, port = address_of(identity) or (0, None, None)
    return checked(identity.dc_id, identity.key, host, port, user_id=owner[0] if owner else None)


def create_session(path: Path, login: PortableLogin) -> None:
    """Create a session file of Telethon's with a login. Raises ``DatabaseUnusable``, ``OSError``, ``NotASession``."""
    unfinished = path.with_name(f".{path.name}.import")
    try:
        files.remove(unfinished)  # an import that was killed may have left another login
        files.create(unfinished)
        with (
            translating_errors(path),
            closing(files.connect(unfinished, mode="rw", timeout=files.OPEN_TIMEOUT)) as database,
        ):
            database.execute("begin immediate")
            database.execute(
                "update sessions set dc_id = ?, server_address = ?, port = ?, auth_key = ?",
                (login.dc_id, login.host, login.port, login.key),
            )
            if login.user_id is not None:
                database.execute("insert into entities (id, hash) values (?, ?)", (_SELF, login.user_id))
            database.execute("commit")
        if os.path.lexists(path):
            raise NotASession(f"{path}: there is a file already, and it is not overwritten")
        files.free_place(path)
        unfinished.rename(path)
        files.sync_directory(path.parent)
    finally:
        files.remove(unfinished)


def write_text(path: Path, text: str) -> None:
    """Write a new file, for this user alone, at once and whole. Raises ``FileExistsError`` and other ``OSError``."""
    if os.path.lexists(path):
        raise FileExistsError(17, "file exists", str(path))
    # Half a login is of no use, and would be in the way of the next try.
    unfinished = path.with_name(f".{path.name}.export")
    try:
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(descriptor)
        take_name(unfinished, path)
        files.sync_directory(path.parent)
    except OSError as exc:
        exc.filename, exc.filename2 = str(path), None
        raise
    finally:
        with suppress(OSError):
            unfinished.unlink()


def write_pyrogram(path: Path, login: PortableLogin, api_id: int) -> None:
    """Write a new session file of Pyrogram's, for this user alone. Raises ``NoLogin``, and ``FileExistsError``."""
    row = (login.dc_id, api_id, login.test_mode, login.key, int(time.time()), _owner(login), login.is_bot)
    if os.path.lexists(path):
        raise FileExistsError(17, "file exists", str(path))
    unfinished = path.with_name(f".{path.name}.export")
    try:
        files.remove(unfinished)
        create_privately(unfinished)
        with translating_errors(path), closing(sqlite3.connect(unfinished, isolation_level=None)) as database:
            database.execute("begin")
            for statement in _PYROGRAM_SCHEMA:
                database.execute(statement)
            database.execute("insert into version values (?)", (_PYROGRAM_VERSION,))
            database.execute("insert into sessions values (?, ?, ?, ?, ?, ?, ?)", row)
            database.execute("commit")
        take_name(unfinished, path)
        files.sync_directory(path.parent)
    finally:
        files.remove(unfinished)
