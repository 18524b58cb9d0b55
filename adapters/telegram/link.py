"""One link: one fresh Telethon client, from its connect to its last closed socket.

Why everything here is ours and not Telethon's: measured on 1.45, its own reconnection makes ten thousand connections
in seconds at a dead backend, hangs for ever at a silent one, and never notices a revoked login. So each link has a
fresh client that may not reconnect; one deadline around the whole attempt; health that is proven by an RPC; a probe of
our own; and a close that is bounded.
"""

import hashlib
import itertools
import math
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from attrs import define, field, frozen
from telethon import TelegramClient
from telethon.crypto import rsa
from telethon.tl.functions import PingDelayDisconnectRequest
from telethon.tl.functions.updates import GetStateRequest

from adapters.session.file import StatStamp, stat_stamp
from adapters.sqlite.errors import StorageError
from adapters.telegram.classify import MissedPong, chain_of, classify, kind_of
from adapters.telegram.client import REQUEST_TIMEOUT, TELETHON_LOGGER, LinkClient, OneLogger, asked
from adapters.telegram.datacenter_probe import DatacenterState, probe_datacenter
from adapters.telegram.engine_session import SessionMemory, fingerprint, known_fingerprint, open_session, stored_address
from adapters.telegram.failover import ProxyFailover, named
from adapters.telegram.inbox import Handler, Inbox
from adapters.telegram.notices import Notices
from adapters.telegram.proxy import Proxy, connection_class
from states.events import (
    AccountLimited,
    Connected,
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseUnavailable,
    Event,
    Failure,
    FloodWait,
    NetworkLost,
    ProbeAnswered,
)
from states.snapshot import Hold

ABORT_TIMEOUT = 2.0
"""Seconds that a close may take after its socket was aborted."""
PING_DELAY = 75
"""Seconds without a ping after which the datacenter may close a link, unless the engine pings more slowly."""
PROOF = GetStateRequest()
"""The authorised RPC that proves a link."""
MAX_FOUND = 32
"""Events of one link that may wait to be read."""
SAVE_SECONDS = 0.5
"""How long after an update the session hears how far updates were handled; its file has it a moment later."""


@frozen
class Datacenter:
    """A datacenter that is not Telegram's own."""

    id: int
    host: str
    port: int
    public_key: str = field(repr=False)
    """PKCS#1 PEM of the RSA key that proves it."""

    def trust(self) -> None:
        """Let Telethon accept this key, too. Its list is of the whole process."""
        rsa.add_key(self.public_key, old=False)


@define(eq=False)
class TelegramLink:
    """A link of one account. ``open`` once, then ``probe`` at will while ``events`` are read; ``close`` always.

    What it found is returned as events; only cancellation is raised.
    """

    number: int
    connector: Any  # a Connector; OwnedLink has another kind
    holds: tuple[Hold, ...] = ()
    proxy: Proxy | None = None
    _client: Any = field(default=None, init=False)
    _found: deque[Event] = field(factory=lambda: deque(maxlen=MAX_FOUND), init=False)
    _wake: anyio.Event = field(factory=anyio.Event, init=False)
    _save_at: float = field(default=math.inf, init=False)
    _held: dict[str, float] = field(init=False)
    _pings: Any = field(factory=lambda: itertools.count(int.from_bytes(os.urandom(6))), init=False)

    @_held.default
    def _make_held(self) -> dict[str, float]:
        return {hold.request: hold.until for hold in self.holds}

    @property
    def client(self) -> Any:
        """The Telethon client; None before ``open``."""
        return self._client

    def hold(self, request: str, until: float) -> None:
        """Send no request of this kind until then (Unix seconds)."""
        self._held[request] = until
        if isinstance(self._client, LinkClient):
            self._client.hold(request, until)

    async def open(self, *, timeout: float) -> list[Event]:
        """Connect and prove it within ``timeout`` seconds: session, TCP, key, initConnection and one RPC.

        The last event is the outcome, ``Connected`` or a failure; notices may come before it.
        """
        notices: list[Event] = []
        try:
            with anyio.fail_after(timeout):
                self._client = await self._make_client(timeout)
                await asked(self._client.connect())
                notices = await self._prove()
        except Exception as exc:
            failure = self._failed_attempt(exc, timeout)
            self.connector.failover.failed(self.proxy, failure)
            return [named(failure, self.proxy)]
        self.connector.inbox.connected(self._client)
        self.connector.notices.link = self.number
        return [*notices, named(Connected(link=self.number), self.proxy)]

    async def _make_client(self, timeout: float) -> LinkClient:
        connector = self.connector
        session = await open_session(connector)
        session.trouble = connector.notices.put
        client: LinkClient = connector.client(session, timeout=timeout + 1, proxy=self.proxy)
        client.serve(self.number, connector.inbox, self._report, self.holds, connector.request_timeout)
        client.touched = self._touched
        return client

    def _failed_attempt(self, exc: Exception, timeout: float) -> Failure:
        """Return what an attempt's exception means."""
        sender = getattr(self._client, "_sender", None)
        if isinstance(exc, ConnectionError) and exc.__cause__ is None:
            exc.__cause__ = getattr(getattr(sender, "_connection", None), "connect_error", None)
        failure = classify(exc, link=self.number, what="connect")
        if isinstance(exc, TimeoutError) and failure.detail == "TimeoutError":
            failure = classify(TimeoutError(f"no proof within {timeout:g} s"), link=self.number, what="connect")
        return failure

    async def probe(self, *, proof: bool, timeout: float) -> list[Event]:
        """Ask for a sign of life within ``timeout`` seconds: a ping, or an authorised RPC if ``proof``.

        The last event is the outcome, ``ProbeAnswered`` or a failure; notices may come before it.
        """
        notices: list[Event] = []
        try:
            with anyio.fail_after(timeout):
                if proof:
                    notices = await self._prove()
                else:
                    await self._ping()
        except TimeoutError:
            silence = TimeoutError(f"no answer within {timeout:g} s")
            return [named(classify(silence, link=self.number, what="probe"), self.proxy)]
        except Exception as exc:
            return [named(classify(exc, link=self.number, what="probe"), self.proxy)]
        return [*notices, ProbeAnswered(link=self.number, proof=proof)]

    async def events(self) -> AsyncIterator[Event]:
        """Yield what the link finds, until it ends by itself; what it yields last is why.

        Meanwhile the session is kept up to date, at most ``SAVE_SECONDS`` behind.
        """
        ended = self._client._sender._disconnected
        ended.add_done_callback(lambda _: self._wake.set())
        while True:
            while self._found:
                yield named(self._found.popleft(), self.proxy)
            if ended.done():
                break
            if time.monotonic() >= self._save_at:
                self._save_at = math.inf
                if not await self._client.save():  # handlers still run: look again
                    self._touched()
            if self._wake.is_set():
                self._wake = anyio.Event()
            with anyio.move_on_after(None if self._save_at == math.inf else self._save_at - time.monotonic()):
                await self._wake.wait()
        for failure in await self._why_ended():
            yield named(failure, self.proxy)

    async def _why_ended(self) -> list[Failure]:
        try:
            await asked(self._client.disconnected)
        except Exception as exc:
            return [classify(exc, link=self.number, what="probe")]
        # The update loop swallows its error and disconnects as if it had been told to.
        failure = classify(self._client._updates_error or MissedPong(), link=self.number, what="probe")
        if isinstance(failure, DatabaseLocked | DatabaseUnavailable | DatabaseCorrupt):
            # A trouble of the file is not one of the link, but Telethon dropped the link for it.
            detail = f"Telethon dropped the link: {failure.detail}"
            return [failure, NetworkLost(link=self.number, detail=detail, chain=failure.chain)]
        return [failure]

    def _report(self, event: Event) -> None:
        """Take note of something that nobody waits for; of too many only the latest are told."""
        self._found.append(event)
        self._wake.set()

    def _touched(self) -> None:
        if self._save_at == math.inf:
            self._save_at = time.monotonic() + SAVE_SECONDS
            self._wake.set()

    async def close(self, *, timeout: float) -> None:
        """Close socket, tasks and session; drop the socket when that takes longer than ``timeout`` seconds."""
        client = self._client
        if client is None:
            return
        self.connector.inbox.disconnected(client)
        self.connector.notices.link = None
        with anyio.CancelScope(shield=True):
            for limit in (timeout, ABORT_TIMEOUT):
                with anyio.move_on_after(limit):
                    await self._disconnect()
                    break
                self._abort()
        ended = client._sender._disconnected
        if ended.done() and not ended.cancelled():
            ended.exception()  # seen: of an attempt that failed nobody asks for it, and asyncio would complain

    async def _disconnect(self) -> None:
        try:
            await self._client.disconnect()
        except Exception as exc:  # the link is over either way; what hindered its end is worth a line
            TELETHON_LOGGER.warning("%s: closing failed: %s", self.connector.label, "; ".join(chain_of(exc)))

    async def _prove(self) -> list[Event]:
        """Have an authorised RPC answered; a flood or a limit is an answer, too, and while one holds a ping must do."""
        if self._held.get(kind_of(PROOF), 0.0) > time.time():
            await self._ping()
            return []
        try:
            await self._ask(PROOF)
        except Exception as exc:
            notice = classify(exc, link=self.number)
            if not isinstance(notice, FloodWait | AccountLimited):
                raise
            return [notice]
        return []

    async def _ping(self) -> None:
        await self._ask(PingDelayDisconnectRequest(next(self._pings), self.connector.disconnect_delay))

    async def _ask(self, request: Any) -> Any:
        """Send a request of the engine's own, past Telethon's sleeps after errors: they would look like silence."""
        return await asked(self._client._sender.send(request))

    def _abort(self) -> None:
        writer = getattr(getattr(self._client._sender, "_connection", None), "_writer", None)
        if writer is not None:
            writer.transport.abort()


@frozen(eq=False)
class TelegramConnector:
    """What the links of one account have in common, and what outlives each of them."""

    session: Path
    api_id: int
    api_hash: str = field(repr=False)
    datacenter: Datacenter | None = None
    failover: ProxyFailover = field(factory=ProxyFailover)
    """The proxies of the account, and which of them is next."""
    disconnect_delay: int = PING_DELAY
    """Seconds after which the datacenter may close a link that sends no ping."""
    request_timeout: float = REQUEST_TIMEOUT
    """Seconds that a request through a link's client may wait for its answer."""
    backups: Path = field()
    """Where a copy of the session goes before it is upgraded."""
    name: str = field()
    """What its backups are called."""
    inbox: Inbox = field(init=False, repr=False)
    memory: SessionMemory = field(factory=SessionMemory, init=False, repr=False)
    notices: Notices = field(factory=Notices, init=False, repr=False)
    logger: OneLogger = field(init=False, repr=False)

    @logger.default
    def _make_logger(self) -> OneLogger:
        return OneLogger(f"{TELETHON_LOGGER.name}.{self.label}")

    @backups.default
    def _beside(self) -> Path:
        return self.session.parent / "backups"

    @name.default
    def _stem(self) -> str:
        return self.session.stem

    @inbox.default
    def _make_inbox(self) -> Inbox:
        return Inbox(self.label)

    @property
    def label(self) -> str:
        """What log lines call it."""
        return self.session.stem

    @property
    def address(self) -> tuple[int, str, int] | None:
        """Where to connect, if not where the session says."""
        dc = self.datacenter
        return (dc.id, dc.host, dc.port) if dc else None

    def on(self, handler: Handler, event: Any) -> None:
        """Call ``handler`` with each event of this kind (of ``telethon.events``), whichever client it comes by.

        Every update reaches it once; one whose handler was cut off by an end of the process reaches it again.
        """
        self.inbox.on(handler, event)

    async def deliver(self) -> None:
        """Run the handlers on what arrives, for ever; to be cancelled."""
        await self.inbox.deliver()

    async def settle(self) -> None:
        """Write everything into the session file and give it up, so that others may use it; bounded, never raises.

        When the file cannot be written, it is tried until the process ends; what was handled last is then delivered
        once more after a restart.
        """
        if self.memory.session is None:
            return
        self.memory.session.keep_states(self.inbox)
        try:
            await self.memory.session.give_up()
        except StorageError as exc:
            TELETHON_LOGGER.warning("%s: the session could not be saved: %s", self.label, exc)

    def listen(self, hear: Callable[[Event], None]) -> None:
        """Call ``hear``, on this event loop, with what keeps the session file from being written, and when it is."""
        self.notices.listen(hear)

    @property
    def route(self) -> str:
        """Which accounts share a way to the datacenter: what reaches it for one reaches it for all of them."""
        where = f"{self.datacenter.host}:{self.datacenter.port}" if self.datacenter else "Telegram"
        return f"{where} through {self.failover.choose() or 'no proxy'}"

    async def probe_datacenter(self, *, timeout: float) -> DatacenterState:
        """Look whether the datacenter answers at all, without the account, within ``timeout`` seconds."""
        address = self.address or await anyio.to_thread.run_sync(stored_address, self.session)
        return "dark" if address is None else await probe_datacenter(address, self.failover.choose(), timeout=timeout)

    async def credentials(self) -> str:
        """Return a fingerprint of the session's key and of whom it is shown to, as what; empty if there is no key.

        A mended ``api_id`` or datacenter makes other credentials of the same key; another port does not.
        """
        key = self.memory.fingerprint() or known_fingerprint(self.session)
        key = key or await anyio.to_thread.run_sync(fingerprint, self.session)
        dc = (self.datacenter.id, self.datacenter.host, self.datacenter.public_key) if self.datacenter else None
        shown = f"{key} {self.api_id} {self.api_hash} {dc}"
        return hashlib.sha256(shown.encode()).hexdigest()[:16] if key else ""

    def session_stamp(self) -> StatStamp:
        """Return what changes whenever the session file is written to or replaced. Blocks for a moment."""
        return stat_stamp(self.session)

    def link(self, number: int, holds: tuple[Hold, ...] = ()) -> TelegramLink:
        """Return a link that is not open yet, and that sends no request of a kind that is held."""
        return TelegramLink(number, self, holds, self.failover.choose())

    def client(
        self,
        session: Any,
        *,
        timeout: float,
        proxy: Proxy | None,
        kind: type[TelegramClient] = LinkClient,
        retries: int = 0,
    ) -> Any:
        """Return a client that does nothing by itself: no reconnect, no retry, no sleep at a flood wait.

        ``proxy`` has no default, so that nobody goes around the proxies by an oversight.
        """
        return kind(
            session,
            self.api_id,
            self.api_hash,
            connection=connection_class(proxy),
            proxy=proxy,
            timeout=timeout,
            auto_reconnect=False,
            connection_retries=retries,
            retry_delay=0,  # it would sleep a second after a failed connect; who waits here is the engine
            request_retries=0,
            raise_last_call_error=True,
            flood_sleep_threshold=0,
            catch_up=True,
            base_logger=self.logger,
        )
