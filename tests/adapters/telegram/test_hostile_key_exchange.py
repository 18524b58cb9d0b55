"""A key exchange whose other side sends numbers that cost hours: each is refused at once, and the loop goes on."""

import asyncio
import random
import time
from hashlib import sha1
from typing import Any

import pytest
from telethon import TelegramClient
from telethon.crypto import AES
from telethon.errors import SecurityError
from telethon.network import authenticator
from telethon.sessions import MemorySession
from telethon.tl import types

from adapters.sandbox import Sandbox
from adapters.sandbox.mtproto import key_exchange as served
from adapters.sandbox.mtproto.key_exchange import ExchangeReply, KeyExchange
from adapters.telegram.key_exchange import BoundedFactorization, is_prime
from tests.adapters.telegram.harness import DatacenterHarness
from tests.timeouts import TIMEOUT

TELEGRAMS = 0x17ED48941A08F981
"""The example of core.telegram.org/mtproto/samples-auth_key."""
PRIMES_OF_32_BITS = (4294967291, 4294967279, 3037000493, 2147483647, 2147483629, 65537)


async def connect(dc: Sandbox) -> str:
    """Connect a client without a key, once; return with what it failed, or nothing."""
    session = MemorySession()
    session.set_dc(dc.dc_id, "127.0.0.1", dc.port)
    client = TelegramClient(session, 1, "0" * 32, connection_retries=1, retry_delay=0)
    try:
        async with asyncio.timeout(TIMEOUT):
            await client.connect()
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"
    finally:
        await client.disconnect()
    return ""


def test_the_product_in_telegrams_own_example_is_factorized() -> None:
    """The smaller factor comes first."""
    assert BoundedFactorization.factorize(TELEGRAMS) == (0x494C553B, 0x53911073)


def test_products_of_all_sizes_are_factorized() -> None:
    """Two large factors, a small one, and one that is there twice."""
    for p in PRIMES_OF_32_BITS:
        for q in (3, 13, 1009, *PRIMES_OF_32_BITS):
            if p * q < 2**63:
                assert BoundedFactorization.factorize(p * q) == (min(p, q), max(p, q))


def test_the_test_of_primes_is_exact() -> None:
    """Compared with trial division, and with numbers that deceive weaker tests."""
    for number in (*range(2_000), *random.sample(range(2_000, 10**6), 200), 3215031751, 3825123056546413051):
        naive = number > 1 and all(number % d for d in range(2, min(number, int(number**0.5) + 1)))
        assert is_prime(number) is naive


@pytest.mark.parametrize(
    "number",
    [2**61 - 1, 9223372036854775783, 0, 1, 2, 3, -15, 2**63 + 15, 15**40, (2**61 - 1) * (2**89 - 1)],
)
def test_what_is_no_product_of_two_primes_below_2_to_63_is_refused(number: int) -> None:
    """A prime, a negative number, and ones that are too large."""
    with pytest.raises(SecurityError):
        BoundedFactorization.factorize(number)


@pytest.mark.parametrize("pq", [(2**61 - 1).to_bytes(8, "big"), b"\x7f" * 100_000, b"", b"\xff" * 8])
async def test_a_client_refuses_a_costly_number_at_once(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch, pq: bytes
) -> None:
    """Its first answer is not encrypted, so anybody on the way can send it."""
    monkeypatch.setattr(served, "PQ", pq)
    async with harness as dc:
        began = time.process_time()
        assert "auth_key generation failed" in await connect(dc)
        assert time.process_time() - began < TIMEOUT


async def test_a_client_refuses_a_modulus_without_measure(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A modulus of half a megabyte would be raised to a power of 2,048 bits, three times."""

    def offer(self: KeyExchange, request: Any) -> ExchangeReply:
        inner = self._inner_of(self._key.decrypt(request.encrypted_data))
        self._new_nonce = inner.new_nonce
        nonces = (self._nonce, self._server_nonce)
        data = bytes(types.ServerDHInnerData(*nonces, 3, b"\xff" * 500_000, b"\x7f" * 500_000, 0))
        data = sha1(data).digest() + data
        data += bytes(-len(data) % 16)
        return ExchangeReply(types.ServerDHParamsOk(*nonces, AES.encrypt_ige(data, *self._temporary())))

    monkeypatch.setattr(KeyExchange, "_offer", offer)
    async with harness as dc:
        assert "auth_key generation failed" in await connect(dc)


async def test_an_exchange_that_makes_no_sense_says_so_in_a_few_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the type of an error nor what was sent comes through."""

    class Sender:
        async def send(self, request: Any) -> Any:
            return types.ResPQ(request.nonce, 5, served.PQ, list(range(50_000)))

    with pytest.raises(SecurityError) as told:
        await authenticator.do_authentication(Sender())
    assert len(str(told.value)) <= 120
    monkeypatch.setattr(Sender, "send", lambda *_: asyncio.sleep(0, types.User(1, first_name="Bob")))
    with pytest.raises(SecurityError, match=r"Step 1 answer$"):
        await authenticator.do_authentication(Sender())


async def test_an_honest_exchange_works(harness: DatacenterHarness) -> None:
    """The client has a key afterwards."""
    async with harness as dc:
        assert await connect(dc) == ""
        assert dc.stats()["keys_made"] == 1
