"""The queue in front of a database that several processes write to."""

import errno
import fcntl
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import anyio
import anyio.to_thread
import pytest

from adapters.sqlite import WriterTimeouts
from adapters.sqlite import process_queue as module
from adapters.sqlite.process_queue import ProcessQueue
from tests.adapters.sqlite.support import ROW, OpenWriter, locked
from tests.timeouts import TIMEOUT

ROOT = Path(__file__).resolve().parents[3]
TURNS = """
import sys
from pathlib import Path
from adapters.sqlite.process_queue import ProcessQueue
queue, name = ProcessQueue(Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
with open(sys.argv[1], "ab", buffering=0) as log:
    for _ in range(int(sys.argv[3])):
        with queue.turn(lambda: False):
            log.write(b"<" + name.encode())
            log.write(b">")
print("done", flush=True)
sys.stdin.read()
"""
HOLDS = """
import sys
from pathlib import Path
from adapters.sqlite.process_queue import ProcessQueue
queue = ProcessQueue(Path(sys.argv[1]))
with queue.turn(lambda: False):
    print("in", flush=True)
    sys.stdin.read()
"""

DRAWING = """
import fcntl, os, sys
file = os.open(sys.argv[1] + ".queue", os.O_RDWR | os.O_CREAT)
fcntl.lockf(file, fcntl.LOCK_EX, 1, 0)
print("in", flush=True)
sys.stdin.read()
"""

COMES_IN = """
import sys
from pathlib import Path
from adapters.sqlite import process_queue
process_queue.TURN_TIMEOUT = 120.0
with process_queue.ProcessQueue(Path(sys.argv[1])).turn(lambda: False):
    print("in", flush=True)
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
    """Return that the turn is not to be given up."""
    return False


def test_processes_have_their_turns_one_after_another(tmp_path: Path) -> None:
    """No process has its turn while another has."""
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


def test_a_dead_neighbour_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel ends the turn of a process that was killed in it."""
    monkeypatch.setattr(module, "TURN_TIMEOUT", TIMEOUT)
    with process(HOLDS, tmp_path / "x.db") as other:
        says(other, "in")
        other.kill()
        other.wait()
    began = time.monotonic()
    with ProcessQueue(tmp_path / "x.db").turn(never):
        assert time.monotonic() - began < module.TURN_TIMEOUT


def test_a_stopped_neighbour_is_waited_for_for_a_while_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is a courtesy: a writer that waited long enough goes on, and SQLite's own lock decides."""
    monkeypatch.setattr(module, "TURN_TIMEOUT", 0.2)
    with process(HOLDS, tmp_path / "x.db") as other:
        says(other, "in")
        other.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with ProcessQueue(tmp_path / "x.db").turn(never):
            assert time.monotonic() - began >= 0.2
        other.send_signal(signal.SIGCONT)


def test_a_waiting_writer_can_be_told_to_stop_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that is closed does not wait for its turn."""
    monkeypatch.setattr(module, "TURN_TIMEOUT", TIMEOUT)
    stop_waiting = threading.Event()
    with process(HOLDS, tmp_path / "x.db") as other:
        says(other, "in")
        timer = threading.Timer(0.1, stop_waiting.set)
        began = time.monotonic()
        timer.start()
        with ProcessQueue(tmp_path / "x.db").turn(stop_waiting.is_set):
            assert stop_waiting.is_set()
            assert time.monotonic() - began < module.TURN_TIMEOUT
        timer.join()


def test_without_a_place_for_the_queue_there_is_none(tmp_path: Path) -> None:
    """Where the file cannot be made, turns are had at once."""
    with ProcessQueue(tmp_path / "missing" / "x.db").turn(never):
        pass
    closed = ProcessQueue(tmp_path / "x.db")
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


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL], ids=errno.errorcode.get)
def test_where_locks_do_not_exist_there_is_no_queue(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system without locks is asked once, and no writer waits for a neighbour that cannot be seen."""
    asked = 0

    def refuse(*_: object) -> None:
        nonlocal asked
        asked += 1
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))
    queue = ProcessQueue(tmp_path / "x.db")
    for _ in range(3):
        with queue.turn(never):
            pass
    assert asked == 1


def test_a_neighbour_stopped_while_drawing_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that waited in vain to draw a number does not wait again at each turn, and queues again after a rest."""
    monkeypatch.setattr(module, "TURN_TIMEOUT", 0.1)
    queue, path = ProcessQueue(tmp_path / "x.db"), tmp_path / "x.db"
    with process(DRAWING, path) as other:
        says(other, "in")
        other.send_signal(signal.SIGSTOP)
        with queue.turn(never):
            pass
        monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited again"))
        with queue.turn(never):
            pass
    before = drawn(path)
    monkeypatch.setattr(module, "REST_SECONDS", 0.0)
    with queue.turn(never):
        assert drawn(path) != before


@pytest.mark.parametrize("last", [2**63 - 1, 2**63 - 2, 2**62, -1], ids=hex)
def test_a_damaged_file_starts_the_numbers_anew(last: int, tmp_path: Path) -> None:
    """Numbers that no writer can have drawn are not gone on with, and break nothing."""
    path = tmp_path / "x.db"
    path.with_name("x.db.queue").write_bytes(struct.pack("<qq", last, last))
    queue = ProcessQueue(path)
    for number in (2, 3):
        with queue.turn(never):
            assert struct.unpack("<q", drawn(path)) == (number,)


def test_a_file_that_cannot_be_read_lets_a_waiting_writer_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input/output error of the queue's file is no error of the writer."""
    monkeypatch.setattr(module, "TURN_TIMEOUT", 0.1)
    real = os.pread
    with process(HOLDS, tmp_path / "x.db") as other:
        says(other, "in")
        reads = 0

        def pread(descriptor: int, size: int, at: int) -> bytes:
            nonlocal reads
            reads += 1
            if reads > 1:  # the first one is the drawing of the number
                raise OSError(errno.EIO, "Input/output error")
            return real(descriptor, size, at)

        monkeypatch.setattr(os, "pread", pread)
        with ProcessQueue(tmp_path / "x.db").turn(never):
            assert reads > 1


def test_patience_is_for_a_queue_that_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer with many before it waits as long as they get their turns, however long that takes together."""
    now = 1000.0  # the queue's own clock: a machine that is busy must not look like a queue that stands still
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now, sleep=lambda _: None))
    path = tmp_path / "x.db"
    with process(HOLDS, path) as other:
        says(other, "in")
        turns = 0

        def another_was_served() -> bool:
            nonlocal turns, now
            turns += 1
            now += module.TURN_TIMEOUT / 2
            with path.with_name("x.db.queue").open("r+b") as file:
                file.seek(8)
                file.write(struct.pack("<q", turns))
            if turns == 7:
                other.kill()
                other.wait()
            return False

        with ProcessQueue(path).turn(another_was_served):
            assert turns == 7, "it went on while another had its turn"


async def test_a_writer_that_waits_for_a_foreign_lock_lets_its_neighbours_in(open_writer: OpenWriter) -> None:
    """A writer that SQLite holds up, for a program that does not queue, does not keep its turn meanwhile."""
    async with open_writer(timeouts=WriterTimeouts(busy=2 * TIMEOUT, slice=0.02, retry=0.05)) as b:
        async with locked(b.path):
            await b.writer.write(ROW, ("a", 0))
            queue = b.path.with_name("rows.db.queue")
            with anyio.fail_after(TIMEOUT):
                # Not read: closing it here would drop the locks of the writer, which is in this process.
                while not queue.exists() or not queue.stat().st_size:
                    await anyio.sleep(0.01)
                with process(COMES_IN, b.path) as other:
                    await anyio.to_thread.run_sync(says, other, "in", abandon_on_cancel=True)
        await b.writer.flush()
        assert b.stored() == [("a", 0)]
        assert b.told == []


def drawn(path: Path) -> bytes:
    """Return the number that was drawn last."""
    return path.with_name(f"{path.name}.queue").read_bytes()[:8]
