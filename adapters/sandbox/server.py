"""The sandbox: a data centre with its listening sockets."""

import asyncio
import contextlib
import ipaddress
import secrets
import socket
import time
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio
import attrs
from anyio.abc import TaskGroup

from adapters.sandbox import keys
from adapters.sandbox.centre import Centre, log
from adapters.sandbox.cipher import AUTH_KEY_BYTES, AuthKey
from adapters.sandbox.connection import Connection
from adapters.sandbox.errors import SandboxError
from adapters.sandbox.faults import Fault, FaultKind, Point, Switchboard
from adapters.sandbox.keys import DataCentreKey
from adapters.sandbox.phones import normalise
from adapters.sandbox.services import Office
from adapters.sandbox.store import SERVICE_ID, Message, Store

DATABASE: Final = "sandbox.db"
KEY_FILE: Final = "dc.pem"
BACKLOG: Final = 1024
MOST_CONNECTIONS: Final = 10_000
MOST_LISTENERS: Final = 10_000
ACCEPT_PAUSE_SECONDS: Final = 0.1
MOST_DATA_CENTRES: Final = 1000


@attrs.define(eq=False)
class Listener:
    """One port. While it refuses, the port stays bound (so nobody else gets it) but nothing listens."""

    host: str
    account: str | None
    """The account that the port belongs to, or None for the port shared by all."""
    port: int
    _socket: socket.socket = attrs.field(init=False)
    _accepting: anyio.CancelScope | None = None
    _stopped: anyio.Event = attrs.field(factory=anyio.Event)

    def bind(self) -> None:
        """Takes the port. Raises SandboxError when somebody else has it."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
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

    @property
    def is_open(self) -> bool:
        return self._accepting is not None

    def open(self, tasks: TaskGroup, server: "Sandbox") -> None:
        """Starts to accept."""
        self._socket.listen(BACKLOG)
        self._accepting, self._stopped = anyio.CancelScope(), anyio.Event()
        tasks.start_soon(self._accept, tasks, server, self._accepting, self._stopped)

    async def refuse(self) -> None:
        """Stops to accept: from here on connecting fails with ECONNREFUSED."""
        if self._accepting is None:
            return
        self._accepting.cancel()
        self._accepting = None
        await self._stopped.wait()
        self._socket.close()
        self.bind()

    def close(self) -> None:
        self._socket.close()

    async def _accept(
        self, tasks: TaskGroup, server: "Sandbox", scope: anyio.CancelScope, stopped: anyio.Event
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            with scope:
                while True:
                    try:
                        sock, _ = await loop.sock_accept(self._socket)
                    except OSError as error:
                        # Out of descriptors, most likely: those that are waiting get their turn later.
                        log.warning("accepting failed: %s", error)
                        await anyio.sleep(ACCEPT_PAUSE_SECONDS)
                        continue
                    server.welcome(sock, self.account, tasks)
        finally:
            stopped.set()


class Sandbox:
    """A Telegram data centre on loopback, for as long as the `async with` block lasts.

    Args:
        dc_id: The number of the data centre, as in `session.set_dc`.
        host: A loopback address.
        port: The port shared by all accounts; 0 takes a free one.
        state: A directory for its database and key; without one everything is forgotten at the end.
        key: The RSA key; by default the one in `state`, or one made for this process.

    Raises SandboxError, with a sentence, when it cannot start.
    """

    def __init__(
        self,
        *,
        dc_id: int = 2,
        host: str = "127.0.0.1",
        port: int = 0,
        state: Path | None = None,
        key: DataCentreKey | None = None,
    ) -> None:
        if not 0 < dc_id < MOST_DATA_CENTRES:
            raise SandboxError(f"A data centre has a number from 1 to {MOST_DATA_CENTRES - 1}, not {dc_id}.")
        if not _is_loopback(host):
            raise SandboxError(
                f"The sandbox serves this machine only and {host} is no loopback address; use 127.0.0.1."
            )
        if not 0 <= port < 2**16:
            raise SandboxError(f"A port is a number from 0 to 65535, not {port}.")
        self.dc_id = dc_id
        self.host = host
        self._state = state
        self._given_key = key
        self._shared = Listener(host, None, port)
        self._own: dict[str, Listener] = {}
        self._connections: set[Connection] = set()
        # Accepted, their task not yet begun; a task that is cancelled before it begins closes nothing.
        self._fresh: set[socket.socket] = set()
        self._changed = anyio.Event()
        # One change of the listening sockets at a time.
        self._lock = anyio.Lock()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._state is not None:
                self._state.mkdir(parents=True, exist_ok=True)
            key = self._given_key or self._default_key()
            file = None if self._state is None else self._state / DATABASE
            store = stack.enter_context(Store(file, time.time))
            office = Office(store, self.dc_id, time.time, lambda: (self.host, self.port))
            board = Switchboard(time.monotonic)
            self._centre = Centre(key, store, office, board, secrets.token_bytes(16))
            self._shared.bind()
            stack.callback(self._close_sockets)
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            self._shared.open(self._tasks, self)
            self._tasks.start_soon(self._mind_the_clock)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        await self._stack.__aexit__(None, None, None)

    def __repr__(self) -> str:
        return f"<Sandbox dc {self.dc_id} at {self.host}:{self.port}, {len(self._connections)} connections>"

    @property
    def port(self) -> int:
        """The port shared by all accounts."""
        return self._shared.port

    @property
    def public_key(self) -> str:
        """PKCS#1 PEM for `telethon.crypto.rsa.add_key(pem, old=False)`."""
        return self._centre.key.public_pem

    async def listen(self, phone: str) -> int:
        """The port of this account alone, opened when first asked for. Faults of connecting can hurt it alone."""
        account = self._centre.store.account(phone).phone
        async with self._lock:
            if account not in self._own:
                if len(self._own) >= MOST_LISTENERS:
                    raise SandboxError(
                        f"{MOST_LISTENERS} accounts have a port of their own already; use the shared one."
                    )
                listener = Listener(self.host, account, 0)
                listener.bind()
                self._own[account] = listener
                await self._adjust(listener)
        return self._own[account].port

    def authorize(self, phone: str) -> bytes:
        """Registers a random auth key that is logged in as this account, and returns its 256 bytes."""
        key = AuthKey.of(secrets.token_bytes(AUTH_KEY_BYTES))
        self._centre.store.add_key(key, self._centre.store.account(phone).id)
        return key.data

    async def inject(self, fault: Fault) -> None:
        """Lets something hurt, from now on."""
        self._centre.switchboard.add(fault)
        self._centre.stats.faults[fault.kind] += 1
        log.info("fault %s, account %s, for %s s", fault.kind, fault.account, fault.duration)
        if fault.kind in (FaultKind.RESET, FaultKind.CLOSE):
            for connection in [c for c in self._connections if fault.concerns(c.account)]:
                connection.hurt(fault.kind)
        await self._adjust_all()

    async def clear(self, account: str | None = None) -> None:
        """Ends the faults of one account, or every fault."""
        self._centre.switchboard.clear(None if account is None else normalise(account))
        await self._adjust_all()

    def stats(self) -> dict[str, Any]:
        """What happened since the start, in values that JSON can hold."""
        store = self._centre.store
        return {
            **self._centre.stats.as_dict(),
            "accounts": len(store.accounts()) - 1,
            "messages": store.count_messages(),
            "standing_faults": [attrs.asdict(fault) for fault in self._centre.switchboard.standing()],
        }

    async def push(self, phone: str, text: str, sender: str | None = None) -> int:
        """A new message for the account, from another one or from Telegram itself; returns its id there."""
        store = self._centre.store
        receiver = store.account(phone).id
        origin = SERVICE_ID if sender is None else store.account(sender).id
        sent = store.send(origin, receiver, text, None)
        self._centre.deliver([copy for copy in (sent.mine, sent.theirs) if copy is not None])
        return (sent.theirs or sent.mine).id

    def messages(self, phone: str) -> list[Message]:
        """The account's box as the data centre knows it, oldest first."""
        return self._centre.store.messages(self._centre.store.account(phone).id)

    def welcome(self, sock: socket.socket, account: str | None, tasks: TaskGroup) -> None:
        """Takes a connection that a listener has accepted."""
        self._centre.stats.accepted += 1
        if self._centre.switchboard.at(Point.ACCEPT, account) or len(self._connections) >= MOST_CONNECTIONS:
            self._centre.stats.turned_away += 1
            sock.close()
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._fresh.add(sock)
        tasks.start_soon(self._serve, sock, account)

    async def _serve(self, sock: socket.socket, account: str | None) -> None:
        self._fresh.discard(sock)
        try:
            reader, writer = await asyncio.open_connection(sock=sock)
        except OSError:
            sock.close()
            return
        connection = Connection(self._centre, reader, writer, account)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    async def _mind_the_clock(self) -> None:
        """Opens the ports again when the time of a fault is over."""
        while True:
            end = self._centre.switchboard.next_end()
            self._changed = anyio.Event()
            wait = float("inf") if end is None else max(end - time.monotonic(), 0)
            with anyio.move_on_after(wait):
                await self._changed.wait()
            await self._adjust_all()

    async def _adjust_all(self) -> None:
        async with self._lock:
            for listener in (self._shared, *self._own.values()):
                await self._adjust(listener)
        self._changed.set()

    async def _adjust(self, listener: Listener) -> None:
        """Opens or closes a port, as the faults that stand want it."""
        refused = self._centre.switchboard.at(Point.LISTEN, listener.account) is not None
        if refused and listener.is_open:
            await listener.refuse()
        elif not refused and not listener.is_open:
            listener.open(self._tasks, self)

    def _close_sockets(self) -> None:
        for listener in (self._shared, *self._own.values()):
            listener.close()
        for sock in self._fresh:
            sock.close()

    def _default_key(self) -> DataCentreKey:
        return keys.of_this_process() if self._state is None else keys.load_or_generate(self._state / KEY_FILE)


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
