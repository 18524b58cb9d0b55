"""Frames of a stranger, who knows the number of a key, which is not secret, but not the key."""

import asyncio
import os
import sqlite3
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from hashlib import sha1
from zlib import crc32

import pytest
from telethon.crypto import AES

from states.events import Event, ProtocolBroken
from tests.adapters.telegram.harness import DatacenterHarness
from tests.timeouts import TIMEOUT


def framed(body: bytes) -> bytes:
    """Return a whole frame of the transport."""
    head = struct.pack("<ii", len(body) + 12, 0) + body
    return head + struct.pack("<I", crc32(head))


@asynccontextmanager
async def stranger(answer: bytes) -> AsyncIterator[int]:
    """Listen on the yielded port, and give everybody this answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(64)
            writer.write(answer)
            await writer.drain()
            await reader.read()
        except OSError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def attempt(harness: DatacenterHarness, answer: bytes, *, under_key: bool = False) -> Event:
    """Return what an attempt ends with, whose first answer is a stranger's."""
    async with harness:
        harness.connector()
        with closing(sqlite3.connect(harness.directory / "account.session")) as database:
            (key,) = database.execute("select auth_key from sessions").fetchone()
        number = sha1(key).digest()[-8:]
        async with stranger(framed(number + answer) if under_key else answer) as port:
            connector = harness.connector(key=key, port=port)
            link = connector.link(1)
            try:
                return (await link.open(timeout=TIMEOUT))[-1]
            finally:
                await link.close(timeout=TIMEOUT)
                await connector.settle()


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 31, 32, 33, 100, 1001])
async def test_bytes_under_the_number_of_the_key_end_the_link_alone(harness: DatacenterHarness, length: int) -> None:
    """Whatever their number: half a block made the cipher end the program."""
    event = await attempt(harness, os.urandom(16 + length), under_key=True)
    assert isinstance(event, ProtocolBroken)
    assert "breaks the encryption" in event.detail


@pytest.mark.parametrize("length", range(13))
async def test_a_frame_that_is_shorter_than_a_frame_is_a_broken_protocol(
    harness: DatacenterHarness, length: int
) -> None:
    """It is not taken for an error of the engine."""
    event = await attempt(harness, struct.pack("<ii", length, 0) + bytes(64))
    assert isinstance(event, ProtocolBroken)


def test_what_follows_the_last_block_is_padding() -> None:
    """The blocks before it are decrypted as ever."""
    key, vector, plain = os.urandom(32), os.urandom(32), os.urandom(64)
    secret = AES.encrypt_ige(plain, key, vector)
    for length in range(16):
        assert AES.decrypt_ige(secret + os.urandom(length), key, vector) == plain
