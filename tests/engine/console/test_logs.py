"""Where log events go: files and stderr, as text or JSON, by levels; and to whatever a program has set up itself."""

import json
import logging
import re
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog

from adapters.log_events import event_logger
from engine.console import logs

TELETHON = "holdfast.telethon.account1"


def speak() -> None:
    """Log something of every origin."""
    log = structlog.get_logger("holdfast.jobs")
    log.info("job_interrupted", account="Account 1", job=17, kind="send", detail="the connection\nis not healthy")
    log.debug("stable", account="Account 1")
    structlog.get_logger("holdfast.connection").debug("stable", account="Account 1")
    try:
        raise ValueError("it fell")
    except ValueError:
        log.exception("command_failed")
        event_logger("holdfast.handlers").exception("handler_failed", account="A", handler="f", failures=1)
        logging.getLogger("users").exception("their %s", "own")
    logging.getLogger(TELETHON).warning("closed %s", 7)
    logging.getLogger(TELETHON).info("chatter")
    structlog.get_logger("users").warning("their event", path=Path("a"), name="n", nothing=None, far=float("inf"))


def written(directory: Path, name: str = "engine.log") -> list[dict[str, Any]]:
    """Return the JSON lines of a file."""
    return [json.loads(line) for line in (directory / name).read_text("utf-8").splitlines()]


def test_json_lines_have_the_fields(tmp_path: Path) -> None:
    """Time, level, logger, event, and the event's own; one object on each line, whatever is in it."""
    with logs.opened(tmp_path, recent=logs.RecentLines(), as_json=True):
        speak()
    job, command, handler, own, other = written(tmp_path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", job.pop("timestamp"))
    assert job == {
        "level": "info",
        "logger": "holdfast.jobs",
        "event": "job_interrupted",
        "account": "Account 1",
        "job": 17,
        "kind": "send",
        "detail": "the connection\nis not healthy",
    }
    assert (command["event"], command["level"]) == ("command_failed", "error")
    assert command["exception"].endswith("ValueError: it fell")
    assert (handler["logger"], handler["event"], handler["account"]) == ("holdfast.handlers", "handler_failed", "A")
    assert handler["exception"].endswith("ValueError: it fell")
    assert (own["logger"], own["event"]) == ("users", "their own")
    assert own["exception"].startswith("Traceback")
    del other["timestamp"]
    assert other == {
        "level": "warning",
        "logger": "users",
        "event": "their event",
        "path": "a",
        "name": "n",
        "nothing": None,
        "far": "inf",
    }


def test_what_telethon_says_is_json_too(tmp_path: Path) -> None:
    """In a file of its own, from its level on."""
    with logs.opened(tmp_path, recent=logs.RecentLines(), as_json=True):
        speak()
    (line,) = written(tmp_path, "telethon.log")
    assert (line["logger"], line["level"], line["event"]) == (TELETHON, "warning", "closed 7")


def test_text_lines_have_time_level_and_sentence(tmp_path: Path) -> None:
    """With each traceback once, and Telethon's lines with their logger."""
    with logs.opened(tmp_path, recent=logs.RecentLines()):
        speak()
    text = (tmp_path / "engine.log").read_text("utf-8")
    first, *_ = text.splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d - INFO - 🔄 Job 17 \(send\) of Account 1 goes on later: "
        r"the connection\\nis not healthy",
        first,
    )
    assert "- ERROR - ❌ The handler f failed on an update of A (1 so far)\nTraceback" in text
    assert "- ERROR - ❌ An error in the engine itself ended a command\nTraceback" in text
    assert text.count("ValueError: it fell") == 3
    assert "- WARNING - their event far=inf name='n' nothing=None path=" in text
    telethon = (tmp_path / "telethon.log").read_text("utf-8")
    assert telethon.endswith(f"- WARNING - {TELETHON} - closed 7\n")


@pytest.mark.parametrize("as_json", [False, True])
def test_stderr_has_the_lines_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    """Where no live table shows them."""
    stderr = StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    with logs.opened(tmp_path, recent=None, as_json=as_json):
        speak()
    assert stderr.getvalue() == (tmp_path / "engine.log").read_text("utf-8")


def test_the_live_table_has_text_whatever_the_file_has(tmp_path: Path) -> None:
    """JSON is for programs."""
    recent = logs.RecentLines()
    with logs.opened(tmp_path, recent=recent, as_json=True):
        speak()
    level, line = recent.lines[0]
    assert level == logging.INFO
    assert line.endswith("- INFO - 🔄 Job 17 (send) of Account 1 goes on later: the connection\\nis not healthy")


def test_levels_are_of_loggers_and_end_with_the_log(tmp_path: Path) -> None:
    """One logger says more, one less, the others what they always say; afterwards all is as it was."""
    levels = {"holdfast.connection": logging.DEBUG, "holdfast.jobs": logging.ERROR, TELETHON: logging.INFO}
    before = {name: logging.getLogger(name).level for name in levels}
    with logs.opened(tmp_path, recent=logs.RecentLines(), as_json=True, levels=levels):
        speak()
    assert [(line["logger"], line["event"]) for line in written(tmp_path)] == [
        ("holdfast.connection", "stable"),
        ("holdfast.jobs", "command_failed"),
        ("holdfast.handlers", "handler_failed"),
        ("users", "their own"),
        ("users", "their event"),
    ]
    assert [line["event"] for line in written(tmp_path, "telethon.log")] == ["closed 7", "chatter"]
    assert {name: logging.getLogger(name).level for name in levels} == before


def test_a_record_has_the_fields_as_attributes(caplog: pytest.LogCaptureFixture) -> None:
    """A program that has set up the standard library's log gets the line as the message, and the fields beside it."""
    logs.configure()
    with caplog.at_level(logging.INFO):
        speak()
    record: Any = caplog.records[0]
    assert record.getMessage().startswith("🔄 Job 17 (send) of Account 1 goes on later")
    assert (record.event, record.account, record.job) == ("job_interrupted", "Account 1", 17)
    handler: Any = next(each for each in caplog.records if each.name == "holdfast.handlers")
    assert (handler.event, handler.account, handler.failures) == ("handler_failed", "A", 1)
    own = next(each for each in caplog.records if each.name == "users" and "their event" in each.getMessage())
    assert "name='n'" in own.getMessage()


def test_a_program_that_has_set_up_structlog_gets_the_events() -> None:
    """Its processors see names and fields, whichever module logs them."""
    seen: list[MutableMapping[str, Any]] = []

    def keep(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        seen.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    structlog.get_logger("holdfast.jobs").info("job_cancelled", account="Account 1", job=17, kind="send")
    assert seen == [{"event": "job_cancelled", "account": "Account 1", "job": 17, "kind": "send"}]


def test_a_json_line_is_one_line_on_any_terminal() -> None:
    """What a program or a terminal could take for the end of a line, or obey, is escaped, and read back as it was."""
    text = "a\u2028b\x9b31mc\u202ed\x7fe 日本 👩\u200d🚀"
    line = logs.JsonLines().format(logging.makeLogRecord({"msg": text}))
    assert len(line.splitlines()) == 1
    assert "日本 👩\u200d🚀" in line
    assert not set(line) & set("\x9b\u202e\x7f")
    assert json.loads(line)["event"] == text


@pytest.mark.parametrize("lines", [logs.TextLines(), logs.JsonLines()], ids=["text", "json"])
def test_text_that_no_file_can_hold_is_written_all_the_same(tmp_path: Path, lines: logging.Formatter) -> None:
    """Half a character of a broken name is escaped and costs no line."""
    handler = logs._file(tmp_path / "engine.log", lines, lambda _: True, logs.RecentLines())
    handler.handle(logging.makeLogRecord({"msg": "a name with \udc80 in it", "name": "users"}))
    handler.close()
    assert "a name with \\udc80 in it" in (tmp_path / "engine.log").read_text("utf-8")


HOSTILE = {
    "line": "a\nb",
    "colour": "a\x1b[31mb",
    "direction": "a\u202eb",
    "half": "a\ud800b",
    "null": "a\x00b",
}


@contextmanager
def opened_alone(directory: Path, **options: Any) -> Iterator[None]:
    """Open the log without pytest's own handlers: they raise at a wrong call, and cannot carry half a character."""
    root = logging.getLogger()
    others, root.handlers = root.handlers, []
    try:
        with logs.opened(directory, **options):
            yield
    finally:
        root.handlers = others


class Weird:
    """A value whose text and repr cannot be had."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("structured", [False, True], ids=["logging", "structlog"])
def test_a_line_of_the_user_s_code_is_one_line_everywhere(tmp_path: Path, text: str, *, structured: bool) -> None:
    """A message from the internet that a module logs forges no line and colours nothing, in the file or the table."""
    recent = logs.RecentLines()
    with opened_alone(tmp_path, recent=recent):
        if structured:
            structlog.get_logger("users").warning(f"got {text}", text=text)
        else:
            logging.getLogger("users").warning("got %s", text)
    [line] = (tmp_path / "engine.log").read_text("utf-8").splitlines()
    assert [shown for _, shown in recent.lines] == [line]
    assert f"got {text!r}".replace("'", "") in line
    assert line.isprintable()


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_wrong_log_call_of_the_user_s_code_costs_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, as_json: bool
) -> None:
    """Arguments that do not fit, and values without a repr, are told in the log, and raise and print nothing."""
    stderr = StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    with opened_alone(tmp_path, recent=None, as_json=as_json):
        logging.getLogger("users").warning("bad args %d", "x")
        logging.getLogger("users").warning("weird %s", Weird())
        structlog.get_logger("users").warning("weird", value=Weird())
    lines = (tmp_path / "engine.log").read_text("utf-8").splitlines()
    assert stderr.getvalue().splitlines() == lines
    assert len(lines) == 3
    assert "bad args %d" in lines[0]
    assert "this log call is wrong: TypeError" in lines[0]
    assert all("Weird: its repr raises RuntimeError" in line for line in lines[1:]), lines


def test_a_traceback_keeps_its_lines_and_nothing_else(tmp_path: Path) -> None:
    """What an exception says below a line of the user's code colours nothing."""
    with logs.opened(tmp_path, recent=None):
        try:
            raise ValueError("a\x1b[31mb")
        except ValueError:
            logging.getLogger("users").exception("it fell")
            structlog.get_logger("users").exception("it fell")
    text = (tmp_path / "engine.log").read_text("utf-8")
    assert text.count("ValueError: a\\x1b[31mb") == 2
    assert "\x1b" not in text
