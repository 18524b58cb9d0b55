"""Links of a client that somebody else made and goes on using: it is watched, and reconnected in place.

A fresh client for each attempt would be cleaner, but the script holds this one, with its handlers. So the same object
is disconnected and connected again, which is safe in that order (and only in that order). While it is watched,
Telethon's own reconnection is switched off: two who reconnect one client are what makes ten thousand connections.
"""

from collections.abc import Callable

import anyio
from attrs import define, field
from telethon import TelegramClient

from adapters.session.file import StatStamp
from adapters.telegram.client import asked
from adapters.telegram.datacenter_probe import DatacenterState
from adapters.telegram.engine_session import key_fingerprint
from adapters.telegram.inbox import Inbox
from adapters.telegram.link import PING_DELAY, TelegramLink
from adapters.telegram.notices import Notices
from states.events import Connected, Event
from states.snapshot import Hold


@define(eq=False)
class OwnedConnector:
    """Makes the links of one client that its owner goes on using."""

    client: TelegramClient
    name: str
    disconnect_delay: int = PING_DELAY
    notices: Notices = field(factory=Notices, init=False)
    inbox: Inbox = field(factory=Inbox, init=False)
    """Always empty: what arrives goes to the owner's own handlers."""
    released: bool = field(default=False, init=False)
    """Whether the owner has taken the client back."""
    _own: tuple[bool, int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        sender = self.client._sender
        self._own = (sender._auto_reconnect, sender._retries)
        sender._auto_reconnect, sender._retries = False, 0

    @property
    def label(self) -> str:
        """What log lines call it."""
        return self.name

    def release(self) -> None:
        """Give the client back as it is, with the reconnection that it had."""
        self.released = True
        self.client._sender._auto_reconnect, self.client._sender._retries = self._own

    @property
    def route(self) -> str:
        """Its own: nothing is known of the way that the owner's client takes."""
        return self.name

    async def probe_datacenter(self, *, timeout: float) -> DatacenterState:
        """Return ``dark``: nobody but the client knows its way."""
        return "dark"

    async def credentials(self) -> str:
        """Return a fingerprint of the client's key; empty if there is none."""
        key = self.client.session.auth_key
        return key_fingerprint(key.key if key else None)

    def session_stamp(self) -> StatStamp:
        """Return an empty stamp: the session is the owner's, and is not watched."""
        return ()

    def link(self, number: int, holds: tuple[Hold, ...] = ()) -> "OwnedLink":
        """Return a link that is not open yet."""
        return OwnedLink(number, self, holds)

    async def deliver(self) -> None:
        """Do nothing for ever: the client calls its owner's handlers."""
        await anyio.sleep_forever()

    def listen(self, hear: Callable[[Event], None]) -> None:
        """Say nothing: the session is the owner's."""

    async def settle(self) -> None:
        """Do nothing: the session is the owner's."""


@define(eq=False)
class OwnedLink(TelegramLink):
    """One connection of a client that somebody else owns; see ``TelegramLink``.

    What the owner sends is the owner's business: a hold concerns only what the engine itself asks.
    """

    async def open(self, *, timeout: float) -> list[Event]:
        """Connect the client if it is not connected, and prove it, within ``timeout`` seconds."""
        self._client = self.connector.client
        try:
            with anyio.fail_after(timeout):
                again = not self._client.is_connected()
                if again:
                    await asked(self._client.connect())
                notices = await self._prove()
                if again:  # the same object asks for nothing by itself, so what was missed would stay missed
                    await self._client.catch_up()
        except Exception as exc:
            return [self._failed_attempt(exc, timeout)]
        return [*notices, Connected(link=self.number)]

    async def close(self, *, timeout: float) -> None:
        """Disconnect the client, unless its owner has taken it back."""
        if not self.connector.released:
            await super().close(timeout=timeout)
