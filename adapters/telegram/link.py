"""One link: one fresh Telethon client, from its connect to its last closed socket.

Why everything here is ours and not Telethon's: measured on 1.45, its own reconnection makes ten thousand connections
in seconds at a dead backend, hangs for ever at a silent one, and never notices a revoked login. So each link has a
fresh client that may not reconnect; one deadline around the whole attempt; health that is proven by an RPC; a probe of
our own; and a close that is bounded.
"""

import asyncio
import itertools
import logging
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from attrs import define, field, frozen
from telethon import TelegramClient
from telethon.crypto import rsa
from telethon.network import ConnectionTcpFull
from telethon.tl.functions import PingDelayDisconnectRequest
from telethon.tl.functions.updates import GetStateRequest

from adapters.telegram.classify import Dropped, MissedPong, classify
from adapters.telegram.session import fingerprint, open_session
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

T = TypeVar("T")
TELETHON_LOGGER = logging.getLogger("holdfast.telethon")
ABORT_PATIENCE = 2.0
"""Seconds that a close may take after its socket was aborted."""


@frozen
class Datacenter:
    """A data centre that is not Telegram's own."""

    id: int
    host: str
    port: int
    public_key: str = field(repr=False)
    """PKCS#1 PEM of the RSA key that proves it."""

    def trust(self) -> None:
        """Let Telethon accept this key, too. Its list is of the whole process."""
        rsa.add_key(self.public_key, old=False)


class _TcpFull(ConnectionTcpFull):  # type: ignore[misc]  # Telethon ships no types
    """Telethon's transport, which remembers why it could not connect: the client drops that error."""

    connect_error: BaseException | None = None

    async def connect(self, timeout: float | None = None, ssl: Any = None) -> None:  # noqa: ASYNC109  # its own
        try:
            await super().connect(timeout=timeout, ssl=ssl)
        except Exception as exc:
            self.connect_error = exc
            raise


async def _asked(awaitable: Awaitable[T]) -> T:
    """Await something of Telethon's; a cancellation that nobody asked for becomes ``Dropped``.

    When a client goes down, it cancels what waits for an answer, and that would look like our own cancellation.
    """
    task = asyncio.current_task()
    try:
        return await awaitable
    except asyncio.CancelledError as exc:
        if task is not None and task.cancelling():
            raise
        raise Dropped from exc


@define
class TelegramLink:
    """A link of one account. ``open`` once, then ``probe`` at will while ``ended`` waits; ``close`` always.

    What it found is returned as events; only cancellation is raised.
    """

    number: int
    connector: "Connector"
    _client: Any = field(default=None, init=False)
    _pings: Any = field(factory=lambda: itertools.count(int.from_bytes(os.urandom(6))), init=False)

    @property
    def client(self) -> Any:
        """The Telethon client; None before ``open``."""
        return self._client

    async def open(self, *, patience: float) -> list[Event]:
        """Connect and prove it within ``patience`` seconds: session, TCP, key, initConnection and one RPC.

        The last event is the outcome, ``Connected`` or a failure; notices may come before it.
        """
        notices: list[Event] = []
        try:
            with anyio.fail_after(patience):
                session = await open_session(self.connector.session, self.connector.address)
                self._client = self.connector.client(session, timeout=patience + 1)
                await _asked(self._client.connect())
                notices = await self._prove()
        except Exception as exc:
            sender = getattr(self._client, "_sender", None)
            if isinstance(exc, ConnectionError) and exc.__cause__ is None:
                exc.__cause__ = getattr(getattr(sender, "_connection", None), "connect_error", None)
            failure = classify(exc, link=self.number, what="connect")
            if isinstance(exc, TimeoutError) and failure.detail == "TimeoutError":
                failure = classify(TimeoutError(f"no proof within {patience:g} s"), link=self.number, what="connect")
            return [failure]
        return [*notices, Connected(link=self.number)]

    async def probe(self, *, proof: bool, patience: float) -> list[Event]:
        """Ask for a sign of life within ``patience`` seconds: a ping, or an authorised RPC if ``proof``.

        The last event is the outcome, ``ProbeAnswered`` or a failure; notices may come before it.
        """
        notices: list[Event] = []
        try:
            with anyio.fail_after(patience):
                if proof:
                    notices = await self._prove()
                else:
                    await self._ping()
        except TimeoutError:
            silence = TimeoutError(f"no answer within {patience:g} s")
            return [classify(silence, link=self.number, what="probe")]
        except Exception as exc:
            return [classify(exc, link=self.number, what="probe")]
        # Telethon keeps a write transaction open for up to a minute; end it, so that others may write.
        self._client.session.save()
        return [*notices, ProbeAnswered(link=self.number, proof=proof)]

    async def ended(self) -> list[Failure]:
        """Wait until the link ends by itself, and say why."""
        try:
            await _asked(self._client.disconnected)
        except Exception as exc:
            return [classify(exc, link=self.number, what="probe")]
        # The update loop swallows its error and disconnects as if it had been told to.
        failure = classify(self._client._updates_error or MissedPong(), link=self.number, what="probe")
        if isinstance(failure, DatabaseLocked | DatabaseUnavailable | DatabaseCorrupt):
            # A trouble of the file is not one of the link, but Telethon dropped the link for it.
            detail = f"Telethon dropped the link: {failure.detail}"
            return [failure, NetworkLost(link=self.number, detail=detail, chain=failure.chain)]
        return [failure]

    async def close(self, *, patience: float) -> None:
        """Close socket, tasks and session; drop the socket when that takes longer than ``patience`` seconds."""
        client = self._client
        if client is None:
            return
        with anyio.CancelScope(shield=True):
            for limit in (patience, ABORT_PATIENCE):
                with anyio.move_on_after(limit):
                    await client.disconnect()
                    break
                self._abort()
            client.session.close()
        ended = client._sender._disconnected
        if ended.done() and not ended.cancelled():
            ended.exception()  # seen: of an attempt that failed nobody asks for it, and asyncio would complain

    async def _prove(self) -> list[Event]:
        """Have an authorised RPC answered; a flood or a limit is an answer, but is it a fresh one?"""
        try:
            await _asked(self._client(GetStateRequest()))
        except Exception as exc:
            notice = classify(exc, link=self.number)
            if not isinstance(notice, FloodWait | AccountLimited):
                raise
            await self._ping()  # after one flood wait Telethon refuses the next call by itself, without asking
            return [notice]
        return []

    async def _ping(self) -> None:
        request = PingDelayDisconnectRequest(next(self._pings), self.connector.disconnect_delay)
        await _asked(self._client(request))

    def _abort(self) -> None:
        writer = getattr(getattr(self._client._sender, "_connection", None), "_writer", None)
        if writer is not None:
            writer.transport.abort()


@frozen
class Connector:
    """What the links of one account have in common."""

    session: Path
    api_id: int
    api_hash: str = field(repr=False)
    datacenter: Datacenter | None = None
    disconnect_delay: int = 75
    """Seconds after which the data centre may close a link that sends no ping."""

    @property
    def address(self) -> tuple[int, str, int] | None:
        """Where to connect, if not where the session says."""
        dc = self.datacenter
        return (dc.id, dc.host, dc.port) if dc else None

    async def credentials(self) -> str:
        """Return a fingerprint of the session's key; empty if there is none."""
        return await anyio.to_thread.run_sync(fingerprint, self.session)

    def link(self, number: int) -> TelegramLink:
        """Return a link that is not open yet."""
        return TelegramLink(number, self)

    def client(self, session: Any, *, timeout: float, connection_retries: int = 0) -> Any:
        """Return a client that does nothing by itself: no reconnect, no retry, no sleep at a flood wait."""
        return TelegramClient(
            session,
            self.api_id,
            self.api_hash,
            connection=_TcpFull,
            timeout=timeout,
            auto_reconnect=False,
            connection_retries=connection_retries,
            request_retries=0,
            raise_last_call_error=True,
            flood_sleep_threshold=0,
            catch_up=True,
            base_logger=TELETHON_LOGGER.getChild(self.session.stem),
        )
