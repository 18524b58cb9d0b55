"""The RSA key of the datacenter: clients must trust its public half."""

import math
import os
import secrets
import struct
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Final

import rsa
from attrs import frozen
from rsa.prime import miller_rabin_primality_testing
from telethon.tl import TLObject

from adapters.sandbox.errors import ProtocolError, SandboxError

KEY_BITS: Final = 2048
PUBLIC_EXPONENT: Final = 65537
# Dividing out the small primes first leaves one candidate in seven for the expensive test.
SIEVE: Final = math.prod(n for n in range(3, 2000) if all(n % d for d in range(2, math.isqrt(n) + 1)))
MILLER_RABIN_ROUNDS: Final = 10


@frozen(repr=False)
class DatacenterKey:
    """The private key of a datacenter, and what is derived from it."""

    private: rsa.PrivateKey
    fingerprint: int

    @property
    def public_pem(self) -> str:
        """Return the public half as PKCS#1 PEM, for ``telethon.crypto.rsa.add_key(pem, old=False)``."""
        public = rsa.PublicKey(self.private.n, self.private.e)
        return bytes(public.save_pkcs1()).decode("ascii")

    def decrypt(self, cipher: bytes) -> bytes:
        """Undo raw RSA and return the 255 bytes under the old MTProto padding (SHA-1, data, random).

        Two half-size powers (the Chinese remainder theorem) cost a quarter of one full power. Raises ProtocolError when
        the result cannot be such a block.
        """
        key = self.private
        number = int.from_bytes(cipher, "big")
        if len(cipher) != KEY_BITS // 8 or number >= key.n:
            raise ProtocolError("rsa_block")
        mod_p, mod_q = pow(number, key.exp1, key.p), pow(number, key.exp2, key.q)
        plain = mod_q + (key.coef * (mod_p - mod_q) % key.p) * key.q
        if plain.bit_length() > 8 * 255:
            raise ProtocolError("rsa_padding")
        return plain.to_bytes(255, "big")


def from_private(private: rsa.PrivateKey) -> DatacenterKey:
    """Add the fingerprint: the low 64 bits of SHA-1 over the modulus and the exponent as TL strings."""
    parts = (TLObject.serialize_bytes(_big_endian(part)) for part in (private.n, private.e))
    (fingerprint,) = struct.unpack("<q", sha1(b"".join(parts)).digest()[-8:])
    return DatacenterKey(private, fingerprint)


def generate() -> DatacenterKey:
    """Return a new random key; this takes about half a second."""
    while True:
        p, q = _prime(KEY_BITS // 2), _prime(KEY_BITS // 2)
        phi = (p - 1) * (q - 1)
        if p != q and (p * q).bit_length() == KEY_BITS and math.gcd(phi, PUBLIC_EXPONENT) == 1:
            return from_private(rsa.PrivateKey(p * q, PUBLIC_EXPONENT, pow(PUBLIC_EXPONENT, -1, phi), p, q))


@cache
def process_key() -> DatacenterKey:
    """Return the key of every datacenter in this process that keeps no state; it is made on first use."""
    return generate()


def load_or_generate(path: Path) -> DatacenterKey:
    """Return the key in the file; a missing file is written first, readable by its owner only.

    Raises SandboxError when the file cannot be used.
    """
    try:
        if path.exists():
            return from_private(rsa.PrivateKey.load_pkcs1(path.read_bytes()))
        key = generate()
        _write_private(path, bytes(key.private.save_pkcs1()))
    except OSError as error:
        raise SandboxError(
            f"The key of the sandbox at {path} cannot be used ({error.strerror}); check the path."
        ) from error
    except ValueError as error:
        raise SandboxError(f"{path} is not an RSA key; delete the file and the sandbox makes a new one.") from error
    return key


def _write_private(path: Path, text: bytes) -> None:
    """Write beside the file and rename, so that a crash never leaves half a key."""
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _prime(bits: int) -> int:
    while True:
        # The two top bits set make the product of two primes exactly twice as long.
        candidate = secrets.randbits(bits) | (0b11 << (bits - 2)) | 1
        if math.gcd(candidate, SIEVE) == 1 and miller_rabin_primality_testing(candidate, MILLER_RABIN_ROUNDS):
            return candidate


def _big_endian(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
