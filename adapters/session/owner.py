"""One owner for each session file: a lock file beside it, which names the owner.

The lock is an ``flock`` on a file of its own, because the kernel releases it when the owner dies, however it dies: what
a dead process left behind is taken over, and no code has to judge whether a process number still means the same
process. The lock must never be on the database itself: SQLite's own locks die when any descriptor of that file is
closed.
"""

import fcntl
import json
import os
import socket
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from attrs import asdict, define, field, frozen

from adapters.session.errors import SessionHeld

LOCK_TIMEOUT = 0.5
"""Seconds to wait for a lock: a program that only checks whether it is held holds it for a moment."""
_POLL_SECONDS = 0.01


@frozen
class Owner:
    """The process that uses a session."""

    pid: int
    host: str
    since: float
    """When the process took the session (Unix seconds)."""
    program: str = ""
    """The name that the process was started by."""

    def __str__(self) -> str:
        who = f"process {self.pid} ({self.program}) on {self.host}"
        with suppress(ValueError, OverflowError, OSError):  # the lock file may hold any number
            return f"{who}, since {datetime.fromtimestamp(self.since).astimezone():%Y-%m-%d %H:%M:%S}"
        return who


def lock_path(session: Path) -> Path:
    """Return where the lock of a session file is."""
    return session.with_name(f"{session.name}.lock")


@define(eq=False)
class OwnerLock:
    """The lock of one session file. Two threads must not use it at once."""

    session: Path
    _descriptor: int | None = field(default=None, init=False)

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self, timeout: float = LOCK_TIMEOUT) -> None:
        """Take the lock within ``timeout`` seconds; do nothing if this object holds it already.

        Raises ``SessionHeld`` if another program, or another session object of this one, has it, and ``OSError`` if
        the lock file cannot be made.
        """
        if self.held:
            return
        give_up = time.monotonic() + timeout
        while (descriptor := _try_lock(lock_path(self.session))) is None:
            if time.monotonic() >= give_up:
                raise held_error(self.session, _read_owner(lock_path(self.session)))
            time.sleep(_POLL_SECONDS)
        owner = Owner(os.getpid(), socket.gethostname(), time.time(), _program())
        with suppress(OSError):  # a full disk: the lock works without a name in it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(owner)).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock and remove its file; do nothing if this object does not hold it."""
        if self._descriptor is None:
            return
        with suppress(OSError):
            lock_path(self.session).unlink()
        os.close(self._descriptor)
        self._descriptor = None

    def __del__(self) -> None:
        self.release()  # the session was forgotten, not closed: nothing else can release the lock any more


def owner_of(session: Path) -> Owner | None:
    """Return the process that uses a session now; None if it is free. Reads only, and takes the lock for a moment."""
    path = lock_path(session)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_owner(path) or Owner(0, "", 0.0, "unknown")
    except OSError:  # this file system has no locks
        return None
    else:
        return None
    finally:
        os.close(descriptor)


def _try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock, or None if another one holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A release removes the file: if one came in between, this lock is on a file that has no name any more.
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _read_owner(path: Path) -> Owner | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        stored = json.loads(path.read_text("utf-8"))
        return Owner(int(stored["pid"]), str(stored["host"]), float(stored["since"]), str(stored["program"]))
    return None


def held_error(session: Path, owner: Owner | None) -> SessionHeld:
    """Return the error that names the owner of a session."""
    use = f"is used by {owner}" if owner else "is used by another program"
    if owner and owner.pid == os.getpid() and owner.host == socket.gethostname():
        use = "is open in this very program already"
    return SessionHeld(f"{session}: the session {use}; one session belongs to one program, so close it there first")


def _program() -> str:
    """Return the name by which this process was started."""
    if sys.argv and sys.argv[0] not in ("", "-c", "-m"):
        path = Path(sys.argv[0])
        return path.parent.name if path.name == "__main__.py" else path.name
    return Path(sys.executable).name
