"""Log lines that go from a worker to its parent."""

import json
import logging
import os
from pathlib import Path

import pytest
import structlog

from engine.console import logs
from engine.console.log_relay import record_of
from engine.workers.output import PipeLines


def lines_of(tmp_path: Path, *, as_json: bool) -> list[str]:
    """Have a worker say some things, and return what its parent has written of them."""
    reader, writer = os.pipe()
    with logs.relayed(writer):
        log = structlog.get_logger("holdfast.node")
        log.info("node_accounts_claimed", count=3, accounts=9)
        log.info("of_the_user", value={1: {"two"}}, odd=float("inf"))
        try:
            raise ValueError("a secret: 0123456789abcdef0123456789abcdef\x1b[2J")
        except ValueError:
            logging.getLogger("somebody").exception("it broke\x07")
    os.close(writer)
    with logs.opened(tmp_path, recent=None, as_json=as_json), open(reader, "rb") as pipe:
        for line in PipeLines().feed(pipe.read()):
            record = record_of(line, 2)
            assert record is not None, line
            logging.getLogger().handle(record)
    return (tmp_path / "engine.log").read_text("utf-8").splitlines()


def test_a_line_is_as_the_worker_would_have_written_it_and_says_which_one(tmp_path: Path) -> None:
    """The text of an event, of the user's own, and of another library with its traceback; nothing hostile in it."""
    text = lines_of(tmp_path, as_json=False)
    assert all(" - worker 2 - " in line for line in text if line[:2] == "20")
    assert text[0].endswith("- INFO - worker 2 - 🔍 This node has taken accounts: 3; it has 9 now"), text[0]
    assert any("of_the_user" in line for line in text)
    assert any("ERROR - worker 2 - it broke" in line for line in text)
    assert any(line.startswith("Traceback") for line in text)
    assert not any("\x1b" in line or "\x07" in line or "0123456789abcdef0123456789abcdef" in line for line in text)


def test_a_line_of_json_has_the_fields_of_the_event_and_the_worker(tmp_path: Path) -> None:
    """Programs find both under their names."""
    found = [json.loads(line) for line in lines_of(tmp_path, as_json=True)]
    assert [each["worker"] for each in found] == [2, 2, 2]
    assert {key: found[0][key] for key in ("logger", "level", "event", "count", "accounts")} == {
        "logger": "holdfast.node", "level": "info", "event": "node_accounts_claimed", "count": 3, "accounts": 9,
    }  # fmt: skip
    assert found[2]["event"].startswith("it broke")
    assert "ValueError" in found[2]["exception"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"free(): invalid pointer",
        b'{"at": 1.0, "level": 20, "logger": "holdfast.jobs", "fields": {"event": "x"}, "te',
        b'{"at": 1.0, "level": 21, "logger": "a", "said": "", "more": {}}',
        b'{"at": 1.0, "level": 20, "logger": "a", "fields": {}, "text": ""}',
        b'{"at": "now", "level": 20, "logger": "a", "said": "", "more": {}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_line_is_told_apart(line: bytes) -> None:
    """Garbage, or what a killed worker has torn, makes no record."""
    assert record_of(line, 1) is None
