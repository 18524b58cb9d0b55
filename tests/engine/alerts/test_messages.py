"""What messages say: a person on a phone understands who, since when, what it means, and what to do."""

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve

from engine.alerts.messages import MAX_LINES, compose
from states.alerts import KINDS, About, ChannelAlert, MessageKind

SINCE = 1_764_410_700.0  # 2025-11-29 10:05:00 UTC
NOW = SINCE + 840


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Live in UTC for the test."""
    monkeypatch.setitem(os.environ, "TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def alert(
    message: MessageKind = MessageKind.OPENED, *, number: int = 12, kind: str = "needs_person", **values: Any
) -> ChannelAlert:
    given = {
        "since": SINCE,
        "opened": SINCE,
        "severity": "critical" if kind == "needs_person" else "warning",
        "accounts": ("Account 1",),
        "accounts_total": 1,
        "meaning": "its login is dead, so nothing is sent",
        "action": "log in again",
        "detail": "AuthRejected: the key was revoked",
    } | values
    return ChannelAlert(channel="c", about=About(id=number, kind=kind, **given), message=message, due=NOW)


def test_the_first_message_says_everything() -> None:
    """Who, since when, what happened, what it means, what to do, and how to hear no more of it."""
    letter = compose([alert()], NOW, "config.yaml")
    assert letter.subject == "❌ Account 1 needs you: log in again"
    assert letter.tone == "failure"
    assert letter.body.splitlines() == [
        "Who: Account 1",
        "Since: 2025-11-29 10:05:00 (UTC+0000), 14 min ago",
        "What happened: AuthRejected: the key was revoked",
        "What it means: its login is dead, so nothing is sent",
        "What to do: log in again",
        "",
        "Incident 12. To hear no more of it: python -m engine incidents ack config.yaml 12",
    ]


def test_the_closing_message_says_how_long_it_was_and_what_was_missed() -> None:
    """And that there is nothing to do."""
    ended = alert(MessageKind.CLOSED, kind="outage", closed=NOW, missed="3 updates were fetched late")
    letter = compose([ended], NOW + 60, "config.yaml")
    assert letter.subject == "✅ Over: Account 1 had no connection (it lasted 14 min)"
    assert letter.tone == "success"
    assert letter.body.splitlines() == [
        "Who: Account 1",
        "When: from 2025-11-29 10:05:00 (UTC+0000) to 2025-11-29 10:19:00 (UTC+0000), 14 min in all",
        "What happened: AuthRejected: the key was revoked",
        "What was missed: 3 updates were fetched late",
        "What to do: nothing, it is over",
        "",
        "Incident 12",
    ]


def test_a_fleet_is_counted() -> None:
    """Fifty accounts behind one proxy are a number in the subject, and some names in the body."""
    names = tuple(f"A{number}" for number in range(50))
    letter = compose([alert(kind="outage", fleet=True, accounts=names, accounts_total=50)], NOW)
    assert letter.subject == "⚠️ 50 accounts have no connection"
    assert letter.body.splitlines()[0].endswith("A19 and 30 more (50 accounts)")


@pytest.mark.parametrize(
    ("accounts", "who"),
    [((), "the fleet"), (("A",), "A"), (("A", "B"), "A and B"), (("A", "B", "C", "D"), "A, B, C and 1 more")],
)
def test_a_few_accounts_are_named(accounts: tuple[str, ...], who: str) -> None:
    """As a person would say it."""
    letter = compose([alert(kind="flapping", accounts=accounts, accounts_total=len(accounts))], NOW)
    assert letter.subject == f"⚠️ the connection of {who} comes and goes"


@pytest.mark.parametrize("message", MessageKind)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_message(kind: str, message: MessageKind) -> None:
    """Each with a subject of one line that fits a phone, and a body."""
    closed = NOW if message is MessageKind.CLOSED else None
    letter = compose([alert(message, kind=kind, cause="send", closed=closed)], NOW)
    assert len(letter.subject) < 120
    assert "\n" not in letter.subject
    assert letter.body.count("\n") >= 4


def test_nothing_foreign_breaks_a_message() -> None:
    """Names and errors are hostile: no line break, no escape, no endless text, no secret in any part of it."""
    evil = "x\nSubject: pwned\x1b[2J\u202e" + "y" * 10_000
    secret = "token=verysecretvalue https://user:verysecretvalue@example.org"
    values = {"accounts": (evil,), "detail": secret, "meaning": secret, "action": evil, "cause": secret}
    for kind in KINDS:
        letter = compose([alert(kind=kind, **values)], NOW)
        for text in (letter.subject, *letter.body.splitlines()):
            assert text.isprintable()
            assert len(text) < 2_000
        assert "\nSubject" not in letter.body
        assert "verysecretvalue" not in letter.subject + letter.body + letter.data.decode()


def test_a_digest_has_a_line_for_each_incident() -> None:
    """What needs somebody comes first; of very many, the numbers are there."""
    alerts = [alert(kind="outage", number=number) for number in range(60)] + [alert(number=99)]
    letter = compose(alerts, NOW, "config.yaml")
    lines = letter.body.splitlines()
    assert letter.subject == "❌ 61 messages at once, the first: Account 1 needs you: log in again"
    assert lines[2] == ("❌ Account 1 needs you: log in again – since 2025-11-29 10:05:00 (UTC+0000), incident 99")
    assert len(lines) == MAX_LINES + 5
    assert "and 21 more, incidents 39, 40" in letter.body
    assert lines[-1] == "All of them, with what to do: python -m engine incidents config.yaml"


def test_programs_get_json() -> None:
    """With what the message tells of each incident."""
    found = json.loads(compose([alert()], NOW).data)
    assert found["subject"] == "❌ Account 1 needs you: log in again"
    (incident,) = found["incidents"]
    assert {
        "message": "opened",
        "id": 12,
        "kind": "needs_person",
        "accounts": ["Account 1"],
    }.items() <= incident.items()
    assert incident["since"] == SINCE


def test_a_message_that_is_tried_again_has_the_same_key() -> None:
    """However much later; the next message of the incident has another one."""
    first, later = compose([alert()], NOW), compose([evolve(alert(), tries=3)], NOW + 500)
    assert first.key == later.key
    assert compose([alert(MessageKind.REPEATED)], NOW).key != first.key


def test_half_characters_break_nothing() -> None:
    """A file name can have them, and so can an account that is called after its file."""
    letter = compose([alert(accounts=("a\udcff",), detail="\ud800")], NOW)
    json.loads(letter.data)
    letter.body.encode("utf-8")
    letter.subject.encode("utf-8")
