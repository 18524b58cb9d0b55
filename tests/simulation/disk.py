"""A disk under the real SQLite: it loses what was not synced, tears writes, is full or broken, and stops at any write.

    with Disk(directory, random.Random(7)) as disk:
        …                                             connections opened here are on the disk
        disk.power_cut()                              nothing reaches the disk any more, and what was not synced is lost
        disk.restore()                                the files are as the next process finds them

A *kill* and a *power cut* are two things. What a killed process has written is in the files, synced or not. At a power
cut each unsynced write is kept, lost or torn for itself, because a disk orders them as it likes.

Both *freeze* the files first: what the old connections write from then on is discarded, without an error, so that
whoever holds them can end as he likes. What they read may not make sense any more, and an acknowledgement of theirs
means nothing. ``restore`` closes those that are left, and puts other files (new inodes) in place.

Files that are not written by SQLite are modelled by their names, see ``disk_names``.
"""

import _thread  # its lock is a real one, also where ``threading`` is simulated
import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self

from attrs import define, field, frozen

from tests.simulation.disk_connections import DiskConnections
from tests.simulation.disk_file import DiskFile
from tests.simulation.disk_names import LINK, UNLINK, DiskNames, Key
from tests.simulation.disk_vfs import OK, OPEN_CREATE, OPEN_JOURNAL, Shim, find_library

_INDEX: Final = "-shm"
"""The suffix of the memory that connections share: after a crash it is made anew."""


@frozen
class LeftFile:
    """A file as a frozen disk has it."""

    status: os.stat_result
    content: bytes | None
    """None if it is what ``kept`` holds."""
    kept: Path
    """Another name of the file."""
    length: int | None
    """How many bytes of ``kept`` are left; None for all."""
    model: DiskFile | None


@define(eq=False)
class Disk:
    """The disk that ``directory`` is on; whatever it decides comes from ``rng``. One at a time is installed.

    The directory must exist, and the one above it must be writable: frozen files are kept there. Connections belong to
    the disk if they are opened by ``sqlite3.connect``, without a class of their own, while the disk is installed.
    """

    directory: Path
    rng: random.Random
    on_sync: Callable[[str], None] | None = None
    """Called with the file's path after each sync, inside of a call from SQLite's C code. It may count and move a
    virtual clock. It must not use SQLite or this disk, switch to another greenlet, wait for another thread, or raise
    (which ``check`` reports). To let others run while a commit takes its time, use ``before_commit``."""
    before_commit: Callable[[], None] | None = None
    """Called before each ``COMMIT`` and each ``commit()`` of a connection, outside of SQLite: it may do anything."""
    loses_synced: bool = False
    """Whether the disk lies: a sync makes nothing durable. For tests of tests."""
    writes: int = field(default=0, init=False)
    syncs: int = field(default=0, init=False)
    bytes_written: int = field(default=0, init=False)
    is_broken: bool = field(default=False, init=False)
    at_risk: dict[str, int] = field(factory=dict, init=False)
    """How many writes to each file the last power cut has found that were not synced, by path."""
    lock: Any = field(factory=_thread.RLock, init=False)
    """Of all that calls from SQLite's C code change."""
    names: DiskNames = field(init=False)
    _shim: Shim = field(init=False)
    _room: int | None = field(default=None, init=False)
    _stop_in: int | None = field(default=None, init=False)
    _stop: Callable[[], None] = field(default=lambda: None, init=False)
    _files: dict[Key, DiskFile] = field(factory=dict, init=False)
    _connections: DiskConnections = field(init=False)
    _places: list[str] = field(factory=list, init=False)
    """Where nothing reaches the disk now."""
    _left: dict[str, LeftFile] = field(factory=dict, init=False)
    """The frozen files, by their paths."""

    def __attrs_post_init__(self) -> None:
        self.directory = self.directory.resolve()
        self.names = DiskNames(self)
        self._shim = Shim(self)
        self._connections = DiskConnections(self)

    @staticmethod
    def unavailable() -> str:
        """Return why there can be no such disk under this Python's SQLite; an empty text if there can."""
        return find_library()[1]

    def install(self) -> None:
        """Put the disk under all databases of the directory that are opened from now on."""
        self._shim.install()
        self.names.install()
        self._connections.install()

    def remove(self) -> None:
        """Give SQLite its own file system back, also for open files. Raises as ``check`` does."""
        self._connections.remove()
        self.names.remove()
        self._shim.remove()
        shutil.rmtree(self.kept, ignore_errors=True)
        self.check()

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def check(self) -> None:
        """Raise what went wrong in calls from SQLite, which cannot pass it on."""
        if self._shim.errors:
            errors, self._shim.errors = self._shim.errors, []
            raise BaseExceptionGroup("the disk's model failed inside of SQLite", errors)

    # --- what happens to the disk ------------------------------------------------------------------------------------

    def kill(self, *places: Path) -> None:
        """Freeze the files of a process that dies: all that it has written is in them.

        ``places`` are databases, with the files beside them, or directories; without them it is the whole disk.
        """
        self._freeze(places, None)

    def power_cut(self) -> None:
        """Freeze the disk, without what was not synced; how much of that is lost comes from the seed."""
        self._freeze((), self.rng)

    def kill_at_write(self, number: int, on_stop: Callable[[], None], *places: Path, power: bool = False) -> None:
        """Have a kill, or a power cut, happen instead of the write that is the ``number``-th from now; 1 is the next.

        Changes of names, and syncs that do not come from SQLite, are counted like writes. A power cut may leave a part
        of that write. ``on_stop`` is called then, under the conditions of ``on_sync``. Number 0 takes the order back.
        """
        self.check()
        with self.lock:
            self._stop_in = number or None

            def stop() -> None:
                self._freeze(places, self.rng if power else None)
                on_stop()

            self._stop = stop

    def full(self, bytes_left: int) -> None:
        """Let files grow by so many bytes in total; what is cut off or deleted makes room again."""
        self.check()
        with self.lock:
            self._room = bytes_left

    def broken(self) -> None:
        """Have all writing and syncing fail; what was not synced may be lost for good."""
        self.check()
        with self.lock:
            self.is_broken = True

    def mend(self) -> None:
        """Have a full or broken disk work again."""
        self.check()
        with self.lock:
            self.is_broken, self._room = False, None

    @property
    def is_frozen(self) -> bool:
        """Whether some place is frozen now."""
        return bool(self._places)

    def restore(self) -> None:
        """Put the frozen files in place, as other files, and without the index of a log.

        Connections to frozen files are closed first; none of them may be in use at this moment. Raises
        ``RuntimeError`` if one is left that this disk does not know.
        """
        self.check()
        self._connections.abandon()
        self._connections.close_abandoned()
        self.check()
        with self.lock:
            still = sorted({file.path for file in self._files.values() if file.frozen and file.handles})
            if still:
                raise RuntimeError(f"connections to frozen files are open: {', '.join(still)}")
            for path, _ in list(self._walk()):
                UNLINK(path)
            self._files = {key: file for key, file in self._files.items() if not file.frozen}
            for path, left in self._left.items():
                self._put(Path(path), left)
            shutil.rmtree(self.kept, ignore_errors=True)
            self._left, self._places = {}, []
            self.names.forget()

    # --- called by the shim and by files -----------------------------------------------------------------------------

    def opened(self, path: str, flags: int, *, made: bool) -> DiskFile | None:
        """Return the model of a file of the directory; see ``FileModel``."""
        if not path.startswith(f"{self.directory}/"):
            return None
        found = os.stat(path)
        key = found.st_dev, found.st_ino
        with self.lock:
            known = self._files.get(key)
            if known is not None and not known.handles and known.size != found.st_size:
                del self._files[key]  # somebody else has written to it, or to another file of this number
            if (file := self._files.get(key)) is None:
                file = self._files[key] = DiskFile(self, path, key)
            file.handles += 1
            file.frozen = file.frozen or self.is_place_frozen(path)
            if made:
                self.names.made(path, key)
            # SQLite does not ask whether it has made the file now.
            file.syncs_name = file.syncs_name or bool(flags & OPEN_CREATE and flags & OPEN_JOURNAL)
            return file

    def delete(self, path: str, really: Callable[[], int], *, sync: bool) -> int:
        """Delete a file, unless it is frozen; see ``FileModel``."""
        with self.lock:
            if self.is_place_frozen(path):
                return OK
            if self._room is not None and path.startswith(f"{self.directory}/") and os.path.exists(path):
                self._room += os.stat(path).st_size
            self.names.deleting(path)
            code = really()
            if sync:
                self.names.sync(os.path.dirname(path))
            return code

    def forget(self, key: Key) -> None:
        """Note that a file is gone for good."""
        self._files.pop(key, None)

    def is_last(self) -> bool:
        """Return whether the disk stops at the step that is about to be done: then call ``stops``."""
        if self._stop_in is None:
            return False
        self._stop_in -= 1
        return not self._stop_in

    def step(self) -> None:
        """Stop, if a name is about to be changed at which the disk stops."""
        with self.lock:
            if self.is_last():
                self._stop()

    def stops(self, file: DiskFile) -> bool:
        """Stop; return whether this file is frozen now."""
        self._stop()
        return file.frozen

    def room_for(self, growth: int) -> int:
        """Return how many bytes a file may grow that wants to grow so many (or to shrink), and take them."""
        if self._room is None:
            return growth
        taken = min(growth, max(0, self._room))
        self._room -= taken
        return taken

    def closed(self, file: DiskFile) -> None:
        """Note that nobody has a file open any more."""
        if not file.unsynced and not file.frozen:
            self._files.pop(file.key, None)
            self.names.written_by_sqlite(file.key)

    def is_place_frozen(self, path: str) -> bool:
        """Return whether nothing reaches a file or a directory now."""
        return any(
            f"{path}/".startswith(place)
            if place.endswith("/")
            else path.startswith(place) and path[len(place) : len(place) + 1] in ("", "-", ".")
            for place in self._places
        )

    def random_bytes(self, amount: int) -> bytes:
        """Return the bytes that SQLite's own source of randomness is seeded with."""
        return self.rng.randbytes(amount)

    # --- freezing ----------------------------------------------------------------------------------------------------

    @property
    def kept(self) -> Path:
        """Where frozen files have another name, in case they lose theirs."""
        return self.directory.with_name(f".{self.directory.name}.frozen")

    def _freeze(self, places: tuple[Path, ...], power: random.Random | None) -> None:
        with self.lock:
            self._stop_in = None
            new = [f"{place}/" if place.is_dir() else str(place) for place in map(Path.resolve, places)]
            before, self._places = self._places, new or [f"{self.directory}/"]
            self.kept.mkdir(exist_ok=True)
            found = [each for each in self._walk() if each[0] not in self._left]
            if power is None:
                for path, status in found:
                    self._leave(path, path, status)
            else:
                self._cut(before, {(status.st_dev, status.st_ino): (path, status) for path, status in found}, power)
            self._places = list(dict.fromkeys([*before, *self._places]))
            for file in self._files.values():
                file.frozen = file.frozen or self.is_place_frozen(file.path)
            self._connections.abandon()

    def _cut(self, before: list[str], there: dict[Key, tuple[str, os.stat_result]], power: random.Random) -> None:
        """Decide what a power cut leaves; places that were frozen ``before`` keep the names that they have."""
        for directory in sorted(each[0] for each in os.walk(self.directory)):
            if any(f"{directory}/".startswith(place) for place in before):
                continue
            for name, key in self.names.after_power_cut(directory, power).items():
                if (nameless := self.names.find(key)) is not None:
                    self._leave(os.path.join(directory, name), str(nameless), os.lstat(nameless))
                elif key in there:
                    self._leave(os.path.join(directory, name), *there[key])
        # A machine that loses power keeps much, little or a part of what it was about to write.
        keeps, tears = power.choice(((0.0, 0.0), (0.0, 0.2), (0.5, 0.2), (0.9, 0.1)))
        self.at_risk = {
            path: len(left.model.unsynced) for path, left in self._left.items() if left.model and left.model.unsynced
        }
        for path, left in self._left.items():
            if left.model is None:
                length = self.names.length_after_power_cut(left.status, power)
                self._left[path] = LeftFile(left.status, None, left.kept, length, None)
            elif left.model.durable is not None:
                content = left.model.after_power_cut(power, keeps, tears)
                self._left[path] = LeftFile(left.status, content, left.kept, None, None)

    def _leave(self, path: str, source: str, status: os.stat_result) -> None:
        """Keep a file as it is now, for ``path``; the index of a log is not kept."""
        if not path.endswith(_INDEX):
            kept = self.kept / f"left-{len(self._left)}"
            LINK(source, kept)
            self._left[path] = LeftFile(status, None, kept, None, self._files.get((status.st_dev, status.st_ino)))

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the files of the frozen places, in the order of their paths."""
        for directory, inner, names in os.walk(self.directory):
            inner.sort()
            for name in sorted(names):
                path = os.path.join(directory, name)
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode) and self.is_place_frozen(path):
                    yield path, status

    def _put(self, path: Path, left: LeftFile) -> None:
        """Write a frozen file as a new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.kept / "fresh"
        if left.content is None:
            shutil.copyfile(left.kept, fresh)
            if left.length is not None:
                os.truncate(fresh, left.length)
        else:
            fresh.write_bytes(left.content)
        fresh.chmod(stat.S_IMODE(left.status.st_mode))
        os.utime(fresh, ns=(left.status.st_atime_ns, left.status.st_mtime_ns))
        fresh.rename(path)
        if left.model is not None and left.model.unsynced:  # what a killed process has not synced can still be lost
            found = os.stat(path)
            key = found.st_dev, found.st_ino
            old = left.model
            self._files[key] = DiskFile(self, str(path), key, durable=old.durable, unsynced=old.unsynced, size=old.size)
