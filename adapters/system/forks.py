"""What a forked child of the process must not have: its locks, its databases, and the sockets of its loop.

A child of ``os.fork`` or of a process pool has every descriptor, ``O_CLOEXEC`` or not, because it executes nothing.
An ``flock`` belongs to the open file, so a lock would be held for as long as any child lives. In the child each such
descriptor is replaced by one that can do nothing: its number stays taken, so that what still refers to it fails, and
never reaches a file that the child opens later. Nothing is unlocked in a child: that would unlock it for the parent.
"""

import os
import signal
import threading
from asyncio import AbstractEventLoop
from contextlib import suppress
from typing import Any, Final
from weakref import WeakSet

_DESCRIPTORS: Final[set[int]] = set()
_DATABASES: Final[set[str]] = set()
_LOOPS: Final["WeakSet[AbstractEventLoop]"] = WeakSet()
_SUFFIXES: Final = ("", "-wal", "-shm", "-journal", ".queue")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGURG)


def withhold(descriptor: int) -> None:
    """Keep a descriptor from all children; call ``forget`` before it is closed."""
    _DESCRIPTORS.add(descriptor)


def forget(descriptor: int) -> None:
    """Treat a descriptor as any other again."""
    _DESCRIPTORS.discard(descriptor)


def withhold_database(path: str | os.PathLike[str]) -> None:
    """Keep all descriptors of a database, and of the files beside it, from all children (where there is ``/proc``)."""
    _DATABASES.add(os.path.realpath(path))


def withhold_loop(loop: AbstractEventLoop) -> None:
    """Keep the sockets of a loop from all children, and the signals that it handles."""
    _LOOPS.add(loop)


def _of_loop(loop: Any) -> set[int]:
    """Return the descriptors of a loop: the selector's own, those that it watches, and those of its transports."""
    found: set[int] = set()
    selector: Any = getattr(loop, "_selector", None)
    with suppress(Exception):
        found.update(key.fd for key in list(selector.get_map().values()))
        found.add(selector.fileno())
    with suppress(Exception):
        found.update(list(loop._transports))
    for end in ("_ssock", "_csock"):
        with suppress(Exception):
            found.add(getattr(loop, end).fileno())
    return found


def _of_databases() -> set[int]:
    found: set[int] = set()
    names = {f"{path}{suffix}" for path in _DATABASES for suffix in _SUFFIXES}
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError, ValueError):
            if os.readlink(f"/proc/self/fd/{name}").removesuffix(" (deleted)") in names:
                found.add(int(name))
    return found


def _in_child() -> None:
    descriptors = set(_DESCRIPTORS)
    for loop in list(_LOOPS):
        descriptors |= _of_loop(loop)
    if _DATABASES:
        with suppress(OSError):
            descriptors |= _of_databases()
    with suppress(OSError):
        # Of a path only: neither reading nor locking succeeds. SQLite must not believe that it got a lock.
        nothing = os.open("/", getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
        for descriptor in descriptors:
            with suppress(OSError):
                os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)
    if _LOOPS and threading.current_thread() is threading.main_thread():
        with suppress(ValueError, OSError):
            # A signal to the child would be written into the socket by which the parent hears of its own.
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                if callable(signal.getsignal(number)):
                    signal.signal(number, signal.SIG_DFL)
    _DESCRIPTORS.clear()
    _DATABASES.clear()
    _LOOPS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
