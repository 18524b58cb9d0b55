"""Proxies on loopback, as small as they can be and be real: SOCKS5, SOCKS4, HTTP CONNECT and MTProxy."""

import asyncio
import base64
import hashlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from functools import partial

import anyio
from attrs import define, field
from telethon.crypto import AESModeCTR

from adapters.sandbox.mtproto.transport import Full, Intermediate, Obfuscated
from adapters.telegram import Proxy

USER, PASSWORD = "user-of-the-proxy", "p@ss:word%/of-the-proxy"
PLAIN = bytes.fromhex("dd0fa11ce0ddba11dd0fa11ce0ddba11")  # begins with dd, as one plain secret in 256 does
PADDED = b"\xdd" + bytes.fromhex("5ec2e75ec2e75ec2e75ec2e75ec2e700")
SECRETS = (
    USER,
    PASSWORD,
    base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
    *(form for secret in (PLAIN, PADDED[1:]) for form in (secret.hex(), repr(secret)[2:-1])),
)
"""What must never be shown, in every form that it takes on its way."""
Way = Callable[[], Awaitable[None]]


class Behaviour(Enum):
    """How a proxy behaves to its clients."""

    WORKS = auto()
    SILENT = auto()
    """Reads, and says nothing."""
    CLOSES = auto()
    """Closes as soon as it was spoken to."""
    CANNOT_REACH = auto()
    """Says that it cannot reach the datacenter."""
    FORBIDS = auto()
    """Says that its rules forbid the datacenter."""
    BABBLES = auto()
    """Answers with nonsense, in which it repeats the login."""


@define
class LocalProxy:
    """A proxy for the length of an ``async with proxy.listening()``.

    ``secret`` is MTProxy's; ``target`` is where an MTProxy leads, which the others are told by their clients.
    """

    scheme: str
    user: str | None = None
    password: str | None = None
    secret: bytes = b""
    target: tuple[str, int] | None = None
    behaviour: Behaviour = Behaviour.WORKS
    port: int = field(default=0, init=False)
    accepted: int = field(default=0, init=False)
    tunnels: list[tuple[str, int]] = field(factory=list, init=False)
    """Our own address of each connection to a datacenter, which is what the datacenter sees of a client."""
    _tasks: set[asyncio.Task[None]] = field(factory=set, init=False)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["LocalProxy"]:
        """Listen on loopback; at the end every connection is closed."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            while self._tasks:
                await asyncio.wait(self._tasks, timeout=1)

    @property
    def open_connections(self) -> int:
        """How many clients there are now."""
        return len(self._tasks)

    def cut(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()

    def address(self, **login: str | bytes | None) -> Proxy:
        """Return what the engine is told: this proxy with its own login, or with the given one."""
        own = {"user": self.user, "password": self.password, "secret": self.secret}
        return Proxy(self.scheme, "127.0.0.1", self.port, **own | login)  # type: ignore[arg-type]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            with suppress(OSError, EOFError, asyncio.CancelledError):
                await self._talk(reader, writer)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match self.behaviour:
            case Behaviour.SILENT:
                while await reader.read(1024):
                    pass
            case Behaviour.CLOSES:
                await reader.read(1)
            case Behaviour.BABBLES if self.scheme != "mtproxy":
                writer.write(b"HTTP/1.1 400 " + (await reader.read(1024)).replace(b"\r\n", b" ") + b"\r\n")
            case _ if self.scheme == "socks5":
                await self._socks5(reader, writer)
            case _ if self.scheme == "socks4":
                await self._socks4(reader, writer)
            case _ if self.scheme == "http":
                await self._http(reader, writer)
            case _:
                await self._mtproxy(reader, writer)

    async def _socks5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """RFC 1928, and RFC 1929 for the login."""
        _, count = await reader.readexactly(2)
        method = 2 if self.user else 0
        offered = method in await reader.readexactly(count)
        writer.write(bytes([5, method if offered else 0xFF]))
        if not offered:
            return
        if self.user:
            user = await reader.readexactly((await reader.readexactly(2))[1])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            right = (user.decode(), password.decode()) == (self.user, self.password)
            writer.write(bytes([1, 0 if right else 1]))
            if not right:
                return
        *_, kind = await reader.readexactly(4)
        assert kind == 1, "Telethon names datacenters by their IPv4 address"
        host = ".".join(map(str, await reader.readexactly(4)))
        (port,) = struct.unpack(">H", await reader.readexactly(2))
        code = {Behaviour.CANNOT_REACH: 4, Behaviour.FORBIDS: 2}.get(self.behaviour, 0)
        writer.write(bytes([5, code, 0, 1]) + bytes(6))
        if not code:
            await self._tunnel(reader, writer, host, port)

    async def _socks4(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, _, port, *address = struct.unpack(">BBHBBBB", await reader.readexactly(8))
        user = (await reader.readuntil(b"\0"))[:-1].decode()
        code = 93 if user != (self.user or "") else 91 if self.behaviour is Behaviour.CANNOT_REACH else 90
        writer.write(bytes([0, code]) + bytes(6))
        if code == 90:
            await self._tunnel(reader, writer, ".".join(map(str, address)), port)

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """CONNECT, with Basic for the login."""
        request, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        host, port = request.split()[1].split(":")
        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        status = {Behaviour.CANNOT_REACH: "502 Bad Gateway", Behaviour.FORBIDS: "403 Forbidden"}.get(
            self.behaviour, "200 OK"
        )
        if self.user and f"Proxy-Authorization: Basic {login}" not in headers:
            status = "407 Proxy Authentication Required"
        writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
        if status == "200 OK":
            await self._tunnel(reader, writer, host, int(port))

    async def _mtproxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Obfuscated2 with the secret in its keys towards the client; the plain full framing towards the server."""
        header = await reader.readexactly(64)
        backwards, secret = header[55:7:-1], self.secret[-16:]
        decrypt = AESModeCTR(hashlib.sha256(header[8:40] + secret).digest(), header[40:56])
        encrypt = AESModeCTR(hashlib.sha256(backwards[:32] + secret).digest(), backwards[32:48])
        tag = bytes(decrypt.encrypt(header))[56:60]
        padded = len(self.secret) == 17
        if tag != (b"\xdd" if padded else b"\xee") * 4:  # keys or padding are not those of our secret
            return
        if self.behaviour is Behaviour.BABBLES:
            writer.write(encrypt.encrypt(b"\xff" * 4 + self.secret))  # a length below zero
            return
        client, server = Obfuscated(Intermediate(padded), decrypt, encrypt), Full()
        assert self.target is not None
        there, out = await asyncio.open_connection(*self.target)
        self.tunnels.append(out.get_extra_info("sockname"))

        async def forth() -> None:
            while True:
                out.write(server.encode(await client.read(reader)))

        async def back() -> None:
            while True:
                writer.write(client.encode(await server.read(there)))

        await _until_one_ends(forth, back, out)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        there, out = await asyncio.open_connection(host, port)
        self.tunnels.append(out.get_extra_info("sockname"))
        await _until_one_ends(partial(_copy, reader, out), partial(_copy, there, writer), out)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)


async def _until_one_ends(forth: Way, back: Way, out: asyncio.StreamWriter) -> None:
    """Carry both ways until one ends, then close the connection to the datacenter."""
    async with anyio.create_task_group() as ways:

        async def carry(way: Way) -> None:
            with suppress(OSError, EOFError):
                await way()
            ways.cancel_scope.cancel()

        try:
            ways.start_soon(carry, forth)
            await carry(back)
        finally:
            out.close()
