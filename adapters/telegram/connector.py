"""The connector of one account: what its links have in common, and what outlives each of them."""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from attrs import define, field, frozen
from telethon import TelegramClient
from telethon.crypto import rsa

from adapters.session.file import StatStamp
from adapters.session.store import SessionPlace
from adapters.sqlite.errors import StorageError
from adapters.telegram.client import REQUEST_TIMEOUT, LinkClient
from adapters.telegram.datacenter_probe import DatacenterState, probe_datacenter
from adapters.telegram.engine_session import SessionMemory
from adapters.telegram.failover import ProxyFailover
from adapters.telegram.file_place import FilePlace
from adapters.telegram.inbox import Handler, Inbox, Start
from adapters.telegram.link import TelegramLink
from adapters.telegram.memory_use import memory_use
from adapters.telegram.proxy import Proxy, connection_class
from adapters.telegram.request_times import RequestWatch
from adapters.telegram.session_events import SessionEvents
from adapters.telegram.telethon_log import TELETHON_LOGGER, OneLogger
from adapters.telegram.unreadable import UnreadableCount
from adapters.telegram.update_proof import ProofMemory
from adapters.telegram.usernames import AccountUsernames
from states.events import Event
from states.snapshot import Hold

PING_DELAY = 75
"""Seconds without a ping after which the datacenter may close a link, unless the engine pings more slowly."""

DISCARD_TIMEOUT = 1.0
"""Seconds that a session may take to be let go of that is another owner's: its store may not answer."""
LEDGER_TIMEOUT = 2.0
"""Seconds that the last rows of the ledger may take: whoever ends the account waits a little longer, for its session.

What is handled and not in the ledger comes once more.
"""


@frozen
class Datacenter:
    """A datacenter that is not Telegram's own."""

    id: int
    host: str
    port: int
    public_key: str = field(repr=False)
    """PKCS#1 PEM of the RSA key by which the datacenter proves itself."""

    def trust(self) -> None:
        """Let Telethon accept this key, too. Telethon has one list of keys for the whole process."""
        rsa.add_key(self.public_key, old=False)


@define(eq=False)
class TelegramConnector:
    """What the links of one account have in common, and what outlives each of them.

    Only ``disconnect_delay`` may change, which every ping names anew, and ``wait_up_to``, which every request asks for.
    """

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
    wait_up_to: float = 0.0
    """Seconds that a request through a link's client waits in place for a flood wait or a hold; 0 is not at all."""
    leased: bool = False
    """Whether another node may have the account next: then no byte of a link outlives it."""
    backups: Path = field()
    """The directory of the copy that is made before a session is upgraded."""
    name: str = field()
    """The account's name, and that of its backups."""
    place: SessionPlace = field()
    """Where the session is: in the file ``session``, or in a database."""
    requests: RequestWatch = field(factory=RequestWatch, init=False, repr=False)
    """Whoever measures the requests of the account's clients."""
    usernames: AccountUsernames | None = field(default=None, init=False, repr=False)
    """What the engine's accounts know of usernames; None where no engine runs."""
    inbox: Inbox = field(init=False, repr=False)
    memory: SessionMemory = field(factory=SessionMemory, init=False, repr=False)
    session_events: SessionEvents = field(factory=SessionEvents, init=False, repr=False)
    proofs: ProofMemory = field(factory=ProofMemory, init=False, repr=False)
    unreadable: UnreadableCount = field(init=False, repr=False)
    """What Telethon could not read of what the account was sent."""
    logger: OneLogger = field(init=False, repr=False)

    @unreadable.default
    def _make_unreadable(self) -> UnreadableCount:
        return UnreadableCount(self.name)

    @logger.default
    def _make_logger(self) -> OneLogger:
        return OneLogger(f"{TELETHON_LOGGER.name}.{self.label}")

    @backups.default
    def _default_backups(self) -> Path:
        return self.session.parent / "backups"

    @name.default
    def _default_name(self) -> str:
        return self.session.stem

    @place.default
    def _in_file(self) -> SessionPlace:
        return FilePlace(self.session, self.backups, self.name)

    @inbox.default
    def _make_inbox(self) -> Inbox:
        inbox = Inbox(self.name)
        inbox.note_handled = self._write_states
        return inbox

    def _write_states(self) -> None:
        """Have the file say how far updates were handled: a process that dies in an outage repeats none of them.

        A session that was closed, and cannot be opened now, keeps the numbers in memory for the next link. If another
        node has the account, that one asks for these updates again.
        """
        if self.memory.session is not None:
            with suppress(StorageError):
                self.memory.session.write_states(self.inbox)

    @property
    def label(self) -> str:
        """The name in log lines."""
        return self.session.stem

    @property
    def address(self) -> tuple[int, str, int] | None:
        """The address to connect to, if not the one in the session."""
        dc = self.datacenter
        return (dc.id, dc.host, dc.port) if dc else None

    def on(self, handler: Handler, event: Any) -> None:
        """Call ``handler`` with each event of this kind (of ``telethon.events``), whichever client receives it.

        Every update reaches the handler once; if the end of the process interrupts the handler, it gets the update
        again.
        """
        self.inbox.on(handler, event)

    def use_handlers(self, handlers: Iterable[tuple[Handler, Any]]) -> None:
        """Call these handlers, and no others, for updates from now on, also with the client that is connected."""
        self.inbox.use_handlers(handlers)

    def deliver(self, start: Start | None) -> None:
        """Run the handlers on arriving updates, in tasks that ``start`` starts; with None, on none from now on."""
        self.inbox.deliver(start)

    async def settle(self) -> None:
        """Write everything into the session file and release it, so that other programs may use it.

        Bounded, and never raises. A file that cannot be written is tried until the process ends; if that fails, the
        updates that were handled last are delivered once more after a restart.
        """
        if self.memory.session is None:
            return
        await self._store_ledger()
        self._write_states()
        try:
            await self.memory.session.release()
        except StorageError as exc:
            TELETHON_LOGGER.warning("%s: the session could not be saved: %s", self.label, exc)

    async def discard(self) -> None:
        """Let go of a session that is another owner's by now, whose store takes nothing from here. Never raises."""
        if self.memory.session is None:
            return
        with anyio.move_on_after(DISCARD_TIMEOUT), suppress(StorageError):
            await self.memory.session.release()

    async def _store_ledger(self) -> None:
        """Have the ledger say what was handled: what it does not say is delivered once more after a restart."""
        if self.inbox.ledger is None:
            return
        with anyio.move_on_after(LEDGER_TIMEOUT) as limit:
            try:
                await self.inbox.ledger.flush()
            except StorageError as exc:
                TELETHON_LOGGER.warning("%s: the ledger could not be stored: %s", self.label, exc)
        if limit.cancelled_caught:
            TELETHON_LOGGER.warning("%s: the ledger could not be stored within %g s", self.label, LEDGER_TIMEOUT)

    def memory_use(self) -> dict[str, Any]:
        """Return what the account has in memory, see ``memory_use``."""
        return memory_use(self.memory.session, self.inbox, self.inbox.client)

    def listen(self, observer: Callable[[Event], None]) -> None:
        """Call ``observer``, on this loop, when the session file cannot be written, and when it can again."""
        self.session_events.listen(observer)

    @property
    def route(self) -> tuple[object, Proxy | None]:
        """The address of the datacenter and the proxy: if one account gets through, all with an equal route can.

        The address in a session file is known from the first attempt on; until then it is "Telegram" for all.
        """
        session, address = self.memory.session, self.address
        if address is None and session is not None and session.server_address:
            address = (session.dc_id, session.server_address, session.port or 0)
        return address[1:] if address else "Telegram", self.failover.choose()

    async def probe_datacenter(self, *, timeout: float) -> DatacenterState:
        """Return whether the datacenter answers, asked without the account and within ``timeout`` seconds."""
        address = self.address or await anyio.to_thread.run_sync(self.place.read_address)
        return "dark" if address is None else await probe_datacenter(address, self.failover.choose(), timeout=timeout)

    async def credentials(self) -> str:
        """Return a fingerprint of the session's key, the application and the datacenter; empty without a key.

        A corrected ``api_id`` or datacenter makes other credentials of the same key; another port does not.
        """
        key = await self.login()
        dc = (self.datacenter.id, self.datacenter.host, self.datacenter.public_key) if self.datacenter else None
        shown = f"{key} {self.api_id} {self.api_hash} {dc}"
        return hashlib.sha256(shown.encode()).hexdigest()[:16] if key else ""

    async def login(self) -> str:
        """Return a fingerprint of the session's key, whatever datacenter and application it is used with."""
        key = self.memory.fingerprint() or self.place.known_login()
        return key or (await anyio.to_thread.run_sync(self.place.read_login))[0]

    def session_stamp(self) -> StatStamp:
        """Return what changes whenever the session file is written to or replaced. Blocks for a moment."""
        return self.place.stamp()

    def get_wait_up_to(self) -> float:
        """Return ``wait_up_to`` as it is now."""
        return self.wait_up_to

    def link(self, number: int, holds: tuple[Hold, ...] = ()) -> TelegramLink:
        """Return a link that is not open yet and does not send requests of the held kinds."""
        return TelegramLink(number, self, holds, self.failover.choose())

    def make_client(
        self,
        session: Any,
        *,
        timeout: float,
        proxy: Proxy | None,
        kind: type[TelegramClient] = LinkClient,
        retries: int = 0,
    ) -> Any:
        """Return a client that does nothing by itself: no reconnect, no retry, no sleep at a flood wait.

        ``proxy`` has no default, so that no caller bypasses the proxies by mistake.
        """
        common: dict[str, Any] = {
            "connection": connection_class(proxy, leased=self.leased),
            "proxy": proxy,
            "timeout": timeout,
        }
        if kind is LinkClient:  # it has the rest by itself
            return LinkClient(session, self.api_id, self.api_hash, logger=self.logger, **common)
        client = kind(
            session,
            self.api_id,
            self.api_hash,
            **common,
            use_ipv6=":" in (session.server_address or ""),  # otherwise Telethon gives the session another datacenter
            auto_reconnect=False,
            connection_retries=retries,
            retry_delay=0,  # Telethon would sleep a second after a failed connect; the engine does the waiting here
            request_retries=0,
            raise_last_call_error=True,
            flood_sleep_threshold=0,
            catch_up=True,
            base_logger=self.logger,
        )
        client._log = self.logger  # Telethon makes a class for each client, and a table of loggers
        return client
