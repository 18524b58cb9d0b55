"""Locks that are held on the data itself, and who holds them.

A lock file can be removed while it is locked, and whoever comes next makes another. So the thing that the lock is about
is locked as well: the data directory, the session file. The lock is an ``flock``, which SQLite does not use and which
the kernel drops when the holder dies.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import asdict

if TYPE_CHECKING:
    from attrs import AttrsInstance

_NETWORK: Final = ("nfs", "cifs", "smb", "9p", "fuse", "afs", "ceph", "lustre", "gfs", "ocfs", "virtiofs", "glusterfs")
"""File systems where an ``flock`` may be the same as the locks that SQLite uses, or be none at all."""


def try_lock(descriptor: int, mode: int) -> bool:
    """Take an ``flock`` without waiting; return False if another holds it. Raises ``OSError`` where there are none."""
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_taker(descriptor: int, taker: "AttrsInstance") -> None:
    """Write who took a lock into its file, as JSON, where others read it."""
    with suppress(OSError):  # a full disk: the lock works without a name in it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(taker)).encode(), 0)


def may_lock_database(path: Path) -> bool:
    """Return whether an ``flock`` on a database is apart from SQLite's own locks: on Linux, on a local disk."""
    if sys.platform != "linux":
        return False
    with suppress(OSError):
        return not _file_system(os.stat(path).st_dev).startswith(_NETWORK)
    return False


@cache
def _file_system(device: int) -> str:
    """Return the type of the file system on a device; empty if that is not known."""
    name = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError, IndexError), open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.split(" ", 3)[2] == name:
                return line.partition(" - ")[2].split(" ", 1)[0]
    return ""


def taker_of(path: Path) -> int | None:
    """Return the process that took the ``flock`` on a file, also if it has ended and a child has the lock; or None."""
    with suppress(OSError, ValueError, IndexError):
        found = os.stat(path)
        name = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()  # "1: FLOCK ADVISORY WRITE 2906 fe:00:2262311 0 EOF"; waiting ones begin with "->"
            if fields[1] == "FLOCK" and fields[5] == name:
                return int(fields[4])
    return None


def has_open(path: Path) -> list[int]:
    """Return the other processes of this user that have a file open (where there is ``/proc``)."""
    found: list[int] = []
    with suppress(OSError):
        wanted = os.stat(path)
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid() and _has_open(name, wanted):
                found.append(int(name))
    return found


def users_of(paths: Iterable[Path]) -> dict[Path, int]:
    """Return which of these files another process of this user has open, with one such process (where ``/proc`` is).

    All of them are looked for at once, because there may be thousands.
    """
    wanted: dict[tuple[int, int], Path] = {}
    for path in paths:
        with suppress(OSError):
            found = os.stat(path)
            wanted[found.st_dev, found.st_ino] = path
    users: dict[Path, int] = {}
    with suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid():
                users |= {wanted[each]: int(name) for each in _open_files(name) if each in wanted}
    return users


def _open_files(process: str) -> Iterator[tuple[int, int]]:
    with suppress(OSError):
        for descriptor in os.listdir(f"/proc/{process}/fd"):
            with suppress(OSError):
                found = os.stat(f"/proc/{process}/fd/{descriptor}")
                yield found.st_dev, found.st_ino


def _has_open(process: str, wanted: os.stat_result) -> bool:
    with suppress(OSError):
        for descriptor in os.listdir(f"/proc/{process}/fd"):
            with suppress(OSError):
                if os.path.samestat(os.stat(f"/proc/{process}/fd/{descriptor}"), wanted):
                    return True
    return False


def is_alive(process: int) -> bool:
    """Return whether a process of this number runs on this machine; a dead one that nobody has awaited does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    with suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return True


def left_behind(path: Path, named: int | None) -> int | None:
    """Return the process that holds a lock which a dead one has left to it; None if the named one may be alive.

    ``named`` is the process that the lock file names.
    """
    if named is not None and named > 0 and is_alive(named):
        return None
    others = has_open(path)
    return others[0] if others and named is not None else None
