"""One lock under many names: a file that is locked once, and linked to each name that this process holds.

A lock file of its own for each of ten thousand things would take ten thousand descriptors. A hard link is the same
file, so its ``flock`` is there from the moment on at which the name is, and goes with the process. For other programs
each name is a lock file like any other.
"""

import fcntl
import os
import threading
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from adapters.files import open_file
from adapters.system import forks
from adapters.system.kernel_locks import try_lock

_SOURCES: Final = 3
"""Names of a file that are tried as the source of another link: something may have removed them."""


@define(eq=False)
class LockedFile:
    """A file that this process has locked, under one name or many."""

    descriptor: int
    identity: tuple[int, int]
    """Device and inode."""
    names: set[str] = field(factory=set)
    said: Any = None
    """What has been written into it, for whoever writes there."""


@define(eq=False)
class LockedFiles:
    """The lock files of one kind that this process holds: one file for all names in a directory where possible."""

    _shared: dict[str, LockedFile] = field(factory=dict, init=False)
    """For each directory the file to which the next name is linked."""
    _files: set[LockedFile] = field(factory=set, init=False)
    _guard: threading.RLock = field(factory=threading.RLock, init=False, repr=False)
    """The collector may run in the middle of anything here, and release what was forgotten."""

    def take(self, path: Path, *, share: bool) -> LockedFile | None:
        """Lock the file of this name, and make it if need be; return None if it is locked already.

        With ``share`` the name becomes a link to the file that is held in this directory. Share only where no other
        descriptor of the file that this process closes can end the lock: not on a network's file system. Raises
        ``OSError``.
        """
        name, directory = os.fspath(path), os.path.dirname(os.fspath(path))
        with self._guard:
            if any(name in file.names for file in list(self._files)):
                return None
            file = self._shared.get(directory) if share else None
            if file is not None and self._link(file, name):
                file.names.add(name)
                return file
            descriptor = self._lock(path)
            if descriptor is None:
                return None
            if file is not None and self._replace(file, name):
                os.close(descriptor)
                file.names.add(name)
                return file
            if os.fstat(descriptor).st_nlink > 1:  # the dead program's other names are not this one's
                descriptor = self._replace_by_new(descriptor, name)
            forks.withhold(descriptor)
            found = os.fstat(descriptor)
            file = LockedFile(descriptor, (found.st_dev, found.st_ino), {name})
            if share:
                self._files.add(file)
                self._shared[directory] = file
            return file

    def retake(self, path: Path, file: LockedFile, *, share: bool) -> LockedFile | None:
        """Lock a name again that was removed or replaced; return None, and change nothing, if another one holds it."""
        name = os.fspath(path)
        with self._guard:
            file.names.discard(name)
            taken = None
            try:
                taken = self.take(path, share=share)
            finally:
                if taken is None:
                    file.names.add(name)
            if taken is not None and taken is not file:
                self._close_unused(file)
            return taken

    def is_at(self, path: Path, file: LockedFile) -> bool:
        """Return whether a name is that of a file still."""
        return _identity_of(os.fspath(path)) == file.identity

    def release(self, path: Path, file: LockedFile) -> None:
        """Give up a name and remove it; the lock ends with the last one."""
        name = os.fspath(path)
        with self._guard:
            with suppress(OSError):
                if _identity_of(name) == file.identity:
                    os.unlink(name)
            file.names.discard(name)
            self._close_unused(file)

    def forget(self) -> None:
        """Forget everything, in a child: the locks are the parent's."""
        self._guard = threading.RLock()  # another thread of the parent may have held it
        self._shared.clear()
        self._files.clear()

    def _close_unused(self, file: LockedFile) -> None:
        if file.names:
            return
        self._files.discard(file)
        for directory in [each for each, shared in list(self._shared.items()) if shared is file]:
            del self._shared[directory]
        forks.close(file.descriptor)

    def _lock(self, path: Path) -> int | None:
        """Return a descriptor that holds the lock of a file of its own, or None if another one holds it."""
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        try:
            # A release removes the file: if one came in between, this lock is on a file that has no name any more.
            if try_lock(descriptor, fcntl.LOCK_EX) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _link(self, file: LockedFile, name: str) -> bool:
        """Give a file another name, if that is free; return whether it has it now."""
        for source in list(islice(file.names, _SOURCES)):
            try:
                os.link(source, name, follow_symlinks=False)
            except FileNotFoundError:  # this name was removed
                continue
            except OSError:  # taken, or no more links, or none on this file system
                return False
            if _identity_of(name) == file.identity:
                return True
            os.unlink(name)  # something else had taken the source's place
        return False

    def _replace(self, file: LockedFile, name: str) -> bool:
        """Put another name of a file into the place of a dead program's lock, which this process has locked."""
        passing = f"{name}.new"
        with suppress(OSError):
            os.unlink(passing)
        if not self._link(file, passing):
            return False
        try:
            os.rename(passing, name)
        except OSError:
            with suppress(OSError):
                os.unlink(passing)
            return False
        return True

    def _replace_by_new(self, descriptor: int, name: str) -> int:
        """Put a new file into the place of a dead program's lock, and return a descriptor that holds its lock."""
        passing = f"{name}.new"
        try:
            with suppress(FileNotFoundError):
                os.unlink(passing)
            new = open_file(Path(passing), os.O_RDWR | os.O_CREAT | os.O_EXCL)
            try:
                try_lock(new, fcntl.LOCK_EX)
                os.rename(passing, name)
            except BaseException:
                os.close(new)
                raise
            return new
        finally:
            os.close(descriptor)


def _identity_of(name: str) -> tuple[int, int] | None:
    with suppress(OSError):
        found = os.lstat(name)
        return found.st_dev, found.st_ino
    return None
