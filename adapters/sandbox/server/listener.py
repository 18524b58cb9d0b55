"""One listening port, and the two ways in which it turns connections away."""

import asyncio
import logging
import socket
from enum import Enum, auto
from typing import Final, Protocol

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from adapters.sandbox.errors import SandboxError

log = logging.getLogger(__name__)

BACKLOG: Final = 1024
ACCEPT_PAUSE_SECONDS: Final = 0.1
FILL_TIMEOUT_SECONDS: Final = 0.2
"""How long the connection that fills a queue may take; on loopback it is immediate."""


class AcceptMode(Enum):
    """What happens to new connections."""

    OPEN = auto()
    REFUSING = auto()
    """The port does not listen: ECONNREFUSED. It stays bound, so that no other program takes it."""
    DROPPING = auto()
    """The queue is full, so the kernel drops a client's first packet; the client repeats it until it gives up."""


class ConnectionAcceptor(Protocol):
    """The owner of a listener, which serves the accepted connections."""

    def accept_connection(self, sock: socket.socket, listener: "Listener", tasks: TaskGroup) -> None: ...


@define(eq=False)
class Listener:
    """A port that can be open, refuse connections or drop them."""

    host: str
    account: str | None
    """The account that the port belongs to; None for a shared port."""
    port: int
    dc_id: int
    """The datacenter that a shared port belongs to; the port of an account belongs to the account's home."""
    mode: AcceptMode = AcceptMode.REFUSING
    _socket: socket.socket = field(init=False)
    _filler: socket.socket | None = None
    # None until it is opened: a sandbox may be made where no loop runs yet, and no scope can be.
    _accepting: anyio.CancelScope | None = None
    _stopped: anyio.Event = field(factory=anyio.Event)

    def bind(self) -> None:
        """Take the port. Raises SandboxError when another program has it."""
        self._socket = self._new_socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((self.host, self.port))
        except OSError as error:
            self._socket.close()
            where = f"port {self.port} of {self.host}"
            raise SandboxError(
                f"The sandbox cannot listen on {where} ({error.strerror}); choose another with --port, or 0 for any."
            ) from error
        self.port = self._socket.getsockname()[1]

    async def set_mode(self, mode: AcceptMode, tasks: TaskGroup, acceptor: ConnectionAcceptor) -> None:
        """Open the port, or close it in this way. Existing connections stay."""
        if mode is self.mode:
            return
        if self._accepting is not None:
            self._accepting.cancel()
            self._accepting = None
            await self._stopped.wait()
        if self.mode is not AcceptMode.REFUSING:
            self.close()
            self.bind()
        self.mode = mode
        if mode is AcceptMode.OPEN:
            self._socket.listen(BACKLOG)
            self._accepting, self._stopped = anyio.CancelScope(), anyio.Event()
            tasks.start_soon(self._accept, tasks, acceptor, self._accepting, self._stopped)
        elif mode is AcceptMode.DROPPING:
            await self._fill()

    def close(self) -> None:
        self._socket.close()
        if self._filler is not None:
            self._filler.close()
            self._filler = None

    async def _fill(self) -> None:
        """Fill the queue: one of length zero takes one connection and is full."""
        self._socket.listen(0)
        self._filler = self._new_socket()
        with anyio.move_on_after(FILL_TIMEOUT_SECONDS):
            await asyncio.get_running_loop().sock_connect(self._filler, (self.host, self.port))

    def _new_socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        return sock

    async def _accept(
        self, tasks: TaskGroup, acceptor: ConnectionAcceptor, scope: anyio.CancelScope, stopped: anyio.Event
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            with scope:
                while True:
                    try:
                        sock, _ = await loop.sock_accept(self._socket)
                    except OSError as error:
                        # Most likely the process is out of file descriptors; waiting connections are accepted later.
                        log.warning("accepting failed: %s", error)
                        await anyio.sleep(ACCEPT_PAUSE_SECONDS)
                        continue
                    acceptor.accept_connection(sock, self, tasks)
        finally:
            stopped.set()
