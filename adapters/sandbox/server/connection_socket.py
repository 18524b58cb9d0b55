"""The socket of one connection: packets in, packets out, and every way in which it can end."""

import contextlib
from asyncio import StreamReader, StreamWriter
from typing import Final

import anyio
from attrs import define

from adapters.sandbox.mtproto import transport
from adapters.sockets import reset_on_close

FIN_TIMEOUT_SECONDS: Final = 2.0
"""After our FIN, how long we wait for the client's."""
CHUNK_BYTES: Final = 65536
MAX_BACKLOG_BYTES: Final = 4 * 1024 * 1024
"""Answers that a client does not read; above this the connection is reset."""
SEND_TIMEOUT_SECONDS: Final = 30.0
CLOSE_TIMEOUT_SECONDS: Final = 1.0
GARBAGE: Final = b"\xde\xad\xbe\xef" * 8
"""No framing takes this for a packet. A client of the full framing takes most other noise for a length, and waits for a
gigabyte."""


@define(eq=False)
class ConnectionSocket:
    """The socket of one connection. Only ``drain``, ``discard_input`` and ``aclose`` wait."""

    reader: StreamReader
    _writer: StreamWriter
    framing: transport.Framing | None = None
    """How packets are cut; None until the client's first bytes have said so."""
    closed: bool = False
    """From here on nothing is written, and what comes in is ignored."""
    dripping: bool = False
    """Whether a packet is on its way byte by byte, and no other one can be."""
    close_deadline: float | None = None
    """When to stop waiting for the client's FIN, after our own."""

    @property
    def is_over(self) -> bool:
        """Whether we have ended the connection, or the client has reset it: what it sent has arrived before that."""
        return self.closed or self.reader.exception() is not None

    def send(self, packet: bytes) -> bool:
        """Hand a packet to the kernel; return False when the client does not read and the connection was reset."""
        if self.closed or self.dripping or self.framing is None or self._writer.is_closing():
            return True
        self._writer.write(self.framing.encode(packet))
        if self._writer.transport.get_write_buffer_size() > MAX_BACKLOG_BYTES:
            self.reset()
            return False
        return True

    def send_raw(self, data: bytes) -> None:
        """Send bytes that are no packet."""
        if not self.closed:
            self._writer.write(data)

    async def drip(self, packet: bytes, pause: float) -> None:
        """Send a packet byte by byte, with a pause before each, until it is complete or the connection is over."""
        assert self.framing is not None
        self.dripping = True
        for byte in self.framing.encode(packet):
            await anyio.sleep(pause)
            if self.closed or self._writer.is_closing():
                return
            self._writer.write(bytes([byte]))

    def reset(self) -> None:
        """Send RST: close a socket that lingers for zero seconds."""
        sock = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            reset_on_close(sock)
        self.closed = True
        self._writer.transport.abort()

    def close_gracefully(self) -> None:
        """Send FIN, then read and drop what the client still sends: unread bytes would turn the FIN into RST."""
        if self.closed:
            return
        self.closed = True
        with contextlib.suppress(OSError):
            self._writer.write_eof()
        self.close_deadline = anyio.current_time() + FIN_TIMEOUT_SECONDS

    def send_error(self, code: int) -> None:
        """Send a transport error instead of a packet, then FIN."""
        if not (self.closed or self.framing is None or self._writer.is_closing()):
            with contextlib.suppress(OSError):
                self._writer.write(transport.error_of(self.framing, code))
        self.close_gracefully()

    def send_garbage(self) -> None:
        """Send bytes that are not a packet, then stay silent on an open connection."""
        if not self.closed:
            self._writer.write(GARBAGE)
            self.closed = True

    async def drain(self) -> None:
        """Wait until the client has read enough. Raises TimeoutError when it does not."""
        transport = self._writer.transport
        low, _ = transport.get_write_buffer_limits()
        if transport.get_write_buffer_size() <= low:
            return
        with anyio.fail_after(SEND_TIMEOUT_SECONDS):
            await self._writer.drain()

    async def discard_input(self, seconds: float = FIN_TIMEOUT_SECONDS) -> None:
        """Read and drop what comes in until the client's FIN, or for this long."""
        with anyio.move_on_after(seconds):
            while await self.reader.read(CHUNK_BYTES):
                pass

    async def aclose(self) -> None:
        """Close the socket, whatever its state."""
        self._writer.transport.abort()
        with anyio.move_on_after(CLOSE_TIMEOUT_SECONDS, shield=True), contextlib.suppress(OSError):
            await self._writer.wait_closed()
