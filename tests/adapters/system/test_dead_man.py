"""The dead-man timer, on real processes: what it ends, what it does not, and who has none."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGKILL, SIGSTOP

import pytest

from adapters.system import DeadManUnusable, dead_man_process
from adapters.system.dead_man_process import ProcessDeadMan
from tests.engine.harness import ROOT
from tests.timeouts import TIMEOUT

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel has no such timer")
KINDS = [pytest.param("KernelDeadMan.create", marks=ON_LINUX), "ProcessDeadMan.start"]
HEAD = """
import ctypes, os, signal, subprocess, sys, time
from adapters.system import ContinuousClock, open_dead_man
from adapters.system.dead_man import KernelDeadMan, ProcessDeadMan
now = ContinuousClock().now
"""
BUSY = {
    "it sleeps": "time.sleep(600)",
    "it is in C and keeps Python's lock": "sum(range(10**13))",
    "it blocks all signals": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); time.sleep(600)",
    "it is stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
}


@contextmanager
def program(text: str, *before: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a program, and end it in the end."""
    with subprocess.Popen(
        [*before, sys.executable, "-c", HEAD + text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("doing", BUSY)
def test_a_process_is_ended_at_its_deadline(kind: str, doing: str) -> None:
    """Whatever it is doing."""
    with program(f"timer = {kind}(); timer.arm(now() + 0.1)\n{BUSY[doing]}") as running:
        assert running.wait(TIMEOUT) == -SIGKILL


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("then", ["timer.arm(now() + 600)", "timer.disarm()", "timer.close()"])
def test_a_process_lives_whose_deadline_was_moved(kind: str, then: str) -> None:
    """Or taken away, however near it was."""
    text = f"timer = {kind}(); timer.arm(now() + 0.5); {then}; time.sleep(0.7); print('lives')"
    with program(text) as running:
        assert running.communicate(timeout=TIMEOUT)[0] == "lives\n"
        assert running.returncode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_earlier_deadline_takes_the_place_of_a_later_one(kind: str) -> None:
    """And a time that has passed already ends the process now."""
    with program(f"timer = {kind}(); timer.arm(now() + 600); timer.arm(now() - 1); time.sleep(600)") as running:
        assert running.wait(TIMEOUT) == -SIGKILL


CHILD = """
import os, sys, time
while os.getppid() == int(sys.argv[1]):
    time.sleep(0.01)
time.sleep(0.1)
os.write(1, b"child lives\\n")
"""


@pytest.mark.parametrize("kind", KINDS)
def test_children_are_not_ended_with_their_parent(kind: str) -> None:
    """Neither a forked one nor one that executes another program: the deadline is that of one process."""
    text = f"""
timer = {kind}(); timer.arm(now() + 1.5)
sys.argv = ["child", str(os.getpid())]
subprocess.Popen([sys.executable, "-c", {CHILD!r}, sys.argv[1]])
if os.fork() == 0:
    exec({CHILD!r})
    os._exit(0)
time.sleep(600)
"""
    with program(text) as running:
        assert running.communicate(timeout=TIMEOUT)[0] == "child lives\n" * 2
        assert running.returncode == -SIGKILL


@ON_LINUX
def test_a_forked_child_cannot_set_the_timer_of_its_parent() -> None:
    """It is told so, and its parent's timer stays armed, also when the child closes its copy."""
    text = """
timer = KernelDeadMan.create(); timer.arm(now() + 1)
if os.fork() == 0:
    try:
        timer.arm(now() + 600)
    except Exception as exc:
        print(type(exc).__name__, flush=True)
    timer.close()
    os._exit(0)
time.sleep(600)
"""
    with program(text) as running:
        assert running.communicate(timeout=TIMEOUT)[0] == "DeadManUnusable\n"
        assert running.returncode == -SIGKILL


def _can_unshare() -> bool:
    try:
        done = subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, timeout=TIMEOUT, check=False)
    except OSError:
        return False
    return done.returncode == 0


@ON_LINUX
@pytest.mark.skipif(not _can_unshare(), reason="this user may not make a namespace of processes")
def test_the_first_process_of_a_container_is_told_that_nothing_ends_it() -> None:
    """The kernel drops the signal of its timer there, so a node that is one must not hold a lease."""
    kernel = "timer = KernelDeadMan.create(); timer.arm(now() + 0.1); time.sleep(0.3); print('not ended')"
    with program(kernel, "unshare", "--pid", "--fork") as running:
        assert running.communicate(timeout=TIMEOUT)[0] == "not ended\n"
    with program("open_dead_man()", "unshare", "--pid", "--fork") as running:
        said = running.communicate(timeout=TIMEOUT)[0]
        assert "first one of its container" in said
        assert "--init" in said


@ON_LINUX
def test_linux_has_the_timer_of_the_kernel() -> None:
    """A process is needed elsewhere only."""
    with program("timer = open_dead_man(); print(type(timer).__name__); timer.close()") as running:
        assert running.communicate(timeout=TIMEOUT)[0] == "KernelDeadMan\n"


def test_a_process_that_keeps_the_deadline_and_was_killed_is_replaced() -> None:
    """The next deadline finds a new one, which keeps it."""
    text = """
timer = ProcessDeadMan.start(); timer.arm(now() + 600)
os.kill(timer._process.pid, signal.SIGKILL); os.waitid(os.P_PID, timer._process.pid, os.WEXITED | os.WNOWAIT)
timer.arm(now() + 0.1); time.sleep(600)
"""
    with program(text) as running:
        assert running.wait(TIMEOUT) == -SIGKILL


def test_a_process_that_keeps_the_deadline_and_is_stopped_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """It confirms nothing any more."""
    monkeypatch.setattr(dead_man_process, "ANSWER_TIMEOUT", 0.0)
    timer = ProcessDeadMan.start()
    try:
        first = timer._process
        assert first is not None
        first.send_signal(SIGSTOP)
        timer.arm(float("inf"))
        timer.arm(float("inf"))
        assert timer._process is not first
        assert first.returncode == -SIGKILL
    finally:
        timer.close()


def test_the_process_that_keeps_the_deadline_ends_with_its_parent() -> None:
    """And not by the signals that a terminal or a service manager sends to all of them."""
    text = """
timer = ProcessDeadMan.start()
os.kill(timer._process.pid, signal.SIGTERM); os.kill(timer._process.pid, signal.SIGINT)
timer.arm(now() + 600)
while timer._unconfirmed:
    timer._read_answers(timer._socket)
print(timer._process.pid, flush=True); sys.stdin.read()
"""
    with program(text) as running:
        assert running.stdout is not None
        keeper = int(running.stdout.readline())
        assert _is_running(keeper)
        running.kill()
        running.wait(TIMEOUT)
        while _is_running(keeper):
            time.sleep(0.01)


def _is_running(process: int) -> bool:
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return told.stdout.strip()[:1] not in ("", "Z")


def test_a_process_that_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(DeadManUnusable, match="cannot be started"):
        ProcessDeadMan.start()
