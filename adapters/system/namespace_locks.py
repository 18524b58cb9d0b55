"""Locks by name that all programs of a network namespace share, whatever directories they see; on Linux.

Each such program can open the namespace itself (``/proc/self/ns/net``), which nothing can remove, and lock bytes of it:
one descriptor for any number of names, and the kernel drops them with the process. Such a lock can only be a shared
one, so whoever takes a name announces it first, and then looks whether another one has announced it: of two at the same
moment both may be refused, and never both accepted. The number of locked bytes says which process it is: it holds the
name of an abstract socket with this number, and the kernel says who holds that.
"""

import errno
import fcntl
import hashlib
import os
import socket
import struct
import sys
from random import SystemRandom
from typing import Final

from attrs import define, field, frozen

from adapters.system import forks

_NAMESPACE: Final = "/proc/self/ns/net"
_LOCK: Final = struct.Struct("hhqqi4x")
"""``struct flock``: type, whence, first byte, number of bytes, process."""
_BYTES: Final = 1 << 16
"""Bytes of each name: the number of a process is below it."""
_NAMES: Final = 1 << 46
_TRIES: Final = 20
_BACKLOG: Final = 128
"""Connections to a socket that holds a name, which nobody accepts: each is a look at whose it is."""


@frozen
class Process:
    """Who holds a name; the process is 0 where it cannot be seen from here."""

    pid: int
    uid: int


@frozen(eq=False)
class HeldName:
    """A name that this process holds until ``close``."""

    descriptor: int
    start: int
    number: int
    pid: int

    def close(self) -> None:
        """Give the name up; do nothing in a child, whose parent holds it."""
        if os.getpid() == self.pid:
            _lock(self.descriptor, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, self.start, self.number)


@define(eq=False)
class NamespaceLocks:
    """The names that this process holds. Not for several threads at once."""

    _descriptor: int | None = field(default=None, init=False)
    _socket: socket.socket | None = field(default=None, init=False)
    _number: int = field(default=0, init=False)

    def take(self, name: str) -> HeldName | Process:
        """Take a name; return it, or who else holds it. Raises ``OSError`` where there is no such lock."""
        if self._descriptor is None:
            self._open()
        assert self._descriptor is not None
        start = _start_of(name)
        _lock(self._descriptor, fcntl.F_OFD_SETLK, fcntl.F_RDLCK, start, self._number)
        held = HeldName(self._descriptor, start, self._number, os.getpid())
        other = None
        try:
            if (number := _holder_of(self._descriptor, start)) is not None:
                other = process_of(_socket_name(number))
        except BaseException:
            held.close()
            raise
        if other is None:  # nobody has it, or a process that has just ended
            return held
        held.close()
        return other

    def forget(self) -> None:
        """Forget everything, in a child: the names are the parent's."""
        if self._socket is not None:
            self._socket.detach()  # one that is only dropped gives a warning, and the number is to stay taken
        self._descriptor = self._socket = None

    def _open(self) -> None:
        if sys.platform != "linux":
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        descriptor = os.open(_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _holder_of(descriptor, 0)  # raises where such a file cannot be locked
            self._socket, self._number = _numbered_socket()
        except BaseException:
            os.close(descriptor)
            raise
        forks.withhold(self._socket.fileno())
        forks.withhold(descriptor)
        self._descriptor = descriptor


def holder_of(name: str) -> Process | None:
    """Return who holds a name now; None if nobody does, or somebody who cannot be found out. It is not taken for this.

    Raises ``OSError`` where there is no such lock.
    """
    descriptor = os.open(_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)  # one more: a process's own locks are none to itself
    try:
        number = _holder_of(descriptor, _start_of(name))
    finally:
        os.close(descriptor)
    return None if number is None else process_of(_socket_name(number))


def process_of(name: str) -> Process | None:
    """Return the process that listens at the name of an abstract socket; None if none does.

    Raises ``OSError`` if there is no socket to look with.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as look:
        look.setblocking(False)
        try:
            look.connect(name)
        except ConnectionRefusedError:
            return None
        except OSError:  # somebody listens, and more look than are heard
            return Process(0, os.geteuid())
        found = look.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", found)
    return Process(pid, uid)


def _numbered_socket() -> tuple[socket.socket, int]:
    """Return a socket that holds a number which no other process has, and the number. Raises ``OSError``."""
    mine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        for left in reversed(range(_TRIES)):
            number = SystemRandom().randrange(1, _BYTES)
            try:
                mine.bind(_socket_name(number))
            except OSError as exc:
                if exc.errno != errno.EADDRINUSE or not left:
                    raise
            else:
                break
        mine.listen(_BACKLOG)
    except BaseException:
        mine.close()
        raise
    return mine, number


def _socket_name(number: int) -> str:
    return f"\0holdfast-names-{number}"


def _start_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % _NAMES * _BYTES


def _holder_of(descriptor: int, start: int) -> int | None:
    """Return the number of another process that has announced a name."""
    kind, _, first, count, _ = _lock(descriptor, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, start, _BYTES)
    return None if kind == fcntl.F_UNLCK or first != start else count


def _lock(descriptor: int, command: int, kind: int, start: int, count: int) -> tuple[int, int, int, int, int]:
    answer = fcntl.fcntl(descriptor, command, _LOCK.pack(kind, os.SEEK_SET, start, count, 0))
    kind, whence, first, length, pid = _LOCK.unpack(answer)
    return kind, whence, first, length, pid
