"""MTProto 2.0 encryption of one packet.

Source: https://core.telegram.org/mtproto/description
"""

import os
import struct
from hashlib import sha1, sha256
from typing import Final

from attrs import frozen
from telethon.crypto import AES
from telethon.network.mtprotostate import MTProtoState

from adapters.sandbox.errors import ProtocolError

AUTH_KEY_BYTES: Final = 256
HEADER_BYTES: Final = 32
MIN_PADDING_BYTES: Final = 12
MAX_PADDING_BYTES: Final = 1024


@frozen(repr=False)
class AuthKey:
    """The 2048-bit secret that a client and the datacenter share."""

    data: bytes
    id: int
    """The low 64 bits of its SHA-1, unsigned; a packet begins with them."""

    @classmethod
    def of(cls, data: bytes) -> "AuthKey":
        """Return the key with these bytes. Raises ValueError for anything but 256 bytes."""
        if len(data) != AUTH_KEY_BYTES:
            raise ValueError(f"an auth key has {AUTH_KEY_BYTES} bytes, not {len(data)}")
        return cls(data, int.from_bytes(sha1(data).digest()[-8:], "little"))


@frozen
class Envelope:
    """What the encryption protects: the session, the order, and the message."""

    salt: int
    session_id: int
    msg_id: int
    seq_no: int
    body: bytes


def key_id_of(packet: bytes) -> int:
    """Return the id of the key that the packet is encrypted with; zero means a plain packet."""
    if len(packet) < 8:
        raise ProtocolError("packet_too_short")
    return int.from_bytes(packet[:8], "little")


def decrypt(key: AuthKey, packet: bytes) -> Envelope:
    """Open a packet from a client. Raises ProtocolError when anything about it is wrong."""
    secret = packet[24:]
    if len(secret) < HEADER_BYTES + 16 or len(secret) % 16:
        raise ProtocolError("packet_length")
    msg_key = packet[8:24]
    plain = bytes(AES.decrypt_ige(secret, *MTProtoState._calc_key(key.data, msg_key, True)))
    if sha256(key.data[88:120] + plain).digest()[8:24] != msg_key:
        raise ProtocolError("wrong_msg_key")
    salt, session_id, msg_id, seq_no, length = struct.unpack_from("<qqqii", plain)
    padding = len(plain) - HEADER_BYTES - length
    if length < 4 or length % 4 or not MIN_PADDING_BYTES <= padding <= MAX_PADDING_BYTES:
        raise ProtocolError("message_length")
    return Envelope(salt, session_id, msg_id, seq_no, plain[HEADER_BYTES : HEADER_BYTES + length])


def encrypt(key: AuthKey, envelope: Envelope) -> bytes:
    """Encrypt a packet for a client."""
    header = (envelope.salt, envelope.session_id, envelope.msg_id, envelope.seq_no, len(envelope.body))
    plain = struct.pack("<qqqii", *header) + envelope.body
    plain += os.urandom(-(len(plain) + MIN_PADDING_BYTES) % 16 + MIN_PADDING_BYTES)
    msg_key = sha256(key.data[96:128] + plain).digest()[8:24]
    secret = AES.encrypt_ige(plain, *MTProtoState._calc_key(key.data, msg_key, False))
    return key.id.to_bytes(8, "little") + msg_key + bytes(secret)


def corrupt(packet: bytes) -> bytes:
    """Return the packet with another msg_key, which cannot belong to what was encrypted."""
    return packet[:8] + bytes([packet[8] ^ 1]) + packet[9:]
