"""One engine for one data directory: a lock file that names its holder.

The lock is an ``flock`` on a file of its own: the kernel releases it when the holder dies, however it dies, so it is
never stale.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import asdict, frozen

LOCK_TIMEOUT = 0.5
"""Seconds that an engine waits for the lock: a command that checks it holds it for a moment."""


@frozen
class Holder:
    """The process that holds the lock, since when (Unix seconds), and which engine it is."""

    pid: int
    since: float
    engine: str = ""
    """What distinguishes this engine from all others, as the journal's lives have it; empty if it is not known."""


class LockHeld(Exception):
    """Another engine holds the data directory; ``holder`` is None if the lock file does not name it."""

    def __init__(self, path: Path, holder: Holder | None) -> None:
        holder_name = f"process {holder.pid}" if holder else "another process"
        super().__init__(f"{path.parent}: {holder_name} runs an engine on this data already; stop it first")
        self.holder = holder


def _read_holder(path: Path) -> Holder | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        stored = json.loads(path.read_text("utf-8"))
        return Holder(pid=int(stored["pid"]), since=float(stored["since"]), engine=str(stored.get("engine", "")))
    return None


def _try_lock(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class EngineLock:
    """The lock of one data directory, as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def held(self, since: float, engine: str = "") -> Iterator[None]:
        """Hold the lock for the block, for the engine of this identity; raise ``LockHeld`` if another one does."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            give_up = time.monotonic() + LOCK_TIMEOUT
            while not _try_lock(descriptor, fcntl.LOCK_EX):
                if time.monotonic() > give_up:
                    raise LockHeld(self.path, _read_holder(self.path))
                time.sleep(0.02)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(Holder(os.getpid(), since, engine))).encode(), 0)
            yield
        finally:
            os.close(descriptor)


def holder_of(path: Path) -> Holder | None:
    """Return the process that holds the lock now; None if no engine runs."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if _try_lock(descriptor, fcntl.LOCK_SH) else _read_holder(path) or Holder(pid=0, since=0.0)
    finally:
        os.close(descriptor)
