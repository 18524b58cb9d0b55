"""Log files outlive what happens to them, and say which lines are missing."""

import json
import logging
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path

import pytest

from engine.console import lasting_file, logs
from engine.console.lasting_file import FILES_KEPT, LogFile

LOG = logging.getLogger("users")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at each line."""
    monkeypatch.setattr(lasting_file, "RETRY_SECONDS", 0.0)


@contextmanager
def opened(directory: Path, *, as_json: bool = False) -> Iterator[LogFile]:
    """Open the log without its thread, and yield the handler of ``engine.log``."""
    told = logs.RecentLines()
    told.setFormatter(logs.TextLines())
    lines = logs.JsonLines() if as_json else logs.TextLines()
    handler = logs._file(directory / "engine.log", lines, lambda _: True, told)
    handler.told = told.lines  # type: ignore[attr-defined]  # for the test
    yield handler
    handler.close()


def say(handler: LogFile, *texts: str) -> None:
    """Write lines."""
    for text in texts:
        handler.handle(logging.LogRecord("users", logging.INFO, "", 0, text, None, None))


def told(handler: LogFile) -> list[str]:
    """Return what was said about the file on stderr."""
    return [line for _, line in handler.told]  # type: ignore[attr-defined]  # as above


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path, *, as_json: bool) -> None:
    """It is told once; when there is room again the file says how many lines are missing, and none is torn."""
    path = tmp_path / "engine.log"
    with opened(tmp_path, as_json=as_json) as handler:
        say(handler, "before")
        with full_at(path.stat().st_size + 20):
            say(handler, *["in the dark"] * 7)
        say(handler, "after")
    lines = path.read_text().splitlines()
    if as_json:
        assert [json.loads(line)["event"] for line in (lines[0], *lines[-2:])] == ["before", "log_written", "after"]
        assert json.loads(lines[-2])["lines"] == 7
    assert lines[0].count("before") == 1
    assert len(lines) == 4  # the torn one is a line of its own
    assert "7 lines are missing" in lines[-2] or as_json
    waits, again = told(handler)
    assert "the log cannot be written (file too large)" in waits
    assert "7 lines are missing" in again


def test_what_is_lost_at_the_end_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log that cannot be written until the end says on stderr how much is missing; the block ends as ever."""
    (tmp_path / "logs").write_text("no directory")
    with logs.opened(tmp_path / "logs", recent=None):
        for number in range(5):
            LOG.warning("line %d", number)
    said = capsys.readouterr().err.splitlines()
    assert sum("the log cannot be written" in line for line in said) == 1
    assert sum("line " in line for line in said) == 5
    assert "the last 5 lines of the log could not be written" in said[-1]


def test_a_moved_file_is_made_anew(tmp_path: Path) -> None:
    """``logrotate`` moves the file away: what comes later is in a new one, private to its owner."""
    with opened(tmp_path) as handler:
        say(handler, "old")
        (tmp_path / "engine.log").rename(tmp_path / "engine.log-2026")
        say(handler, "new")
    assert "old" in (tmp_path / "engine.log-2026").read_text()
    assert (tmp_path / "engine.log").read_text().splitlines()[0].endswith("new")
    assert (tmp_path / "engine.log").stat().st_mode & 0o777 == 0o600


def test_a_truncated_file_goes_on_at_its_begin(tmp_path: Path) -> None:
    """``copytruncate`` leaves no hole of zeros."""
    with opened(tmp_path) as handler:
        say(handler, "old" * 100)
        os.truncate(tmp_path / "engine.log", 0)
        say(handler, "new")
    assert (tmp_path / "engine.log").read_bytes().count(b"\0") == 0
    assert len((tmp_path / "engine.log").read_text().splitlines()) == 1


def test_a_deleted_directory_is_made_anew(tmp_path: Path) -> None:
    """Somebody tidied up the whole directory."""
    with opened(tmp_path / "logs") as handler:
        say(handler, "old")
        (tmp_path / "logs" / "engine.log").unlink()
        (tmp_path / "logs").rmdir()
        say(handler, "new")
    assert "new" in (tmp_path / "logs" / "engine.log").read_text()
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["fifo", "directory", "link", "dangling", "device"])
def test_what_is_no_file_is_left_alone(tmp_path: Path, kind: str) -> None:
    """A pipe holds nothing up, nothing behind a link is written, and the log goes on when it is gone."""
    path, target = tmp_path / "engine.log", tmp_path / "precious"
    target.write_text("precious")
    {
        "fifo": lambda: os.mkfifo(path), "directory": path.mkdir, "link": lambda: path.symlink_to(target),
        "dangling": lambda: path.symlink_to(tmp_path / "nothing"), "device": lambda: path.symlink_to("/dev/full"),
    }[kind]()  # fmt: skip
    with opened(tmp_path) as handler:
        say(handler, "one", "two")
        path.rmdir() if kind == "directory" else path.unlink()
        say(handler, "three")
    assert target.read_text() == "precious"
    assert not (tmp_path / "nothing").exists()
    missing, three = path.read_text().splitlines()
    assert "2 lines are missing" in missing
    assert three.endswith("three")
    assert len(told(handler)) == 2


def test_a_pipe_with_a_reader_is_no_log_either(tmp_path: Path) -> None:
    """What opens at once is still looked at: only a file is a log."""
    os.mkfifo(tmp_path / "engine.log")
    reader = os.open(tmp_path / "engine.log", os.O_RDONLY | os.O_NONBLOCK)
    with opened(tmp_path) as handler:
        say(handler, "one")
        assert handler.lost == 1
    os.close(reader)


def test_a_large_file_is_followed_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest five are kept, also where one of their names is taken by a directory."""
    monkeypatch.setattr(lasting_file, "FILE_BYTES", 100)
    with opened(tmp_path) as handler:
        say(handler, *[f"{number} {'x' * 80}" for number in range(10)])
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["engine.log", *(f"engine.log.{number}" for number in range(1, FILES_KEPT))]
    newest = (tmp_path / "engine.log").read_text() + (tmp_path / "engine.log.1").read_text()
    assert "9 xx" in newest
    assert "8 xx" in newest
    (tmp_path / "engine.log.1").unlink()
    (tmp_path / "engine.log.1").mkdir()
    (tmp_path / "engine.log.1" / "full").touch()
    with opened(tmp_path) as handler:
        say(handler, *["y" * 80] * 3)
    assert (tmp_path / "engine.log").read_text().count("y" * 80) >= 1
    assert told(handler) == []


def test_a_stderr_that_takes_nothing_costs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed stream, or one whose reader is gone, is not complained about, and the file has all lines."""
    reading, writing = os.pipe()
    os.close(reading)
    closed = StringIO()
    closed.close()
    for stream in (os.fdopen(writing, "w", buffering=1), closed):
        monkeypatch.setattr(sys, "stderr", stream)
        with logs.opened(tmp_path, recent=None):
            for number in range(3):
                LOG.warning("line %d", number)
        with suppress(OSError):
            stream.close()
    text = (tmp_path / "engine.log").read_text()
    assert text.count("line ") == 6
    assert "Traceback" not in text


def test_a_handler_that_raises_ends_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in one place where lines go costs that place its lines."""

    def fail(_: object, __: object) -> None:
        raise MemoryError

    monkeypatch.setattr(logs.RecentLines, "emit", fail)
    with logs.opened(tmp_path, recent=logs.RecentLines()):
        LOG.warning("one")
        LOG.warning("two")
    assert len((tmp_path / "engine.log").read_text().splitlines()) == 2
