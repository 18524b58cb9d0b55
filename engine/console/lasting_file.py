"""A log file that outlives what happens to it: a full disk, ``logrotate``, a deleted directory, a pipe in its place.

It is written by the log's thread alone. Lines that cannot be written are counted, and the file says how many they were
when it is written again. Nothing here raises, and nothing here prints.
"""

import logging
import os
import stat
import time
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from itertools import accumulate
from pathlib import Path
from typing import Final

FILE_BYTES: Final = 10_000_000
"""Size at which a new file is begun."""
FILES_KEPT: Final = 5
RETRY_SECONDS: Final = 1.0
"""Between two tries to write a file that could not be written; the lines in between are counted."""
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Nothing behind a link is written, and a pipe without a reader holds nothing up."""


class LinesTogether(logging.Handler, ABC):
    """A handler that takes several lines for less than it takes them one by one."""

    @abstractmethod
    def handle_together(self, records: Sequence[logging.LogRecord]) -> None:
        """Do for several records what ``handle`` does for each."""


class LogFile(LinesTogether):
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
        self._write_lines([self._line(record)])

    def handle_together(self, records: Sequence[logging.LogRecord]) -> None:
        """Write those of several lines that are wanted, by one call into the system; or count them."""
        with self.lock or nullcontext():
            if lines := [self._line(record) for record in records if self.filter(record)]:
                self._write_lines(lines)

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception:
            return f"{record.levelname} - a line of {record.name} that cannot be written out"

    def close(self) -> None:
        """Try once more to say which lines are missing, and close the file."""
        if self.lost:
            self._retry_at = 0.0
            self._write_lines([])
        self._close_file()
        super().close()

    def _write_lines(self, lines: Sequence[str]) -> None:
        """Write lines, and before them how many are missing."""
        if self.lost and time.monotonic() < self._retry_at:
            self.lost += len(lines)
            return
        left = len(lines)
        try:
            self._open_file()
            if self.lost:
                again = self._make(logging.WARNING, "log_written", path=str(self.path), lines=self.lost)
                if (failure := self._write([self.format(again)])[1]) is not None:
                    raise failure
                self.lost, self._told = 0, False  # only when that is in the file is the trouble over
                self._shown.handle(again)
            written, failure = self._write(lines)
            left -= written
            if failure is not None:
                raise failure
        except (OSError, ValueError) as exc:
            self._close_file()
            self.lost += left
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

    def _write(self, lines: Sequence[str]) -> tuple[int, OSError | None]:
        """Write lines; return how many are in the file as a whole, and the error that kept the others out."""
        assert self._descriptor is not None
        parts = [f"{line}\n".encode("utf-8", "backslashreplace") for line in lines]
        if self._torn and parts:
            parts[0] = b"\n" + parts[0]
        data, ends = memoryview(b"".join(parts)), list(accumulate(map(len, parts)))
        done, failure = 0, None
        while done < len(data) and failure is None:
            try:
                done += os.write(self._descriptor, data[done:])
            except OSError as exc:
                failure = exc
        if done:
            self._torn = done not in ends
        return bisect_right(ends, done), failure

    def _close_file(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = self._identity = None
