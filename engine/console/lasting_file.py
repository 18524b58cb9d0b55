"""A log file that outlives what happens to it: a full disk, ``logrotate``, a deleted directory, a pipe in its place.

It is written by the log's thread alone. Lines that cannot be written are counted, and the file says how many they were
when it is written again. Nothing here raises, and nothing here prints.
"""

import logging
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

FILE_BYTES: Final = 10_000_000
"""Size at which a new file is begun."""
FILES_KEPT: Final = 5
RETRY_SECONDS: Final = 1.0
"""Between two tries to write a file that could not be written; the lines in between are counted."""
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Nothing behind a link is written, and a pipe without a reader holds nothing up."""


class LogFile(logging.Handler):
    """Appends lines to a file, makes it anew where it was moved or deleted, and begins another one when it is large.

    ``make`` makes a line about the file itself, of an event's level, name and fields, and ``shown`` shows it: once
    that the file cannot be written, and then that it is written again, which also stands in the file.
    """

    def __init__(self, path: Path, make: Callable[..., logging.LogRecord], shown: logging.Handler) -> None:
        super().__init__()
        self.path = path
        self.lost = 0
        """Lines that could not be written since the last one that could."""
        self._make = make
        self._shown = shown
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None
        self._size = 0
        self._torn = False
        """Whether the file ends within a line."""
        self._retry_at = 0.0
        self._told = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it."""
        try:
            line = self.format(record)
        except Exception:
            line = f"{record.levelname} - a line of {record.name} that cannot be written out"
        self._write_line(line)

    def close(self) -> None:
        """Try once more to say which lines are missing, and close the file."""
        if self.lost:
            self._retry_at = 0.0
            self._write_line(None)
        self._close_file()
        super().close()

    def _write_line(self, line: str | None) -> None:
        """Write a line, and before it how many are missing; None writes only that."""
        if self.lost and time.monotonic() < self._retry_at:
            self.lost += line is not None
            return
        try:
            self._open_file()
            if self.lost:
                again = self._make(logging.WARNING, "log_written", path=str(self.path), lines=self.lost)
                self._write(self.format(again))  # only when this is in the file is the trouble over
                self.lost, self._told = 0, False
                self._shown.handle(again)
            if line is not None:
                self._write(line)
        except (OSError, ValueError) as exc:
            self._close_file()
            self.lost += line is not None
            self._retry_at = time.monotonic() + RETRY_SECONDS
            if not self._told:
                self._told = True
                why = (getattr(exc, "strerror", None) or str(exc)).lower()
                self._shown.handle(self._make(logging.ERROR, "log_waits", path=str(self.path), detail=why))

    def _open_file(self) -> None:
        """Make sure that the open file is the one at the path, and not too large. Raises ``OSError``."""
        if self._descriptor is not None:
            with suppress(FileNotFoundError, NotADirectoryError):
                found = os.lstat(self.path)
                if (found.st_dev, found.st_ino) == self._identity:
                    self._size = found.st_size  # smaller after logrotate's copytruncate
                    if self._size < FILE_BYTES or not self._rotate():
                        return
        self._close_file()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, _FLAGS, 0o600)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise OSError(0, "something else than a file is there; move it away")
        self._descriptor, self._identity = descriptor, (found.st_dev, found.st_ino)
        self._size = found.st_size
        if self._size >= FILE_BYTES and self._rotate():
            self._open_file()

    def _rotate(self) -> bool:
        """Give the full file and the older ones the next number; return whether that could be done."""
        try:
            for number in range(FILES_KEPT - 2, 0, -1):
                with suppress(FileNotFoundError):
                    os.replace(self._numbered(number), self._numbered(number + 1))
            os.replace(self.path, self._numbered(1))
        except OSError:
            return False
        return True

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _write(self, line: str) -> None:
        assert self._descriptor is not None
        data = memoryview(f"{line}\n".encode("utf-8", "backslashreplace"))
        if self._torn:
            data = memoryview(b"\n" + data)
        while data:
            written = os.write(self._descriptor, data)
            data, self._torn = data[written:], written < len(data)

    def _close_file(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = self._identity = None
