"""The threads that write sessions behind, where none can be started: at the end of a process, since Python 3.12."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from attrs import define

from adapters.session.writer import WriteBehind

ROOT = Path(__file__).parents[3]


@define(eq=False)
class File:
    """Needs some visits until it is written, each a moment after the one before."""

    visits_left: int = 1
    name: str = "account1"

    def visit(self) -> float | None:
        """Be visited."""
        self.visits_left -= 1
        return 0.01 if self.visits_left else None

    @property
    def unsaved(self) -> bool:
        """Whether it is not written yet."""
        return self.visits_left > 0


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no thread be started, with the error of a process that ends."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.usefixtures("no_threads")
def test_what_is_due_is_written_by_the_caller() -> None:
    """``save`` and ``close`` in the last moments of a program wait for no thread."""
    file = File()
    WriteBehind().wake(file)
    assert not file.unsaved


@pytest.mark.usefixtures("no_threads")
def test_the_last_look_writes_what_was_not_due_yet() -> None:
    """Also a file that needs several tries."""
    writer, file = WriteBehind(), File(visits_left=3)
    writer.wake(file, after=60.0)
    assert file.unsaved
    assert writer.drain(5.0) == 0
    assert not file.unsaved


def test_a_session_is_closed_by_a_handler_of_the_end(tmp_path: Path) -> None:
    """A script that closes its session at its exit, long after the last change, has it written and ends at once."""
    code = f"""
import atexit, time
from adapters.session import HoldfastSession, writer
from telethon.tl.types import User
writer.IDLE_TIMEOUT = 0.05
session = HoldfastSession({str(tmp_path / "account1.session")!r})
session.flush().wait()
time.sleep(0.2)
@atexit.register
def last():
    session.process_entities([User(id=1, access_hash=1, first_name="A")])
    began = time.monotonic()
    session.close().wait()
    print("quick" if time.monotonic() - began < 5 else "slow", session._live.owned)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT, timeout=60, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("quick False\n", "")
