"""Whether the database that a connection has open is still the one that others find under its name.

SQLite goes on with a file that was deleted, moved or replaced, and nobody else ever sees what it writes there. A file
that was overwritten in place (``cp backup engine.db``) keeps its inode, so each engine writes a random mark into the
header, and another one whenever it moves its log into the file: a copy that was made earlier has another mark.
Until the mark is in the file (a reader may keep it in the log for hours) the header must be the one that was there
before, or one from the log: another program may be moving that at the same time.

The first mark is written at the start, or, while another program keeps its lock, in the first transaction: no row is
ever in a file that could be taken for another.

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
_NUMBER: Final = struct.Struct(">I")
_PAGES_AT: Final = 28
"""Where the header has the number of pages of the file."""
_LOG_HEADER_BYTES: Final = 32
_LOG_PAGE_BYTES_AT: Final = 8
"""Where the header of the log has the size of a page."""
_FRAME_HEADER_BYTES: Final = 24
"""What is before each page in the log; it begins with the number of the page."""

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
    """The mark that was written last; 0 if none was."""
    _marks: set[int] = field(factory=set, init=False)
    """The marks that the header may have now; none before it is known which file this is."""
    _before: bytes = field(default=b"", init=False)
    """The header that was in the file when the mark was written: it stays there until the log is moved."""
    _file: _Identity | None = field(default=None, init=False)
    _beside: dict[Path, _Identity | None] = field(factory=dict, init=False)
    """The files beside it. Their places are found once: a link above them that moves makes the file another one."""
    _log: Path = field(init=False)
    _size: int = field(default=0, init=False)
    """The file's size in bytes at the last look."""

    @property
    def is_marked(self) -> bool:
        """Whether the file has a mark of this connection, in itself or in its log."""
        return self._mark_now != 0

    def begin(self) -> None:
        """Remember which file it is, and mark it; do nothing while it cannot be read, or written."""
        if self.is_marked:
            return
        with suppress(OSError, sqlite3.Error):
            if not self._marks:
                self._remember()
            if self.look() is None:
                self._write_mark()
                self._move_mark()

    def _remember(self) -> None:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._log = beside(self.path, LOG)
        self.connection.execute("PRAGMA wal_autocheckpoint = 0")  # see ``move_log``
        # A log that was moved is written from its beginning again, and cut to this length: it is as long as
        # ``MAX_LOG_BYTES`` only when it is full again, not for ever.
        self.connection.execute(f"PRAGMA journal_size_limit = {MAX_LOG_BYTES * 15 // 16}")
        self._file = identity(self.path)
        self._beside = {path: identity(path) for path in (self._log, beside(self.path, INDEX))}
        # That of an earlier engine, which may be in the log alone: no other file has it, unless it is 0.
        known = {self._stored_mark(), mark_of_header(self._read_header())}
        self._marks = {mark for mark in known if mark is not None}

    def look(self) -> Loss | None:
        """Return what happened to the file; None if it is the one that is open. A few system calls."""
        if not self._marks:
            return None
        try:
            found = identity(self.path)
            header = self._own_header()
            size = os.fstat(self._descriptor).st_size  # type: ignore[arg-type]
        except OSError:  # whether it is there cannot be told now
            return None
        if found is None:
            return Loss.GONE
        if found != self._file:
            return Loss.REPLACED
        if header is None:
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
        if len(self._marks) > 1 and self.is_marked:
            with suppress(sqlite3.Error):
                self._move_mark()
        return None

    def _is_restored(self) -> bool:
        """Return whether another program has put another content into the file through SQLite (``.restore``).

        That is in the log at first, where the header on disk does not show it.
        """
        with suppress(sqlite3.Error):
            return self._stored_mark() not in self._marks
        return False

    def _own_header(self) -> bytes | None:
        """Return the header in the file; None if it is not ours. Raises ``OSError``."""
        for _ in range(2):  # another program may move the whole log, and begin it again, after the header was read
            header = self._read_header()
            if header.startswith(_MAGIC) and self._is_ours(header):
                return header
        return None

    def _is_ours(self, header: bytes) -> bool:
        """Return whether this header is that of the file, by its mark or, until that is there, by all of it."""
        mark = mark_of_header(header)
        if mark not in self._marks:
            return False
        if not self.is_marked or mark == self._mark_now or header == self._before:
            return True
        if self._is_in_log(header):
            self._before = header
            return True
        return False

    def _is_in_log(self, header: bytes) -> bool:
        """Return whether the log has this header: the log begins again only when all of it is in the file."""
        try:
            with open(self._log, "rb") as log:
                page = _NUMBER.unpack_from(log.read(_LOG_HEADER_BYTES), _LOG_PAGE_BYTES_AT)[0]
                wanted = 1, header
                place = _LOG_HEADER_BYTES
                while len(frame := log.read(_FRAME_HEADER_BYTES + _HEADER_BYTES)) > _FRAME_HEADER_BYTES:
                    if (_NUMBER.unpack_from(frame)[0], frame[_FRAME_HEADER_BYTES:]) == wanted:
                        return True
                    place += _FRAME_HEADER_BYTES + page
                    log.seek(place)
        except OSError:  # it cannot be told
            return True
        except struct.error:  # it is empty
            return False
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
        self._marks, self._mark_now = set(), 0
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def propose_mark(self) -> int | None:
        """Write the first mark in the connection's transaction and return it: ``note_mark`` it after that is durable.

        None if there is nothing to do: the file has a mark, or it is not known yet which file this is. Raises
        ``sqlite3`` errors.
        """
        if self.is_marked or not self._marks:
            return None
        return self._set_mark()

    def note_mark(self, mark: int) -> None:
        """Note the mark that the file has in its log from now on."""
        self._marks.add(mark)
        self._mark_now = mark
        with suppress(OSError):
            self._before = self._read_header()

    def _write_mark(self) -> None:
        """Write another mark, into the log."""
        self.note_mark(self._set_mark())

    def _set_mark(self) -> int:
        mark = secrets.randbits(31) | 1
        self.connection.execute(f"PRAGMA application_id = {mark}")
        return mark

    def _stored_mark(self) -> int:
        """Return the mark that the connection reads, from the log or the file. Raises ``sqlite3`` errors."""
        return int(self.connection.execute("PRAGMA application_id").fetchone()[0])

    def _read_header(self) -> bytes:
        assert self._descriptor is not None
        return os.pread(self._descriptor, _HEADER_BYTES, 0)

    def _move_mark(self) -> None:
        """Move the log, and with it the mark, into the file; a reader may keep that from being done, until later."""
        try:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            # Until it is done the header has the old mark, which other files may have as well.
            with suppress(OSError):
                on_disk = mark_of_header(self._read_header())
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
    return (65_536 if page == 1 else page) * _NUMBER.unpack_from(header, _PAGES_AT)[0]  # type: ignore[no-any-return]


def mark_of_header(header: bytes) -> int | None:
    """Return the mark in a header; None if it is not whole."""
    return _MARK.unpack_from(header, _MARK_AT)[0] if len(header) == _HEADER_BYTES else None
