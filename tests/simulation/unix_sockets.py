"""Unix sockets in memory, over which commands come: streams in order, which know no delay and no fault of a network.

They behave as Linux's do for a listener on an event loop, and for a client that blocks in a thread. A socket's file is
a real one in the run's directory, so that who listens there is found by the file, and one that a dead engine has left
refuses. What nobody has read when an end is closed resets the other end, as does a connection that nobody has accepted.
"""

import asyncio
import errno
import os
import socket
import stat
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Final

from anyio._core import _sockets as anyio_sockets
from attrs import define, field

from engine.control import client
from tests.simulation.process import WORLD, SimulatedProcess, current
from tests.simulation.threads import Strand, scheduler_now

CAPACITY: Final = 212_992
"""Bytes that may be on their way in one direction (Linux, ``net.core.wmem_default``)."""
Key = tuple[int, int]
"""A socket's file: its device and its inode."""


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@define(eq=False)
class _Watch:
    """What the loop calls, once, when a socket has become readable or writable."""

    callback: Callable[..., object]
    arguments: tuple[Any, ...]
    context: Context
    handle: "asyncio.Handle | None" = None


@define(eq=False)
class SimulatedUnixSocket:
    """What code sees of a Unix socket: a listening one, or one end of a connection."""

    machine: "UnixSockets"
    process: SimulatedProcess = field(factory=current)
    """Whose it is: it is closed when that dies."""
    peer: "SimulatedUnixSocket | None" = None
    key: Key | None = None
    """Of the file at which it listens."""
    backlog: int = 0
    pending: "deque[SimulatedUnixSocket]" = field(factory=deque)
    received: bytearray = field(factory=bytearray)
    ended: bool = False
    """Whether the other end sends nothing any more."""
    was_reset: bool = False
    """Whether it was reset, and nobody was told yet."""
    closed: bool = False
    family: int = socket.AF_UNIX
    type: int = socket.SOCK_STREAM
    proto: int = 0
    _timeout: float | None = None
    _waiting: list[Strand] = field(factory=list)
    _watches: dict[str, _Watch] = field(factory=dict)

    # --- options ---

    def settimeout(self, seconds: float | None) -> None:
        """Set how long a call may wait: 0 is not at all, None for ever."""
        self._timeout = seconds

    def setblocking(self, blocks: bool) -> None:
        """Let calls wait, or not."""
        self._timeout = None if blocks else 0.0

    def fileno(self) -> int:
        """Return that there is no descriptor."""
        return -1

    def getsockname(self) -> str:
        """Return no name: nobody asks for it."""
        return ""

    def __enter__(self) -> "SimulatedUnixSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- listening ---

    def bind(self, path: str) -> None:
        """Make the file at which it will listen. Raises ``OSError``."""
        self._check()
        try:
            os.mknod(path, stat.S_IFSOCK | 0o755)
        except FileExistsError:
            raise _error(errno.EADDRINUSE) from None
        found = os.lstat(path)
        self.key = found.st_dev, found.st_ino

    def listen(self, backlog: int = 128) -> None:
        """Let clients connect."""
        self._check()
        assert self.key is not None
        self.backlog = backlog
        self.machine.listeners[self.key] = self

    def accept(self) -> "tuple[SimulatedUnixSocket, str]":
        """Return the next connection."""
        self._until(lambda: bool(self.pending), "a client")
        accepted = self.pending.popleft()
        accepted.process = current()
        return accepted, ""

    # --- a connection ---

    def connect(self, path: str) -> None:
        """Connect to whoever listens at a file. Raises what the kernel would."""
        self._check()
        self.machine.before(self, "connect")
        found = os.stat(path)
        listener = self.machine.listeners.get((found.st_dev, found.st_ino))
        if listener is None:
            raise _error(errno.ECONNREFUSED)
        if len(listener.pending) > listener.backlog:
            raise _error(errno.EAGAIN)  # also with a timeout, under which a socket does not block in the kernel
        self.peer = self.machine.make(listener.process)
        self.peer.peer = self
        listener.pending.append(self.peer)
        listener.notify()

    def send(self, data: Any) -> int:
        """Send as much as there is room for; return how many bytes that is."""
        self._until(lambda: self._room() > 0, "room")
        if self.peer is None:
            raise _error(errno.ENOTCONN)
        if self.peer.closed:
            raise _error(errno.EPIPE)
        taken = bytes(data[: self._room()])
        self.peer.received += taken
        self.peer.notify()
        return len(taken)

    def sendall(self, data: bytes) -> None:
        """Send everything."""
        if self.machine.before(self, "send"):
            self.send(data[: len(data) // 2])
            self.machine.die()
        while data:
            data = data[self.send(data) :]

    def recv(self, size: int) -> bytes:
        """Return what has arrived; nothing at the end."""
        self.machine.before(self, "receive")
        self._until(self._is_readable, "an answer")
        if not self.received and self.was_reset:
            self.was_reset = False
            raise _error(errno.ECONNRESET)
        taken = bytes(self.received[:size])
        del self.received[:size]
        if self.peer is not None:
            self.peer.notify()
        return taken

    def shutdown(self, _: int) -> None:
        """Send nothing any more."""
        if self.peer is not None:
            self.peer.ended = True
            self.peer.notify()

    def close(self) -> None:
        """Close it."""
        if self.closed:
            return
        self.closed = True
        self.machine.open.pop(self, None)
        if self.key is not None and self.machine.listeners.get(self.key) is self:
            del self.machine.listeners[self.key]
        for unheard in self.pending:
            unheard.was_reset = True  # nobody has accepted it
            unheard.close()
        if self.peer is not None:
            self.peer.ended = True
            self.peer.was_reset |= bool(self.received) or self.was_reset
            self.peer.notify()

    # --- waiting ---

    def _check(self) -> None:
        if self.closed:
            raise _error(errno.EBADF)

    def _room(self) -> int:
        """Return how many bytes may be sent now; an end that is closed takes any, to say so."""
        return CAPACITY if self.peer is None or self.peer.closed else CAPACITY - len(self.peer.received)

    def _is_readable(self) -> bool:
        return bool(self.pending or self.received or self.ended or self.was_reset)

    def _until(self, is_ready: Callable[[], bool], what: str) -> None:
        """Wait in this thread. Raises ``BlockingIOError`` if it may not, and ``TimeoutError`` when time is up."""
        self._check()
        scheduler = scheduler_now()
        deadline = None if self._timeout is None else scheduler.now + self._timeout
        while not is_ready():
            if self._timeout == 0:
                raise _error(errno.EAGAIN)
            if deadline is not None and scheduler.now >= deadline:
                raise TimeoutError("timed out")
            self._waiting.append(strand := scheduler.current)
            try:
                scheduler.wait(f"{what} at a Unix socket", deadline)
            finally:
                self._waiting.remove(strand)
            self._check()

    def notify(self) -> None:
        """Let those go on who wait for what may be so now."""
        for strand in list(self._waiting):
            scheduler_now().wake(strand)
        for kind, is_ready in (("read", self._is_readable), ("write", lambda: self._room() > 0)):
            watch = self._watches.get(kind)
            if watch is not None and watch.handle is None and is_ready():
                watch.handle = self.machine.loop.call_soon_threadsafe(
                    watch.callback, *watch.arguments, context=watch.context
                )

    def watch(self, kind: str, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        """Call something when it is ready to read or to write; once, as whoever waits for it asks each time anew."""
        self.unwatch(kind)
        self._watches[kind] = _Watch(callback, arguments, copy_context())
        self.notify()

    def unwatch(self, kind: str) -> bool:
        """Call nothing any more; return whether something would have been called."""
        watch = self._watches.pop(kind, None)
        if watch is not None and watch.handle is not None:
            watch.handle.cancel()
        return watch is not None


@define(eq=False)
class UnixSockets:
    """All Unix sockets of the engine's machine."""

    loop: Any
    listeners: dict[Key, SimulatedUnixSocket] = field(factory=dict)
    open: dict[SimulatedUnixSocket, None] = field(factory=dict)
    """Those that nobody has closed, in the order in which they were made."""
    deadly: dict[str, str] = field(factory=dict)
    """In which call a client dies, by the name of its process."""
    on_death: Callable[[SimulatedProcess], object] = lambda _: None
    """Called in main to end such a process."""

    def make(self, process: SimulatedProcess | None = None) -> SimulatedUnixSocket:
        """Return a new socket of a process, by default of the one whose code runs."""
        made = SimulatedUnixSocket(self, process or current())
        self.open[made] = None
        return made

    def before(self, sock: SimulatedUnixSocket, call: str) -> bool:
        """Let the process of a socket die here, if it is to; return whether it dies in the midst of this call."""
        if self.deadly.get(sock.process.name) != call:
            return False
        if call == "send":
            return True
        self.die()
        return False

    def die(self) -> None:
        """End the process whose thread calls this, which never returns."""
        self.loop.call_soon_threadsafe(self.on_death, current(), context=WORLD.context)
        scheduler_now().wait("its end", None)

    def of(self, process: SimulatedProcess) -> list[SimulatedUnixSocket]:
        """Return the open sockets of a process."""
        return [each for each in self.open if each.process is process]

    def process_died(self, process: SimulatedProcess) -> None:
        """Close the sockets of a dead process, as its kernel does."""
        for each in self.of(process):
            each.close()

    def install(self) -> None:
        """Put such sockets under the listener of commands and under their client."""
        module = _SocketModule(self)
        for user in (anyio_sockets, client):
            setattr(user, "socket", module)  # noqa: B010  # a module, to mypy


@define(eq=False)
class _SocketModule:
    """The module ``socket``, with other Unix sockets."""

    machine: UnixSockets

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)

    def socket(self, family: int = socket.AF_INET, *arguments: Any, **options: Any) -> Any:
        """Return a new socket."""
        if family == socket.AF_UNIX:
            return self.machine.make()
        return socket.socket(family, *arguments, **options)
