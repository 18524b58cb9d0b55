"""``status --watch`` where there is no terminal, and ``status`` beside an engine that hangs."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adapters.system import EngineLock
from engine import paths
from engine.cli import stored_status
from engine.console.status import ExitCode
from engine.console.streams import EXIT_READER_GONE
from states.events import Connected, Started, TurnGranted
from tests.engine.commands import ENGINE, Run, runs, write_stories
from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: News, session: one}
"""


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """Write a config, and the journal of one healthy account."""
    await write_stories(tmp_path, CONFIG, {"News": [Started(), TurnGranted(generation=0), Connected()]})
    return tmp_path / "data"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs ``status``."""
    return runs("status", capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


def watching(harness: EngineHarness, *options: str) -> subprocess.Popen[str]:
    """Start ``status --watch`` with a pipe for its output."""
    command = [sys.executable, "-m", "engine", "status", "config.yaml", "--watch", *options]
    return subprocess.Popen(
        command,
        cwd=harness.directory,
        env=harness.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_pages_stream_until_sigint(harness: EngineHarness, data: Path) -> None:
    """A page comes every second; SIGINT ends it with the exit code of the last look, here: no engine runs."""
    with watching(harness) as process:
        assert process.stdout is not None
        headings = []
        while len(headings) < 2:
            line = process.stdout.readline()
            assert line, "it ended too early"
            headings += [line] if "not running" in line else []
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, said) == (ExitCode.NOT_RUNNING, "")


def test_json_lines_stream_until_nobody_reads(harness: EngineHarness, data: Path) -> None:
    """Each line is a whole look with its time; the end of the pipe ends the command."""
    with watching(harness, "--json") as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.stdout.close()
        assert process.wait(TIMEOUT) == EXIT_READER_GONE
    assert looks[0]["at"] < looks[1]["at"]
    assert looks[1]["accounts"][0]["name"] == "News"


def test_a_picture_is_not_watched(run: Run, data: Path) -> None:
    """``--svg`` writes once: with ``--watch`` it is refused."""
    code, _, err = run("config.yaml", "--watch", "--svg", "page.svg")
    assert code == 2
    assert "leave one of them out" in err


def test_nothing_is_known_of_an_engine_that_hangs(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the lock and takes the connection, but does not answer: its rows are not green."""
    monkeypatch.setattr(stored_status, "ANSWER_TIMEOUT", 0.1)
    monkeypatch.chdir(data)
    with EngineLock(data / paths.LOCK).held(0.0, ENGINE), socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(paths.SOCKET))
        engine.listen()
        monkeypatch.chdir(data.parent)
        told: dict[str, Any] = json.loads(run("--json")[1])
        code, page, _ = run()
    assert told["engine"] == {**told["engine"], "running": True, "answers": False}
    assert told["accounts"][0]["state"] == "unknown"
    assert (code, "does not answer" in page, "✅" in page) == (ExitCode.TROUBLED, True, False)
