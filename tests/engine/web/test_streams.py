"""Streams: answers that go on for as long as a page is open, and what a client of one can cost."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
import pytest
from attrs import define, field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from engine.config import ListenAddress
from engine.web import connection, server
from engine.web.connection import begin_stream
from engine.web.server import WebServer
from tests.timeouts import TIMEOUT

HOST = "127.0.0.1"
PART = b"event: fragment\ndata: " + b"x" * 10_000 + b"\n\n"


@define(eq=False)
class Streams:
    """A server with a route that streams parts, and what its generator has lived through."""

    pause: float = 0.0
    last: int | None = None
    """After how many parts a stream ends; None: it does not."""
    made: int = field(default=0, init=False)
    """Parts that were made, of all streams."""
    open: int = field(default=0, init=False)
    port: int = field(default=0, init=False)

    async def parts(self) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            while self.last is None or self.made < self.last:
                self.made += 1
                yield b"%d;" % self.made + PART
                await anyio.sleep(self.pause)
        finally:
            self.open -= 1

    async def stream(self, request: Request) -> Response:
        if not begin_stream(request.scope):
            return PlainTextResponse("too many", status_code=503)
        return StreamingResponse(self.parts(), media_type="text/event-stream")

    async def hello(self, _: Request) -> Response:
        return PlainTextResponse("hello")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve the routes; cancelled at the end, as an engine does it."""
        web = WebServer(ListenAddress(HOST, 0), Starlette(routes=[Route("/", self.hello), Route("/s", self.stream)]))
        async with anyio.create_task_group() as tasks:
            await tasks.start(web.run)
            self.port = web.port
            yield
            tasks.cancel_scope.cancel()

    async def ask(self, path: str = "/s", *, until: bytes = b"", small: bool = False) -> "Client":
        """Ask, and read the answer as far as ``until``; a ``small`` client has no room for what it does not read."""
        client = Client()
        if small:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(client.socket, (HOST, self.port))
        await client.send(b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path.encode())
        await client.read(until)
        return client


class Client:
    """A client that reads when it is told to: a transport would read on its own."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def read(self, until: bytes | None = None) -> bytes:
        """Return what comes until this is in it, or until the connection is closed."""
        found = b""
        with anyio.fail_after(TIMEOUT):
            while until is None or until not in found:
                try:
                    part = await asyncio.get_running_loop().sock_recv(self.socket, 65_536)
                except ConnectionError:
                    part = b""
                if not part:
                    assert until is None, found[-200:]
                    break
                found += part
        return found


async def becomes(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    with anyio.fail_after(TIMEOUT):
        while not true():
            await anyio.sleep(0.01)


async def test_a_stream_outlives_the_time_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client reads on, and that is what it is for."""
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.1)
    streams = Streams(pause=0.02, last=20)
    async with streams.serving():
        async with await streams.ask() as client:
            assert b"20;event" in await client.read(b"\r\n0\r\n\r\n")
        assert streams.made == 20


async def test_its_connection_serves_the_next_request_after_it() -> None:
    """With the bounds of an ordinary answer again."""
    streams = Streams(last=2)
    async with streams.serving(), await streams.ask(until=b"\r\n0\r\n\r\n") as client:
        await client.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b"hello" in await client.read()


async def test_a_client_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then no more parts are made than the system's buffers take."""
    monkeypatch.setattr(connection, "SEND_SECONDS", 0.2)
    streams = Streams()
    async with streams.serving(), await streams.ask(small=True):
        await becomes(lambda: streams.made > 0)
        await becomes(lambda: streams.open == 0)
        assert streams.made * len(PART) < 1_000_000


async def test_a_client_that_reads_slowly_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The route waits for it, and each part is there once and whole."""
    monkeypatch.setattr(connection, "SEND_SECONDS", TIMEOUT)
    streams = Streams(last=60)
    async with streams.serving(), await streams.ask(small=True) as client:
        await becomes(lambda: streams.made > 1)
        await anyio.sleep(0.1)  # it reads nothing meanwhile
        assert streams.made < 60
        found = await client.read(b"\r\n0\r\n\r\n")
    assert [b"\r\n%d;event" % number in found for number in range(1, 61)] == [True] * 60


async def test_a_client_that_leaves_ends_its_stream() -> None:
    """Also while the route waits for something to tell."""
    streams = Streams(pause=TIMEOUT)
    async with streams.serving():
        client = await streams.ask(until=PART)
        assert streams.open == 1
        client.close()
        await becomes(lambda: streams.open == 0)


async def test_a_route_that_only_sends_ends_with_its_client() -> None:
    """uvicorn swallows what is sent to nobody; a route without Starlette's response would send it for ever."""
    sent, ended = 0, anyio.Event()

    async def application(scope: Any, _: Any, send: Any) -> None:
        nonlocal sent
        assert begin_stream(scope)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": PART, "more_body": True})
                sent += 1
                await anyio.sleep(0.001)
        finally:
            ended.set()

    web = WebServer(ListenAddress(HOST, 0), application)
    async with anyio.create_task_group() as tasks:
        await tasks.start(web.run)
        streams = Streams()
        streams.port = web.port
        (await streams.ask(until=PART)).close()
        with anyio.fail_after(TIMEOUT):
            await ended.wait()
        tasks.cancel_scope.cancel()


async def test_there_are_so_many_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused by the route, and has room when another one is over; other requests go on."""
    monkeypatch.setattr(connection, "MAX_STREAMS", 2)
    streams = Streams(pause=TIMEOUT)
    async with streams.serving():
        clients = [await streams.ask(until=PART) for _ in range(2)]
        async with await streams.ask(until=b"too many"), await streams.ask("/", until=b"hello"):
            pass
        clients[0].close()
        await becomes(lambda: streams.open == 1)
        async with await streams.ask(until=PART), clients[1]:
            assert streams.open == 2


async def test_silent_clients_take_no_place_of_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """They displace one another."""
    monkeypatch.setattr(connection, "MAX_CLIENTS", 4)
    streams = Streams(pause=0.01)
    async with streams.serving(), await streams.ask(until=PART) as client:
        others = [await streams.ask("/", until=b"hello") for _ in range(20)]
        for each in others[:-4]:
            await each.read()
        await client.read(b";event")
        assert streams.open == 1
        for each in others:
            each.close()


async def test_a_stream_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then its client asks again, as an EventSource does."""
    monkeypatch.setattr(connection, "STREAM_SECONDS", 0.2)
    streams = Streams(pause=0.01)
    async with streams.serving(), await streams.ask() as client:
        assert b";event" in await client.read()
        await becomes(lambda: streams.open == 0)


async def test_the_end_of_the_server_waits_for_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine stops at once, however many pages are open."""
    monkeypatch.setattr(server, "STOP_SECONDS", 1.5 * TIMEOUT)
    streams = Streams(pause=TIMEOUT)
    with anyio.fail_after(TIMEOUT):
        async with streams.serving():
            client = await streams.ask(until=PART)
        await client.read()
        client.close()
    assert streams.open == 0
