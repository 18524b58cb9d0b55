"""One owner for each session file: a lock file beside it, which names who holds it.

``flock`` on a file of its own, because the kernel lets go of it when the holder dies, however it dies: what a dead
process left behind is taken over, and nobody has to judge whether a process number is still the same process. On the
database itself it must never be: SQLite's own locks die when any descriptor of that file is closed.
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

TIMEOUT_SECONDS = 0.5
"""How long a lock may be awaited: who only looks whether it is held holds it for a moment."""
_POLL_SECONDS = 0.01


@frozen
class Owner:
    """Who uses a session."""

    pid: int
    host: str
    since: float
    """When it took the session (Unix seconds)."""
    program: str = ""
    """What it was started as."""

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since).astimezone()
        return f"process {self.pid} ({self.program}) on {self.host}, since {since:%Y-%m-%d %H:%M:%S}"


def lock_path(session: Path) -> Path:
    """Return where the lock of a session file is."""
    return session.with_name(f"{session.name}.lock")


@define(eq=False)
class OwnerLock:
    """The lock of one session file. Not for use by two threads at once."""

    session: Path
    _descriptor: int | None = field(default=None, init=False)

    @property
    def held(self) -> bool:
        """Whether it is ours."""
        return self._descriptor is not None

    def acquire(self, timeout: float = TIMEOUT_SECONDS) -> None:
        """Take the lock within ``timeout`` seconds; do nothing if it is ours already.

        Raises ``SessionHeld`` if another program, or another session object of this one, has it, and ``OSError`` if
        the lock file cannot be made.
        """
        if self.held:
            return
        give_up = time.monotonic() + timeout
        while (descriptor := _take(lock_path(self.session))) is None:
            if time.monotonic() >= give_up:
                raise held_by(self.session, _read(lock_path(self.session)))
            time.sleep(_POLL_SECONDS)
        owner = Owner(os.getpid(), socket.gethostname(), time.time(), _program())
        with suppress(OSError):  # a full disk: the lock holds without a name in it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(owner)).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back and remove its file; do nothing if it is not ours."""
        if self._descriptor is None:
            return
        with suppress(OSError):
            lock_path(self.session).unlink()
        os.close(self._descriptor)
        self._descriptor = None

    def __del__(self) -> None:
        # Nobody can give it back any more: a session that was forgotten, not closed.
        self.release()


def owner_of(session: Path) -> Owner | None:
    """Return who uses a session now; None if nobody does. Reads only, and takes the lock for a moment."""
    path = lock_path(session)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path) or Owner(0, "", 0.0, "unknown")
    except OSError:  # no locks on this file system
        return None
    else:
        return None
    finally:
        os.close(descriptor)


def _take(path: Path) -> int | None:
    """Return a descriptor that holds the lock, or None if somebody else has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever let go has removed the file: then this is a lock on nothing.
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _read(path: Path) -> Owner | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        said = json.loads(path.read_text("utf-8"))
        return Owner(int(said["pid"]), str(said["host"]), float(said["since"]), str(said["program"]))
    return None


def held_by(session: Path, owner: Owner | None) -> SessionHeld:
    """Return the error that says who has a session."""
    who = f"is used by {owner}" if owner else "is used by another program"
    if owner and owner.pid == os.getpid() and owner.host == socket.gethostname():
        who = "is open in this very program already"
    return SessionHeld(f"{session}: the session {who}; one session belongs to one program, so close it there first")


def _program() -> str:
    if sys.argv and sys.argv[0] not in ("", "-c", "-m"):
        path = Path(sys.argv[0])
        return path.parent.name if path.name == "__main__.py" else path.name
    return Path(sys.executable).name
