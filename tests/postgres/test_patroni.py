"""A host of the cluster of the tests: all that began in it ends with the tests."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.timeouts import TIMEOUT

HOST = Path(__file__).with_name("patroni_host.py")
ORPHANS = "sleep 3600 & sh -c 'echo $$ >&2; exec setsid sleep 3600' & sleep 0.1; echo no-answer"
"""A program that starts others, in a session of their own, and ends before them; it writes to its stdout."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a host adopts processes on Linux alone")


@pytest.fixture
def host() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, str(HOST), "sh", "-c", ORPHANS],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield process
        process.kill()


def said(host: subprocess.Popen[bytes], word: str) -> bytes:
    assert host.stdin is not None
    assert host.stdout is not None
    host.stdin.write(word.encode() + b"\n")
    host.stdin.flush()
    return host.stdout.readline()


def started(host: subprocess.Popen[bytes]) -> int:
    """Have it start its program, and return one of the processes that begin."""
    assert host.stderr is not None
    assert said(host, "start") == b"done\n"
    return next(int(line) for line in host.stderr if line.strip().isdigit())


def is_there(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_a_host_ends_all_that_began_in_it(host: subprocess.Popen[bytes]) -> None:
    """Also what has left its parent and its session; afterwards it starts again."""
    pid = started(host)
    assert said(host, "kill") == b"done\n"
    assert not is_there(pid)
    assert is_there(started(host))


def test_a_host_ends_with_the_process_that_started_it(host: subprocess.Popen[bytes]) -> None:
    """Whose end closes its standard input, whatever the end was."""
    pid = started(host)
    assert host.stdin is not None
    host.stdin.close()
    assert host.wait(TIMEOUT) == 0
    assert not is_there(pid)
