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
import sqlite3
import stat
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self

from attrs import define, field, frozen

from tests.simulation.disk_file import DiskFile
from tests.simulation.disk_vfs import OK, Shim, find_library

_INDEX: Final = "-shm"
"""The suffix of the memory that connections share: after a crash it is made anew."""
_connect: Final = sqlite3.connect


class DiskConnection(sqlite3.Connection):
    """A connection that lets its disk wait before it commits, outside of SQLite: other greenlets may run meanwhile."""

    disk: "Disk | None" = None

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Run a statement."""
        if self.disk is not None and self.disk.before_commit is not None and sql[:6].upper() == "COMMIT":
            self.disk.before_commit()
        return super().execute(sql, *parameters)

    def commit(self) -> None:
        """Commit."""
        if self.disk is not None and self.disk.before_commit is not None:
            self.disk.before_commit()
        super().commit()


@frozen
class LeftFile:
    """A file as a frozen disk has it."""

    status: os.stat_result
    content: bytes | None
    """None if it is what ``kept`` holds."""
    kept: Path
    """Another name of the file."""
    model: DiskFile | None


@define(eq=False)
class Disk:
    """The disk that ``directory`` is on; whatever it decides comes from ``rng``. One at a time is installed.

    The directory must exist, and the one above it must be writable: frozen files are kept there. Connections belong to
    the disk if they are opened by ``sqlite3.connect``, without a class of their own, while the disk is installed.
    """

    directory: Path
    rng: random.Random
    on_sync: Callable[[], None] | None = None
    """Called after each sync, inside of a call from SQLite's C code. It may count and move a virtual clock. It must not
    use SQLite or this disk, switch to another greenlet, wait for another thread, or raise (which ``check`` reports).
    To let others run while a commit takes its time, use ``before_commit``."""
    before_commit: Callable[[], None] | None = None
    """Called before each ``COMMIT`` and each ``commit()`` of a connection, outside of SQLite: it may do anything."""
    loses_synced: bool = False
    """Whether the disk lies: a sync makes nothing durable. For tests of tests."""
    writes: int = field(default=0, init=False)
    syncs: int = field(default=0, init=False)
    bytes_written: int = field(default=0, init=False)
    is_broken: bool = field(default=False, init=False)
    lock: Any = field(factory=_thread.RLock, init=False)
    """Of all that calls from SQLite's C code change."""
    _shim: Shim = field(init=False)
    _room: int | None = field(default=None, init=False)
    _stop_in: int | None = field(default=None, init=False)
    _stop: Callable[[], None] = field(default=lambda: None, init=False)
    _files: dict[tuple[int, int], DiskFile] = field(factory=dict, init=False)
    _connections: dict[int, tuple[str, "weakref.ref[DiskConnection]"]] = field(factory=dict, init=False)
    _abandoned: list[DiskConnection] = field(factory=list, init=False)
    _places: list[str] = field(factory=list, init=False)
    """Where nothing reaches the disk now."""
    _left: dict[str, LeftFile] = field(factory=dict, init=False)
    """The frozen files, by their paths."""

    def __attrs_post_init__(self) -> None:
        self.directory = self.directory.resolve()
        self._shim = Shim(self)

    @staticmethod
    def unavailable() -> str:
        """Return why there can be no such disk under this Python's SQLite; an empty text if there can."""
        return find_library()[1]

    def install(self) -> None:
        """Put the disk under all databases of the directory that are opened from now on."""
        self._shim.install()
        sqlite3.connect = self._open_connection

    def remove(self) -> None:
        """Give SQLite its own file system back, also for open files. Raises as ``check`` does."""
        sqlite3.connect = _connect
        self._shim.remove()
        shutil.rmtree(self._kept, ignore_errors=True)
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

        A power cut may leave a part of that write. ``on_stop`` is called then, under the conditions of ``on_sync``.
        Number 0 takes the order back.
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
        self._abandon()
        for connection in self._abandoned:
            sqlite3.Connection.close(connection)
        self._abandoned.clear()
        self.check()
        with self.lock:
            still = sorted({file.path for file in self._files.values() if file.frozen and file.handles})
            if still:
                raise RuntimeError(f"connections to frozen files are open: {', '.join(still)}")
            for path, _ in list(self._walk()):
                os.unlink(path)
            self._files = {key: file for key, file in self._files.items() if not file.frozen}
            for path, left in self._left.items():
                self._put(Path(path), left)
            shutil.rmtree(self._kept, ignore_errors=True)
            self._left, self._places = {}, []

    # --- called by the shim and by files -----------------------------------------------------------------------------

    def opened(self, path: str, flags: int) -> DiskFile | None:
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
            file.frozen = file.frozen or self._is_frozen(path)
            return file

    def delete(self, path: str, really: Callable[[], int]) -> int:
        """Delete a file, unless it is frozen; see ``FileModel``."""
        with self.lock:
            if self._is_frozen(path):
                return OK
            found = os.stat(path) if path.startswith(f"{self.directory}/") and os.path.exists(path) else None
            if (code := really()) == OK and found is not None:
                self.room_for(-found.st_size)
                if (file := self._files.get((found.st_dev, found.st_ino))) is not None and not file.handles:
                    del self._files[file.key]
            return code

    def is_last(self, amount: int) -> bool:
        """Count a write that is about to be done; return whether the disk stops at it: see ``stops``."""
        self.writes += 1
        self.bytes_written += amount
        if self._stop_in is None:
            return False
        self._stop_in -= 1
        return not self._stop_in

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

    def random_bytes(self, amount: int) -> bytes:
        """Return the bytes that SQLite's own source of randomness is seeded with."""
        return self.rng.randbytes(amount)

    # --- freezing ----------------------------------------------------------------------------------------------------

    @property
    def _kept(self) -> Path:
        """Where frozen files have another name, in case they lose theirs."""
        return self.directory.with_name(f".{self.directory.name}.frozen")

    def _freeze(self, places: tuple[Path, ...], power: random.Random | None) -> None:
        with self.lock:
            self._stop_in = None
            new = [f"{place}/" if place.is_dir() else str(place) for place in map(Path.resolve, places)]
            new = new or [f"{self.directory}/"]
            before, self._places = self._places, new
            self._kept.mkdir(exist_ok=True)
            # A machine that loses power keeps much, little or a part of what it was about to write.
            keeps, tears = power.choice(((0.0, 0.0), (0.0, 0.2), (0.5, 0.2), (0.9, 0.1))) if power else (0.0, 0.0)
            for path, status in self._walk():
                if path not in self._left and not path.endswith(_INDEX):
                    kept = self._kept / str(len(self._left))
                    os.link(path, kept)
                    model = self._files.get((status.st_dev, status.st_ino))
                    self._left[path] = LeftFile(status, None, kept, model)
            for path, left in self._left.items():
                if power is not None and left.model is not None and left.model.durable is not None:
                    content = left.model.after_power_cut(power, keeps, tears)
                    self._left[path] = LeftFile(left.status, content, left.kept, None)
            self._places = list(dict.fromkeys([*before, *new]))
            for file in self._files.values():
                file.frozen = file.frozen or self._is_frozen(file.path)
            self._abandon()

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the files of the frozen places, in the order of their paths."""
        for directory, inner, names in os.walk(self.directory):
            inner.sort()
            for name in sorted(names):
                path = os.path.join(directory, name)
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode) and self._is_frozen(path):
                    yield path, status

    def _is_frozen(self, path: str) -> bool:
        return any(
            path.startswith(place) and (place.endswith("/") or path[len(place) : len(place) + 1] in ("", "-", "."))
            for place in self._places
        )

    def _put(self, path: Path, left: LeftFile) -> None:
        """Write a frozen file as a new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._kept / "fresh"
        if left.content is None:
            shutil.copyfile(left.kept, fresh)
        else:
            fresh.write_bytes(left.content)
        fresh.chmod(stat.S_IMODE(left.status.st_mode))
        os.utime(fresh, ns=(left.status.st_atime_ns, left.status.st_mtime_ns))
        fresh.rename(path)
        if left.model is not None and left.model.unsynced:  # what a killed process has not synced can still be lost
            found = os.stat(path)
            key = found.st_dev, found.st_ino
            old = left.model
            self._files[key] = DiskFile(self, str(path), key, 0, False, old.durable, old.unsynced, old.size)

    # --- connections -------------------------------------------------------------------------------------------------

    def _open_connection(self, *arguments: Any, **options: Any) -> Any:
        """Stand in for ``sqlite3.connect``."""
        options.setdefault("factory", DiskConnection)
        connection = _connect(*arguments, **options)
        if isinstance(connection, DiskConnection):
            connection.disk = self
            path = sqlite3.Connection.execute(connection, "PRAGMA database_list").fetchone()[2]
            number = id(connection)
            found = weakref.ref(connection, lambda _: self._connections.pop(number, None))
            self._connections[number] = path, found
        return connection

    def _abandon(self) -> None:
        """Take over the connections to frozen files, so that they are closed when that does no harm."""
        for number, (path, found) in list(self._connections.items()):
            connection = found()
            if connection is not None and self._is_frozen(path):
                del self._connections[number]
                self._abandoned.append(connection)
