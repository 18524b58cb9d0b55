"""The web server: it listens when it can, and no client costs it more than its share."""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
import structlog
from anyio.abc import SocketStream
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from engine.config import ListenAddress
from engine.fleet import watchers
from engine.web import connection
from engine.web.server import WebServer
from tests.timeouts import TIMEOUT

HOST = "127.0.0.1"


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


async def broken(_: Request) -> Response:
    raise LookupError("a mistake")


async def big(_: Request) -> Response:
    return PlainTextResponse("x" * 20_000_000)


async def half(_: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"a part"
        raise LookupError("a mistake")

    return StreamingResponse(parts())


async def endless(_: Request) -> Response:
    await anyio.sleep_forever()
    raise AssertionError


async def read(request: Request) -> Response:
    return PlainTextResponse(f"{len(await request.body())} bytes")


ROUTES = {"/": hello, "/broken": broken, "/big": big, "/half": half, "/endless": endless}
APPLICATION = Starlette(
    routes=[*(Route(path, function) for path, function in ROUTES.items()), Route("/read", read, methods=["POST"])]
)


@asynccontextmanager
async def serving(port: int = 0) -> AsyncIterator[WebServer]:
    """Serve the routes; cancelled at the end, as an engine does it."""
    server = WebServer(ListenAddress(HOST, port), APPLICATION)
    async with anyio.create_task_group() as tasks:
        await tasks.start(server.run)
        yield server
        tasks.cancel_scope.cancel()


async def get(server: WebServer, path: str = "/") -> httpx.Response:
    """Ask as a client does."""
    async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
        return await client.get(f"http://{HOST}:{server.port}{path}")


async def raw(server: WebServer, sends: bytes = b"") -> SocketStream:
    """Connect, and send some bytes."""
    stream = await anyio.connect_tcp(HOST, server.port)
    if sends:
        await stream.send(sends)
    return stream


async def is_closed(stream: SocketStream) -> bytes:
    """Wait until the server has closed a connection; return what it sent before."""
    found = b""
    with anyio.fail_after(TIMEOUT):
        try:
            while True:
                found += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return found


async def test_it_answers_and_says_where_it_is() -> None:
    """The line has the port that was found, and no request has a line at all."""
    with structlog.testing.capture_logs() as said:
        async with serving() as server:
            answer = await get(server)
            assert (answer.status_code, answer.text) == (200, "hello")
            assert "server" not in answer.headers
            port = server.port
        assert server.port == 0
    assert said == [{"event": "web_listening", "log_level": "info", "address": f"{HOST}:{port}"}]


async def test_uvicorn_says_nothing_and_takes_no_signal(caplog: pytest.LogCaptureFixture) -> None:
    """Its loggers belong to the program around the engine, and the signals to ``run``."""
    caplog.set_level(logging.DEBUG)
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    async with serving() as server:
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
        await get(server)
        stream = await raw(server, b"nonsense\r\n\r\n")
        assert b"400" in await is_closed(stream)
        await stream.aclose()
    assert [each for each in caplog.records if each.name.startswith("uvicorn")] == []


async def test_a_port_in_use_is_one_sentence_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine goes on meanwhile; when the port is free, the server is there."""
    monkeypatch.setattr(watchers, "PAUSES", (0.01,))
    with structlog.testing.capture_logs() as said, socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        server = WebServer(ListenAddress(HOST, port), APPLICATION)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run)
            with anyio.fail_after(TIMEOUT):
                while not said:
                    await anyio.sleep(0.01)
            await anyio.sleep(0.1)  # several tries
            assert server.port == 0
            other.close()
            with anyio.fail_after(TIMEOUT):
                while not server.port:
                    await anyio.sleep(0.01)
            assert (await get(server)).text == "hello"
            tasks.cancel_scope.cancel()
    assert [each["event"] for each in said] == ["web_unreachable", "web_listening"]
    assert said[0]["address"] == f"{HOST}:{port}"
    assert said[0]["detail"] == "address already in use"


async def test_an_address_of_another_machine_is_one_sentence() -> None:
    """Also a name that nobody knows."""
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with structlog.testing.capture_logs() as said:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(WebServer(ListenAddress(host, 1), APPLICATION).run)
                with anyio.fail_after(TIMEOUT):
                    while not said:
                        await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
        assert said[0]["event"] == "web_unreachable"
        assert "\n" not in said[0]["detail"]


async def test_a_mistake_ends_one_request_and_is_told_once() -> None:
    """Its traceback is in the log, and not in the answer."""
    with structlog.testing.capture_logs() as said:
        async with serving() as server:
            for _ in range(3):
                answer = await get(server, "/broken")
                assert answer.status_code == 500
                assert "mistake" not in answer.text
            assert (await get(server)).text == "hello"
    failed = [each for each in said if each["event"] == "web_request_failed"]
    assert [each["request"] for each in failed] == ["/broken"]


async def test_a_mistake_in_the_middle_of_an_answer_closes_the_connection() -> None:
    """The client must not take a part for the whole."""
    async with serving() as server:
        with pytest.raises(httpx.RemoteProtocolError):
            await get(server, "/half")
        assert (await get(server)).text == "hello"


@pytest.mark.parametrize("sends", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-len"])
async def test_a_request_that_does_not_come_loses_its_place(monkeypatch: pytest.MonkeyPatch, sends: bytes) -> None:
    """A client that connects and says nothing, or half of it."""
    monkeypatch.setattr(connection, "READ_SECONDS", 0.05)
    async with serving() as server:
        stream = await raw(server, sends)
        assert await is_closed(stream) == b""
        await stream.aclose()


async def test_a_head_that_dribbles_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is for all of it, not for the next byte."""
    monkeypatch.setattr(connection, "READ_SECONDS", 0.2)
    async with serving() as server:
        stream, open_ = await raw(server, b"GET / HTTP/1.1\r\n"), True
        with anyio.fail_after(TIMEOUT):
            while open_:
                try:
                    await stream.send(b"x: y\r\n")
                except (anyio.BrokenResourceError, OSError):
                    open_ = False
                await anyio.sleep(0.02)
        await stream.aclose()


async def test_a_client_that_does_not_read_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer waits in the system's buffers, then in ours, and then no longer."""
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.1)
    async with serving() as server:
        stream = await raw(server, b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
        await anyio.sleep(0.3)
        assert len(await is_closed(stream)) < 20_000_000
        await stream.aclose()
        assert (await get(server)).text == "hello"


async def test_an_answer_that_never_comes_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that hangs holds no client for ever."""
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.05)
    async with serving() as server:
        stream = await raw(server, b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        await is_closed(stream)
        await stream.aclose()
        with anyio.fail_after(TIMEOUT):
            while any("run_asgi" in repr(task) for task in asyncio.all_tasks()):
                await anyio.sleep(0.01)


async def test_a_head_has_a_bound() -> None:
    """A client cannot fill the memory with headers."""
    async with serving() as server:
        stream = await raw(server, b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000)
        await is_closed(stream)
        await stream.aclose()
        assert (await get(server)).text == "hello"


async def test_a_thousand_silent_clients_lock_nobody_out() -> None:
    """Places are bounded, and those that have asked for nothing for the longest time give theirs up."""
    async with serving() as server:
        streams = [await raw(server) for _ in range(300)]
        assert (await get(server)).text == "hello"
        open_now = len([task for task in asyncio.all_tasks() if "run_asgi" in repr(task)])
        assert open_now == 0
        for stream in streams[: -connection.MAX_CLIENTS]:
            await is_closed(stream)
        for stream in streams:
            await stream.aclose()


async def test_one_connection_serves_many_requests() -> None:
    """Also those that were sent together."""
    async with serving() as server:
        request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
        last = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        stream = await raw(server, request * 5 + last)
        assert (await is_closed(stream)).count(b"hello") == 6
        await stream.aclose()


async def test_its_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that hangs and clients that are idle do not keep an engine from stopping; no task is left."""
    monkeypatch.setattr("engine.web.server.STOP_SECONDS", 0.05)
    before = asyncio.all_tasks()
    async with serving() as server:
        hanging = await raw(server, b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        idle = await raw(server)
        await anyio.sleep(0.05)
    for stream in (hanging, idle):
        await is_closed(stream)
        await stream.aclose()
    assert asyncio.all_tasks() == before


async def test_the_same_port_is_free_again_at_once() -> None:
    """A restart within a second finds it."""
    async with serving() as server:
        port = server.port
        await get(server)
    async with serving(port) as server:
        assert (await get(server)).text == "hello"


@pytest.mark.parametrize(
    "sends",
    [
        b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n" * 4,
        b"POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nonly a part",
    ],
)
async def test_clients_that_ask_and_do_not_go_on_lock_nobody_out(monkeypatch: pytest.MonkeyPatch, sends: bytes) -> None:
    """A request that waits for its own client, to fetch what came before or to send the rest, holds no place."""
    monkeypatch.setattr(connection, "MAX_CLIENTS", 4)
    async with serving() as server:
        streams = [await raw(server, sends) for _ in range(8)]
        for _ in range(3):
            assert (await get(server)).text == "hello"
        for stream in streams:
            await stream.aclose()


async def test_whoever_has_had_an_answer_makes_room_for_who_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks again and again would otherwise always be the last that got one, and never leave."""
    monkeypatch.setattr(connection, "MAX_CLIENTS", 3)
    async with serving() as server:
        fresh = await raw(server)
        greedy = [await raw(server, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 3) for _ in range(5)]
        for stream in greedy[:-2]:
            assert b"hello" in await is_closed(stream)
        await fresh.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b"hello" in await is_closed(fresh)
        for stream in (fresh, *greedy):
            await stream.aclose()


async def test_a_new_client_is_let_in_while_all_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to a bound, at which whoever comes is dropped, and nobody whose request is under way."""
    monkeypatch.setattr(connection, "MAX_CLIENTS", 2)
    monkeypatch.setattr(connection, "MOST_CLIENTS", 4)
    async with serving() as server:
        busy = [await raw(server, b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n") for _ in range(3)]
        assert (await get(server)).text == "hello"
        busy.append(await raw(server, b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n"))
        with anyio.fail_after(TIMEOUT):
            while sum("run_asgi" in repr(task) for task in asyncio.all_tasks()) < 4:
                await anyio.sleep(0.01)
        one_more = await raw(server)
        assert await is_closed(one_more) == b""
        assert sum("run_asgi" in repr(task) for task in asyncio.all_tasks()) == 4
        for stream in (*busy, one_more):
            await stream.aclose()


async def test_answers_that_nobody_fetches_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all clients together: the one that has waited longest is dropped, and the last one has its answer."""
    monkeypatch.setattr(connection, "MAX_WAITING_BYTES", 20_000_000)
    async with serving() as server:
        streams = [await raw(server, b"GET /big HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n") for _ in range(2)]
        whole = [await is_closed(stream) for stream in reversed(streams)]
        assert len(whole[0]) > 20_000_000
        assert min(map(len, whole)) < 20_000_000
        for stream in streams:
            await stream.aclose()
