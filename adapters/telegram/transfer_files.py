"""Local files of transfers: one that is being written beside its final place, and one that is being sent.

Everything here blocks, and is called in a thread.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

from attrs import define, field, frozen

from adapters.files import NoFile, open_file
from adapters.harmless_names import numbered
from adapters.own_places import HEAD_BYTES, OwnPlaces, is_session_name, secret_content
from adapters.telegram.transfer_errors import TransferFailed, TransferRefused, unusable

RESERVE_BYTES: Final = 64_000_000
"""What a download leaves free on its disk, for the engine's own files and everybody else's."""
MAX_NAMES: Final = 100
"""How many names are tried for a file whose name is taken."""
PIECE: Final = 4 * 1024 * 1024
"""Bytes of a file that are read again at once."""
MEGABYTE: Final = 1_000_000


def part_name() -> str:
    """Return a name for a file that is being written: nobody else has it, and it is hidden."""
    return f".holdfast-{secrets.token_hex(8)}.part"


def find_place(wanted: Path, size: int) -> tuple[Path, bool]:
    """Return a path for a file of this size, and whether it is there already: a file of its name and size.

    A name that something else has gets a number. Raises ``TransferFailed``.
    """
    for number in range(1, MAX_NAMES + 1):
        place = wanted.with_name(numbered(wanted.name, number))
        try:
            found = os.lstat(place)
        except FileNotFoundError:
            return place, False
        except OSError as exc:
            raise unusable(place, exc, "used") from exc
        if stat.S_ISREG(found.st_mode) and found.st_size == size:
            return place, True
    raise TransferFailed(
        f"{wanted.parent} has {MAX_NAMES} other files called {wanted.name} already; give another directory"
    )


def check_room(directory: Path, needed: int, name: str) -> None:
    """Raise ``TransferFailed`` if a disk has no room for this many more bytes and the reserve."""
    free = shutil.disk_usage(directory).free
    if free < needed + RESERVE_BYTES:
        raise TransferFailed(
            f"the disk of {directory} has {free / MEGABYTE:,.0f} MB free, and the rest of {name} needs "
            f"{needed / MEGABYTE:,.1f} MB, with {RESERVE_BYTES / MEGABYTE:.0f} MB to spare; make room, or give another "
            "directory"
        )


def make_directory(directory: Path) -> None:
    """Make a directory for downloads, if need be. Raises ``TransferFailed``."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise unusable(directory, exc, "made a directory") from exc


def remove_part(path: Path) -> None:
    """Delete what was written of a file that is not wanted any more."""
    with suppress(OSError):
        path.unlink()


@define(eq=False)
class PartFile:
    """A file that is being written, under a name of its own, until it is whole."""

    path: Path
    _descriptor: int
    _hash: Any = field(factory=sha256)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a new one, for this user alone. Raises ``TransferFailed``."""
        try:
            with suppress(FileNotFoundError):
                path.unlink()  # it has our name, and nothing of it counts
            return cls(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except OSError as exc:
            raise unusable(path.parent, exc, "written to") from exc

    @classmethod
    def reopen(cls, path: Path) -> Self | None:
        """Open one that an earlier run has left; None if it is not there, or something else is."""
        try:
            return cls(path, open_file(path, os.O_RDWR))
        except OSError:
            return None

    def verify(self, length: int, digest: str) -> Iterator[bool | None]:
        """Read what was written, piece by piece, and cut off the rest; at the end yield whether it is what it was."""
        done = 0
        while done < length:
            piece = os.pread(self._descriptor, min(PIECE, length - done), done)
            if not piece:
                break
            self._hash.update(piece)
            done += len(piece)
            yield None
        if (same := done == length and self.digest == digest) is True:
            os.ftruncate(self._descriptor, length)
        yield same

    def write(self, offset: int, data: bytes) -> None:
        """Write the next bytes. Raises ``TransferFailed``; a disk that is full gets back what this file has of it."""
        self._hash.update(data)
        try:
            rest = memoryview(data)
            while rest:
                written = os.pwrite(self._descriptor, rest, offset)
                rest, offset = rest[written:], offset + written
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                self.remove()
                raise TransferFailed(
                    f"the disk of {self.path.parent} is full, and the file begins anew; make room, or give another "
                    "directory"
                ) from exc
            raise unusable(self.path.parent, exc, "written to") from exc

    def sync(self) -> None:
        """Return when everything that was written is on the disk. Raises ``TransferFailed``."""
        try:
            os.fsync(self._descriptor)
        except OSError as exc:
            raise unusable(self.path.parent, exc, "written to") from exc

    @property
    def digest(self) -> str:
        """The SHA-256 of everything that was written."""
        return str(self._hash.hexdigest())

    def publish(self, place: Path) -> Path:
        """Give the file, which is whole, its name; return it, which has a number if something else has come there."""
        own = os.fstat(self._descriptor)
        try:
            for number in range(1, MAX_NAMES + 1):
                target = place.with_name(numbered(place.name, number))
                if self._named(target, own):
                    self.path.unlink(missing_ok=True)
                    _sync_directory(target.parent)
                    return target
        except OSError as exc:
            raise unusable(place, exc, "written") from exc
        raise TransferFailed(f"{place.parent} has {MAX_NAMES} other files called {place.name}; give another directory")

    def _named(self, target: Path, own: os.stat_result) -> bool:
        """Link the file to a name unless something else has it. A link, because renaming would replace that."""
        try:
            os.link(self.path, target, follow_symlinks=False)
        except FileExistsError:
            there = os.lstat(target)
            return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)  # an earlier run came this far
        except OSError as exc:
            if exc.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            try:  # a file system without links: take the name first
                os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            except FileExistsError:
                return False
            self.path.rename(target)
        return True

    def remove(self) -> None:
        """Delete the file; nothing of it is wanted."""
        remove_part(self.path)
        self.close()

    def close(self) -> None:
        """Close it, and leave it for another run."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@frozen(eq=False)
class SourceFile:
    """A file that is being sent."""

    path: Path
    size: int
    identity: list[int]
    """What another file, or other content, at this path would not have: size, time of change, number, device."""
    _descriptor: int

    @classmethod
    def open(cls, path: Path, places: OwnPlaces, largest: int) -> Self:
        """Open a file for reading. Raises ``TransferFailed`` for what cannot, or must not, be sent."""
        if places.covers(path) or is_session_name(path.name):
            raise TransferRefused(f"{path} is one of the engine's own files, or a login, and is not sent to anybody")
        try:
            descriptor = open_file(path, os.O_RDONLY)
        except NoFile as exc:
            raise TransferFailed(f"{path} cannot be sent: {exc.strerror}, or give another path") from exc
        except OSError as exc:
            raise unusable(path, exc, "read") from exc
        try:
            found = os.fstat(descriptor)
            source = cls(path, found.st_size, identity_of(found), descriptor)
            source._check(found, places, largest)
        except BaseException:
            os.close(descriptor)
            raise
        return source

    def _check(self, found: os.stat_result, places: OwnPlaces, largest: int) -> None:
        if places.has_inode(found):
            raise TransferRefused(f"{self.path} is one of the engine's own files, and is not sent to anybody")
        if not self.size:
            raise TransferFailed(f"{self.path} is empty, and Telegram takes no empty files")
        if self.size > largest:
            raise TransferFailed(
                f"{self.path} has {self.size / MEGABYTE:,.0f} MB, and Telegram takes at most "
                f"{largest / MEGABYTE:,.0f} MB; split it"
            )
        if (secret := secret_content(self.read(0, HEAD_BYTES), self.size)) is not None:
            raise TransferRefused(f"{self.path} holds {secret}, and is not sent to anybody")

    def read(self, offset: int, length: int) -> bytes:
        """Return a part of it. Raises ``TransferFailed``, also if the file has become too short for it."""
        try:
            data = os.pread(self._descriptor, length, offset)
        except OSError as exc:
            raise unusable(self.path, exc, "read") from exc
        if len(data) < min(length, self.size - offset):
            raise self._changed()
        return data

    def check_unchanged(self) -> None:
        """Raise ``TransferFailed`` if it was written to, or replaced, since it was opened."""
        try:
            now = (os.fstat(self._descriptor), os.stat(self.path))
        except OSError as exc:
            raise unusable(self.path, exc, "read") from exc
        if any(identity_of(each) != self.identity for each in now):
            raise self._changed()

    def _changed(self) -> TransferFailed:
        return TransferFailed(f"{self.path} was changed while it was being sent; the next attempt begins anew")

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


def identity_of(found: os.stat_result) -> list[int]:
    """Return what tells a file, with its content, from another one."""
    return [found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev]
