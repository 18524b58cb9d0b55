"""Framing: how packets are cut out of the byte stream.

A client says in its first bytes which framing it uses. Source: https://core.telegram.org/mtproto/mtproto-transports
"""

import secrets
import struct
from typing import Final, Protocol
from zlib import crc32

from attrs import define
from telethon.crypto import AESModeCTR

from adapters.sandbox.errors import ProtocolError

# Telegram closes the connection on anything above a mebibyte; containers stop a little below.
FLOOD: Final = -429
MAX_PACKET_BYTES: Final = 2 * 1024 * 1024
ABRIDGED_TAG: Final = b"\xef"
INTERMEDIATE_TAG: Final = b"\xee" * 4
PADDED_TAG: Final = b"\xdd" * 4
OBFUSCATED_HEADER_BYTES: Final = 64


class ByteSource(Protocol):
    """Where bytes come from: a stream reader, or one behind a cipher."""

    async def readexactly(self, n: int, /) -> bytes: ...


class Framing(Protocol):
    """A codec with state for both directions; it lives as long as its connection."""

    def encode(self, packet: bytes) -> bytes: ...

    async def read(self, source: ByteSource) -> bytes: ...


@define
class Full:
    """Length, sequence number, packet, CRC-32: Telethon's default."""

    _sent: int = 0
    _received: int = 0
    _head: bytes = b""
    """The eight bytes that were read to recognise the framing."""

    def encode(self, packet: bytes) -> bytes:
        data = struct.pack("<ii", len(packet) + 12, self._sent) + packet
        self._sent += 1
        return data + struct.pack("<I", crc32(data))

    async def read(self, source: ByteSource) -> bytes:
        head = self._head or await source.readexactly(8)
        self._head = b""
        length, sequence = struct.unpack("<ii", head)
        _check_length(length - 12)
        rest = await source.readexactly(length - 8)
        if sequence != self._received:
            raise ProtocolError("transport_sequence")
        self._received += 1
        if struct.unpack("<I", rest[-4:])[0] != crc32(head + rest[:-4]):
            raise ProtocolError("transport_checksum")
        return rest[:-4]


@define
class Abridged:
    """The length in words, in one byte or in four."""

    def encode(self, packet: bytes) -> bytes:
        words = len(packet) // 4
        head = bytes([words]) if words < 0x7F else b"\x7f" + words.to_bytes(3, "little")
        return head + packet

    async def read(self, source: ByteSource) -> bytes:
        words = (await source.readexactly(1))[0]
        if words > 0x7F:
            # The top bit asks for a quick acknowledgement, which this datacenter does not give.
            raise ProtocolError("transport_quick_ack")
        if words == 0x7F:
            words = int.from_bytes(await source.readexactly(3), "little")
        _check_length(words * 4)
        return await source.readexactly(words * 4)


@define
class Intermediate:
    """The length in bytes; with padding, up to three bytes of noise follow the packet."""

    padded: bool = False

    def encode(self, packet: bytes) -> bytes:
        noise = secrets.token_bytes(secrets.randbelow(4)) if self.padded else b""
        return struct.pack("<i", len(packet) + len(noise)) + packet + noise

    async def read(self, source: ByteSource) -> bytes:
        (length,) = struct.unpack("<i", await source.readexactly(4))
        noise = length % 4 if self.padded else 0
        _check_length(length - noise)
        packet = await source.readexactly(length)
        return packet[: length - noise]


@define
class Obfuscated:
    """A framing behind AES-CTR with keys that the client's first 64 bytes carry (obfuscated2)."""

    _inner: Framing
    _decrypt: AESModeCTR
    _encrypt: AESModeCTR

    def encode(self, packet: bytes) -> bytes:
        return bytes(self._encrypt.encrypt(self._inner.encode(packet)))

    async def read(self, source: ByteSource) -> bytes:
        return await self._inner.read(_Decrypting(source, self._decrypt))


@define
class _Decrypting:
    _source: ByteSource
    _cipher: AESModeCTR

    async def readexactly(self, n: int, /) -> bytes:
        return bytes(self._cipher.encrypt(await self._source.readexactly(n)))


async def detect(source: ByteSource) -> Framing:
    """Read just enough to know the framing.

    Raises ProtocolError for bytes that announce none, IncompleteReadError when the stream ends before.
    """
    head = await source.readexactly(1)
    if head == ABRIDGED_TAG:
        return Abridged()
    head += await source.readexactly(3)
    if head in (INTERMEDIATE_TAG, PADDED_TAG):
        return Intermediate(padded=head == PADDED_TAG)
    head += await source.readexactly(4)
    if head[4:] == bytes(4):
        # A length and then the sequence number, which is zero in the first packet.
        return Full(head=head)
    return _obfuscated(head + await source.readexactly(OBFUSCATED_HEADER_BYTES - 8))


def _obfuscated(header: bytes) -> Framing:
    backwards = header[55:7:-1]
    decrypt = AESModeCTR(header[8:40], header[40:56])
    encrypt = AESModeCTR(backwards[:32], backwards[32:48])
    tag = bytes(decrypt.encrypt(header))[56:60]
    if tag == ABRIDGED_TAG * 4:
        return Obfuscated(Abridged(), decrypt, encrypt)
    if tag in (INTERMEDIATE_TAG, PADDED_TAG):
        return Obfuscated(Intermediate(padded=tag == PADDED_TAG), decrypt, encrypt)
    raise ProtocolError("transport_unknown")


def _check_length(length: int) -> None:
    if not 4 <= length <= MAX_PACKET_BYTES or length % 4:
        raise ProtocolError("transport_length")


def error_of(framing: Framing, code: int) -> bytes:
    """Return a transport error on the wire.

    The flood error of the full framing has been seen as three bare numbers instead of a packet. Source:
    https://github.com/LonamiWebs/Telethon/issues/4042
    """
    if isinstance(framing, Full) and code == FLOOD:
        return struct.pack("<iii", code, code, code)
    return framing.encode(struct.pack("<i", code))
