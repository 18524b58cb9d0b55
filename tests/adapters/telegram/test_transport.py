"""The connection to a datacenter, against a raw socket: frames in pieces, hostile ones, and every way to end."""

import asyncio
import socket
import struct
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from logging import Logger, getLogger
from zlib import crc32

import pytest
from attrs import define
from telethon.errors import InvalidBufferError, InvalidChecksumError

from adapters.telegram import inbound, transport
from adapters.telegram.classify import ClosedInside
from adapters.telegram.inbound import FrameTimeout, HostileFrame
from adapters.telegram.transport import FullConnection, SendTimeout
from tests.timeouts import TIMEOUT

LOGGERS: dict[str, Logger] = defaultdict(lambda: getLogger("holdfast.telethon.test"))


def framed(packet: bytes, number: int = 0) -> bytes:
    """Return a whole frame of the transport."""
    head = struct.pack("<ii", len(packet) + 12, number) + packet
    return head + struct.pack("<I", crc32(head))


@define
class Peer:
    """The other side of one connection."""

    connection: FullConnection
    socket: socket.socket

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = await asyncio.get_running_loop().sock_recv(self.socket, size - len(found))
            assert more
            found += more
        return found

    async def recv(self) -> bytes:
        return await asyncio.wait_for(self.connection.recv(), TIMEOUT)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@asynccontextmanager
async def connected() -> AsyncIterator[Peer]:
    """Yield both sides of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        host, port = server.getsockname()
        connection = FullConnection(host, port, 2, loggers=LOGGERS)
        await connection.connect(timeout=TIMEOUT)
        accepted, _ = await asyncio.get_running_loop().sock_accept(server)
        accepted.setblocking(False)
        with accepted:
            yield Peer(connection, accepted)
            await asyncio.wait_for(connection.disconnect(), TIMEOUT)
        assert connection.transport is None or connection.transport.is_closing()


async def test_packets_are_sent_as_whole_numbered_frames() -> None:
    """Length, number and checksum are those of the full transport."""
    async with connected() as peer:
        for number, packet in enumerate((b"", b"abcd", bytes(70_000))):
            await peer.connection.send(packet)
            assert await peer.read(len(packet) + 12) == framed(packet, number)


@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 100])
async def test_frames_in_pieces_are_packets(size: int) -> None:
    """However they are split."""
    async with connected() as peer:
        packets = [b"", b"first", b"x" * 300]
        stream = b"".join(map(framed, packets))
        reading = asyncio.create_task(read_all(peer, len(packets)))
        for at in range(0, len(stream), size):
            await peer.write(stream[at : at + size])
            await asyncio.sleep(0)
        assert await reading == packets


async def read_all(peer: Peer, count: int) -> list[bytes]:
    """Return so many packets."""
    return [await peer.recv() for _ in range(count)]


async def test_frames_that_come_together_are_packets_one_by_one() -> None:
    """Also where the last one is not complete yet, and where nobody asked before they came."""
    async with connected() as peer:
        packets = [bytes([index]) * index for index in range(200)]
        stream = b"".join(map(framed, packets))
        await peer.write(stream[:-10])
        assert await read_all(peer, 199) == packets[:-1]
        await peer.write(stream[-10:])
        assert await peer.recv() == packets[-1]
        assert peer.connection._data == b""


async def test_a_large_frame_is_one_packet() -> None:
    """Up to the bound."""
    async with connected() as peer:
        packet = bytes(inbound.MAX_FRAME_BYTES - 4)
        writing = asyncio.create_task(peer.write(framed(packet)))
        assert await peer.recv() == packet
        await writing


@pytest.mark.parametrize("length", [8, 9, 11, inbound.MAX_FRAME_BYTES + 9, 2**31 - 1])
async def test_a_length_that_no_frame_has_ends_the_connection(length: int) -> None:
    """Before anything of that length was kept."""
    async with connected() as peer:
        await peer.write(struct.pack("<ii", length, 0))
        with pytest.raises(HostileFrame):
            await peer.recv()
        with pytest.raises(HostileFrame):
            await peer.recv()
        with pytest.raises(OSError, match="frame"):
            await peer.connection.send(b"abcd")


@pytest.mark.parametrize("code", [404, 429, 444])
async def test_an_error_of_the_transport_has_its_code(code: int) -> None:
    """As three numbers, as one of them before the end, and not before it is complete."""
    async with connected() as peer:
        reading = asyncio.create_task(peer.recv())
        for _ in range(3):
            assert not reading.done()
            await peer.write(struct.pack("<i", -code))
            await asyncio.sleep(0.02)
        with pytest.raises(InvalidBufferError) as told:
            await reading
        assert told.value.code == code
    async with connected() as peer:
        await peer.write(struct.pack("<i", -code))
        peer.socket.shutdown(socket.SHUT_WR)
        assert await peer.recv() == struct.pack("<i", -code)
        with pytest.raises(asyncio.IncompleteReadError):
            await peer.recv()


@pytest.mark.parametrize("length", [-1, 0, 1, 7])
async def test_a_length_that_is_none_is_no_frame(length: int) -> None:
    """A protocol that is not MTProto."""
    async with connected() as peer:
        await peer.write(struct.pack("<ii", length, 0) + bytes(64))
        with pytest.raises(InvalidBufferError):
            await peer.recv()


async def test_a_wrong_checksum_is_told() -> None:
    """And costs no other frame."""
    async with connected() as peer:
        await peer.write(framed(b"abcd")[:-1] + b"\x00" + framed(b"good"))
        with pytest.raises(InvalidChecksumError):
            await peer.recv()
        assert await peer.recv() == b"good"


async def test_what_came_before_the_end_is_read_first() -> None:
    """Then the end, each time that somebody asks; what is missing of a frame is said."""
    async with connected() as peer:
        await peer.write(framed(b"first") + framed(b"second")[:-3])
        peer.socket.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.05)
        assert await peer.recv() == b"first"
        for _ in range(2):
            with pytest.raises(asyncio.IncompleteReadError, match="7 bytes read on a total of 10"):
                await peer.recv()
        with pytest.raises(ConnectionError, match="Not connected"):
            await peer.connection.send(b"abcd")


async def test_a_reset_is_told_to_who_reads_and_to_who_writes() -> None:
    """With the system's own error."""
    async with connected() as peer:
        reading = asyncio.create_task(peer.recv())
        await asyncio.sleep(0)
        peer.reset()
        with pytest.raises(ConnectionResetError):
            await reading
        with pytest.raises(ConnectionResetError):
            await peer.connection.send(b"abcd")


@pytest.mark.parametrize("way", ["disconnect", "close", "abort"])
async def test_an_end_from_within_is_told_to_who_reads(way: str) -> None:
    """It is not the network's doing."""
    async with connected() as peer:
        reading = asyncio.create_task(peer.recv())
        await asyncio.sleep(0)
        assert peer.connection.transport is not None
        if way == "disconnect":
            await peer.connection.disconnect()
        elif way == "close":
            peer.connection._writer.close()
        else:
            peer.connection._writer.transport.abort()  # type: ignore[union-attr]  # it is there
        with pytest.raises(ClosedInside):
            await reading
        with pytest.raises(ClosedInside):
            await peer.connection.send(b"abcd")
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(peer.socket, 1), TIMEOUT) == b""


async def test_a_frame_that_does_not_become_complete_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts from its first byte, however it drips; one that is complete is read for ever after."""
    monkeypatch.setattr(inbound, "FRAME_SECONDS", 0.2)
    async with connected() as peer:
        await peer.write(framed(b"whole"))
        await asyncio.sleep(0.3)
        assert await peer.recv() == b"whole"
        dripping = asyncio.create_task(drip(peer, framed(bytes(1000))))
        with pytest.raises(FrameTimeout, match="a frame of 1,004 bytes was not complete within"):
            await peer.recv()
        dripping.cancel()
    async with connected() as peer:
        await peer.write(b"\x10")
        with pytest.raises(FrameTimeout):
            await peer.recv()


async def drip(peer: Peer, data: bytes) -> None:
    """Write byte by byte."""
    with suppress(OSError):
        for byte in data:
            await peer.write(bytes([byte]))
            await asyncio.sleep(0.005)


async def test_a_reader_that_is_cancelled_loses_nothing() -> None:
    """The next one gets what has come; two at a time are a mistake."""
    async with connected() as peer:
        reading = asyncio.create_task(peer.recv())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="two tasks"):
            await peer.recv()
        await peer.write(framed(b"abcd")[:6])
        await asyncio.sleep(0.02)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await peer.write(framed(b"abcd")[6:])
        assert await peer.recv() == b"abcd"


async def test_who_sends_more_than_is_read_waits() -> None:
    """Nothing is read while enough waits, and all of it arrives when it is asked for."""
    async with connected() as peer:
        frame, count = framed(bytes(10_000)), 2_000
        writing = asyncio.create_task(peer.write(frame * count))
        async with asyncio.timeout(TIMEOUT):
            while not peer.connection._paused:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert len(peer.connection._data) < transport.MAX_WAITING_BYTES + 512 * 1024
        assert not writing.done()
        for _ in range(count):
            assert len(await peer.recv()) == 10_000
        await writing


async def send_without_end(peer: Peer) -> None:
    """Send until it fails."""
    while True:
        await peer.connection.send(bytes(1024 * 1024))


async def test_writing_waits_for_room_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A datacenter that takes nothing is told; closing then is bounded, too."""
    monkeypatch.setattr(transport, "SEND_SECONDS", 0.1)
    monkeypatch.setattr(transport, "CLOSE_SECONDS", 0.1)
    async with connected() as peer:
        with pytest.raises(SendTimeout):
            await send_without_end(peer)
        await asyncio.wait_for(peer.connection.disconnect(), TIMEOUT)
        assert peer.connection.transport is None or peer.connection.transport.is_closing()


async def test_writing_goes_on_when_there_is_room() -> None:
    """A slow reader gets everything."""
    async with connected() as peer:
        packet = bytes(512 * 1024)

        async def read() -> int:
            return sum([len(await peer.read(len(packet) + 12)) for _ in range(20)])

        reading = asyncio.create_task(read())
        for _ in range(20):
            await asyncio.wait_for(peer.connection.send(packet), TIMEOUT)
        assert await reading == 20 * (len(packet) + 12)


async def test_a_connect_that_is_cancelled_or_late_leaves_no_socket() -> None:
    """And says why: Telethon's client drops the error."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        host, port = full.getsockname()
        fillers = [socket.create_connection((host, port)) for _ in range(1)]
        late = FullConnection(host, port, 2, loggers=LOGGERS)
        with pytest.raises(TimeoutError):
            await late.connect(timeout=0.1)
        assert isinstance(late.connect_error, TimeoutError)
        cancelled = FullConnection(host, port, 2, loggers=LOGGERS)
        connecting = asyncio.create_task(cancelled.connect(timeout=TIMEOUT))
        await asyncio.sleep(0.05)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert cancelled.transport is None
        await cancelled.disconnect()
        for filler in fillers:
            filler.close()
    refused = FullConnection(host, port, 2, loggers=LOGGERS)
    with pytest.raises(ConnectionRefusedError) as told:
        await refused.connect(timeout=TIMEOUT)
    assert refused.connect_error is told.value
    with pytest.raises(ConnectionError, match="Not connected"):
        await refused.recv()


async def test_an_idle_connection_keeps_no_buffer_and_no_timer() -> None:
    """What one frame took is given back."""
    async with connected() as peer:
        for piece in (framed(bytes(5000))[:100], framed(bytes(5000))[100:] + framed(b"abcd")):
            await peer.write(piece)
        assert [len(await peer.recv()) for _ in range(2)] == [5000, 4]
        assert peer.connection._data == b""
        assert isinstance(peer.connection._data, bytes)
        assert peer.connection._late is None


def test_it_works_with_uvloop() -> None:
    """Whose transports are no instances of asyncio's."""
    uvloop = pytest.importorskip("uvloop")

    async def talk() -> None:
        async with connected() as peer:
            await peer.connection.send(b"abcd")
            assert await peer.read(16) == framed(b"abcd")
            await peer.write(framed(b"first") + framed(b"second"))
            assert await read_all(peer, 2) == [b"first", b"second"]
            peer.socket.shutdown(socket.SHUT_WR)
            with pytest.raises(asyncio.IncompleteReadError):
                await peer.recv()
        async with connected() as peer:
            peer.connection._writer.close()
            with pytest.raises(ClosedInside):
                await peer.recv()

    uvloop.run(talk())
