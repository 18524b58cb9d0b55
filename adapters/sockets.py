"""What the operating system is asked of a socket, by links of the engine and by connections of the sandbox."""

import errno
import fcntl
import os
import socket
import struct
import sys
import termios
from typing import Final

_ON_FOR_ZERO_SECONDS: Final = struct.pack("ii", 1, 0)
_OFF: Final = struct.pack("ii", 0, 0)
_LINUX: Final = sys.platform.startswith("linux")
_SO_NWRITE: Final = 0x1024
"""macOS: the bytes that the other side has not confirmed."""


def reset_on_close(sock: socket.socket) -> None:
    """Let the close of a socket drop what was not delivered, and send RST. Raises ``OSError`` if it is closed.

    The kernel does so, too, when the process is killed.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ON_FOR_ZERO_SECONDS)


def deliver_after_close(sock: socket.socket) -> None:
    """Undo ``reset_on_close``: the kernel goes on delivering after the close. Raises ``OSError`` if it is closed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _OFF)


def undelivered(sock: socket.socket) -> int:
    """Return how many bytes the kernel has of what was sent, and the other side has not confirmed. Raises ``OSError``.

    Only Linux and macOS say so; elsewhere it is ``OSError``, too.
    """
    if sock.fileno() < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if _LINUX:
        (count,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))  # SIOCOUTQ, tcp(7)
        return int(count)
    return sock.getsockopt(socket.SOL_SOCKET, _SO_NWRITE)
