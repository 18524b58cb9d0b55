"""What looks like a secret or a phone number stands in no text, whoever quotes it; ordinary words stay."""

import base64
import io
import json
import logging
import random
import textwrap
import traceback
from pathlib import Path
from typing import Any

import attrs
import pytest
from telethon.crypto import AuthKey
from telethon.errors import RPCError
from telethon.sessions import StringSession
from telethon.tl import types

from adapters.log_events import event_logger
from adapters.redaction import redacted, redacted_value
from adapters.session import HoldfastSession
from adapters.session.contents import Contents
from adapters.telegram import AsBot, ByCode, Datacenter, Proxy, TelegramConnector
from adapters.telegram.classify import chain_of, classify
from adapters.telegram.job_errors import classify_job_error
from engine.console import logs
from engine.console.messages import render
from states.jobs import Raised

PHONE, HASH, API_HASH = "447911123456", "-8812345678901234567", "0123456789abcdef0123456789abcdef"
TOKEN = "7000000001:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
SECRETS = (PHONE, "7911 123456", HASH[1:], API_HASH, TOKEN[11:], "hunter2", "Tr0ub4dor", "KeyKeyKey", "5577006791947")
TEXTS = {
    "a session's contents": f"Contents(entities={{777: ({HASH}, 'bob', {PHONE}, \"Bob (O'B)\", 1700000000)}})",
    "rows of a session": f"[(777, {HASH}, None, {PHONE}, 'Bob'), (778, {HASH}, 'al', None, 'Al')]",
    "a user of Telethon": str(types.User(id=1, phone=PHONE, access_hash=int(HASH), first_name="Bob")),
    "a peer of Telethon": repr(types.InputPeerUser(1, 5577006791947)),
    "a request's repr": f"SendCodeRequest(phone_number='{PHONE}', api_id=5, api_hash='{API_HASH}')",
    "a mapping": f"{{'phone': {PHONE}, 'password': 'hunter2', \"access_hash\": 5577006791947}}",
    "a phone number": f'Cannot find any entity corresponding to "+{PHONE}" or +44 7911 123456',
    "a token in a URL": f"https://api.telegram.org/bot{TOKEN}/getMe",
    "a proxy's URL": "socks5://alice:Tr0ub4dor@203.0.113.7:1080",
    "a proxy's link": "tg://proxy?server=h&port=1&secret=dd0123456789abcdef0123456789abcdef",
    "a proxy's link with a password": "https://t.me/socks?server=h&port=1&user=joe&pass=hunter2",
    "names of passwords": "{'pass': 'hunter2'} AWS_SECRET_ACCESS_KEY=hunter2 passphrase='hunter2' api_key=Tr0ub4dor",
    "a phone number as a link": f"tel:{PHONE}",
    "a key": f"AuthKey({b'KeyKeyKey' * 28!r})",
    "a key's hex": f"key {(b'KeyKeyKey' * 28).hex()} {API_HASH}",
    "a string session": f"StringSession({'1BVtsOK8Bu' + 'Q9kLmZx7Pw2Rt5Yb8Vn3Cd6Fg1Hj4Ks0' * 10})",
}
ORDINARY = (
    "🔌 Network error for Account 1: connection to 149.154.167.91:443 refused at 2026-11-29 03:00:00.123456+00:00",
    "Job 1234567 (send) of News is done after 12345 s, 1,234,567 of 2,000,000",
    "SESSION_PASSWORD_NEEDED (401); PHONE_NUMBER_INVALID (400); the token is expired: see @BotFather",
    "chat -1001234567890, user 7123456789, message 123456",
    "the compass passes by a bypass=1; all tests pass: good",
    "/srv/holdfast/data/3f2a9b0c/sessions/Account 1.session: the password is missing",
)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_known_shapes_are_replaced(text: str) -> None:
    """Reprs, rows, URLs and keys, also in the middle of a sentence and several times."""
    for given in (text, f"it failed ({text}); see {text}.", f"{text}\n{text}"):
        assert not [secret for secret in SECRETS if secret in redacted(given)], redacted(given)
        assert "Q9kLmZx7Pw2" not in redacted(given)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_lines_are_not_touched(text: str) -> None:
    """Times, counts, ids of chats and words about secrets are none."""
    assert redacted(text) == text


def test_a_name_that_the_operator_chose_stays() -> None:
    """An account that is called after its number can still be told from others."""
    fields = {"event": "connected", "account": f"+{PHONE}", "took": 1.0, "attempt": 1, "via": ""}
    assert f"+{PHONE}" in render("connected", fields)
    assert f"+{PHONE}" not in render(
        "connection_lost", {"failure": "Unexpected", "account": "A", "detail": f"+{PHONE}"}
    )


@pytest.mark.parametrize("text", ["(1, 123456789012," + "9" * 60_000, "(1, 123456789012, '" * 3000, "b'" * 30_000])
def test_no_text_takes_long(text: str) -> None:
    """A hostile text costs no more than its length."""
    assert len(redacted(text * 10)) <= len(text) * 10


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("as_json", [False, True])
def test_no_log_line_has_them(tmp_path: Path, text: str, *, as_json: bool) -> None:
    """Neither what other libraries say at level debug, nor tracebacks, nor events of the user's or the adapters'."""
    with logs.opened(tmp_path, recent=None, as_json=as_json, levels={"root": logging.DEBUG}):
        logging.getLogger("telethon.network").debug("Sending %s", text)
        logging.getLogger("holdfast.telethon.a").error("lost: %s", text)
        try:
            raise ValueError(text)
        except ValueError:
            logging.getLogger("users").exception("failed")
            event_logger("holdfast.handlers").exception("handler_failed", account="A", handler="f", failures=1)
            event_logger("holdfast.session").warning("session_waits", account="A", path="a", detail=text, unsaved=1)
        logs.standard_logger("users").warning("their_event", value=text, phone=PHONE, more={"password": "hunter2"})
        logs.standard_logger("holdfast.connection").warning(
            "connection_lost", failure="Unexpected", account="A", detail=text
        )
    said = (tmp_path / "engine.log").read_text() + (tmp_path / "telethon.log").read_text()
    assert not [secret for secret in SECRETS if secret in said], said
    assert "Traceback" in said
    if as_json:
        assert all(map(json.loads, said.splitlines()))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_record_has_them(text: str) -> None:
    """What an exception says becomes the detail of an event, its chain, and a job's error without what it quotes."""
    cause = RuntimeError(text)
    try:
        raise ValueError(f"it failed: {text}") from cause
    except ValueError as exc:
        failure, raised = classify(exc), classify_job_error(exc, None)
        said = f"{failure} {chain_of(exc)} {classify(RPCError(None, text, 400))}"
    assert isinstance(raised, Raised)
    said += f" {raised.detail} {raised.error if hasattr(raised, 'error') else attrs.asdict(raised)}"
    assert not [secret for secret in SECRETS if secret in said], said


def filled() -> Contents:
    """Return a session's contents with everything in it."""
    contents = Contents()
    contents.set_identity(dc_id=2, address="h", port=1, key=b"KeyKeyKey" * 28)
    contents.put_entities([(777, int(HASH), "bob", PHONE, "Bob")], 1)
    contents.put_file((b"KeyKeyKey", 5, 1), (5577006791947, int(HASH)))
    contents.find(2, PHONE)
    return contents


def test_no_repr_shows_what_is_in_a_session(tmp_path: Path) -> None:
    """A debugger, a traceback with locals or an f-string of a session's parts names no person and no key."""
    contents = filled()
    session = HoldfastSession(str(tmp_path / "a"))
    session.auth_key = AuthKey(b"KeyKeyKey" * 28 + b"1234")
    session.process_entities(
        types.contacts.ResolvedPeer(types.PeerUser(1), [], [types.User(id=1, access_hash=int(HASH), phone=PHONE)])
    )
    string = StringSession()
    dirty, changes = contents.take()
    connector = TelegramConnector(session=tmp_path / "b.session", api_id=5, api_hash=API_HASH)
    parts: list[Any] = [
        contents, contents.identity, contents.dirty, dirty, changes, contents._index(2), session, string, connector,
        session.auth_key, connector.memory, Proxy("http", "h", 1, user="alice", password="Tr0ub4dor"),
        ByCode(f"+{PHONE}"), AsBot(TOKEN), Datacenter(2, "h", 1, "KeyKeyKey"),
    ]  # fmt: skip
    parts += [value for part in tuple(parts) for value in getattr(part, "__dict__", {}).values()]
    shown = " ".join(repr(part) for part in parts if not isinstance(part, str | bytes | int | dict | list | tuple))
    session.close()
    assert not [secret for secret in SECRETS if secret in shown], shown


def test_a_traceback_with_locals_shows_no_session(tmp_path: Path) -> None:
    """Tools that print the values of variables meet reprs that are safe."""
    contents, out = filled(), io.StringIO()
    try:
        assert contents is None
    except AssertionError as exc:
        trace = traceback.TracebackException.from_exception(exc, capture_locals=True)
        out.write("".join(trace.format()))
    assert "Contents: 1 entities" in out.getvalue()
    assert not [secret for secret in SECRETS if secret in out.getvalue()]


def test_values_of_events_are_redacted_in_depth() -> None:
    """Lists and mappings inside an event are looked through."""
    value = {"a": [f"+{PHONE}", {"password": "x", "n": 5}], "token": "abc", "key": b"KeyKeyKey", "none": None}
    assert redacted_value(value) == {"a": ["+…", {"password": "…", "n": 5}], "token": "…", "key": "…", "none": None}


KEY = bytes(range(7, 263 - 7)) + b"\xfe" * 7
STRING = StringSession(
    "1" + base64.urlsafe_b64encode(b"\x02" + bytes(4) + b"\x01\xbb" + random.Random(5).randbytes(256)).decode()
)
WRITTEN = {
    "digits with blanks": ("call +49 151 1234 5678 now", "1234 5678"),
    "digits with brackets": ("+1 (202) 555-0143 and +1-202-555-0143", "555-0143"),
    "a trunk prefix": ("+44 (0) 20 7946 0958", "7946"),
    "digits with dots": ("+49.151.1234.5678", "1234.5678"),
    "digits with slashes": ("+49/151/12345678", "12345678"),
    "blanks of a page": ("+49\u00a0151\u00a012345678", "12345678"),
    "blanks that nobody sees": ("+49\u200b151\u200b12345678", "12345678"),
    "a wide plus": ("\uff0b4915112345678", "12345678"),
    "an escaped plus": ("\\u002b4915112345678, number=%2B4915112345678", "12345678"),
    "other digits": ("+" + "".join(chr(0x660 + int(each)) for each in "4915112345678"), chr(0x661) * 2),
    "the prefix of a call": ("0049 151 12345678", "12345678"),
    "a number without plus": ("phone number is 4915112345678; PhoneNumberInvalidError 4915112345678", "12345678"),
    "a hash of mixed letters": ("0123456789ABCdef0123456789abcdEF", "89ABCdef"),
    "a hash in a word": ("key0123456789abcdef0123456789abcdefend", "89abcdef"),
    "a hash at a sentence's end": ("hash 1234567890123456789.", "1234567890123456789"),
    "an encoded token": ("7000000001%3AAAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw", "AAHdq"),
    "a part of a login": (STRING.save()[:150], STRING.save()[20:60]),
    "a wrapped login": ("\n".join(textwrap.wrap(STRING.save(), 70)), STRING.save()[80:120]),
    "a password with @ and /": ("socks5://me:p@ss/w0rd@10.0.0.1:1080", "w0rd"),
    "a password with blanks": ("socks5://me:pa ss@10.0.0.1:1080", "pa ss"),
    "a proxy without scheme": ("me:hunter22@10.0.0.1:1080 or 10.0.0.1:1080:me:hunter22", "hunter22"),
    "a proxy of PySocks": ("('socks5', '10.0.0.1', 1080, True, 'me', 'hunter22')", "hunter22"),
    "a proxy of an enumeration": ("(<ProxyType.SOCKS5: 2>, '10.0.0.1', 1080, True, 'me', 'hunter22')", "hunter22"),
    "a line of YAML": ("bot_token: hunter22\npassword: hunter22", "hunter22"),
    "a quoted value of YAML": ('api_hash: "hunter"', "hunter"),
    "capital letters": ("PASSWORD=hunter22 'Password': 'hunter22' apiHash=hunter22 api-hash=hunter22", "hunter22"),
    "a header": ("Proxy-Authorization: Basic bWU6aHVudGVyMjI=", "bWU6"),
    "a login code": ("code=54321; Login code: 54321. code is 5-4-3-2-1", "4321"),
    "a login code with dashes": ("Your code: 5-4-3-2-1.", "3-2-1"),
    "a private key": ("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabcd1234\n-----END RSA", "abcd1234"),
    "a key in pairs": (f"{KEY.hex(' ')} {KEY.hex(':')}", KEY.hex(" ")[30:60]),
    "a key in one word": (f"0x{KEY.hex()}", KEY.hex()[30:60]),
    "a key as numbers": (f"{list(KEY)}", f"{list(KEY)}"[40:80]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "secret"), WRITTEN.values(), ids=WRITTEN)
def test_it_does_not_matter_how_a_secret_is_written(text: str, secret: str) -> None:
    """People, pages and other programs write numbers, keys and passwords in many ways."""
    for given in (text, f"it failed ({text}); see {text}", f"{text}\n{text}"):
        assert secret not in redacted(given), redacted(given)


@pytest.mark.parametrize(
    "text",
    [
        "jitter +0.1234567890, +1.234567891 s; waits 60, 75, 90, 120, 120 s; exit code 141, code 500: INTERNAL",
        "https://docs.telethon.dev/en/stable/@x and https://example.org:8443/a/b; see user@example.org",
        "at 2026-11-29T03:00:00+00:00 2026-11-29T04:00:00+01:00; 0.0012345678; 10.0.0.1:1080: connection refused",
        "the token: it is expired; wrong password: log in again; phone: none",
        "/tmp/pytest-of-root/pytest-12/test_it_does_not_matter_how_a_secret_is_written_0/data/logs/engine.log",
        "a handler at 0x7f3c5e2a1b40; 3f2a9b0c-1234-4abc-8def-0123456789ab; sqlite3.OperationalError: code 2067",
    ],
)
def test_what_resembles_a_secret_stays(text: str) -> None:
    """Numbers with a sign, addresses, paths and identifiers of objects are needed to mend anything."""
    assert redacted(text) == text


def test_an_object_among_the_fields_is_redacted_too(tmp_path: Path) -> None:
    """An exception, a set or a mapping's key that is written as JSON, and a key with other capitals."""
    with logs.opened(tmp_path, recent=None, as_json=True):
        logs.standard_logger("users").warning(
            "theirs",
            error=ValueError("api_hash=hunter22"),
            several={"password=hunter22"},
            apiHash="hunter22",
            more={"my_Password": "hunter22", "token=hunter22": 1, 5: float("inf"), "odd": {(1, 2): "secret=hunter22"}},
        )
    said = (tmp_path / "engine.log").read_text()
    assert "theirs" in said
    assert "hunter22" not in said
