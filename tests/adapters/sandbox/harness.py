"""What the tests of the sandbox share: real Telethon clients, raw peers, and what they see."""

import asyncio
import contextlib
import os
import struct
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from hashlib import sha256
from typing import Any, Protocol

import anyio
from attrs import astuple, define, field
from telethon import TelegramClient, events
from telethon.crypto import AES, rsa
from telethon.crypto import AuthKey as ClientKey
from telethon.network.mtprotostate import MTProtoState
from telethon.sessions import StringSession
from telethon.tl import TLRequest, functions, types

from adapters.sandbox import Sandbox
from adapters.sandbox.mtproto import tl
from adapters.sandbox.mtproto.cipher import AuthKey, Envelope
from adapters.sandbox.mtproto.transport import Full
from tests.timeouts import TIMEOUT

QUIET = 0.3
"""Seconds after which something that must not happen counts as not happening."""
ALICE, BOB = "+9996620001", "+9996620002"
PING = functions.PingRequest
STATE = functions.updates.GetStateRequest


class Connect(Protocol):
    """``async with connected(dc, phone) as client``: a connected client that is gone afterwards."""

    def __call__(
        self,
        dc: Any,
        phone: str | None = None,
        *,
        port: int | None = None,
        session: Any = None,
        **changes: Any,
    ) -> AbstractAsyncContextManager[Any]: ...


class NewSession(Protocol):
    """Makes a session that points at the sandbox; with a phone number it is logged in already."""

    def __call__(self, dc: Any, phone: str | None = None, port: int | None = None, dc_id: int | None = None) -> Any: ...


class NewClient(Protocol):
    """Makes a client as the engine makes one, not yet connected."""

    def __call__(self, session: Any, **changes: Any) -> Any: ...


class OpenPeer(Protocol):
    """``async with raw(dc) as peer``: a raw peer with an auth key that the sandbox knows."""

    def __call__(self, dc: Sandbox, phone: str = "9996620001") -> "AbstractAsyncContextManager[RawPeer]": ...


def new_session(dc: Any, phone: str | None = None, port: int | None = None, dc_id: int | None = None) -> Any:
    """Return a session that points at the sandbox; with a phone number it is logged in already."""
    rsa.add_key(dc.public_key, old=False)
    session = StringSession()
    session.set_dc(dc_id or dc.dc_id, "127.0.0.1", port or dc.port)
    if phone is not None:
        session.auth_key = ClientKey(dc.authorize(phone))
    return session


def new_client(session: Any, **changes: Any) -> Any:
    """Return a client as the engine makes one; only the key exchange may be repeated (DhGenRetry, once in 256)."""
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
async def connect(
    dc: Any, phone: str | None = None, *, port: int | None = None, session: Any = None, **changes: Any
) -> AsyncIterator[Any]:
    """Connect a client for the block, and leave nothing of it."""
    client = new_client(session or new_session(dc, phone, port), **changes)
    try:
        async with asyncio.timeout(TIMEOUT):
            await client.connect()
        yield client
    finally:
        async with asyncio.timeout(TIMEOUT):
            await client.disconnect()
        # A connection that ended in an error says so here; each test reads it where it matters.
        with contextlib.suppress(Exception):
            await client.disconnected


async def connection_end(client: Any) -> Any:
    """Wait for the end of the client's connection; raises the error that ended it, if there was one."""
    async with asyncio.timeout(TIMEOUT):
        return await client.disconnected


async def is_alive(client: Any, within: float = TIMEOUT) -> bool:
    """Return whether a ping is answered in time."""
    with anyio.move_on_after(within):
        return bool((await client(PING(7))).ping_id == 7)
    return False


async def is_answered(client: Any, request: Any, within: float = TIMEOUT) -> bool:
    """Return whether a request is answered in time."""
    with anyio.move_on_after(within):
        await client(request)
        return True
    return False


async def faults_end(dc: Sandbox, left: int = 0) -> None:
    """Wait until at most so many faults are active, and the ports have followed."""
    async with asyncio.timeout(TIMEOUT):
        while len(dc.stats()["standing_faults"]) > left:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)


def record_texts(client: Any) -> asyncio.Queue[str]:
    """Return a queue that gets the text of every new message of the client."""
    texts: asyncio.Queue[str] = asyncio.Queue()

    async def on_message(event: Any) -> None:
        await texts.put(event.raw_text)

    client.add_event_handler(on_message, events.NewMessage(incoming=True))
    return texts


def record_news(client: Any) -> asyncio.Queue[tuple[int, str]]:
    """Return a queue that gets the chat and the text of every new message of the client."""
    news: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    async def on_message(event: Any) -> None:
        await news.put((event.chat_id, event.raw_text))

    client.add_event_handler(on_message, events.NewMessage(incoming=True))
    return news


async def next_item(queue: asyncio.Queue[Any]) -> Any:
    """Return the next item of a queue, which must come soon."""
    async with asyncio.timeout(TIMEOUT):
        return await queue.get()


def marked_id(channel_id: int) -> int:
    """Return the id of a channel as Telethon's high-level calls show it."""
    return -1_000_000_000_000 - channel_id


@define
class RawPeer:
    """A peer that can break every rule: it uses the full framing and sends whatever the test wants inside."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    key: AuthKey
    salt: int = 0
    session_id: int = 0x5AFE
    framing: Full = field(factory=Full)
    last_id: int = 0

    def new_id(self, offset: float = 0) -> int:
        """Return a message id of now, or of ``offset`` seconds later, above all earlier ones."""
        self.last_id = max(int((time.time() + offset) * 2**32) & ~3, self.last_id + 4)
        return self.last_id

    def write(self, packet: bytes) -> None:
        """Send a packet as it is."""
        self.writer.write(self.framing.encode(packet))

    def seal(self, body: bytes, msg_id: int, seq_no: int) -> bytes:
        """Return a packet as a client encrypts it."""
        envelope = Envelope(self.salt, self.session_id, msg_id, seq_no, body)
        header = struct.pack("<qqqii", *astuple(envelope)[:4], len(body))
        plain = header + body
        plain += os.urandom(-(len(plain) + 12) % 16 + 12)
        msg_key = sha256(self.key.data[88:120] + plain).digest()[8:24]
        secret = AES.encrypt_ige(plain, *MTProtoState._calc_key(self.key.data, msg_key, True))
        return self.key.id.to_bytes(8, "little") + msg_key + bytes(secret)

    def send(self, request: TLRequest | bytes, *, seq_no: int = 1, msg_id: int | None = None) -> int:
        """Send a request or ready bytes; return the message id."""
        msg_id = self.new_id() if msg_id is None else msg_id
        self.write(self.seal(bytes(request), msg_id, seq_no))
        return msg_id

    async def packet(self) -> bytes:
        """Return the next packet."""
        async with asyncio.timeout(TIMEOUT):
            return await self.framing.read(self.reader)

    async def receive(self) -> Any:
        """Return the object in the next message, or the code of a transport error."""
        packet = await self.packet()
        if len(packet) == 4:
            return struct.unpack("<i", packet)[0]
        secret, msg_key = packet[24:], packet[8:24]
        plain = bytes(AES.decrypt_ige(secret, *MTProtoState._calc_key(self.key.data, msg_key, False)))
        assert sha256(self.key.data[96:128] + plain).digest()[8:24] == msg_key
        length = struct.unpack_from("<i", plain, 28)[0]
        return tl.read(plain[32 : 32 + length])

    async def settle(self) -> None:
        """Learn the salt, as every client has to."""
        self.send(PING(0))
        answer = await self.receive()
        assert isinstance(answer, types.BadServerSalt)
        self.salt = answer.new_server_salt


@asynccontextmanager
async def open_peer(dc: Sandbox, phone: str = "9996620001") -> AsyncIterator[RawPeer]:
    """Open a raw peer for the block, with an auth key that is logged in as this account."""
    key = AuthKey.of(dc.authorize(phone))
    reader, writer = await asyncio.open_connection("127.0.0.1", dc.port)
    try:
        yield RawPeer(reader, writer, key)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
