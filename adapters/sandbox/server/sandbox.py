"""The sandbox: a datacenter with its listening sockets."""

import asyncio
import contextlib
import ipaddress
import logging
import secrets
import socket
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio
from anyio.abc import TaskGroup
from attrs import asdict

from adapters.sandbox.errors import SandboxError
from adapters.sandbox.faults.active_faults import ActiveFaults
from adapters.sandbox.faults.fault import IMMEDIATE_KINDS, Fault
from adapters.sandbox.faults.kinds import FaultKind, FaultPoint
from adapters.sandbox.mtproto import datacenter_key
from adapters.sandbox.mtproto.cipher import AUTH_KEY_BYTES, AuthKey
from adapters.sandbox.mtproto.datacenter_key import DatacenterKey
from adapters.sandbox.phones import normalise
from adapters.sandbox.server.connection import Connection
from adapters.sandbox.server.content import SandboxContent
from adapters.sandbox.server.hub import Hub
from adapters.sandbox.server.listener import AcceptMode, Listener
from adapters.sandbox.server.login_settings import LoginSettings
from adapters.sandbox.server.media import SandboxMedia
from adapters.sandbox.services import MAX_MISSED, MAX_MISSED_IN_CHANNEL, ServiceContext
from adapters.sandbox.store.database import SandboxStore

log = logging.getLogger(__name__)

DATABASE: Final = "sandbox.db"
KEY_FILE: Final = "dc.pem"
PUBLIC_KEY_FILE: Final = "dc.pub.pem"
"""The public half of the key, for ``public_key`` of a config and for programs."""
MAX_CONNECTIONS: Final = 20_000
"""Ten thousand accounts have as many, and for a moment twice as many when all of them connect anew."""
MAX_LISTENERS: Final = 10_000
MAX_DC_ID: Final = 999
MAX_OPEN_DATACENTERS: Final = 10
ACCEPT_MODES: Final = {FaultKind.REFUSE: AcceptMode.REFUSING, FaultKind.SYN_DROP: AcceptMode.DROPPING}


class Sandbox(LoginSettings, SandboxContent, SandboxMedia):
    """A Telegram datacenter on loopback, for as long as the ``async with`` block lasts.

    ``dc_id`` is the number of the datacenter, as in ``session.set_dc``; ``host`` a loopback address; ``port`` the port
    shared by all accounts, where 0 takes a free one. ``state`` is a directory for the database and the key; without one
    everything is forgotten at the end. ``key`` is the RSA key, by default the one in ``state`` or one made for this
    process.

    A client that missed more messages than ``max_missed`` gets differenceTooLong; ``max_missed_in_channel`` is the same
    for one channel (channelDifferenceTooLong).

    Raises SandboxError, with a sentence, when it cannot start.
    """

    def __init__(
        self,
        *,
        dc_id: int = 2,
        host: str = "127.0.0.1",
        port: int = 0,
        state: Path | None = None,
        key: DatacenterKey | None = None,
        max_missed: int = MAX_MISSED,
        max_missed_in_channel: int = MAX_MISSED_IN_CHANNEL,
    ) -> None:
        _check_dc(dc_id)
        if not _is_loopback(host):
            raise SandboxError(
                f"The sandbox serves this machine only and {host} is not a loopback address; use 127.0.0.1."
            )
        _check_port(port)
        self.dc_id = dc_id
        self.host = host
        self._state = state
        self._given_key = key
        self._max_missed = max_missed
        self._max_missed_in_channel = max_missed_in_channel
        self._shared_listeners = {dc_id: Listener(host, None, port, dc_id)}
        self._account_listeners: dict[str, Listener] = {}
        self._connections: set[Connection] = set()
        # Accepted, with a task that has not begun; a task that is cancelled before it begins closes nothing.
        self._accepted: set[socket.socket] = set()
        self._changed = anyio.Event()
        # One change of the listening sockets at a time.
        self._lock = anyio.Lock()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if self._state is not None:
                self._state.mkdir(parents=True, exist_ok=True)
            key = self._given_key or self._default_key()
            file = None if self._state is None else self._state / DATABASE
            store = stack.enter_context(SandboxStore(file, time.time))
            shared = ServiceContext(
                store,
                self.dc_id,
                time.time,
                self._addresses,
                self._max_missed,
                self._max_missed_in_channel,
            )
            faults = ActiveFaults(time.monotonic)
            self._hub = Hub(key, store, shared, faults, secrets.token_bytes(16))
            main = self._shared_listeners[self.dc_id]
            main.bind()
            stack.callback(self._close_sockets)
            self._tasks = await stack.enter_async_context(anyio.create_task_group())
            await main.set_mode(AcceptMode.OPEN, self._tasks, self)
            self._tasks.start_soon(self._watch_fault_ends)
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
        """Return the port shared by all accounts, of the main datacenter."""
        return self._shared_listeners[self.dc_id].port

    @property
    def public_key(self) -> str:
        """Return the public key as PKCS#1 PEM, for ``telethon.crypto.rsa.add_key(pem, old=False)``."""
        return self._hub.key.public_pem

    async def open_dc(self, dc_id: int, port: int = 0) -> int:
        """Open another datacenter with the same accounts, on first use; return its port.

        From now on the numbers with its digit, and the bots that are made for it, live there: elsewhere they are told
        to migrate. Each auth key is known only where it was made. Raises SandboxError for a number or a port that is
        out of range.
        """
        _check_dc(dc_id)
        _check_port(port)
        async with self._lock:
            if dc_id not in self._shared_listeners:
                if len(self._shared_listeners) >= MAX_OPEN_DATACENTERS:
                    raise SandboxError(f"{MAX_OPEN_DATACENTERS} datacenters are open already; use one of them.")
                listener = Listener(self.host, None, port, dc_id)
                listener.bind()
                self._shared_listeners[dc_id] = listener
                await self._adjust(listener)
        return self._shared_listeners[dc_id].port

    async def listen(self, phone: str) -> int:
        """Open the port of this account alone, on first use; return it.

        Faults of connecting can hit one account there.
        """
        account = self._hub.store.account(phone).phone
        async with self._lock:
            if account not in self._account_listeners:
                if len(self._account_listeners) >= MAX_LISTENERS:
                    raise SandboxError(
                        f"{MAX_LISTENERS} accounts have a port of their own already; use the shared one."
                    )
                listener = Listener(self.host, account, 0, self.dc_id)
                listener.bind()
                self._account_listeners[account] = listener
                await self._adjust(listener)
        return self._account_listeners[account].port

    def authorize(self, phone: str) -> bytes:
        """Register a random auth key that is logged in as this account, at its home; return its 256 bytes."""
        key = AuthKey.of(secrets.token_bytes(AUTH_KEY_BYTES))
        account, shared = self._hub.store.account(phone), self._hub.shared
        self._hub.store.add_key(key, account.id, shared.key_dc(shared.home_dc(account.phone)))
        return key.data

    async def inject(self, fault: Fault) -> None:
        """Inject a fault, which acts from now on.

        Raises SandboxError for ``syn_drop`` of an account without a port of its own: the kernel, which drops the
        packet, does not know accounts.
        """
        if (
            fault.kind is FaultKind.SYN_DROP
            and fault.account is not None
            and fault.account not in self._account_listeners
        ):
            raise SandboxError(
                f"Packets of one account can only be dropped on its own port, and +{fault.account} has none; "
                "ask for it with listen first, or drop those of all accounts."
            )
        faults = self._hub.faults
        faults.add(fault)
        self._hub.stats.faults[fault.kind] += 1
        log.info("fault: %s", fault)
        if fault.kind in IMMEDIATE_KINDS:
            for connection in tuple(self._connections):
                if (
                    not faults.is_over(fault)
                    and fault.matches_account(connection.account)
                    and connection.apply_fault(fault)
                ):
                    faults.count(fault)
        await self._adjust_all()

    async def clear(self, account: str | None = None) -> None:
        """End the faults of one account, or every fault."""
        self._hub.faults.clear(None if account is None else normalise(account))
        await self._adjust_all()

    def reset_counters(self) -> None:
        """Restart the maximum of simultaneous handshakes from those in progress now."""
        self._hub.stats.reset_counters()

    def stats(self) -> dict[str, Any]:
        """Return what happened since the start, in values that JSON can hold."""
        store = self._hub.store
        return {
            **self._hub.stats.as_dict(),
            "accounts": len(store.accounts()) - 1,
            "channels": store.channels.count(),
            "messages": store.count_messages(),
            "acted": dict(self._hub.faults.acted),
            "standing_faults": [asdict(fault) for fault in self._hub.faults.active()],
        }

    def accept_connection(self, sock: socket.socket, listener: Listener, tasks: TaskGroup) -> None:
        """Serve a connection that a listener has accepted, unless a fault or a limit turns it away."""
        account = listener.account
        self._hub.stats.accepted += 1
        if account is not None:
            self._hub.stats.accepted_by_account[account] += 1  # no more names than MAX_LISTENERS
        if len(self._connections) >= MAX_CONNECTIONS or self._hub.faults.trigger(FaultPoint.ACCEPT, account):
            self._hub.stats.turned_away += 1
            sock.close()
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._accepted.add(sock)
        dc_id = listener.dc_id if account is None else self._hub.shared.home_dc(account)
        tasks.start_soon(self._serve, sock, dc_id, account)

    async def _serve(self, sock: socket.socket, dc_id: int, account: str | None) -> None:
        self._accepted.discard(sock)
        try:
            reader, writer = await asyncio.open_connection(sock=sock)
        except OSError:
            sock.close()
            return
        connection = Connection(self._hub, reader, writer, dc_id, account)
        self._connections.add(connection)
        try:
            await connection.serve()
        except Exception:  # whatever one client has sent, the others are served
            log.exception("a connection ended by a mistake of the sandbox")
        finally:
            self._connections.discard(connection)

    async def _watch_fault_ends(self) -> None:
        """Open the ports again when the time of a fault is over."""
        while True:
            end = self._hub.faults.next_end()
            self._changed = anyio.Event()
            wait = float("inf") if end is None else max(end - time.monotonic(), 0)
            with anyio.move_on_after(wait):
                await self._changed.wait()
            await self._adjust_all()

    async def _adjust_all(self) -> None:
        async with self._lock:
            for listener in self._listeners():
                await self._adjust(listener)
        self._changed.set()

    async def _adjust(self, listener: Listener) -> None:
        """Open or close a port, as the active faults demand."""
        fault = self._hub.faults.find(FaultPoint.LISTEN, listener.account)
        door = AcceptMode.OPEN if fault is None else ACCEPT_MODES[fault.kind]
        await listener.set_mode(door, self._tasks, self)

    def _close_sockets(self) -> None:
        for listener in self._listeners():
            listener.close()
        for sock in self._accepted:
            sock.close()

    def _listeners(self) -> Iterable[Listener]:
        return (*self._shared_listeners.values(), *self._account_listeners.values())

    def _addresses(self) -> dict[int, tuple[str, int]]:
        return {dc_id: (self.host, listener.port) for dc_id, listener in self._shared_listeners.items()}

    def _default_key(self) -> DatacenterKey:
        if self._state is None:
            return datacenter_key.process_key()
        key = datacenter_key.load_or_generate(self._state / KEY_FILE)
        public = self._state / PUBLIC_KEY_FILE
        if not public.exists() or public.read_text("ascii") != key.public_pem:
            public.write_text(key.public_pem, "ascii")
        return key


def _check_dc(dc_id: int) -> None:
    if not 1 <= dc_id <= MAX_DC_ID:
        raise SandboxError(f"A datacenter has a number from 1 to {MAX_DC_ID}, not {dc_id}.")


def _check_port(port: int) -> None:
    if not 0 <= port < 2**16:
        raise SandboxError(f"A port is a number from 0 to 65535, not {port}.")


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
