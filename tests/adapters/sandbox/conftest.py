"""Real Telethon clients and raw peers for the tests of the sandbox."""

import asyncio
import contextlib
import os
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from attrs import astuple, define, field
from telethon import TelegramClient
from telethon.crypto import AuthKey as ClientKey
from telethon.crypto import rsa
from telethon.sessions import StringSession
from telethon.tl import TLRequest

from adapters.sandbox import Sandbox
from adapters.sandbox.mtproto import cipher, tl
from adapters.sandbox.mtproto.cipher import AuthKey, Envelope
from adapters.sandbox.mtproto.transport import Full

PATIENCE = 5.0


def session_for(dc: Any, phone: str | None = None, port: int | None = None, dc_id: int | None = None) -> StringSession:
    """A session that points at the sandbox; with a phone number it is logged in already."""
    rsa.add_key(dc.public_key, old=False)
    session = StringSession()
    session.set_dc(dc_id or dc.dc_id, "127.0.0.1", port or dc.port)
    if phone is not None:
        session.auth_key = ClientKey(dc.authorize(phone))
    return session


def client_for(session: StringSession, **changes: Any) -> TelegramClient:
    """A client as the engine makes one; only the key exchange may be repeated (DhGenRetry, once in 256)."""
    settings = {
        "auto_reconnect": False,
        "connection_retries": 0 if session.auth_key else 3,
        "retry_delay": 0,
        "request_retries": 0,
        "raise_last_call_error": True,
        "flood_sleep_threshold": 0,
        "catch_up": True,
        **changes,
    }
    return TelegramClient(session, 1, "hash", **settings)


@asynccontextmanager
async def _connected(
    dc: Any,
    phone: str | None = None,
    *,
    port: int | None = None,
    session: StringSession | None = None,
    **changes: Any,
) -> AsyncIterator[TelegramClient]:
    client = client_for(session or session_for(dc, phone, port), **changes)
    try:
        async with asyncio.timeout(PATIENCE):
            await client.connect()
        yield client
    finally:
        async with asyncio.timeout(PATIENCE):
            await client.disconnect()
        # A connection that ended in an error says so here; each test reads it where it matters.
        with contextlib.suppress(Exception):
            await client.disconnected


Connected = Callable[..., AbstractAsyncContextManager[TelegramClient]]


@pytest.fixture
def connected() -> Connected:
    """`async with connected(dc, phone) as client`: a connected client that is gone afterwards."""
    return _connected


@pytest.fixture
def new_session() -> Callable[..., StringSession]:
    return session_for


@pytest.fixture
def new_client() -> Callable[..., TelegramClient]:
    return client_for


@define
class Raw:
    """A peer that can break every rule: it speaks the full framing and whatever the test wants inside."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    key: AuthKey
    salt: int = 0
    session_id: int = 0x5AFE
    framing: Full = field(factory=Full)
    last_id: int = 0

    def new_id(self, offset: float = 0) -> int:
        self.last_id = max(int((time.time() + offset) * 2**32) & ~3, self.last_id + 4)
        return self.last_id

    def write(self, packet: bytes) -> None:
        self.writer.write(self.framing.encode(packet))

    def seal(self, body: bytes, msg_id: int, seq_no: int) -> bytes:
        """A packet as a client encrypts it."""
        envelope = Envelope(self.salt, self.session_id, msg_id, seq_no, body)
        header = struct.pack("<qqqii", *astuple(envelope)[:4], len(body))
        plain = header + body
        plain += os.urandom(-(len(plain) + 12) % 16 + 12)
        msg_key = cipher.sha256(self.key.data[88:120] + plain).digest()[8:24]
        secret = cipher.AES.encrypt_ige(plain, *cipher.MTProtoState._calc_key(self.key.data, msg_key, True))
        return self.key.id.to_bytes(8, "little") + msg_key + bytes(secret)

    def send(self, request: Any, *, seq_no: int = 1, msg_id: int | None = None) -> int:
        """Sends a request or ready bytes; returns the message id."""
        msg_id = self.new_id() if msg_id is None else msg_id
        body = (
            bytes(request)
            if isinstance(request, TLRequest)
            else request
            if isinstance(request, bytes)
            else bytes(request)
        )
        self.write(self.seal(body, msg_id, seq_no))
        return msg_id

    async def packet(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.framing.read(self.reader)

    async def receive(self) -> Any:
        """The next message: its id modulo 4 and its object."""
        packet = await self.packet()
        if len(packet) == 4:
            return struct.unpack("<i", packet)[0]
        secret, msg_key = packet[24:], packet[8:24]
        plain = bytes(cipher.AES.decrypt_ige(secret, *cipher.MTProtoState._calc_key(self.key.data, msg_key, False)))
        assert cipher.sha256(self.key.data[96:128] + plain).digest()[8:24] == msg_key
        length = struct.unpack_from("<i", plain, 28)[0]
        return tl.read(plain[32 : 32 + length])

    async def settle(self) -> None:
        """Learns the salt, as every client has to."""
        from telethon.tl import functions, types

        self.send(functions.PingRequest(0))
        answer = await self.receive()
        assert isinstance(answer, types.BadServerSalt)
        self.salt = answer.new_server_salt


@pytest.fixture
def raw() -> Callable[[Sandbox], AbstractAsyncContextManager[Raw]]:
    """`async with raw(dc) as peer`: a raw peer with an auth key that the sandbox knows."""

    @asynccontextmanager
    async def open_raw(dc: Sandbox, phone: str = "9996620001") -> AsyncIterator[Raw]:
        key = AuthKey.of(dc.authorize(phone))
        reader, writer = await asyncio.open_connection("127.0.0.1", dc.port)
        try:
            yield Raw(reader, writer, key)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    return open_raw


@pytest.fixture(autouse=True)
def no_known_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Telethon keeps the addresses of data centres for the whole process, and each sandbox has others."""
    monkeypatch.setattr(TelegramClient, "_config", None)


@pytest.fixture(autouse=True)
async def nothing_left_over() -> AsyncIterator[None]:
    """Every test leaves the loop as it was: no task and no timer of a client or of the sandbox goes on."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left over: {left}"
