"""One owner for each session file: a lock file beside it, which names the owner, and a lock on the file itself.

Both are an ``flock``, because the kernel releases it when the owner dies, however it dies: what a dead process left
behind is taken over, and no code has to judge whether a process number still means the same process. The lock files of
a process in one directory are one file, under as many names. A lock file can be removed under its owner, or be missed
by a program that reaches the session by another name; the lock on the session itself cannot. Its descriptor is closed
after the connections to the file only, because SQLite's own locks die when any descriptor of that file is closed; so it
is never opened twice in a process.
"""

import fcntl
import json
import os
import socket
import stat
import sys
import threading
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from weakref import WeakSet, WeakValueDictionary

from attrs import define, evolve, field, frozen

from adapters.files import open_file, read_file
from adapters.session.errors import SessionHeld
from adapters.system import forks
from adapters.system.kernel_locks import left_behind, may_lock_database, taker_of, try_lock, write_taker
from adapters.system.locked_files import LockedFile, LockedFiles

LOCK_TIMEOUT = 0.5
"""Seconds to wait for a lock: a program that only checks whether it is held holds it for a moment."""
_POLL_SECONDS = 0.01
_Identity = tuple[int, int]
_HELD: "WeakValueDictionary[_Identity, OwnerLock]" = WeakValueDictionary()
"""The session files that this process has locked, by device and inode."""
_LOCKS: "WeakSet[OwnerLock]" = WeakSet()
"""All locks that this process holds."""
_LOCK_FILES = LockedFiles()
_HELD_LOCK = threading.RLock()  # a lock that is forgotten is released wherever the collector runs


@frozen
class Owner:
    """The process that uses a session."""

    pid: int
    host: str
    since: float
    """When the process took its first session in this directory (Unix seconds)."""
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
    """The lock of one session file."""

    session: Path
    _file: LockedFile | None = field(default=None, init=False)
    _data: int | None = field(default=None, init=False)
    """The descriptor that locks the session itself."""
    _identity: _Identity | None = field(default=None, init=False)
    owner: Owner | None = field(default=None, init=False)
    """What the lock file says while this object holds the lock."""
    looked_at: tuple[int, ...] | None = field(default=None, init=False, repr=False)
    """``LockWatch``'s: what the directory was like when the lock was last found in its place."""
    directory: str = field(init=False, repr=False)
    _within: str = field(default="", init=False, repr=False)
    """The directory that a relative path counted from when the lock was taken: the program may go to another one."""
    _guard: threading.RLock = field(factory=threading.RLock, init=False, repr=False)

    @directory.default
    def _find_directory(self) -> str:
        return sys.intern(os.path.dirname(str(self.session)) or ".")  # asked all the time, and shared

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def acquire(self, timeout: float = LOCK_TIMEOUT) -> None:
        """Take the lock within ``timeout`` seconds; do nothing if this object holds it already.

        Raises ``SessionHeld`` if another program, or another session object of this one, has it, and ``OSError`` if
        the lock file cannot be made.
        """
        if self.held:
            return
        self._within = "" if self.session.is_absolute() else sys.intern(os.getcwd())
        give_up, path = time.monotonic() + timeout, self._path
        while (file := self._take_file()) is None or not self.lock_data():
            if file is not None:  # the lock file was removed, and the session is in use all the same
                with _HELD_LOCK:
                    _LOCK_FILES.release(path, file)
            if time.monotonic() >= give_up:
                raise held_error(self.session, _data_owner(self.session) or _read_owner(path))
            time.sleep(_POLL_SECONDS)
        self._hold(file)
        _LOCKS.add(self)

    @property
    def _path(self) -> Path:
        return Path(self._within, lock_path(self.session))

    def _take_file(self, former: LockedFile | None = None) -> LockedFile | None:
        """Return the lock file, locked by this process, or None if another one has it; ``former`` was it before.

        The lock files of a directory are one file where a lock ends with its own descriptor only.
        """
        path, share = self._path, may_lock_database(self.session.parent)
        with _HELD_LOCK:
            if former is not None:
                return _LOCK_FILES.retake(path, former, share=share)
            return _LOCK_FILES.take(path, share=share)

    def lock_data(self) -> bool:
        """Lock the session file that has the name now, if there is one; return False if another program has it.

        Call it again when the file was made, or made anew.
        """
        with self._guard, _HELD_LOCK:
            found = _identity_of(self.session)
            if found is None or found == self._identity:
                return True
            if found in _HELD:
                return False
            if not may_lock_database(self.session):
                return True
            try:
                descriptor = os.open(self.session, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                return True
            try:
                regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
                locked = try_lock(descriptor, fcntl.LOCK_EX) if regular else None
            except OSError:  # this file system has no locks
                locked = None
            if not locked:
                os.close(descriptor)
                return locked is None
            forks.withhold(descriptor)
            self._let_data_go()
            self._data, self._identity = descriptor, found
            _HELD[found] = self
            return True

    def renew(self) -> str | None:
        """Make the lock again where it is gone: its file was removed or replaced, or the session was.

        Returns what was found, for a sentence that goes on after "the lock of the session ..."; None if all is as it
        was. Raises ``OSError`` if it cannot be made.
        """
        with self._guard:
            if self._file is None or self._is_in_place():
                return None
            if not self.session.parent.is_dir():
                return None
            if not self.lock_data():
                return "is held by another program: stop one of the two"
            if _identity_of(self._path) == self._file.identity:
                return None
            file = self._take_file(self._file)
            if file is None:
                return "was removed, and another program holds it now: stop one of the two"
            self._hold(file)
            return "was removed or replaced; it is held again"

    def _is_in_place(self) -> bool:
        """Return whether both files that are locked have their names still: two looks, for this is asked all the time.

        A file that is locked is open, so no other one can have its number.
        """
        if self._identity is None or _identity_of(self.session) != self._identity:
            return False
        return self._file is not None and _identity_of(f"{self.session}.lock") == self._file.identity

    def _hold(self, file: LockedFile) -> None:
        """Hold the lock by this file, and see to it that it says who does."""
        if file.said is None:
            file.said = Owner(os.getpid(), socket.gethostname(), time.time(), _program())
            write_taker(file.descriptor, file.said)
        self._file, self.owner, self.looked_at = file, file.said, None

    def release(self) -> None:
        """Release the lock and remove its file; do nothing if this object does not hold it."""
        with self._guard:
            if self._file is None:
                return
            file, self._file = self._file, None
            if self.owner is None or self.owner.pid != os.getpid():  # a child: the lock is its parent's
                return
            with _HELD_LOCK:
                _LOCKS.discard(self)
                self._let_data_go()
                _LOCK_FILES.release(self._path, file)

    def _let_data_go(self) -> None:
        if self._identity is not None:
            _HELD.pop(self._identity, None)
        if self._data is not None:
            forks.close(self._data)
        self._data = self._identity = None

    def __del__(self) -> None:
        if _HELD_LOCK is not None:  # Python takes this module apart, and the kernel drops the lock
            self.release()  # the session was forgotten, not closed: nothing else can release the lock any more


def held_locks() -> "list[OwnerLock]":
    """Return all locks that this process holds."""
    with _HELD_LOCK:
        return list(_LOCKS)


def owner_of(session: Path) -> Owner | None:
    """Return the process that uses a session now; None if it is free. Reads only, and takes the lock for a moment."""
    path = lock_path(session)
    try:
        descriptor = open_file(path, os.O_RDONLY)
    except OSError:
        return _data_owner(session)
    try:
        if not try_lock(descriptor, fcntl.LOCK_SH):
            owner = _read_owner(path)
            orphan = left_behind(path, owner.pid) if owner is not None and owner.host == socket.gethostname() else None
            if owner is not None and orphan is not None:
                return evolve(owner, pid=orphan, program=f"left behind by {owner.program}")
            return owner or _data_owner(session) or Owner(0, "", 0.0, "unknown")
    except OSError:  # this file system has no locks
        return None
    finally:
        os.close(descriptor)
    return _data_owner(session)


def _data_owner(session: Path) -> Owner | None:
    """Return the process that has locked the session itself; None if none has."""
    with _HELD_LOCK:
        found = _identity_of(session)
        if found is None or not may_lock_database(session):
            return None
        if found in _HELD:  # never opened twice, see above
            return _HELD[found].owner or Owner(os.getpid(), socket.gethostname(), time.time(), _program())
        try:
            descriptor = os.open(session, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode) or try_lock(descriptor, fcntl.LOCK_SH):
                return None
        except OSError:
            return None
        finally:
            os.close(descriptor)
    taker = taker_of(session)
    return Owner(taker or 0, socket.gethostname(), os.stat(session).st_mtime, _name_of(taker))


def _name_of(process: int | None) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
        if "engine" in words or any(word.endswith("/holdfast") for word in words[:2]):
            return "engine"
        return Path(words[0]).name or "unknown"
    return "unknown"


def _identity_of(path: Path | str) -> _Identity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _in_child() -> None:
    """Forget the parent's locks."""
    global _HELD_LOCK  # noqa: PLW0603  # another thread of the parent may have held it
    _HELD_LOCK = threading.RLock()
    _HELD.clear()
    _LOCKS.clear()
    _LOCK_FILES.forget()


forks.do_in_child(_in_child)


def _read_owner(path: Path) -> Owner | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        stored = json.loads(read_file(path))
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
