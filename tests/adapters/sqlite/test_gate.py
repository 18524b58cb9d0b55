"""The queue in front of a database that several processes write to."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from adapters.sqlite import gate as module
from adapters.sqlite.gate import Gate

ROOT = Path(__file__).resolve().parents[3]
TURNS = """
import sys
from pathlib import Path
from adapters.sqlite.gate import Gate
gate, name = Gate(Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
with open(sys.argv[1], "ab", buffering=0) as log:
    for _ in range(int(sys.argv[3])):
        with gate.turn(lambda: False):
            log.write(b"<" + name.encode())
            log.write(b">")
print("done", flush=True)
sys.stdin.read()
"""
HOLDS = """
import sys
from pathlib import Path
from adapters.sqlite.gate import Gate
gate = Gate(Path(sys.argv[1]))
with gate.turn(lambda: False):
    print("in", flush=True)
    sys.stdin.read()
"""


@contextmanager
def process(code: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """Run code in a process of its own, until the block ends."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def says(running: "subprocess.Popen[str]", line: str) -> None:
    """Wait until a process says something."""
    assert running.stdout is not None
    assert running.stdout.readline().strip() == line


def never() -> bool:
    """Nobody is in a hurry."""
    return False


def test_processes_have_their_turns_one_after_another(tmp_path: Path) -> None:
    """Nobody is in while another is."""
    log, names = tmp_path / "log", "abcd"
    with ExitStack() as stack:
        running = [stack.enter_context(process(TURNS, log, name, 200)) for name in names]
        for one in running:
            says(one, "ready")
        for one in running:
            assert one.stdin is not None
            one.stdin.write("\n")
            one.stdin.flush()
        for one in running:
            says(one, "done")
    turns = log.read_text()[1:-1].split("><")  # where two were in at once there is a "<<"
    assert sorted(turns) == sorted(names * 200)


def test_a_dead_neighbour_holds_up_nobody(tmp_path: Path) -> None:
    """The kernel ends the turn of a process that was killed in it."""
    with process(HOLDS, tmp_path / "x.db") as other:
        says(other, "in")
        other.kill()
        other.wait()
    began = time.monotonic()
    with Gate(tmp_path / "x.db").turn(never):
        assert time.monotonic() - began < module.PATIENCE_SECONDS


def test_a_stopped_neighbour_is_waited_for_for_a_while_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is a courtesy: who waited long enough goes on, and SQLite's own lock decides."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)
    with process(HOLDS, tmp_path / "x.db") as other:
        says(other, "in")
        other.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with Gate(tmp_path / "x.db").turn(never):
            assert time.monotonic() - began >= 0.2
        other.send_signal(signal.SIGCONT)


def test_who_waits_can_be_told_to_hurry(tmp_path: Path) -> None:
    """A writer that is closed does not wait for its turn."""
    hurry = threading.Event()
    with process(HOLDS, tmp_path / "x.db") as other:
        says(other, "in")
        timer = threading.Timer(0.1, hurry.set)
        timer.start()
        began = time.monotonic()
        with Gate(tmp_path / "x.db").turn(hurry.is_set):
            assert 0.1 <= time.monotonic() - began < module.PATIENCE_SECONDS
        timer.join()


def test_without_a_place_for_the_queue_there_is_none(tmp_path: Path) -> None:
    """Where the file cannot be made, turns are had at once."""
    with Gate(tmp_path / "missing" / "x.db").turn(never):
        pass
    closed = Gate(tmp_path / "x.db")
    closed.close()
    with closed.turn(never):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_order_is_the_one_in_which_they_came(tmp_path: Path) -> None:
    """Processes that line up one after another behind a holder have their turns in that order."""
    path, names = tmp_path / "x.db", "bdacfe"
    with ExitStack() as stack:
        holder = stack.enter_context(process(HOLDS, path))
        says(holder, "in")
        waiting = [stack.enter_context(process(TURNS, path, name, 1)) for name in names]
        for one in waiting:
            says(one, "ready")
            before = drawn(path)
            assert one.stdin is not None
            one.stdin.write("\n")
            one.stdin.flush()
            while drawn(path) == before:
                time.sleep(0.001)
        holder.kill()
        for one in waiting:
            says(one, "done")
    assert path.read_text() == "".join(f"<{name}>" for name in names)


def drawn(path: Path) -> bytes:
    """Return the number that was drawn last."""
    return path.with_name("x.db.queue").read_bytes()[:8]
