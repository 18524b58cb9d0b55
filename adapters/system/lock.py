"""One engine for one data directory: a lock file that names its holder, and a lock on the directory itself.

Both are an ``flock``: the kernel releases it when the holder dies, however it dies, so it is never stale. The file can
be removed under a running engine, the directory cannot. No child of the engine keeps either (``forks.py``).
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, evolve, field, frozen

from adapters.files import NoFile, open_file, read_file
from adapters.system import forks
from adapters.system.kernel_locks import left_behind, taker_of, try_lock, write_taker

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
        orphan = left_behind(path, holder.pid) if holder else None
        if orphan is not None and holder is not None:
            holder = evolve(holder, pid=orphan)
            what = f"process {orphan}, which an engine that has ended left behind, keeps the lock on this data; end it"
            super().__init__(f"{path.parent}: {what} first")
        else:
            name = f"process {holder.pid}" if holder and holder.pid else "another process"
            super().__init__(f"{path.parent}: {name} runs an engine on this data already; stop it first")
        self.holder = holder


def _read_holder(path: Path) -> Holder | None:
    """Return the holder that the lock file names, or else the one that took the lock on the directory."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        stored = json.loads(read_file(path))
        return Holder(pid=int(stored["pid"]), since=float(stored["since"]), engine=str(stored.get("engine", "")))
    taker = taker_of(path.parent)
    return None if taker is None else Holder(taker, 0.0)


@define(eq=False)
class EngineLock:
    """The lock of one data directory, as a context manager."""

    path: Path
    _holder: Holder | None = field(default=None, init=False)
    _file: int | None = field(default=None, init=False)
    _directories: list[int] = field(factory=list, init=False)
    """Of the directory that has the name, and of those that had it before: each may be found by another engine."""

    @contextmanager
    def held(self, since: float, engine: str = "") -> Iterator[None]:
        """Hold the lock for the block, for the engine of this identity; raise ``LockHeld`` if another one does."""
        self._holder = Holder(os.getpid(), since, engine)
        try:
            give_up = time.monotonic() + LOCK_TIMEOUT
            while not (self._take_file() and self._take_directory()):
                if time.monotonic() > give_up:
                    raise LockHeld(self.path, _read_holder(self.path))
                time.sleep(0.02)
            self._write_holder()
            yield
        finally:
            self._release()

    def renew(self) -> str | None:
        """Make the lock again where it is gone: its file was removed or replaced, or its directory was renamed.

        Returns what was found, for a sentence that goes on after "the lock ..."; None if all is as it was, or there is
        no directory now. Raises ``OSError`` if it cannot be made.
        """
        if self._file is None or not self.path.parent.is_dir():
            return None
        if self._is_at(self._file, self.path) and self._is_at(self._directories[-1:], self.path.parent):
            return None
        lost = self._file
        self._file = None if not self._is_at(lost, self.path) else lost
        if self._take_file() and self._take_directory():
            if self._file != lost:
                forks.close(lost)
            self._write_holder()
            return "was removed or replaced; it is held again"
        self._file = lost
        return "was removed, and another program holds it now: stop one of the two"

    def _is_at(self, descriptors: int | list[int], path: Path) -> bool:
        """Return whether a descriptor (none counts as well) is of the file that has the name."""
        with suppress(OSError):
            for each in [descriptors] if isinstance(descriptors, int) else descriptors:
                if not os.path.samestat(os.fstat(each), os.stat(path)):
                    return False
            return path.exists()
        return False

    def _take_file(self) -> bool:
        if self._file is not None:
            return True
        descriptor = open_file(self.path, os.O_RDWR | os.O_CREAT)
        try:
            if try_lock(descriptor, fcntl.LOCK_EX) and os.path.samestat(os.fstat(descriptor), os.stat(self.path)):
                self._file = descriptor
                forks.withhold(descriptor)
                return True
        except FileNotFoundError:  # removed at this moment
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return False

    def _take_directory(self) -> bool:
        """Lock the directory; where a directory cannot be locked (NFS), the file has to do."""
        if self._directories and self._is_at(self._directories[-1:], self.path.parent):
            return True
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            locked = try_lock(descriptor, fcntl.LOCK_EX)
        except OSError:  # no locks on directories here
            os.close(descriptor)
            return True
        if locked:
            self._directories.append(descriptor)
            forks.withhold(descriptor)
        else:
            os.close(descriptor)
        return locked

    def _write_holder(self) -> None:
        assert self._file is not None
        assert self._holder is not None
        write_taker(self._file, self._holder)

    def _release(self) -> None:
        if self._holder is None or self._holder.pid != os.getpid():
            return  # a child: the lock is its parent's
        for descriptor in [*self._directories, *([] if self._file is None else [self._file])]:
            forks.close(descriptor)
        self._directories, self._file = [], None


def holder_of(path: Path) -> Holder | None:
    """Return the process that holds the lock now; None if no engine runs."""
    for each, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        try:
            descriptor = open_file(each, flags) if each == path else os.open(each, flags | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, NoFile):  # no engine has its lock on something else than a file
            continue
        try:
            if try_lock(descriptor, fcntl.LOCK_SH):
                continue
        except OSError:  # no locks on a directory here
            if each == path:
                raise
            continue
        finally:
            os.close(descriptor)
        holder = _read_holder(path)
        if holder is not None and left_behind(each, holder.pid) is not None:
            return None  # a child of an engine that has ended; nothing runs
        return holder or Holder(pid=0, since=0.0)
    return None
