"""Connections through proxies, and their failures as sentences that name the proxy.

Telethon's own code is not used as it is, for reasons measured on 1.45:

* Its ``_proxy_connect`` replaces the error classes of python_socks, for the whole process and only where they were not
  imported before. The proxy's answer then arrives as a bare text, or as an exception that ends the client.
* Its ``TcpMTProxy`` waits two seconds after each connect, to see whether the proxy closes; reading notices that, too.
* Its ``normalize_secret`` takes a plain secret that happens to begin with dd or ee for one of another kind.
"""

import asyncio
import struct
from contextlib import suppress
from typing import Any, ClassVar

from attrs import field, frozen
from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError, ProxyType
from python_socks.async_.asyncio import Proxy as Socks
from telethon.network.connection.tcpintermediate import IntermediatePacketCodec, RandomizedIntermediatePacketCodec
from telethon.network.connection.tcpmtproxy import TcpMTProxy

from adapters.telegram.classify import ClosedInside, LinkAborted, ProxyFailed, describe
from adapters.telegram.inbound import FrameSource, HostileFrame
from adapters.telegram.transport import FullConnection, LeasedConnection, deliver_rest, drop_with_process

MTPROXY = "mtproxy"
_TYPES = {"socks5": ProxyType.SOCKS5, "socks4": ProxyType.SOCKS4, "http": ProxyType.HTTP}
_PADDED_SECRET_BYTES = 17
_REFUSALS = ("refused the login", "wants a user", "refuses to connect")
"""How sentences begin that say what a proxy has decided, other than what it could not do."""
_SOCKS5_REASONS = {
    1: "general failure",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "expired on the way",
}


@frozen
class Proxy:
    """One proxy; ``scheme`` is ``socks5``, ``socks4``, ``http`` or ``mtproxy``.

    ``secret`` is MTProxy's: 16 bytes, or 17 that begin with 0xdd. ``str`` and ``repr`` reveal no secret.
    """

    scheme: str
    host: str
    port: int
    user: str | None = field(default=None, repr=False, kw_only=True)
    password: str | None = field(default=None, repr=False, kw_only=True)
    secret: bytes = field(default=b"", repr=False, kw_only=True)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def connection_class(proxy: Proxy | None, *, leased: bool = False) -> type[Any]:
    """Return the class of the connections that Telethon makes; its ``proxy`` argument is the ``Proxy`` itself.

    ``leased`` is for a node that holds a lease: what a connection has not delivered is dropped when it ends.
    """
    if proxy is None:
        return LeasedConnection if leased else FullConnection
    if proxy.scheme != MTPROXY:
        return LeasedThroughProxy if leased else ThroughProxy
    if len(proxy.secret) == _PADDED_SECRET_BYTES:
        return LeasedThroughPaddedMTProxy if leased else ThroughPaddedMTProxy
    return LeasedThroughMTProxy if leased else ThroughMTProxy


class ThroughProxy(FullConnection):
    """A connection through a SOCKS or an HTTP proxy."""

    __slots__ = ()

    async def _open(self, loop: asyncio.AbstractEventLoop, timeout: float | None) -> None:
        proxy: Proxy = self._proxy
        way = Socks(_TYPES[proxy.scheme], proxy.host, proxy.port, proxy.user, proxy.password)
        host, port = self._address
        try:
            socket = await way.connect(dest_host=host, dest_port=port, timeout=timeout)
        except Exception as exc:
            fault = _describe_fault(exc, proxy)
            # A proxy's answer may repeat the password, so only the system's part of the error is kept.
            cause = exc.__cause__ if isinstance(exc, ProxyConnectionError) else None
        else:
            await loop.create_connection(lambda: self, sock=socket)
            return
        failure = ProxyFailed(f"the proxy {proxy} {fault}")
        failure.refused = fault.startswith(_REFUSALS)
        raise failure from cause


class LeasedThroughProxy(ThroughProxy):
    """One that drops what it has not delivered to the proxy; what the proxy has is out of reach."""

    __slots__ = ()
    resets = True


class ThroughMTProxy(TcpMTProxy):  # type: ignore[misc]  # Telethon ships no types
    """A connection through an MTProxy with a plain secret.

    It is Telethon's, with its tasks; keeps the error of a failed connect, tells who has closed it, and bounds frames.
    """

    packet_codec = IntermediatePacketCodec
    connect_error: BaseException | None = None
    resets: ClassVar[bool] = False
    """Whether what the proxy has not confirmed is dropped when the connection, or the process, ends."""
    _answered = False
    _aborted = False

    def __init__(
        self, ip: str, port: int, dc_id: int, *, loggers: Any, proxy: Proxy, local_addr: object = None
    ) -> None:
        super(TcpMTProxy, self).__init__(proxy.host, proxy.port, dc_id, loggers=loggers)
        self._secret = proxy.secret
        self._name = str(proxy)

    @staticmethod
    def address_info(proxy_info: Proxy) -> tuple[str, int]:
        """Return the proxy's address, which the client reports to Telegram."""
        return proxy_info.host, proxy_info.port

    async def connect(self, timeout: float | None = None, ssl: Any = None) -> None:  # Telethon's parameters
        """Connect."""
        try:
            await super().connect(timeout=timeout, ssl=ssl)
        except Exception as exc:
            self.connect_error = exc
            raise

    async def _connect(self, timeout: float | None = None, ssl: Any = None) -> None:  # Telethon's parameters
        try:
            await super(TcpMTProxy, self)._connect(timeout=timeout, ssl=ssl)
        except OSError as exc:
            raise ProxyFailed(f"the proxy {self._name} cannot be reached ({describe(exc)})") from exc
        if self.resets:
            drop_with_process(self._writer.transport)
        if self._aborted:
            self._writer.transport.abort()
            raise LinkAborted

    def abort(self) -> None:
        """End the connection at once; one that is being made ends before a request is sent."""
        self._aborted = True
        if self._writer is not None:
            self._writer.transport.abort()

    async def disconnect(self) -> None:
        """Disconnect. Whoever goes on reading learns of it, who would wait for ever otherwise."""
        if self._connected:
            with suppress(asyncio.QueueFull):
                self._recv_queue.put_nowait((None, self._why_closed()))
            if self.resets:
                try:
                    await deliver_rest(self._writer.transport)
                except asyncio.CancelledError:
                    self.abort()
                    raise
        await super().disconnect()

    async def _recv(self) -> Any:
        try:
            packet = await self._read()
        except Exception as exc:
            if self._answered:
                raise
            closed = isinstance(exc, OSError | EOFError) and not isinstance(exc, HostileFrame)
            fault = "closed the connection before the datacenter answered" if closed else "does not answer as one"
            self.connect_error = ProxyFailed(f"the proxy {self._name} {fault}; its secret may be wrong")
            raise self.connect_error from exc
        self._answered = True
        return packet

    async def _read(self) -> Any:
        try:
            return await self._codec.read_packet(FrameSource(self._obfuscation))
        except struct.error:
            raise HostileFrame("a frame is too short for what it must have") from None
        except asyncio.IncompleteReadError as exc:
            if not self._writer.transport.is_closing():
                raise  # the other side has ended
            await asyncio.sleep(0)  # a write that failed is told one step later
            raise self._why_closed() from exc

    def _why_closed(self) -> Exception:
        """Return the error with which the network has closed the connection, or that code has closed it."""
        return self._reader.exception() or (LinkAborted() if self._aborted else ClosedInside())


class ThroughPaddedMTProxy(ThroughMTProxy):
    """A connection through an MTProxy with a dd-secret, which needs padded packets."""

    packet_codec = RandomizedIntermediatePacketCodec


class LeasedThroughMTProxy(ThroughMTProxy):
    """One with a plain secret that drops what it has not delivered to the proxy."""

    resets = True


class LeasedThroughPaddedMTProxy(ThroughPaddedMTProxy):
    """One with a dd-secret that drops what it has not delivered to the proxy."""

    resets = True


def _describe_fault(exc: Exception, proxy: Proxy) -> str:
    """Return what the proxy did, as the end of a sentence that begins with its name."""
    match exc:
        case ProxyTimeoutError():
            return "did not answer in time"
        case ProxyConnectionError():
            return f"cannot be reached ({describe(exc.__cause__ or exc)})"
        case ProxyError(error_code=int(code)):
            return _describe_refusal(proxy.scheme, code)
        case ProxyError() if "authentication failure" in str(exc):
            return "refused the login; check its user and password"
        case ProxyError() if "No acceptable authentication" in str(exc):
            return "refused the login; check its user and password" if proxy.user else "wants a user and a password"
        case ProxyError() | OSError() | EOFError():
            return f"closed the connection, or is no {proxy.scheme} proxy"
        case _:
            return f"could not be used ({type(exc).__name__})"


def _describe_refusal(scheme: str, code: int) -> str:
    """Return what a proxy's own code means, as the end of a sentence that begins with its name."""
    match scheme, code:
        case ("http", 407) | ("socks4", 92 | 93):
            return "refused the login; check its user and password"
        case ("http", 500 | 502 | 503 | 504):
            return f"cannot reach the datacenter (HTTP {code})"
        case ("http", _):
            return f"refuses to connect to the datacenter (HTTP {code})"
        case ("socks5", 2):
            return "refuses to connect to the datacenter (its rules forbid it)"
        case _:
            return f"cannot reach the datacenter ({_SOCKS5_REASONS.get(code, f'code {code}')})"
