"""The key exchange, step by step and without a socket."""

import os
import secrets
import time
from hashlib import sha1
from typing import Any

import pytest
from telethon.crypto import AES, Factorization, rsa
from telethon.helpers import generate_key_data_from_nonce
from telethon.tl import functions, types

from adapters.sandbox.errors import ProtocolError
from adapters.sandbox.mtproto.datacenter_key import process_key
from adapters.sandbox.mtproto.key_exchange import (
    FACTORS,
    GENERATOR,
    MIN_KEY_BITS,
    PRIME,
    DiffieHellman,
    ExchangeReply,
    KeyExchange,
)


class Client:
    """The client's half of an exchange, with every number at hand."""

    def __init__(self) -> None:
        self.key = process_key()
        rsa.add_key(self.key.public_pem, old=False)
        self.half = DiffieHellman.fresh()
        self.exchange = KeyExchange(self.key, self.half, time.time)
        self.nonce, self.new_nonce = (int.from_bytes(os.urandom(n), "little", signed=True) for n in (16, 32))
        self.server_nonce = 0

    def begin(self) -> Any:
        answer = self.exchange.proceed(functions.ReqPqMultiRequest(self.nonce)).answer
        self.server_nonce = answer.server_nonce
        return answer

    def ask(self, **changes: Any) -> Any:
        p, q = (rsa.get_byte_array(factor) for factor in FACTORS)
        fields = {"p": p, "q": q, "nonce": self.nonce, "server_nonce": self.server_nonce, **changes}
        pq = rsa.get_byte_array(FACTORS[0] * FACTORS[1])
        inner = bytes(types.PQInnerData(pq=pq, new_nonce=self.new_nonce, **fields))
        fingerprint = self.key.fingerprint
        request = functions.ReqDHParamsRequest(
            public_key_fingerprint=fingerprint, encrypted_data=rsa.encrypt(fingerprint, inner), **fields
        )
        return self.exchange.proceed(request).answer

    def finish(self, secret: int, digest: bytes | None = None) -> ExchangeReply:
        data = bytes(
            types.ClientDHInnerData(
                self.nonce, self.server_nonce, 0, pow(GENERATOR, secret, PRIME).to_bytes(256, "big")
            )
        )
        key = generate_key_data_from_nonce(self.server_nonce, self.new_nonce)
        secret_data = AES.encrypt_ige((digest or sha1(data).digest()) + data, *key)
        request = functions.SetClientDHParamsRequest(self.nonce, self.server_nonce, secret_data)
        return self.exchange.proceed(request)

    def secret_with_a_short_key(self) -> int:
        """Return a secret of ours whose shared number has a leading zero byte: one in 256."""
        secret = secrets.randbits(2040)
        shared = pow(self.half.public, secret, PRIME)
        while shared.bit_length() >= MIN_KEY_BITS:
            secret, shared = secret + 1, shared * self.half.public % PRIME
        return secret


def test_both_sides_have_the_same_key() -> None:
    """After dh_gen_ok the key is the shared number, all 256 bytes of it."""
    client = Client()
    client.begin()
    client.ask()
    secret = secrets.randbits(2040)
    while pow(client.half.public, secret, PRIME).bit_length() < MIN_KEY_BITS:
        secret += 1
    step = client.finish(secret)
    assert isinstance(step.answer, types.DhGenOk)
    assert step.key is not None
    assert step.key.data == pow(client.half.public, secret, PRIME).to_bytes(256, "big")


def test_a_short_key_is_tried_again() -> None:
    """A shared number with a leading zero byte gives dh_gen_retry, no key, and the exchange stays open."""
    client = Client()
    client.begin()
    client.ask()
    secret = client.secret_with_a_short_key()
    step = client.finish(secret)
    assert (type(step.answer), step.key) == (types.DhGenRetry, None)
    while pow(client.half.public, secret, PRIME).bit_length() < MIN_KEY_BITS:
        secret += 1
    assert isinstance(client.finish(secret).answer, types.DhGenOk)


@pytest.mark.parametrize("secret", [0, 1])
def test_a_number_out_of_range_is_refused(secret: int) -> None:
    """g_b must be in the safe range."""
    client = Client()
    client.begin()
    client.ask()
    with pytest.raises(ProtocolError, match="exchange_range"):
        client.finish(secret)


def test_the_nonces_must_match() -> None:
    """A request with another nonce belongs to no exchange."""
    client = Client()
    client.begin()
    with pytest.raises(ProtocolError, match="exchange_nonce"):
        client.ask(nonce=1)


def test_the_factors_must_be_right() -> None:
    """Wrong factors of pq are refused."""
    client = Client()
    client.begin()
    with pytest.raises(ProtocolError, match="exchange_factors"):
        client.ask(p=b"\x03")


def test_the_steps_have_an_order() -> None:
    """Every step is needed."""
    client = Client()
    with pytest.raises(ProtocolError, match="exchange_order"):
        client.ask()
    client.begin()
    with pytest.raises(ProtocolError, match="exchange_order"):
        client.finish(5)


def test_pq_has_its_top_bit_clear() -> None:
    """Telethon reads pq as a signed number."""
    assert int.from_bytes(Client().begin().pq, "big", signed=True) == FACTORS[0] * FACTORS[1]


def test_the_client_can_factorize_pq() -> None:
    """Telethon's factorization finds our factors every time; with other primes it fails now and then."""
    assert {Factorization.factorize(FACTORS[0] * FACTORS[1]) for _ in range(3000)} == {FACTORS}


def test_damaged_inner_data_is_refused() -> None:
    """The SHA-1 in front of the client's number is checked."""
    client = Client()
    client.begin()
    client.ask()
    with pytest.raises(ProtocolError, match="exchange_hash"):
        client.finish(secrets.randbits(2040), digest=bytes(20))
