"""Opens the project's own files, and nothing else in their place: no link, pipe, directory, device or socket.

A pipe would hold its opener up for ever, and what is behind a link is somebody else's. Plain functions without imports
of this project.
"""

import errno
import os
import select
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

KINDS: Final = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
COMPANIONS: Final = ("-wal", "-shm", "-journal")
"""What SQLite puts beside a database."""


class NoFile(OSError):
    """Something else than a file is there; ``strerror`` says what, and what to do."""


class NoDatabaseFile(sqlite3.OperationalError):
    """As ``NoFile``, for callers that expect errors of SQLite; the text is the sentence, without the path."""

    sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    sqlite_errorname = "SQLITE_CANTOPEN"


def kind_of(path: Path, *, follow: bool = False) -> str | None:
    """Return what is at a path in words; None if it is a file, or nothing at all."""
    try:
        mode = (os.stat if follow else os.lstat)(path).st_mode
    except OSError:
        return None
    return next((words for test, words in KINDS if test(mode)), None)


def open_file(path: Path, flags: int, mode: int = 0o600) -> int:
    """Return a descriptor of a file, which ``flags`` may create. It never waits. Raises ``OSError``, and ``NoFile``."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as exc:
        if (kind := kind_of(path)) is None:
            raise
        raise _no_file(path, kind) from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(path, kind_of(path) or "something else")
    return descriptor


def read_file(path: Path, limit: int = 65_536) -> bytes:
    """Return the first bytes of a file. Raises ``OSError``, and ``NoFile``."""
    descriptor = open_file(path, os.O_RDONLY)
    try:
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def open_input(path: Path, timeout: float) -> int:
    """Return a descriptor of what the operator names to be read: a file, behind a link too, or a pipe from a program.

    It waits for a program at the other end of a pipe, at most ``timeout`` seconds. Raises ``OSError``, and ``NoFile``.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if stat.S_ISFIFO(mode) and not select.select([descriptor], [], [], timeout)[0]:
            raise NoFile(errno.ETIMEDOUT, f"nothing came out of this pipe within {timeout:g} s", str(path))
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_database(path: Path, *, follow: bool) -> None:
    """Raise ``NoDatabaseFile`` if SQLite would open something else than a file, here or beside it.

    With ``follow`` the database itself may be a link to a file.
    """
    places = [(path, follow), *((path.with_name(path.name + each), False) for each in COMPANIONS)]
    for place, through in places:
        if (kind := kind_of(place, follow=through)) is not None:
            beside = "" if place == path else f" {place.name},"
            raise NoDatabaseFile(f"{kind} is there{' as' if beside else ''}{beside} and no file; move it away")


def replace_with(path: Path, content: bytes) -> None:
    """Write a small file for this user alone, at once and whole. Raises ``OSError``."""
    unfinished = path.with_name(f".{path.name}")
    with suppress(FileNotFoundError):
        unfinished.unlink()
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    unfinished.rename(path)


def _no_file(path: Path, kind: str) -> NoFile:
    return NoFile(errno.EINVAL, f"{kind} is there, and no file; move it away", str(path))
