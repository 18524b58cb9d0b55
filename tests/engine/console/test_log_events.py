"""The events of the log: every call has its entry, every entry a call, and the renderer its manners."""

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.console import logs
from engine.console.messages import LOG_EVENTS, events_of, render
from tests.engine.console.walk import stalls, steps
from tools.log_reference import PAGE, events, page

ROOT = Path(__file__).resolve().parents[3]
METHODS = ("debug", "info", "warning", "error", "exception")
ALL = {event.name: event for event in events()}
OF_CONNECTIONS = {name for name, event in ALL.items() if event.logger == "holdfast.connection"}
OF_REFUSED_GAPS = {"gap_incomplete", "gap_closed"}
"""Their lines have a test of their own; the walk, whose lines are golden, is older."""


def _calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Yield each call of a log: the file, the method, the call."""
    for folder in ("engine", "adapters"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.is_relative_to(ROOT / "adapters" / "sandbox"):
                continue  # a process of its own, with a plain log file of its own
            text = path.read_text("utf-8")
            if "log." not in text:
                continue  # to parse all takes a second of every run, of each of its workers
            for node in ast.walk(ast.parse(text)):
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "journal_log"), attr=attr)):
                        yield str(path.relative_to(ROOT)), attr, node


CALLS = [(file, method, call) for file, method, call in _calls() if method in METHODS]


def _name(call: ast.Call) -> str:
    return str(ast.literal_eval(call.args[0])) if isinstance(call.args[0], ast.Constant) else ""


@pytest.mark.parametrize(
    ("file", "method", "call"), [pytest.param(*each, id=f"{each[0]}:{each[2].lineno}") for each in CALLS]
)
def test_a_call_has_a_known_event_and_fields(file: str, method: str, call: ast.Call) -> None:
    """A name that is listed, at its level, with fields that are documented, and neither prose nor an icon."""
    if file == "engine/work/ready_queues.py" and not isinstance(call.args[0], ast.Constant):
        return  # one call for two events, which the test of the lines has
    assert len(call.args) == 1
    event = ALL[_name(call)]
    assert event.level == ("error" if method == "exception" else method)
    given = {keyword.arg for keyword in call.keywords if keyword.arg not in (None, "exc_info")}
    assert given <= event.fields.keys()
    if not any(keyword.arg is None for keyword in call.keywords):
        assert given >= event.fields.keys() - {"exception"}


def test_every_event_is_logged_somewhere() -> None:
    """The list has no event that never comes."""
    source = "".join(
        path.read_text("utf-8")
        for folder in ("engine", "adapters")
        for path in (ROOT / folder).rglob("*.py")
        if not path.name.startswith("log_")
    )
    source += (ROOT / "engine/work/job_log.py").read_text("utf-8")
    missing = [name for name in ALL if f'"{name}"' not in source and not name.startswith("alert_")]
    assert not missing


def test_the_walk_meets_every_event_of_a_connection() -> None:
    """The golden lines have all of them, with the fields that the list promises."""
    met: dict[str, set[str]] = {}
    for account, decision in (*steps(), *stalls()):
        for level, name, fields in events_of(account, decision):
            met.setdefault(name, set()).update(fields)
            assert logging.getLevelName(level).lower() in LOG_EVENTS[name].level or "concerns_all" in fields
    assert met.keys() == OF_CONNECTIONS - OF_REFUSED_GAPS
    for name, fields in met.items():
        assert fields <= LOG_EVENTS[name].fields.keys() | {"concerns_all"}
        assert LOG_EVENTS[name].fields.keys() - fields <= {"concerns_all"}, name


@pytest.mark.parametrize("name", ALL)
def test_names_are_plain_words(name: str) -> None:
    """Names and fields are words with underscores; none takes the place of what each record has."""
    event = ALL[name]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", field) for field in event.fields)
    assert logs.OF_RECORDS.isdisjoint(event.fields)
    assert event.logger.startswith("holdfast.")


def test_no_name_stands_twice() -> None:
    """A name says one thing."""
    assert len(ALL) == len(events())


def test_the_page_is_what_the_events_say() -> None:
    """The documented list cannot go stale."""
    assert PAGE.read_text("utf-8") == page(), "run: python -m tools.log_reference"


LINES = [
    ("engine_starting", {"accounts": 3, "config": "c.yaml"}, "🔍 Starting 3 accounts from c.yaml"),
    (
        "files_not_private",
        {"path": "a.session", "others": 0, "command": "doctor --fix"},
        "⚠️ Others can use a.session; this mends it: doctor --fix",
    ),
    (
        "files_not_private",
        {"path": "a.session", "others": 2, "command": "doctor --fix"},
        "⚠️ Others can use a.session and 2 more session files or directories; this mends it: doctor --fix",
    ),
    ("signal_received", {"signal": 15}, "Received signal 15. Initiating graceful shutdown"),
    ("duration_over", {"duration": 20.0}, "Ran for 20 s, as asked. Initiating graceful shutdown"),
    ("engine_failed", {"detail": "engine.db {is} locked"}, "❌ engine.db {is} locked"),
    (
        "grace_exceeded",
        {"grace": 15.0},
        "❌ Not every account could be closed within the grace; its connection was dropped",
    ),
    ("start_abandoned", {}, "✅ Stopped before any account was started"),
    ("engine_stopped", {}, "✅ Stopped"),
    ("journal_rows_lost", {"rows": 3}, "💾 3 rows of the journal could not be saved in time"),
    ("retention_failed", {"detail": "locked"}, "💾 Old entries of the journal are not deleted for now: locked"),
    (
        "life_failed",
        {"account": "Account 1", "exception": "Traceback\nValueError"},
        "❌ An error in the engine itself ended this life; a new one follows account='Account 1'\n"
        "Traceback\nValueError",
    ),
    (
        "clock_jumped",
        {"seconds": 7200.0},
        "🔍 The clock jumped ahead by 2 h: the machine slept, or its clock was set. "
        "Every account is asked whether it still answers",
    ),
    (
        "clock_jumped",
        {"seconds": -61.0},
        "🔍 The clock jumped back by 1 min 1 s: the machine slept, or its clock was set. "
        "Every account is asked whether it still answers",
    ),
    (
        "credentials_watch_failed",
        {},
        "❌ An error in the engine itself kept it from looking at the session files",
    ),
    (
        "control_unreachable",
        {"path": "d/engine.sock", "detail": "permission denied"},
        "❌ d/engine.sock: pause, resume and retry cannot reach this engine (permission denied); it "
        "is tried again, and the accounts go on. If it lasts, give storage.directory a place where sockets can be made",
    ),
    (
        "command_not_heard",
        {"detail": "too many open files"},
        "⚠️ A command could not be heard: too many open files; commands wait until it can, and the accounts go on",
    ),
    ("command_failed", {"exception": "Traceback"}, "❌ An error in the engine itself ended a command\nTraceback"),
    ("jobs_wait", {"delay": 5.0, "detail": "the disk is full"}, "💾 Jobs wait for 5 s: the disk is full"),
    (
        "job_stuck",
        {"job": 17, "kind": "send", "account": "A", "cancellations": 3},
        "❌ Job 17 (send) of A does not end although it was cancelled 3 times; it is left alone, and not started again "
        "before the engine is. Its function must let CancelledError through",
    ),
    (
        "loop_stalled",
        {"running": "job 17 (send) of A", "account": "A", "still": 1.3, "stack": '  File "x"\n    f()'},
        "❌ The loop has stood still for 1.3 s in job 17 (send) of A; nothing else ran meanwhile: "
        'let anyio.to_thread.run_sync do what takes so long\n  File "x"\n    f()',
    ),
    (
        "loop_behind",
        {"running": "a callback", "account": None, "still": 1.3, "stack": ""},
        "⚠️ The loop is 1.3 s behind with many things, now in a callback\n",
    ),
    ("loop_resumed", {"running": "a callback", "took": 1.3}, "✅ The loop went on after 1.3 s in a callback"),
    (
        "job_thrown_out",
        {"running": "job 17 (send) of A", "still": 30.2},
        "❌ Throwing out job 17 (send) of A: the loop has stood still for 30 s",
    ),
    ("sandbox_starting", {}, "🔍 Starting the sandbox datacenter; the first time it makes its keys"),
    ("sandbox_listening", {"port": 4430}, "🔍 The sandbox datacenter listens on 127.0.0.1:4430"),
    ("sandbox_group_filled", {"group": "talk", "messages": 9}, "🔍 The sandbox wrote 9 messages into @talk"),
    ("sandbox_logged_in", {"account": "A"}, "🔑 Logged in A at the sandbox, as a test number"),
    ("sandbox_login_failed", {"account": "A", "detail": "no"}, "🔑 A cannot log in at the sandbox: no"),
    ("sandbox_scenario_failed", {"detail": "no"}, "❌ The scenario is not played: no"),
    (
        "sandbox_ended",
        {"exit_code": -9},
        "❌ The sandbox datacenter ended by itself (exit code -9); restart the engine to have it again",
    ),
]


@pytest.mark.parametrize(("name", "fields", "line"), LINES)
def test_a_line_is_as_people_know_it(name: str, fields: dict[str, Any], line: str) -> None:
    """Icon and sentence of what needs a whole engine, and so is not among the golden lines."""
    assert render(name, fields) == line


def test_an_event_of_the_user_s_own_is_its_name_and_its_fields() -> None:
    """With an icon if it has one, sorted fields, and the exception below."""
    fields = {"event": "saved it", "rows": 3, "by": "me", "icon": "💾", "exception": "Traceback"}
    assert render("saved it", fields) == "💾 saved it by='me' rows=3\nTraceback"


@pytest.mark.parametrize("fields", [{}, {"account": "A", "took": "long", "attempt": 1, "via": ""}])
def test_a_known_name_with_other_fields_is_the_user_s(fields: dict[str, Any]) -> None:
    """No line is lost because two programs chose one name."""
    assert render("connected", fields).startswith("connected")


@pytest.mark.parametrize(
    "text",
    ["a\nb", "a\r\x1b[31mb", "a\u2028b", "a\u202eb", "a\udc80b", "a\x00b"],
    ids=["line", "colour", "separator", "direction", "half", "null"],
)
def test_foreign_text_breaks_no_line(text: str) -> None:
    """What a server says can neither begin a line of its own nor colour the terminal."""
    line = render("sandbox_login_failed", {"account": "A", "detail": text})
    assert len(line.splitlines()) == 1
    assert line.endswith(f"sandbox: {text!r}".replace("'", ""))


def test_text_in_other_scripts_stays_as_it_is() -> None:
    """Escaped is only what could do harm: emoji of several characters and no-break spaces are left alone."""
    text = "日本 🙂 👩\u200d🚀 1\u00a0000\n"
    assert render("engine_failed", {"detail": text}) == "❌ 日本 🙂 👩\u200d🚀 1\u00a0000\\n"


def test_routine_has_no_event() -> None:
    """A quiet decision costs nothing."""
    quiet = [(account, decision) for account, decision in steps() if decision.record.quiet]
    assert quiet
    assert all(events_of(account, decision) == [] for account, decision in quiet)
