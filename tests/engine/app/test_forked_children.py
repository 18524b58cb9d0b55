"""Children of the engine's process keep nothing of it: no lock, no database, no socket, none of its signals."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from adapters.session import OwnerLock, owner_of
from adapters.system import EngineLock, LockHeld, forks, holder_of
from adapters.system.kernel_locks import has_open
from adapters.system.lock import Holder
from tests.engine.harness import ROOT
from tests.timeouts import TIMEOUT

PARENT = """
import asyncio, multiprocessing, os, sys, time
from pathlib import Path
from adapters.session import OwnerLock
from adapters.session.file import connect, create
from adapters.sqlite import open_database
from adapters.system import EngineLock, forks

async def main(way):
    directory = Path(sys.argv[1])
    session = directory / "a.session"
    create(session)
    lock = OwnerLock(session)
    lock.acquire()
    with EngineLock(directory / "engine.lock").held(1.0):
        database = open_database(directory / "engine.db")
        opened = connect(session, mode="rw", timeout=1)
        opened.execute("select * from sessions").fetchall()
        forks.withhold_loop(asyncio.get_running_loop())
        server = await asyncio.start_unix_server(lambda *_: None, directory / "engine.sock")
        if way == "os.fork":
            child = os.fork()
            if child == 0:
                time.sleep(600)
        elif way == "subprocess":
            import subprocess
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False).pid
        else:
            process = multiprocessing.get_context(way).Process(target=time.sleep, args=(600,))
            process.start()
            child = process.pid
        print(child, flush=True)
        await asyncio.sleep(600)

if __name__ == "__main__":
    asyncio.run(main(sys.argv[2]))
"""

WRITES = """
import os, select, sys, threading, warnings
from pathlib import Path
import anyio
from adapters.session.login_claim import LoginClaim
from adapters.system import forks

def fail():
    raise ValueError("a bug")

def warn():
    warnings.warn("something", ResourceWarning)

claim = LoginClaim("A", Path("a.session"))
match sys.argv[1]:
    case "claims":
        claim.take(sys.argv[2])
    case "fails":
        forks.do_in_child(fail)
    case "warns":
        forks.do_in_child(warn)
threading.Thread(target=sys.stderr.buffer.write, args=(b"." * 1_000_000,), daemon=True).start()
while select.select([], [2], [], 0)[1]:
    pass

async def main():
    print((await anyio.run_process(["true"])).returncode, flush=True)
    os._exit(0)

anyio.run(main, backend_options={"use_uvloop": True})
"""
"""A program that starts another one while a thread of it waits for room in stderr, whose lock that thread has."""


@pytest.mark.skipif(sys.platform != "linux", reason="with uvloop, and a claim has a socket only there")
@pytest.mark.parametrize("check", ["error", "default"])
@pytest.mark.parametrize("what", ["claims", "fails", "warns"])
def test_a_program_starts_while_another_thread_writes_to_stderr(tmp_path: Path, what: str, check: str) -> None:
    """The child on its way to the program said something there, and waited for ever; and the engine's loop for it."""
    program = tmp_path / "writes.py"
    program.write_text(WRITES)
    words = [sys.executable, "-W", check, "-W", "ignore:'imghdr'", str(program), what, os.urandom(8).hex()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    ) as parent:
        try:
            assert parent.wait(TIMEOUT) == 0
            assert parent.stdout is not None
            assert parent.stdout.read() == "0\n"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)  # the child, too


@pytest.mark.parametrize("way", ["os.fork", "fork", "forkserver", "subprocess"])
def test_a_child_that_outlives_a_killed_engine_keeps_no_lock(tmp_path: Path, way: str) -> None:
    """After ``kill -9`` the locks are free at once, and the child has none of the parent's files open."""
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, str(program), str(tmp_path), way],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            assert (holder_of(tmp_path / "engine.lock") or pytest.fail("not held")).pid == parent.pid
            parent.kill()
            parent.wait(TIMEOUT)
            names = ("engine.lock", "engine.db", "engine.db-wal", "engine.db-shm", "a.session", "a.session.lock", ".")
            deadline = time.monotonic() + TIMEOUT  # on a busy machine the child may not have run a line yet
            while any(has_open(tmp_path / name) for name in names if (tmp_path / name).exists()):
                assert time.monotonic() < deadline, "the child keeps a file of its parent's open"
                time.sleep(0.02)
            assert holder_of(tmp_path / "engine.lock") is None
            assert owner_of(tmp_path / "a.session") is None
            with EngineLock(tmp_path / "engine.lock").held(2.0):
                OwnerLock(tmp_path / "a.session").acquire()
            with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
                client.connect(str(tmp_path / "engine.sock"))
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_lock_that_was_left_to_a_child_names_the_child(tmp_path: Path) -> None:
    """A child that some other library forked does keep the lock: it is named, not the dead process that took it."""
    path = tmp_path / "engine.lock"
    with EngineLock(path).held(1.0):
        pass
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(TIMEOUT)
    path.write_text(f'{{"pid": {dead.pid}, "since": 1.0}}')
    holds = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.flock(f, fcntl.LOCK_EX); print(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holds, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as orphan:
        assert orphan.stdout is not None
        orphan.stdout.readline()
        named = f"process {orphan.pid}, which an engine that has ended left behind"
        with pytest.raises(LockHeld, match=named), EngineLock(path).held(2.0):
            pytest.fail("it is held")
        assert holder_of(path) is None  # no engine runs
        assert orphan.stdin is not None
        orphan.stdin.close()


async def test_a_signal_to_a_pool_worker_is_not_the_engines(tmp_path: Path) -> None:
    """A worker that is terminated ends, and the parent's loop does not hear its signal."""
    forks.withhold_loop(__import__("asyncio").get_running_loop())
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
            worker = pool.submit(os.getpid).result(TIMEOUT)
            os.kill(worker, signal.SIGTERM)
            with pytest.raises(Exception, match="terminated abruptly"):
                pool.submit(os.getpid).result(TIMEOUT)
        with anyio.move_on_after(0.2):
            async for number in signals:
                pytest.fail(f"heard {number}")


def test_a_child_that_ends_in_order_removes_nothing(tmp_path: Path) -> None:
    """A child that leaves its block and exits neither unlocks nor deletes what its parent has."""
    session = tmp_path / "a.session"
    lock = OwnerLock(session)
    lock.acquire()
    with EngineLock(tmp_path / "engine.lock").held(1.0):
        if (child := os.fork()) == 0:
            lock.release()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert lock.held
        assert (tmp_path / "a.session.lock").exists()
        assert holder_of(tmp_path / "engine.lock") == Holder(os.getpid(), 1.0)
    lock.release()


# --- lock files that are removed under their owner --------------------------------------------------------------------


def remove(path: Path) -> None:
    """Remove the lock file."""
    path.unlink()


def replace(path: Path) -> None:
    """Put another file in its place."""
    other = path.with_name("other")
    other.write_text("{}")
    other.rename(path)


@pytest.mark.parametrize("lose", [remove, replace])
def test_the_newcomer_sees_an_engine_without_its_lock_file(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    """The directory itself is locked, too; the owner makes the file again, and says so once."""
    path = tmp_path / "engine.lock"
    lock = EngineLock(path)
    with lock.held(1.0):
        lose(path)
        assert (holder_of(path) or pytest.fail("not seen")).pid in (os.getpid(), 0)
        with pytest.raises(LockHeld, match=f"process {os.getpid()} runs an engine"), EngineLock(path).held(2.0):
            pytest.fail("a second engine runs")
        assert "held again" in (lock.renew() or "")
        assert lock.renew() is None
        assert holder_of(path) == Holder(os.getpid(), 1.0)
    assert holder_of(path) is None


def test_an_engine_whose_directory_was_renamed_is_seen_at_both_names(tmp_path: Path) -> None:
    """The old directory stays locked, and the new one of the same name is locked as soon as it exists."""
    data = tmp_path / "data"
    data.mkdir()
    lock = EngineLock(data / "engine.lock")
    with lock.held(1.0):
        data.rename(tmp_path / "renamed")
        assert lock.renew() is None  # there is no directory yet
        data.mkdir()
        assert "held again" in (lock.renew() or "")
        for directory in (data, tmp_path / "renamed"):
            assert holder_of(directory / "engine.lock") is not None


@pytest.mark.parametrize("lose", [remove, replace])
def test_a_session_is_seen_in_use_without_its_lock_file(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    """The session itself is locked, too, also for one who reaches it by another name."""
    session = tmp_path / "a.session"
    session.write_bytes(b"")
    lock = OwnerLock(session)
    lock.acquire()
    lose(tmp_path / "a.session.lock")
    (tmp_path / "link.session").symlink_to(session)
    look = (
        "import sys; from pathlib import Path; from adapters.session import OwnerLock, owner_of, SessionHeld\n"
        "for name in ('a.session', 'link.session'):\n"
        "    print(owner_of(Path(sys.argv[1]) / name).pid)\n"
        "    try: OwnerLock(Path(sys.argv[1]) / name).acquire(0)\n"
        "    except SessionHeld: print('held')\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", look, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ).stdout
    assert said.split() == [str(os.getpid()), "held"] * 2
    (tmp_path / "a.session.lock").unlink(missing_ok=True)
    assert "held again" in (lock.renew() or "")
    assert lock.renew() is None
    lock.release()
    assert owner_of(session) is None
