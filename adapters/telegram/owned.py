"""Links of a client that a user's script owns and goes on using: the client is watched, and reconnected in place.

A fresh client for each attempt would be cleaner, but the script holds this one, with its handlers. So the same object
is disconnected and connected again, which is safe in that order (and only in that order). While the client is watched,
Telethon's own reconnection is switched off: two parties that reconnect one client make ten thousand connections.
"""

from collections.abc import Callable
from typing import Any

import anyio
from attrs import define, field
from telethon import TelegramClient

from adapters.session.contents import key_fingerprint
from adapters.session.file import StatStamp
from adapters.telegram.cancellation import translate_cancellation
from adapters.telegram.connector import PING_DELAY
from adapters.telegram.datacenter_probe import DatacenterState
from adapters.telegram.inbox import Inbox, Start
from adapters.telegram.link import TelegramLink
from adapters.telegram.session_events import SessionEvents
from states.events import Connected, Event
from states.snapshot import Hold


@define(eq=False)
class OwnedConnector:
    """Makes the links of one client that its owner goes on using."""

    client: TelegramClient
    name: str
    disconnect_delay: int = PING_DELAY
    session_events: SessionEvents = field(factory=SessionEvents, init=False)
    inbox: Inbox = field(factory=Inbox, init=False)
    """Always empty: updates go to the owner's own handlers."""
    released: bool = field(default=False, init=False)
    """Whether the owner has taken the client back."""
    _given: bool = field(default=True, init=False)
    """Whether no link was opened yet: the client is as its owner gave it."""
    _own: tuple[bool, int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        sender = self.client._sender
        self._own = (sender._auto_reconnect, sender._retries)
        sender._auto_reconnect, sender._retries = False, 0

    @property
    def label(self) -> str:
        """The name in log lines."""
        return self.name

    def take_given(self) -> bool:
        """Return whether this is the first link, which the owner may have given as a connection that stands."""
        given, self._given = self._given, False
        return given

    def release(self) -> None:
        """Give the client back as it is, with its own settings of reconnection."""
        self.released = True
        self.client._sender._auto_reconnect, self.client._sender._retries = self._own

    @property
    def route(self) -> str:
        """A route of its own, since the route of the owner's client is not known."""
        return self.name

    async def probe_datacenter(self, *, timeout: float) -> DatacenterState:
        """Return ``dark``: only the client knows its route."""
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

    def deliver(self, start: Start | None) -> None:
        """Do nothing: the client calls its owner's handlers."""

    def listen(self, observer: Callable[[Event], None]) -> None:
        """Do nothing: the session is the owner's."""

    def memory_use(self) -> dict[str, Any]:
        """Return nothing: what the client has in memory is its owner's."""
        return {}

    async def settle(self) -> None:
        """Do nothing: the session is the owner's."""


@define(eq=False)
class OwnedLink(TelegramLink):
    """One connection of a client that a user's script owns; see ``TelegramLink``.

    A hold concerns only the engine's own requests, not those of the owner.
    """

    async def open(self, *, timeout: float) -> list[Event]:
        """Connect the client if it is not connected, and prove it, within ``timeout`` seconds."""
        self._client = self.connector.client
        try:
            with anyio.fail_after(timeout):
                was_connected = self._client.is_connected()
                given = self.connector.take_given() and was_connected
                if not was_connected:
                    await translate_cancellation(self._client.connect())
                limits = await self._prove()
                if not was_connected:  # a client that connects again does not fetch missed updates by itself
                    await self._client.catch_up()
        except Exception as exc:
            return [self._classify_attempt(exc, timeout)]
        return [*limits, Connected(link=self.number, held=given)]

    async def close(self, *, timeout: float) -> None:
        """Disconnect the client, unless its owner has taken it back."""
        if not self.connector.released:
            await super().close(timeout=timeout)

    async def _end_client(self) -> None:
        await self._client.disconnect()
