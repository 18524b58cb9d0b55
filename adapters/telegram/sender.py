"""The senders of a lent client: the doors through which every request of it goes out.

Telethon sends requests in four ways: ``client(request)``, ``client._call(sender, request)`` (downloads, and requests to
other datacenters), ``sender.send(request)`` (statistics of channels), and pings of its own. All but the pings come
through ``LinkSender.send``. Once a link is proven, that hands them to the client's gate, where holds, deadlines and the
classification of failures are; the gate lets them out through ``direct``.
"""

from collections.abc import Callable
from typing import Any

from telethon.network import MTProtoSender
from telethon.tl.functions import PingRequest

from adapters.telegram.lent import LentClientError
from adapters.telegram.protocol_watch import ProtocolWatch, bound_error_texts

Gate = Callable[..., Any]
"""``LinkClient._call``: takes a sender and a request, and returns what to await."""


class Outlet:
    """What is behind the gate: sends at once. Telethon's client uses it as a sender."""

    __slots__ = ("send",)

    def __init__(self, send: Callable[..., Any]) -> None:
        self.send = send


class LinkSender(MTProtoSender):  # type: ignore[misc]  # Telethon ships no types
    """A sender that never reconnects by itself, whose requests pass the gate, and that only its client closes."""

    dc_id = 0
    """The datacenter, as Telethon notes it on a sender to another one than the account's own."""
    refused = False
    """Whether that datacenter does not accept its login any more."""
    gate: Gate | None = None
    """Where requests go, once the client is connected; None sends them at once."""
    lent = False
    """Whether closing it is the engine's business alone."""
    missed_pong = False
    """Whether Telethon has given the connection up because a pong is missing."""

    def __init__(self, client: Any, auth_key: Any = None, *, main: bool = False) -> None:
        super().__init__(
            auth_key,
            loggers=client._log,
            retries=client._connection_retries,
            delay=client._retry_delay,
            auto_reconnect=False,
            connect_timeout=client._timeout,
            auth_key_callback=client._auth_key_callback if main else None,
            updates_queue=client._updates_queue if main else None,
        )
        self.direct = Outlet(super().send)
        ProtocolWatch(self._state)
        bound_error_texts(self)

    @property
    def _auto_reconnect(self) -> bool:
        """Always off, whatever is set: two parties that reconnect make thousands of connections."""
        return False

    @_auto_reconnect.setter
    def _auto_reconnect(self, value: bool) -> None:
        pass

    def send(self, request: Any, ordered: bool = False) -> Any:
        """Return what to await for the answer to a request, or a list of that for several."""
        if self.gate is None or isinstance(request, PingRequest):
            return self.direct.send(request, ordered=ordered)
        return self.gate(self, request, ordered=ordered)

    def _keepalive_ping(self, rnd_id: int) -> None:
        self.missed_pong = self._ping is not None
        super()._keepalive_ping(rnd_id)

    async def disconnect(self) -> None:
        """Close the connection. Raises ``LentClientError`` while it is lent."""
        if self.lent:
            raise LentClientError("the sender of a lent client is not closed by hand; end the job or handler instead")
        await super().disconnect()
