"""The names of files on a disk, and the content of files that SQLite does not write: what of them a power cut leaves.

A directory is durable as it was when it was last synced. What was done to it since (made, renamed, linked, deleted) is
durable up to some moment, by seed: file systems keep the order. The content of a file is apart from that: a file that
was written, renamed and never synced may be there, and empty.

Python's functions of ``os`` are replaced while the disk is installed, and what does not go through them (a file that
``open`` makes) is seen when the directory is looked at the next time.
"""

import errno
import os
import random
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

if TYPE_CHECKING:
    from tests.simulation.disk import Disk

LINK: Final = os.link
UNLINK: Final = os.unlink
_FSYNC: Final = os.fsync
MAX_KEPT: Final = 64
"""Files without a name that are kept before it is asked which of them can still come back."""
Key = tuple[int, int]
"""A file: its device and its inode."""


@define(eq=False)
class SyncedNames:
    """The names of one directory."""

    durable: dict[str, Key]
    """As they were when the directory was last synced."""
    steps: list[dict[str, Key | None]] = field(factory=list)
    """What was done since, in order; None stands for a name that is gone."""


@define(eq=False)
class DiskNames:
    """The names on a disk."""

    disk: "Disk"
    _directories: dict[str, SyncedNames] = field(factory=dict, init=False)
    _synced: dict[Key, tuple[int, int] | None] = field(factory=dict, init=False)
    """The size and the time of change of files when they were synced; None for those that SQLite has written."""
    _nameless: dict[Key, Path] = field(factory=dict, init=False)
    """Files that have lost a name, and where they are kept."""
    _number: int = field(default=0, init=False)
    _real: dict[str, Any] = field(factory=dict, init=False)
    """The functions of ``os`` that others stand in for."""

    def install(self) -> None:
        """Take all that is there for durable, and see what is done from now on."""
        self.forget()
        self._real = {name: getattr(os, name) for name in ("rename", "replace", "link", "unlink", "remove", "fsync")}
        for name in ("rename", "replace"):
            setattr(os, name, self._renaming(self._real[name]))
        for name in ("unlink", "remove"):
            setattr(os, name, self._unlinking(self._real[name]))
        for name, function in (("link", self._link), ("fsync", self._fsync)):
            setattr(os, name, function)

    def remove(self) -> None:
        """Give ``os`` its functions back."""
        for name, function in self._real.items():
            setattr(os, name, function)

    def forget(self) -> None:
        """Take all that is there now for durable."""
        self._directories, self._synced, self._nameless = {}, {}, {}
        for directory, _, names in os.walk(self.disk.directory):
            self._directories[directory] = SyncedNames(_list(directory))
            for name in names:
                found = os.lstat(os.path.join(directory, name))
                self._synced[found.st_dev, found.st_ino] = found.st_size, found.st_mtime_ns

    # --- what is done ------------------------------------------------------------------------------------------------

    def made(self, path: str, key: Key) -> None:
        """Note that SQLite has made a file."""
        self._note(path, key)

    def deleting(self, path: str) -> None:
        """Keep a file, and note that it loses its name."""
        if self._keep(path):
            self._note(path, None)

    def sync(self, directory: str) -> None:
        """Note that the names of a directory have become durable."""
        if self._concerns(directory):
            self._directories[directory] = SyncedNames(_list(directory))
            if len(self._nameless) > MAX_KEPT:
                self._forget_deleted()

    def written_by_sqlite(self, key: Key) -> None:
        """Note that all of a file is durable."""
        self._synced[key] = None

    # --- what is left ------------------------------------------------------------------------------------------------

    def after_power_cut(self, directory: str, rng: random.Random) -> Mapping[str, Key]:
        """Return the names that a directory has after a power cut, and whose they are."""
        now, known = _list(directory), self._directories.get(directory, SyncedNames({}))
        names: dict[str, Key | None] = dict(known.durable)
        steps = known.steps
        last: dict[str, Key | None] = dict(known.durable)
        for step in steps:
            last.update(step)
        made = {name: key for name, key in sorted(now.items()) if last.get(name) != key}
        for step in steps[: rng.choice((0, rng.randint(0, len(steps)), len(steps)))]:
            names.update(step)
        names.update({name: key for name, key in made.items() if rng.random() < 0.5})
        return {name: key for name, key in sorted(names.items()) if key is not None}

    def length_after_power_cut(self, status: os.stat_result, rng: random.Random) -> int:
        """Return how many bytes a power cut leaves of a file that SQLite has not open."""
        size = status.st_size
        synced = self._synced.get((status.st_dev, status.st_ino), (0, -1))
        if synced is None or synced == (size, status.st_mtime_ns):
            return size
        least = synced[0] if synced[0] <= size else 0
        return rng.choice((least, rng.randint(least, size), size))

    def find(self, key: Key) -> Path | None:
        """Return where a file is that has lost its name."""
        return self._nameless.get(key)

    # --- in the place of functions of os -----------------------------------------------------------------------------

    def _renaming(self, real: Callable[..., None]) -> Callable[..., None]:
        def rename(source: Any, target: Any, **options: Any) -> None:
            if options:  # relative to a descriptor: of no use to a program with paths
                return real(source, target, **options)
            one, other = _absolute(source), _absolute(target)
            self._step(other)
            self._keep(other)
            real(source, target)
            if (key := _key(other)) is None:
                return
            if os.path.dirname(one) == os.path.dirname(other):  # both names change at once
                self._note_step(os.path.dirname(one), {os.path.basename(one): None, os.path.basename(other): key})
            else:
                self._note(other, key)
                self._note(one, None)

        return rename

    def _link(self, source: Any, target: Any, **options: Any) -> None:
        self._step(_absolute(target))
        LINK(source, target, **options)
        if (key := _key(_absolute(target))) is not None:
            self._note(_absolute(target), key)

    def _unlinking(self, real: Callable[..., None]) -> Callable[..., None]:
        def unlink(path: Any, **options: Any) -> None:
            if options:
                return real(path, **options)
            self._step(_absolute(path))
            kept = self._keep(_absolute(path))
            real(path)
            if kept:
                self._note(_absolute(path), None)

        return unlink

    def _fsync(self, descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        path = os.readlink(f"/proc/self/fd/{number}")
        if not self._concerns(path):
            return _FSYNC(descriptor)
        self._step(path)
        if self.disk.is_broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        found = os.fstat(number)
        if stat.S_ISDIR(found.st_mode):
            self.sync(path)
        else:
            self._synced[found.st_dev, found.st_ino] = found.st_size, found.st_mtime_ns

    # --- notes -------------------------------------------------------------------------------------------------------

    def _step(self, path: str) -> None:
        """Give the disk the opportunity to stop before this is done."""
        if self._concerns(path):
            self.disk.step()

    def _concerns(self, path: str) -> bool:
        top = str(self.disk.directory)
        return (path == top or path.startswith(f"{top}/")) and not self.disk.is_place_frozen(path)

    def _keep(self, path: str) -> bool:
        """Keep the file that is about to lose this name; return whether there is one that matters."""
        if not self._concerns(path) or (key := _key(path)) is None:
            return False
        if key not in self._nameless:
            self.disk.kept.mkdir(exist_ok=True)
            kept = self.disk.kept / f"nameless-{self._number}"
            self._number += 1
            LINK(path, kept)
            self._nameless[key] = kept
        return True

    def _forget_deleted(self) -> None:
        """Let go of files that no power cut can bring back."""
        known = {key for each in self._directories.values() for key in each.durable.values()}
        known |= {key for each in self._directories.values() for step in each.steps for key in step.values() if key}
        for key in [key for key in self._nameless if key not in known]:
            UNLINK(self._nameless.pop(key))
            self.disk.forget(key)

    def _note(self, path: str, key: Key | None) -> None:
        self._note_step(os.path.dirname(path), {os.path.basename(path): key})

    def _note_step(self, directory: str, step: dict[str, Key | None]) -> None:
        if self._concerns(directory):
            self._directories.setdefault(directory, SyncedNames({})).steps.append(step)


def _absolute(path: Any) -> str:
    name = os.path.abspath(os.fsdecode(path))
    return os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))


def _key(path: str) -> Key | None:
    """Return which file has a name; None if there is none, or something else than a file."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _list(directory: str) -> dict[str, Key]:
    """Return the files of a directory."""
    device = os.stat(directory).st_dev
    with os.scandir(directory) as entries:
        return {entry.name: (device, entry.inode()) for entry in entries if entry.is_file(follow_symlinks=False)}
