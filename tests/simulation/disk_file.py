"""What a disk holds of one file, and what has been written to it since it was last synced."""

import ctypes
import os
import random
from typing import TYPE_CHECKING, Final

from attrs import define, field

from tests.simulation.disk_vfs import FULL, IOERR_FSYNC, IOERR_TRUNCATE, IOERR_WRITE, OK, RealFile

if TYPE_CHECKING:
    from tests.simulation.disk import Disk

SECTOR: Final = 512
"""Bytes that a disk writes as a whole or not at all."""


@define
class Change:
    """A write that is not synced yet; without data, the file was cut or extended to ``offset`` bytes."""

    offset: int
    data: bytes | None


@define(eq=False)
class DiskFile:
    """One file (an inode) of a disk, for all connections that have it open."""

    disk: "Disk"
    path: str
    """Where it was when it was first opened."""
    key: tuple[int, int]
    handles: int = 0
    frozen: bool = False
    """Whether nothing reaches the file any more: the process that has it open is dead."""
    syncs_name: bool = False
    """Whether the first sync also makes durable that the file has its name."""
    durable: bytearray | None = None
    """What a power cut cannot take away; None before the first write, when all of the file is durable."""
    unsynced: list[Change] = field(factory=list)
    size: int = 0
    """The file's size in bytes, once ``durable`` is known."""

    def write(self, real: RealFile, buffer: int, amount: int, offset: int) -> int:
        """Write to the real file, and note it as not durable."""
        disk = self.disk
        with disk.lock:
            if self.frozen:
                return OK
            if self.durable is None:
                self.read(real)
            data = ctypes.string_at(buffer, amount)
            disk.writes += 1
            disk.bytes_written += amount
            if disk.is_last():
                self.unsynced.append(Change(offset, data))  # which a power cut may leave a part of
                if disk.stops(self):
                    return OK
                self.unsynced.pop()
            if disk.is_broken:
                return IOERR_WRITE
            code = OK
            growth = offset + amount - self.size
            if growth > 0 and (room := disk.room_for(growth)) < growth:  # as much as there is room for is written
                amount, code = amount - (growth - room), FULL
                data = data[: max(0, amount)]
                if amount <= 0:
                    return code
            if (failed := real.write(buffer, amount, offset)) != OK:
                return failed
            self.unsynced.append(Change(offset, data))
            self.size = max(self.size, offset + amount)
            return code

    def truncate(self, real: RealFile, size: int) -> int:
        """Cut the real file, and note that as not durable."""
        with self.disk.lock:
            if self.frozen:
                return OK
            if self.disk.is_broken:
                return IOERR_TRUNCATE
            if self.durable is None:
                self.read(real)
            if (failed := real.truncate(size)) != OK:
                return failed
            self.disk.room_for(size - self.size)
            self.unsynced.append(Change(size, None))
            self.size = size
            return OK

    def sync(self, real: RealFile) -> int:
        """Make durable what was written. Nothing is done to the real file, which the real disk may have when it likes.

        Where syncing fails, each write has reached the disk or it never will, by seed: Linux forgets what it could
        not write.
        """
        with self.disk.lock:
            if self.frozen:
                return OK
            failed = self.disk.is_broken
            if not self.disk.loses_synced:
                for change in self.unsynced:
                    if not failed or self.disk.rng.random() < 0.5:
                        self._apply(change)
                self.unsynced.clear()
            if failed:
                return IOERR_FSYNC
            self.disk.syncs += 1
            if self.syncs_name:
                self.syncs_name = False
                self.disk.names.sync(os.path.dirname(self.path))
        if self.disk.on_sync is not None:
            self.disk.on_sync(self.path)
        return OK

    def close(self, real: RealFile) -> int:
        """Close the real file."""
        with self.disk.lock:
            self.handles -= 1
            code = real.close()
            if not self.handles:
                self.disk.closed(self)
            return code

    def read(self, real: RealFile) -> None:
        """Take all that the real file holds for durable."""
        self.durable = bytearray(real.content())
        self.unsynced.clear()
        self.size = len(self.durable)

    def after_power_cut(self, rng: random.Random, keeps: float, tears: float) -> bytes:
        """Return what is on the disk: of each unsynced write all, nothing or a part, independently of the others.

        ``keeps`` and ``tears`` are the probabilities of all and of a part.
        """
        assert self.durable is not None
        found = bytearray(self.durable)
        for change in self.unsynced:
            fate = rng.random()
            if fate < keeps:
                _write(found, change)
            elif fate < keeps + tears and change.data:
                _write(found, _tear(change, rng))
        return bytes(found)

    def _apply(self, change: Change) -> None:
        assert self.durable is not None
        _write(self.durable, change)


def _write(content: bytearray, change: Change) -> None:
    end, data = change.offset, change.data
    if data is None:
        del content[end:]
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if data is not None:
        content[end : end + len(data)] = data


def _tear(change: Change, rng: random.Random) -> Change:
    """Return the sectors at the beginning, or those at the end, of a write: it ended or began between two sectors."""
    assert change.data
    first = change.offset // SECTOR + 1
    last = (change.offset + len(change.data) - 1) // SECTOR
    if first > last:  # all in one sector
        return Change(change.offset, b"")
    at = rng.randint(first, last) * SECTOR - change.offset
    if rng.random() < 0.75:
        return Change(change.offset, change.data[:at])
    return Change(change.offset + at, change.data[at:])
