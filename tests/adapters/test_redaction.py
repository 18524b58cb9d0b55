"""What looks like a secret or a phone number stands in no text, whoever quotes it; ordinary words stay."""

import io
import json
import logging
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
    "a key": f"AuthKey({b'KeyKeyKey' * 28!r})",
    "a key's hex": f"key {(b'KeyKeyKey' * 28).hex()} {API_HASH}",
    "a string session": f"StringSession({'1BVtsOK8Bu' + 'Q9kLmZx7Pw2Rt5Yb8Vn3Cd6Fg1Hj4Ks0' * 10})",
}
ORDINARY = (
    "🔌 Network error for Account 1: connection to 149.154.167.91:443 refused at 2026-11-29 03:00:00.123456+00:00",
    "Job 1234567 (send) of News is done after 12345 s, 1,234,567 of 2,000,000",
    "SESSION_PASSWORD_NEEDED (401); PHONE_NUMBER_INVALID (400); the token is expired: see @BotFather",
    "chat -1001234567890, user 7123456789, message 123456",
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
