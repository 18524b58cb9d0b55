"""What a forked child of the process must not have: its locks, its databases, and the sockets of its loop.

A child of ``os.fork`` or of a process pool has every descriptor, ``O_CLOEXEC`` or not, because it executes nothing.
An ``flock`` belongs to the open file, so a lock would be held for as long as any child lives. In the child each such
descriptor is replaced by one that can do nothing: its number stays taken, so that what still refers to it fails, and
never reaches a file that the child opens later. Nothing is unlocked in a child: that would unlock it for the parent.

A child of ``os.fork`` that comes back into the loop would be a second engine, with the same logins. It ends there.

uvloop starts programs by such a child, too, and waits until it is the program: what is done here must not wait.
"""

import os
import select
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

if TYPE_CHECKING:  # commands have no loop
    from asyncio import AbstractEventLoop

_DESCRIPTORS: Final[set[int]] = set()
_DATABASES: Final[set[str]] = set()
_LOOPS: Final["WeakSet[AbstractEventLoop]"] = WeakSet()
_SUFFIXES: Final = ("", "-wal", "-shm", "-journal", ".queue")
_OPEN_FILES: Final = "/proc/self/fd"
_ON_NETWORK: Final = (socket.AF_INET, socket.AF_INET6)
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGURG)


def withhold(descriptor: int) -> None:
    """Keep a descriptor from all children; call ``forget`` before it is closed."""
    _DESCRIPTORS.add(descriptor)


def close(descriptor: int) -> None:
    """Close a descriptor that was withheld."""
    _DESCRIPTORS.discard(descriptor)  # first: the number may be given to another one at once
    os.close(descriptor)


def withhold_database(path: str | os.PathLike[str]) -> None:
    """Keep all descriptors of a database, and of the files beside it, from all children (where there is ``/proc``)."""
    _DATABASES.add(os.path.realpath(path))


def withhold_loop(loop: "AbstractEventLoop") -> None:
    """Keep the sockets of a loop from all children, the signals that it handles, and the loop itself.

    A loop such as uvloop's does not say which sockets are its own. Where there is ``/proc``, no socket with an address
    is left to a child then; what ``multiprocessing`` talks through has none.
    """
    _LOOPS.add(loop)


def do_in_child(act: Callable[[], None]) -> None:
    """Have this done in each child before anything else, with nothing written to stderr by it, not even a failure.

    Another thread may be writing there at the fork: the lock of the stream is held in the child for ever then.
    """

    @wraps(act)
    def quietly() -> None:
        stderr, sys.stderr = sys.stderr, None
        try:
            with suppress(Exception):
                act()
        finally:
            sys.stderr = stderr

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=quietly)


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


def _has_address(descriptor: int) -> bool:
    """Return whether a socket is one of the network, or has a name in the file system."""
    with socket.socket(fileno=os.dup(descriptor)) as found:
        return found.family in _ON_NETWORK or (found.family == socket.AF_UNIX and bool(found.getsockname()))


def _of_process() -> set[int]:
    """Return the descriptors of databases and, if there is a loop, the sockets that have an address."""
    found: set[int] = set()
    names = {f"{path}{suffix}" for path in _DATABASES for suffix in _SUFFIXES}
    for name in os.listdir(_OPEN_FILES):
        with suppress(OSError, ValueError):
            target = os.readlink(f"{_OPEN_FILES}/{name}").removesuffix(" (deleted)")
            if target in names or (_LOOPS and target.startswith("socket:") and _has_address(int(name))):
                found.add(int(name))
    return found


def _end_child() -> None:
    """End a child that has come back into the loop, without any of the parent's cleaning up."""
    with suppress(OSError):
        os.write(
            2,
            f"process {os.getpid()}, which a job, handler or task made with os.fork(), came back into the engine's "
            "loop and is ended; the engine goes on. End such a child with os._exit(), or use subprocess or "
            "multiprocessing\n".encode(),
        )
    os._exit(1)


def _take_loop_away(loop: Any) -> None:
    """Give a child a selector of its own instead of its parent's, and end it where it comes back into the loop.

    The kernel's part of a selector is one for both: what the child removes from it, the parent never hears of again.
    """
    with suppress(Exception):
        loop._selector = selectors.DefaultSelector()  # asyncio's; uvloop has none
    with suppress(Exception):
        number = loop._get_backend_id()  # uvloop's
        with select.epoll() as empty:
            os.dup2(empty.fileno(), number, inheritable=False)
    with suppress(Exception):
        loop.call_soon(_end_child)


def _in_child() -> None:
    descriptors = set(_DESCRIPTORS)
    for loop in list(_LOOPS):
        descriptors |= _of_loop(loop)
    if _DATABASES or _LOOPS:
        with suppress(OSError):
            descriptors |= _of_process()
    with suppress(OSError):
        # Of a path only: neither reading nor locking succeeds. SQLite must not believe that it got a lock.
        nothing = os.open("/", getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
        for descriptor in descriptors:
            with suppress(OSError):
                os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)
    for loop in list(_LOOPS):
        _take_loop_away(loop)
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


do_in_child(_in_child)
