"""The server's half of SRP: it checks that a client knows a password without ever having the password.

Names are those of https://core.telegram.org/api/srp, which also says where it departs from RFC 2945.
"""

import secrets
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final, Self

from attrs import frozen
from telethon import password as client_side
from telethon.tl import types

SIZE: Final = 256
"""Bytes of every number on the wire."""
G: Final = 3
PRIME: Final = bytes.fromhex(
    "c71caeb9c6b1c9048e6c522f70f13f73980d40238e3e21c14934d037563d930f48198a0aa7c14058229493d22530f4db"
    "fa336f6e0ac925139543aed44cce7c3720fd51f69458705ac68cd4fe6b6b13abdc9746512969328454f18faf8c595f64"
    "2477fe96bb2a941d5bcd1d4ac8cc49880708fa9b378e3c4f3a9060bee67cf9a4a4a695811051907e162753b56b0f6b41"
    "0dba74d8a84b2a14b3144e0ef1284754fd17ed950d5965b4b9dd46582db1178d169c6bc465b0d6ff9ca3928fef5b9ae4"
    "e418fc15e83ebea0f87fa9ff5eed70050ded2849f47bf959d956850ce929851f0d8115f635b105ee2e4e15d04b2454bf"
    "6f4fadf034b10403119cd8e3b92fcc5b"
)
"""Telegram's own safe prime. Clients know it; they would have to prove any other one prime, which takes minutes."""
SALT1_BYTES: Final = 8
SALT2_BYTES: Final = 16
OWN_SALT_BYTES: Final = 32
"""How much randomness of its own a client adds to the first salt of a new password, at least."""
MAX_SALT_BYTES: Final = 256
_P: Final = int.from_bytes(PRIME, "big")


@frozen(repr=False)
class Verifier:
    """What is kept of a password: two salts and g to the power of its hash."""

    salt1: bytes
    salt2: bytes
    value: bytes

    @classmethod
    def of(cls, password: str) -> Self:
        """Return a verifier with fresh salts. Takes a tenth of a second, on purpose (PBKDF2)."""
        salt1, salt2 = fresh_salts()
        return cls(salt1, salt2, bytes(client_side.compute_digest(algorithm(salt1, salt2), password)))


@frozen(repr=False)
class Challenge:
    """The server's number for one answer of one client."""

    id: int
    secret: int
    public: bytes

    @classmethod
    def fresh(cls, verifier: Verifier) -> Self:
        """Return a challenge that can be answered only with the verifier's password."""
        secret = secrets.randbits(8 * SIZE)
        public = (_multiplier() * int.from_bytes(verifier.value, "big") + pow(G, secret, _P)) % _P
        return cls(secrets.randbits(63), secret, _padded(public))


def algorithm(salt1: bytes, salt2: bytes) -> Any:
    """Return how clients hash a password, as a TL object."""
    kind = types.PasswordKdfAlgoSHA256SHA256PBKDF2HMACSHA512iter100000SHA256ModPow
    return kind(salt1, salt2, G, PRIME)


def verifier_of(algo: Any, value: bytes) -> Verifier | None:
    """Return the verifier of a new password that a client has computed; None if it did not follow the algorithm."""
    if not isinstance(algo, types.PasswordKdfAlgoSHA256SHA256PBKDF2HMACSHA512iter100000SHA256ModPow):
        return None
    ours = (algo.g, algo.p, len(algo.salt2)) == (G, PRIME, SALT2_BYTES)
    salted = SALT1_BYTES + OWN_SALT_BYTES <= len(algo.salt1) <= MAX_SALT_BYTES
    if not ours or not salted or len(value) != SIZE or not 1 < int.from_bytes(value, "big") < _P - 1:
        return None
    return Verifier(algo.salt1, algo.salt2, value)


def fresh_salts() -> tuple[bytes, bytes]:
    return secrets.token_bytes(SALT1_BYTES), secrets.token_bytes(SALT2_BYTES)


def verify_proof(verifier: Verifier, challenge: Challenge, a: bytes, m1: bytes) -> bool:
    """Return whether the client's number A and its proof M1 come from the password of the verifier."""
    public = int.from_bytes(a, "big")
    if len(a) > SIZE or not 0 < public < _P:  # with a multiple of p the shared secret would be known to all
        return False
    u = int.from_bytes(_hash(_padded(public), challenge.public), "big")
    shared = pow(public * pow(int.from_bytes(verifier.value, "big"), u, _P), challenge.secret, _P)
    both = bytes(x ^ y for x, y in zip(_hash(PRIME), _hash(_padded(G)), strict=True))
    salts = _hash(verifier.salt1), _hash(verifier.salt2)
    expected = _hash(both, *salts, _padded(public), challenge.public, _hash(_padded(shared)))
    return compare_digest(expected, m1)


def _multiplier() -> int:
    return int.from_bytes(_hash(PRIME, _padded(G)), "big")


def _padded(number: int) -> bytes:
    return number.to_bytes(SIZE, "big")


def _hash(*parts: bytes) -> bytes:
    return sha256(b"".join(parts)).digest()
