"""Connections of one client to other datacenters, where files and some statistics are.

Telethon opens them without any deadline and lets them reconnect by themselves. Here each has a deadline, never
reconnects, and its requests pass the same gate as all others. What happens to one is told to its caller as
``DatacenterLost``: it says nothing of the account's own link, nor of its login.
"""

import asyncio
import copy
from collections.abc import Awaitable
from typing import Any, TypeVar

import anyio
from telethon import errors
from telethon.client.telegrambaseclient import _ExportState
from telethon.tl.alltlobjects import LAYER
from telethon.tl.functions import InvokeWithLayerRequest
from telethon.tl.functions.auth import ExportAuthorizationRequest, ImportAuthorizationRequest
from telethon.tl.functions.help import GetConfigRequest

from adapters.telegram.cancellation import translate_cancellation
from adapters.telegram.classify import DatacenterLost, RequestDropped, describe
from adapters.telegram.sender import LinkSender

T = TypeVar("T")

CLOSE_TIMEOUT = 2.0
"""Seconds that closing a connection that did not come about may take."""
LOSSES = (OSError, EOFError, BufferError, errors.SecurityError, errors.AuthKeyNotFound)
"""What ends a connection to another datacenter; a refused login there ends its use."""


class ExportedSenders:
    """The part of ``LinkClient`` for connections to other datacenters. Telethon calls all of these methods."""

    request_timeout: float
    _sender: Any
    _borrowed_senders: dict[int, tuple[Any, LinkSender]]
    _borrow_sender_lock: asyncio.Lock

    async def _borrow_exported_sender(self, dc_id: int) -> LinkSender:
        """Return a sender to a datacenter. Raises ``DatacenterLost`` if it is not connected in time."""
        try:
            async with asyncio.timeout(self.request_timeout) as deadline:
                return await self._borrow(dc_id)
        except TimeoutError as exc:
            if not deadline.expired():
                raise
            raise DatacenterLost(
                f"datacenter {dc_id} was not connected within {self.request_timeout:g} s; see that it can be reached"
            ) from exc

    async def _borrow(self, dc_id: int) -> LinkSender:
        async with self._borrow_sender_lock:
            if dc_id in self._borrowed_senders and self._borrowed_senders[dc_id][1].refused:
                _, old = self._borrowed_senders.pop(dc_id)
                await self._close(old)
            if dc_id not in self._borrowed_senders:
                self._borrowed_senders[dc_id] = (_ExportState(), await self._create_exported_sender(dc_id))
            state, sender = self._borrowed_senders[dc_id]
            if not sender.is_connected():  # closed while nobody used it, or lost
                await self._connect_exported(sender, dc_id)
            state.add_borrow()
            return sender

    async def _create_exported_sender(self, dc_id: int) -> LinkSender:
        """Return a new sender to a datacenter, with a key of its own that is logged in there."""
        client: Any = self
        sender = LinkSender(client)
        sender.dc_id = dc_id
        try:
            await self._connect_exported(sender, dc_id)
            login = await client(ExportAuthorizationRequest(dc_id), flood_sleep_threshold=0)  # it has its deadline
            init = copy.copy(client._init_request)
            init.query = ImportAuthorizationRequest(id=login.id, bytes=login.bytes)
            await self._blame(sender, sender.direct.send(InvokeWithLayerRequest(LAYER, init)))
        except BaseException:
            await self._close(sender)
            raise
        sender.gated = True
        return sender

    async def _connect_exported(self, sender: LinkSender, dc_id: int) -> None:
        client: Any = self
        dc = await self._get_dc(dc_id)
        connection = client._connection(
            dc.ip_address, dc.port, dc.id, loggers=client._log, proxy=client._proxy, local_addr=client._local_addr
        )
        await self._blame(sender, sender.connect(connection))
        sender._disconnected.add_done_callback(_look_at)

    async def _close(self, sender: LinkSender) -> None:
        with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
            await sender.disconnect()

    async def _blame(self, sender: LinkSender, awaitable: Awaitable[T]) -> T:
        """Await something of a connection to a datacenter; what ends it is ``DatacenterLost``."""
        try:
            return await translate_cancellation(awaitable)
        except LOSSES as exc:
            raise self._lost(sender, exc) from exc

    def _lost(self, sender: LinkSender, exc: BaseException) -> ConnectionError:
        """Return the error of a request whose connection to another datacenter was lost by ``exc``.

        The account's own link may be the one that went down, and took this connection with it.
        """
        if not self._sender.is_connected():
            return RequestDropped()
        sender.refused |= isinstance(exc, errors.UnauthorizedError | errors.AuthKeyNotFound)
        dropped = isinstance(exc, RequestDropped)
        why = "it was closed with the request in flight" if dropped else describe(exc.__cause__ or exc)
        return DatacenterLost(f"the connection to datacenter {sender.dc_id} was lost: {why}; try again")

    async def _return_exported_sender(self, sender: LinkSender) -> None:
        """Take a sender back; one that was replaced meanwhile is closed already."""
        async with self._borrow_sender_lock:
            known = self._borrowed_senders.get(sender.dc_id)
            if known is not None and known[1] is sender:
                known[0].add_return()

    async def _get_dc(self, dc_id: int, cdn: bool = False) -> Any:
        """Return how to reach a datacenter. Telethon remembers one list for all accounts of the process."""
        client: Any = self
        options = (await client(GetConfigRequest(), flood_sleep_threshold=0)).dc_options
        found = [option for option in options if option.id == dc_id and bool(option.cdn) == cdn]
        found.sort(key=lambda option: bool(option.ipv6) != client._use_ipv6)
        if not found:
            raise DatacenterLost(f"datacenter {dc_id} is not in the datacenter's own list; nothing can be asked there")
        return found[0]

    async def _get_cdn_client(self, cdn_redirect: Any) -> Any:
        """Refuse: Telethon would send the request to the wrong datacenter, by a client that nobody watches."""
        raise DatacenterLost(
            f"the file is kept by a datacenter for public files ({cdn_redirect.dc_id}), from which Telethon cannot "
            "download; fetch it with an official app"
        )


def _look_at(ended: "asyncio.Future[None]") -> None:
    """Look at why a connection ended: nobody awaits that, and asyncio would log it, with a traceback."""
    if not ended.cancelled():
        ended.exception()
