"""Whether the database that a connection has open is still the one that others find under its name.

SQLite goes on with a file that was deleted, moved or replaced, and nobody else ever sees what it writes there. A file
that was overwritten in place (``cp backup engine.db``) keeps its inode, so each engine writes a random mark into the
header, and another one whenever it moves its log into the file: a copy that was made earlier has another mark.

The header is read through a descriptor of its own. It is closed after the connection only: closing any descriptor of a
database drops the locks that this process holds on it.
"""

import os
import secrets
import sqlite3
import struct
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Final

from attrs import define, field

LOG, INDEX = "-wal", "-shm"
MAX_LOG_BYTES: Final = 4 * 1024 * 1024
"""Size of the log from which it is moved into the file."""
_HEADER_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
_MARK: Final = struct.Struct(">i")
_MARK_AT: Final = 68
"""Where the header has ``PRAGMA application_id``."""
_PAGE_BYTES: Final = struct.Struct(">H")
_PAGE_BYTES_AT: Final = 16
_PAGES: Final = struct.Struct(">I")
_PAGES_AT: Final = 28
"""Where the header has the number of pages of the file."""

_Identity = tuple[int, int]


class Loss(Enum):
    """What happened to a file behind its connection's back; the value goes on after "the database ..."."""

    GONE = "was deleted, or moved away"
    REPLACED = "was replaced by another file"
    OVERWRITTEN = "was overwritten"
    LOG_GONE = "lost the files beside it (-wal, -shm)"
    CUT_SHORT = "was cut short"
    DAMAGED = "is damaged"

    @property
    def readable(self) -> bool:
        """Whether the connection still reads all that was committed."""
        return self not in (Loss.OVERWRITTEN, Loss.DAMAGED)


@define(eq=False)
class OpenFile:
    """What has the database's names on disk, compared with what ``connection`` has open. For one thread."""

    path: Path
    connection: sqlite3.Connection
    _descriptor: int | None = field(default=None, init=False)
    _mark_now: int = field(default=0, init=False)
    _marks: set[int] = field(factory=set, init=False)
    """The marks that the header may have now; none before the file was marked."""
    _file: _Identity | None = field(default=None, init=False)
    _beside: dict[Path, _Identity | None] = field(factory=dict, init=False)
    """The files beside it. Their places are found once: a link above them that moves makes the file another one."""
    _log: Path = field(init=False)
    _size: int = field(default=0, init=False)
    """The file's size in bytes at the last look."""

    def begin(self) -> None:
        """Mark the file, and remember which one it is; do nothing while it cannot be written."""
        if self._marks:
            return
        if self._descriptor is None:
            with suppress(OSError):
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor is not None:
            self._log = beside(self.path, LOG)
            with suppress(sqlite3.Error):
                self.connection.execute("PRAGMA wal_autocheckpoint = 0")  # see ``move_log``
                # A log that was moved is written from its beginning again, and cut to this length: it is as long as
                # ``MAX_LOG_BYTES`` only when it is full again, not for ever.
                self.connection.execute(f"PRAGMA journal_size_limit = {MAX_LOG_BYTES * 15 // 16}")
                self._write_mark()
                # Before anything else can fail: a file with a mark is compared with these.
                self._file = identity(self.path)
                self._beside = {path: identity(path) for path in (self._log, beside(self.path, INDEX))}
                self._move_mark()

    def look(self) -> Loss | None:
        """Return what happened to the file; None if it is the one that is open. A few system calls."""
        if not self._marks:
            return None
        try:
            found = identity(self.path)
            header = b"" if self._descriptor is None else os.pread(self._descriptor, _HEADER_BYTES, 0)
            size = 0 if self._descriptor is None else os.fstat(self._descriptor).st_size
        except OSError:  # whether it is there cannot be told now
            return None
        if found is None:
            return Loss.GONE
        if found != self._file:
            return Loss.REPLACED
        if not header.startswith(_MAGIC) or _mark_of(header) not in self._marks:
            return Loss.OVERWRITTEN
        # A file that another program moves its log into may be too short for a moment; it is then growing.
        if size < min(self._size, _size_of(header)):
            return Loss.CUT_SHORT
        self._size = size
        if self._is_restored():
            return Loss.OVERWRITTEN
        for path, known in self._beside.items():
            with suppress(OSError):
                if known is not None and identity(path) != known:
                    return Loss.LOG_GONE
        if len(self._marks) > 1:
            with suppress(sqlite3.Error):
                self._move_mark()
        return None

    def _is_restored(self) -> bool:
        """Return whether another program has put another content into the file through SQLite (``.restore``).

        That is in the log at first, where the header on disk does not show it.
        """
        with suppress(sqlite3.Error):
            return self.connection.execute("PRAGMA application_id").fetchone()[0] not in self._marks
        return False

    @property
    def companions(self) -> set[tuple[int, int]]:
        """The files beside the database that belong to the connection."""
        return {known for known in self._beside.values() if known is not None}

    def move_log(self) -> None:
        """Move the log into the file when it has become long. Raises ``sqlite3`` errors."""
        with suppress(OSError):
            if self._marks and os.stat(self._log).st_size >= MAX_LOG_BYTES:
                self._write_mark()
                self._move_mark()

    def close(self) -> None:
        """Forget the file; the connection must be closed before."""
        self._marks = set()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write_mark(self) -> None:
        """Write another mark, into the log."""
        self._mark_now = secrets.randbits(31) | 1
        self.connection.execute(f"PRAGMA application_id = {self._mark_now}")
        self._marks.add(self._mark_now)

    def _move_mark(self) -> None:
        """Move the log, and with it the mark, into the file; a reader may keep that from being done, until later."""
        assert self._descriptor is not None
        try:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            # Until it is done the header has the old mark, which other files may have as well.
            with suppress(OSError):
                on_disk = _mark_of(os.pread(self._descriptor, _HEADER_BYTES, 0))
                self._marks = {self._mark_now} | ({on_disk} if on_disk is not None else set())


def beside(path: Path, suffix: str) -> Path:
    """Return the file that SQLite keeps beside a database: its log, or the index of the log."""
    return Path(f"{place_of(path)}{suffix}")


def place_of(path: Path) -> Path:
    """Return where a file is, past the links above it; one that has the name itself is no place for a database."""
    return Path(os.path.realpath(path.parent)) / path.name


def identity(path: Path) -> _Identity | None:
    """Return which file is at a path; None if there is none. Raises ``OSError`` if that cannot be told."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _size_of(header: bytes) -> int:
    """Return how many bytes a file has, by its header."""
    page = _PAGE_BYTES.unpack_from(header, _PAGE_BYTES_AT)[0]
    return (65_536 if page == 1 else page) * _PAGES.unpack_from(header, _PAGES_AT)[0]  # type: ignore[no-any-return]


def _mark_of(header: bytes) -> int | None:
    return _MARK.unpack_from(header, _MARK_AT)[0] if len(header) == _HEADER_BYTES else None
