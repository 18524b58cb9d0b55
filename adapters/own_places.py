"""The engine's own files: what no job sends to anybody, and where no job puts what strangers have sent.

Plain code without imports of this project but names and files.
"""

import os
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from attrs import frozen

from adapters.file_names import is_string_session

HEAD_BYTES: Final = 64 * 1024
"""What is looked at of a file's content."""
_SHORT: Final = 8 * 1024
"""Bytes of the largest file that is judged as a text that is a login."""
_SESSION: Final = re.compile(r"\.session(?:-wal|-shm|-journal)?$", re.IGNORECASE)


@frozen
class OwnPlaces:
    """Files and directories of one engine, with all links followed."""

    files: frozenset[str] = frozenset()
    directories: frozenset[str] = frozenset()

    @classmethod
    def of(cls, files: Iterable[Path], directories: Iterable[Path]) -> Self:
        """Return the places with these paths."""
        return cls(frozenset(map(os.path.realpath, files)), frozenset(map(os.path.realpath, directories)))

    def covers(self, path: Path) -> bool:
        """Return whether a path is one of the engine's own, or below one."""
        real = os.path.realpath(path)
        return real in self.files or any(
            real == each or real.startswith(each.rstrip(os.sep) + os.sep) for each in self.directories
        )

    def has_inode(self, stat: os.stat_result) -> bool:
        """Return whether a file is one of the engine's own under another name."""
        for each in self.files:
            try:
                known = os.stat(each)
            except OSError:
                continue
            if (known.st_dev, known.st_ino) == (stat.st_dev, stat.st_ino):
                return True
        return False


def is_session_name(name: str) -> bool:
    """Return whether a file is called as session files are."""
    return _SESSION.search(name) is not None


def secret_content(head: bytes, size: int) -> str | None:
    """Return what secret a file of ``size`` bytes that begins with ``head`` holds, in words; None if it seems none."""
    if head.startswith(b"SQLite format 3\0") and (b"auth_key" in head or b"job_charges" in head):
        return "the login of an account, or the engine's own data"
    if head.startswith(b"\x1f\x8b") and _unpacked(head).startswith(b"manifest.json\0"):
        return "a backup of an engine, with its logins"
    if size <= _SHORT and is_string_session(head[:size].decode("ascii", "replace")):
        return "a login as text"
    return None


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(head, 512)
    except zlib.error:
        return b""
