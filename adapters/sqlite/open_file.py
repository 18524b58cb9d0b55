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

_Identity = tuple[int, int]


class Loss(Enum):
    """What happened to a file behind its connection's back; the value goes on after "the database ..."."""

    GONE = "was deleted, or moved away"
    REPLACED = "was replaced by another file"
    OVERWRITTEN = "was overwritten"
    LOG_GONE = "lost the files beside it (-wal, -shm)"
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
    _marks: set[int] = field(factory=set, init=False)
    """The marks that the header may have now; none before the file was marked."""
    _file: _Identity | None = field(default=None, init=False)
    _beside: dict[str, _Identity | None] = field(factory=dict, init=False)

    def begin(self) -> None:
        """Mark the file, and remember which one it is; do nothing while it cannot be written."""
        if self._marks:
            return
        if self._descriptor is None:
            with suppress(OSError):
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor is not None:
            with suppress(sqlite3.Error):
                self.connection.execute("PRAGMA wal_autocheckpoint = 0")  # see ``move_log``
                self._mark()
                self._file = identity(self.path)
                self._beside = {suffix: identity(beside(self.path, suffix)) for suffix in (LOG, INDEX)}

    def look(self) -> Loss | None:
        """Return what happened to the file; None if it is the one that is open. A few system calls."""
        if not self._marks:
            return None
        try:
            found = identity(self.path)
            header = b"" if self._descriptor is None else os.pread(self._descriptor, _HEADER_BYTES, 0)
        except OSError:  # whether it is there cannot be told now
            return None
        if found is None:
            return Loss.GONE
        if found != self._file:
            return Loss.REPLACED
        if not header.startswith(_MAGIC) or _mark_of(header) not in self._marks:
            return Loss.OVERWRITTEN
        for suffix, known in self._beside.items():
            with suppress(OSError):
                if known is not None and identity(beside(self.path, suffix)) != known:
                    return Loss.LOG_GONE
        return None

    @property
    def companions(self) -> set[tuple[int, int]]:
        """The files beside the database that belong to the connection."""
        return {known for known in self._beside.values() if known is not None}

    def move_log(self) -> None:
        """Move the log into the file when it has become long. Raises ``sqlite3`` errors."""
        with suppress(OSError):
            if self._marks and os.stat(beside(self.path, LOG)).st_size >= MAX_LOG_BYTES:
                self._mark()

    def close(self) -> None:
        """Forget the file; the connection must be closed before."""
        self._marks = set()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _mark(self) -> None:
        """Write another mark, and move the log into the file."""
        assert self._descriptor is not None
        mark = secrets.randbits(31) | 1
        self.connection.execute(f"PRAGMA application_id = {mark}")
        self._marks.add(mark)
        try:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            # While a reader keeps the log from being moved, the header still has the old mark.
            with suppress(OSError):
                on_disk = _mark_of(os.pread(self._descriptor, _HEADER_BYTES, 0))
                self._marks = {mark} | ({on_disk} if on_disk is not None else set())


def beside(path: Path, suffix: str) -> Path:
    """Return the file that SQLite keeps beside a database: its log, or the index of the log."""
    real = os.path.realpath(path)
    return Path(f"{real}{suffix}")


def identity(path: Path) -> _Identity | None:
    """Return which file is at a path; None if there is none. Raises ``OSError`` if that cannot be told."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _mark_of(header: bytes) -> int | None:
    return _MARK.unpack_from(header, _MARK_AT)[0] if len(header) == _HEADER_BYTES else None
