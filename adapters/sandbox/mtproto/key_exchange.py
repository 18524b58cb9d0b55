"""The key exchange: how a client without a key gets one.

Telethon pads RSA in the old way (SHA-1, data, random) and checks ranges only, so group 14 of RFC 3526 serves. Source:
https://core.telegram.org/mtproto/auth_key
"""

import secrets
import struct
from collections.abc import Callable
from hashlib import sha1
from typing import Any, Final

from attrs import define, frozen
from telethon.crypto import AES
from telethon.helpers import generate_key_data_from_nonce
from telethon.tl import functions, types

from adapters.sandbox.errors import ProtocolError, RpcRefusal
from adapters.sandbox.mtproto import tl
from adapters.sandbox.mtproto.cipher import AUTH_KEY_BYTES, AuthKey
from adapters.sandbox.mtproto.datacenter_key import DatacenterKey

# A small factor keeps the client's work low. One alone must be small: two of the same size make Telethon's
# factorization fail (3 times in 1,000 for 65521 and 65537; never in 200,000 for these).
# Telethon reads pq as a signed number: the top bit must be clear.
FACTORS: Final = (1009, 4294967291)
PQ: Final = (FACTORS[0] * FACTORS[1]).to_bytes(8, "big")
GENERATOR: Final = 2
PRIME: Final = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
SAFETY_RANGE: Final = 2 ** (2048 - 64)
# Telethon drops leading zero bytes of a key and a string session then stores 255 of 256: such a key is refused.
MIN_KEY_BITS: Final = 2041


@frozen(repr=False)
class DiffieHellman:
    """The datacenter's half. One per process and a short exponent: four times less work for each client."""

    secret: int
    public: int

    @classmethod
    def fresh(cls) -> "DiffieHellman":
        """Return a random half whose public number is in the range that clients insist on."""
        while True:
            secret = secrets.randbits(256) | 1 << 255
            public = pow(GENERATOR, secret, PRIME)
            if SAFETY_RANGE <= public <= PRIME - SAFETY_RANGE:
                return cls(secret, public)


@frozen(repr=False)
class ExchangeReply:
    """An answer to the client, and the new key once it exists."""

    answer: Any
    key: AuthKey | None = None


@define(repr=False)
class KeyExchange:
    """One exchange, from req_pq to dh_gen_ok. Every disagreement raises ProtocolError."""

    _key: DatacenterKey
    _diffie_hellman: DiffieHellman
    _clock: Callable[[], float]
    _nonce: int | None = None
    _server_nonce: int = 0
    _new_nonce: int | None = None

    def proceed(self, request: Any) -> ExchangeReply:
        """Answer the client's next request."""
        match request:
            case functions.ReqPqMultiRequest() | functions.ReqPqRequest():
                return self._begin(request)
            case functions.ReqDHParamsRequest():
                return self._offer(request)
            case functions.SetClientDHParamsRequest():
                return self._finish(request)
        raise ProtocolError("exchange_request")

    def _begin(self, request: Any) -> ExchangeReply:
        self._nonce, self._new_nonce = request.nonce, None
        self._server_nonce = int.from_bytes(secrets.token_bytes(16), "little", signed=True)
        return ExchangeReply(types.ResPQ(request.nonce, self._server_nonce, PQ, [self._key.fingerprint]))

    def _offer(self, request: Any) -> ExchangeReply:
        self._check_nonces(request)
        if request.public_key_fingerprint != self._key.fingerprint:
            raise ProtocolError("exchange_fingerprint")
        inner = self._inner_of(self._key.decrypt(request.encrypted_data))
        if not isinstance(inner, types.PQInnerData | types.PQInnerDataDc):
            raise ProtocolError("exchange_inner_data")
        self._check_nonces(inner)
        factors = tuple(int.from_bytes(part, "big") for part in (inner.p, inner.q))
        if factors != FACTORS or (inner.p, inner.q) != (request.p, request.q):
            raise ProtocolError("exchange_factors")
        self._new_nonce = inner.new_nonce
        prime, public = (number.to_bytes(256, "big") for number in (PRIME, self._diffie_hellman.public))
        nonces = (self._nonce, self._server_nonce)
        offer = bytes(types.ServerDHInnerData(*nonces, GENERATOR, prime, public, int(self._clock())))
        return ExchangeReply(
            types.ServerDHParamsOk(*nonces, AES.encrypt_ige(sha1(offer).digest() + offer, *self._temporary()))
        )

    def _finish(self, request: Any) -> ExchangeReply:
        self._check_nonces(request)
        if self._new_nonce is None:
            raise ProtocolError("exchange_order")
        if not request.encrypted_data or len(request.encrypted_data) % 16:
            raise ProtocolError("exchange_block")
        inner = self._inner_of(bytes(AES.decrypt_ige(request.encrypted_data, *self._temporary())))
        if not isinstance(inner, types.ClientDHInnerData):
            raise ProtocolError("exchange_inner_data")
        self._check_nonces(inner)
        theirs = int.from_bytes(inner.g_b, "big")
        if not SAFETY_RANGE <= theirs <= PRIME - SAFETY_RANGE:
            raise ProtocolError("exchange_range")
        shared = pow(theirs, self._diffie_hellman.secret, PRIME)
        nonces = (self._nonce, self._server_nonce)
        if shared.bit_length() < MIN_KEY_BITS:
            # The exchange stays open: the client sends another number, or starts again as Telethon does.
            stripped = shared.to_bytes((shared.bit_length() + 7) // 8, "big")
            return ExchangeReply(types.DhGenRetry(*nonces, self._nonce_hash(stripped, 2)))
        key = AuthKey.of(shared.to_bytes(AUTH_KEY_BYTES, "big"))
        answer = types.DhGenOk(*nonces, self._nonce_hash(key.data, 1))
        self._nonce = self._new_nonce = None
        return ExchangeReply(answer, key)

    def _check_nonces(self, request: Any) -> None:
        if self._nonce is None:
            raise ProtocolError("exchange_order")
        if (request.nonce, request.server_nonce) != (self._nonce, self._server_nonce):
            raise ProtocolError("exchange_nonce")

    def _temporary(self) -> tuple[bytes, bytes]:
        key, vector = generate_key_data_from_nonce(self._server_nonce, self._new_nonce)
        return key, vector

    def _nonce_hash(self, key: bytes, number: int) -> int:
        assert self._new_nonce is not None
        secret = self._new_nonce.to_bytes(32, "little", signed=True) + bytes([number]) + sha1(key).digest()[:8]
        return int.from_bytes(sha1(secret).digest()[4:20], "little", signed=True)

    @staticmethod
    def _inner_of(plain: bytes) -> Any:
        """Return the object behind its SHA-1; the rest is padding."""
        try:
            inner, end = tl.read_prefix(plain, 20)
        except ValueError as error:
            raise ProtocolError("exchange_inner_data") from error
        if sha1(plain[20:end]).digest() != plain[:20]:
            raise ProtocolError("exchange_hash")
        return inner


def read_plain(packet: bytes) -> Any:
    """Return the request in an unencrypted packet. Raises ProtocolError when it is not one whole request."""
    if len(packet) < 24:
        raise ProtocolError("plain_length")
    key_id, msg_id, length = struct.unpack_from("<qqi", packet)
    if key_id != 0 or msg_id % 4 or length != len(packet) - 20:
        raise ProtocolError("plain_header")
    try:
        return tl.read(packet[20:])
    except RpcRefusal as error:
        raise ProtocolError("plain_request") from error


def write_plain(msg_id: int, answer: Any) -> bytes:
    """Return an unencrypted packet with the answer."""
    body = tl.dump(answer)
    return struct.pack("<qqi", 0, msg_id, len(body)) + body
