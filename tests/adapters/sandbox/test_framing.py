"""The framings, byte by byte."""

import asyncio
import itertools
import os
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sandbox.errors import ProtocolError
from adapters.sandbox.mtproto import transport
from adapters.sandbox.mtproto.transport import Abridged, Framing, Full, Intermediate

FRAMINGS = [Full, Abridged, Intermediate, lambda: Intermediate(padded=True)]
packets = st.binary(min_size=1, max_size=700).map(lambda data: data * 4)


def source_of(data: bytes) -> asyncio.StreamReader:
    """Return a stream that holds these bytes and then ends; must be called where a loop runs."""
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


def read_all(framing: Framing, stream: bytes, count: int, cuts: Iterable[int] = ()) -> list[bytes]:
    """Feed the stream in pieces and read so many packets."""

    async def run() -> list[bytes]:
        reader = asyncio.StreamReader()
        edges = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
        for start, end in itertools.pairwise(edges):
            reader.feed_data(stream[start:end])
        reader.feed_eof()
        return [await framing.read(reader) for _ in range(count)]

    return asyncio.run(run())


@pytest.mark.parametrize("make", FRAMINGS)
@settings(deadline=None)
@given(sent=st.lists(packets, max_size=4), cuts=st.lists(st.integers(0, 5000), max_size=5))
def test_what_is_framed_is_read_back(make: Callable[[], Framing], sent: list[bytes], cuts: list[int]) -> None:
    """Every list of packets is read back whole, wherever the stream is cut."""
    framing = make()
    stream = b"".join(framing.encode(packet) for packet in sent)
    assert read_all(make(), stream, len(sent), cuts) == sent


@settings(deadline=None)
@given(st.binary(min_size=8, max_size=100))
def test_noise_is_an_error_or_the_end_never_anything_else(noise: bytes) -> None:
    """For any bytes the full framing raises ProtocolError or finds the stream too short."""
    with pytest.raises((ProtocolError, asyncio.IncompleteReadError)):
        read_all(Full(), noise, 2)


def test_a_flipped_bit_fails_the_checksum() -> None:
    """The CRC of the full framing is checked."""
    stream = bytearray(Full().encode(b"abcdefgh"))
    stream[10] ^= 1
    with pytest.raises(ProtocolError, match="transport_checksum"):
        read_all(Full(), bytes(stream), 1)


def test_a_repeated_packet_is_out_of_sequence() -> None:
    """The sequence number of the full framing is checked."""
    packet = Full().encode(b"abcd")
    with pytest.raises(ProtocolError, match="transport_sequence"):
        read_all(Full(), packet * 2, 2)


@pytest.mark.parametrize("length", [-5, 0, 9, 2**31 - 1])
def test_an_impossible_length_is_refused(length: int) -> None:
    """No packet is empty, longer than the limit or cut inside a word."""
    with pytest.raises(ProtocolError, match="transport_length"):
        read_all(Intermediate(), length.to_bytes(4, "little", signed=True) + bytes(64), 1)


def test_the_first_bytes_tell_the_framing() -> None:
    """Each framing announces itself as the specification says."""

    async def kind(head: bytes) -> str:
        return type(await transport.detect(source_of(head + bytes(64)))).__name__

    async def kinds() -> list[str]:
        heads = [b"\xef", b"\xee" * 4, b"\xdd" * 4, b"\x10\0\0\0\0\0\0\0"]
        return [await kind(head) for head in heads]

    assert asyncio.run(kinds()) == ["Abridged", "Intermediate", "Intermediate", "Full"]


def test_an_obfuscated_header_that_announces_nothing_is_refused() -> None:
    """64 bytes that decrypt to no known tag are a protocol error."""

    async def run() -> None:
        await transport.detect(source_of(b"\x01\x02\x03\x04\x05" + os.urandom(59)))

    with pytest.raises(ProtocolError, match="transport_unknown"):
        asyncio.run(run())
