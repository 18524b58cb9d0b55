"""The cluster of the tests: its hosts end with the tests, and it goes on after each kind of loss."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.postgres.patroni import PatroniCluster
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


def write(url: str, deadline: float, row: int) -> None:
    """Write a row, as often as it takes."""
    while True:
        try:
            with psycopg.connect(url, connect_timeout=3, autocommit=True) as connection:
                connection.execute("INSERT INTO kept VALUES (%s) ON CONFLICT DO NOTHING", (row,))
                return
        except psycopg.Error:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.slow
def test_what_the_cluster_acknowledges_outlives_every_loss(cluster: PatroniCluster, cluster_url: str) -> None:
    """A crash stays where it is; a switchover and a lost host lead to another member, by the same address."""
    primary = cluster.primary()
    with psycopg.connect(cluster_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (number int PRIMARY KEY)")
    write(cluster_url, time.monotonic() + TIMEOUT, 1)
    assert cluster.crash() == primary
    write(cluster_url, time.monotonic() + TIMEOUT, 2)
    cluster.heal()
    second = cluster.switchover()
    write(cluster_url, time.monotonic() + TIMEOUT, 3)
    cluster.heal()
    assert cluster.lose_host(stopped=True) == second != primary
    write(cluster_url, time.monotonic() + TIMEOUT, 4)
    cluster.heal()
    assert cluster.primary() != second
    with psycopg.connect(cluster_url) as connection:
        assert connection.execute("SELECT number FROM kept ORDER BY number").fetchall() == [(1,), (2,), (3,), (4,)]
