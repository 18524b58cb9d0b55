"""A connection to a datacenter as one object, which takes the place of Telethon's with its tasks, queues and streams.

It speaks Telegram's "full" transport (https://core.telegram.org/mtproto/mtproto-transports#full) and has the calls that
Telethon's senders use. What is read is cut into frames when somebody asks for one, so what waits is bounded by the
socket's buffer and a little; the length of a frame and the time that it may take are bounded as everywhere.
"""

import asyncio
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Final, cast
from zlib import crc32

from telethon.errors import InvalidBufferError, InvalidChecksumError

from adapters.sockets import deliver_after_close, reset_on_close, undelivered
from adapters.telegram import inbound
from adapters.telegram.classify import ClosedInside, LinkAborted
from adapters.telegram.inbound import FrameTimeout, HostileFrame
from adapters.telegram.lean import Idle

CLOSE_SECONDS: Final = 10.0
"""How long a close waits for what was written to leave, as Telethon does; then the socket is dropped."""
SEND_SECONDS: Final = 60.0
"""How long writing waits for a datacenter that takes nothing."""
DELIVERY_SECONDS: Final = 1.0
"""How long the close of a connection that resets waits for the datacenter to confirm what it was sent."""
DELIVERY_POLL: Final = 0.005
"""Seconds between two looks at what it has confirmed; the kernel does not say when it has."""
MAX_WAITING_BYTES: Final = 128 * 1024
"""Bytes of whole frames that wait to be asked for; while there are more, nothing is read."""
LOGGER_NAME: Final = "telethon.network.connection.connection"
_HEAD: Final = struct.Struct("<ii")
_CHECKSUM: Final = struct.Struct("<I")
_ERROR_BYTES: Final = 12
"""An error of the transport: length and number are negative, and so is the code after them."""


class SendTimeout(TimeoutError):
    """What was sent did not leave this machine."""


class FullConnection(asyncio.Protocol):
    """One TCP connection. One task reads at a time; what closes it is told to whoever reads or writes from then on."""

    __slots__ = (
        "_address", "_closed", "_connected", "_data", "_drained", "_failure", "_late", "_log", "_loop", "_paused",
        "_proxy", "_sent", "_told", "_waiter", "connect_error", "listener", "transport",
    )  # fmt: skip
    resets: ClassVar[bool] = False
    """Whether what the datacenter has not confirmed is dropped when the connection, or the process, ends."""

    def __init__(
        self, ip: str, port: int, dc_id: int, *, loggers: Any, proxy: Any = None, local_addr: object = None
    ) -> None:  # Telethon's parameters
        self._address = (ip, port)
        self._log = loggers[LOGGER_NAME]
        self._proxy = proxy
        self._loop: asyncio.AbstractEventLoop | None = None
        self.transport: asyncio.Transport | None = None
        self.connect_error: BaseException | None = None
        """With what ``connect`` has failed: Telethon's client drops it."""
        self._connected = False
        self._sent = 0
        self._data: bytes | bytearray = b""
        """What was read and not asked for."""
        self._waiter: asyncio.Future[None] | None = None
        """Of the one who reads."""
        self.listener: Callable[[], None] | None = None
        """Is called when there is something to read, or never will be again: then ``recv`` does not wait."""
        self._drained: asyncio.Future[None] | None = None
        """Set while the socket takes no more."""
        self._closed: asyncio.Future[None] | None = None
        """Of the one who closes."""
        self._late: asyncio.TimerHandle | None = None
        """The deadline of a frame that has begun."""
        self._failure: Exception | None = None
        """With what the connection has ended."""
        self._told = False
        self._paused = False

    def __str__(self) -> str:
        return f"{self._address[0]}:{self._address[1]}/TcpFull"

    # --- what Telethon calls ---

    async def connect(self, timeout: float | None = None, ssl: Any = None) -> None:  # Telethon's parameters
        """Connect within ``timeout`` seconds. Raises ``OSError``."""
        self._loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                await self._open(self._loop, timeout)
            if self._failure is not None:
                raise self._unsendable()
        except BaseException as exc:
            if isinstance(exc, Exception):
                self.connect_error = exc
            if self.transport is not None:
                self.transport.abort()
            raise
        self._connected = True

    async def _open(self, loop: asyncio.AbstractEventLoop, timeout: float | None) -> None:
        """Make the connection, of which this is the protocol."""
        await loop.create_connection(lambda: self, *self._address)

    async def disconnect(self) -> None:
        """Close the connection, and drop what has not left after ``CLOSE_SECONDS``. Never raises for the network."""
        transport = self.transport
        if not self._connected or transport is None or self._loop is None:
            return
        self._connected = False
        closing = transport.is_closing()  # then it is known in a moment why
        try:
            if self.resets:
                await deliver_rest(transport)
        finally:
            transport.close()
        if not closing:
            self._end(ClosedInside())
        self._told = True
        self._closed = self._loop.create_future()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._closed
        except TimeoutError:
            self._log.warning("Graceful disconnection timed out, forcibly ignoring cleanup")
        finally:
            self._closed = None
            if self.transport is not None:
                self.transport.abort()
            if self._failure is not None:
                self._failure.__traceback__ = None  # of who read, and has this connection

    def abort(self) -> None:
        """End the connection at once; one that is being made ends before anything is sent."""
        self._connected = False
        self._end(LinkAborted())
        if self.transport is not None:
            self.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send a packet, waiting for room. Raises ``SendTimeout``, or with what the connection has ended."""
        if not self._connected or self.transport is None or self._failure is not None:
            raise self._unsendable()
        head = _HEAD.pack(len(data) + 12, self._sent)
        self._sent += 1
        self.transport.write(b"".join((head, data, _CHECKSUM.pack(crc32(data, crc32(head))))))
        if self._drained is not None:
            await asyncio.wait((self._drained,), timeout=SEND_SECONDS)
            if self._failure is not None:
                raise self._unsendable()
            if self._drained is not None and not self._drained.done():
                raise SendTimeout(f"the datacenter took nothing within {SEND_SECONDS:g} s")

    def _unsendable(self) -> OSError:
        """Return why nothing is sent. It is an ``OSError``, as Telethon's send loop expects."""
        if isinstance(self._failure, OSError):
            return self._failure
        error = ConnectionError("Not connected")
        error.__cause__ = self._failure
        return error

    async def recv(self) -> bytes:
        """Return the next packet.

        While there is a ``listener``, it raises ``Idle`` when there is none. Raises ``InvalidBufferError`` for an error
        of the transport, ``InvalidChecksumError``, ``HostileFrame``, ``FrameTimeout``, and with what the connection has
        ended.
        """
        while True:
            try:
                if (packet := self._cut()) is not None:
                    return packet
            except InvalidChecksumError as exc:
                self._log.warning("Server response had invalid checksum: %s", exc)
                raise
            except InvalidBufferError as exc:
                self._log.warning("Server response had invalid buffer: %s", exc)
                raise
            except HostileFrame as exc:
                self._break(exc)
            if self._failure is not None:
                raise self._tell(self._failure)
            if not self._connected:
                raise ConnectionError("Not connected")
            if self.listener is not None:
                self._expect_more()
                raise Idle
            await self._wait()

    async def _wait(self) -> None:
        """Wait until more was read, or the connection has ended."""
        assert self._loop is not None
        if self._waiter is not None:
            raise RuntimeError("two tasks read from one connection")
        self._expect_more()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _expect_more(self) -> None:
        """Go on reading; the rest of a frame that has begun may take so long."""
        assert self._loop is not None
        if self._data and self._late is None:
            self._late = self._loop.call_later(inbound.FRAME_SECONDS, self._frame_is_late)
        if self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def _wake(self) -> bool:
        """Tell who reads; return whether somebody waited."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
            return True
        if self.listener is not None:
            self.listener()
        return False

    # --- frames ---

    def _cut(self) -> bytes | None:
        """Take one frame out of what was read and return its packet; None if it is not complete."""
        data = self._data
        at_end = isinstance(self._failure, asyncio.IncompleteReadError)
        if len(data) < _HEAD.size:
            if not (data and at_end):
                return None
            self._data = b""
            return bytes(data)  # an error of the transport may be less than a frame
        length, number = _HEAD.unpack_from(data)
        if length < 0 and number < 0:
            if len(data) >= _ERROR_BYTES:
                raise InvalidBufferError(bytes(data[_HEAD.size : _ERROR_BYTES]))
            length = _ERROR_BYTES
        elif length < _HEAD.size:
            raise InvalidBufferError(bytes(data[: _HEAD.size]))
        elif length < _ERROR_BYTES:
            raise HostileFrame("a frame is too short for what it must have")
        elif length - _HEAD.size > inbound.MAX_FRAME_BYTES:
            raise HostileFrame(f"a frame claims to have {length - _HEAD.size:,} bytes")
        if len(data) >= length:
            return self._take(length)
        if at_end:
            self._data, self._failure = b"", asyncio.IncompleteReadError(bytes(data[8:]), length - _HEAD.size)
        return None

    def _take(self, length: int) -> bytes:
        """Take a whole frame out and check it."""
        self._stop_clock()
        data = self._data
        if len(data) == length:
            frame, self._data = bytes(data), b""
        else:
            if not isinstance(data, bytearray):  # of which the beginning is removed at no cost
                data = self._data = bytearray(data)
            frame = bytes(data[:length])
            del data[:length]
        (checksum,) = _CHECKSUM.unpack_from(frame, length - _CHECKSUM.size)
        if checksum != (found := crc32(memoryview(frame)[: -_CHECKSUM.size])):
            raise InvalidChecksumError(checksum, found)
        return frame[_HEAD.size : -_CHECKSUM.size]

    def _stop_clock(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _frame_is_late(self) -> None:
        """End the connection, unless the rest has come in the meantime."""
        self._late = None
        length = _HEAD.unpack_from(self._data)[0] if len(self._data) >= _HEAD.size else 0
        if 0 < length <= len(self._data):
            return
        size = f" of {length - _HEAD.size:,} bytes" if length > 0 else ""
        self._break(FrameTimeout(f"a frame{size} was not complete within {inbound.FRAME_SECONDS:g} s"))

    # --- the end ---

    def _break(self, failure: Exception) -> None:
        """End the connection because of what the other side has sent, or has not."""
        self._connected, self._failure = False, failure
        self._end(failure)
        if self.transport is not None:
            self.transport.abort()

    def _end(self, failure: Exception) -> None:
        """Note with what the connection has ended, once, and wake who waits."""
        if self._failure is None:
            self._failure = failure
        self._stop_clock()
        self._wake()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _tell(self, failure: Exception) -> Exception:
        if not self._told:
            self._told = True
            self._log.warning("Server closed the connection: %s", failure)
        return failure

    # --- Telethon's names for what is here ---

    @property
    def _writer(self) -> "FullConnection":
        """What has the transport."""
        return self

    def close(self) -> None:
        """Close the transport."""
        if self.transport is not None:
            self.transport.close()

    # --- what the loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no instance of it
        if self.resets:
            drop_with_process(self.transport)

    def data_received(self, data: bytes) -> None:
        """Keep what was read, and read no more while enough waits."""
        if not self._data:
            self._data = data
        else:
            if not isinstance(self._data, bytearray):
                self._data = bytearray(self._data)
            self._data += data
        if not self._wake() and len(self._data) > MAX_WAITING_BYTES and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> None:
        """Note that the other side has closed; the transport closes then."""
        self._end(asyncio.IncompleteReadError(b"", _HEAD.size))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note why the connection has ended: the network's reason, or that code of this process closed it."""
        self.transport = None
        self._connected = False
        self._end(exc or ClosedInside())
        self.listener = None
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """Let senders wait."""
        assert self._loop is not None
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let senders go on."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)


class LeasedConnection(FullConnection):
    """A connection of a node that holds a lease: what it has not delivered ends with it, see ``drop_with_process``."""

    __slots__ = ()
    resets = True


def drop_with_process(transport: Any) -> None:
    """Have the kernel drop what was not delivered when this socket is closed, also because the process was killed.

    It would go on sending otherwise, for minutes: bytes of this node could arrive after those of the next owner of the
    account, which are two connections that use one key, for which Telegram destroys the login. Two seconds after a
    ``kill -9`` 2.8 MB could still be read.
    """
    with suppress(OSError):  # it is closed
        reset_on_close(transport.get_extra_info("socket"))


async def deliver_rest(transport: Any) -> None:
    """Wait, before a close, until the other side has confirmed all that was written: then it is a normal close.

    What it does not confirm within ``DELIVERY_SECONDS`` is dropped by the close: the network may be down.
    """
    sock = transport.get_extra_info("socket")
    with suppress(OSError):  # it is closed, by the other side perhaps
        async with asyncio.timeout(DELIVERY_SECONDS):
            while not transport.is_closing() and (transport.get_write_buffer_size() or undelivered(sock)):  # noqa: ASYNC110
                await asyncio.sleep(DELIVERY_POLL)
        if not transport.is_closing():
            deliver_after_close(sock)
