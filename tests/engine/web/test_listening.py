"""Listening sockets, and how clients are let in."""

import asyncio
import errno
import socket

import anyio
import pytest

from engine.web import listening
from engine.web.listening import let_in, listen
from tests.timeouts import TIMEOUT


class Greeter(asyncio.Protocol):
    """Greets each client, and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


async def greeted(port: int) -> bytes:
    """Return what a client is told."""
    with anyio.fail_after(TIMEOUT):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            return await stream.receive()


async def test_a_name_has_a_socket_for_each_of_its_addresses() -> None:
    """At least the one of IPv4; a family that the machine does not use is no failure."""
    listeners = await listen("localhost", 0)
    assert socket.AF_INET in {each.family for each in listeners}
    for each in listeners:
        each.close()


async def test_a_port_in_use_leaves_no_socket_behind() -> None:
    """Also none of another address of the same name; the error is the system's own."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        with pytest.raises(OSError, match=r"ddress already in use") as caught:
            await listen("localhost", other.getsockname()[1])
        assert caught.value.errno == errno.EADDRINUSE


async def test_a_crowd_is_let_in_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, in the end."""
    monkeypatch.setattr(listening, "AT_ONCE", 3)
    (listener,) = await listen("127.0.0.1", 0)
    clients = [socket.create_connection(listener.getsockname()) for _ in range(20)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(let_in, listener, Greeter)
        for client in clients:
            client.setblocking(False)
            with anyio.fail_after(TIMEOUT):
                assert await asyncio.get_running_loop().sock_recv(client, 10) == b"hello"
            client.close()
        tasks.cancel_scope.cancel()
    listener.close()


async def test_a_system_without_descriptors_lets_clients_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are let in when there are some again, and nothing ends or spins meanwhile."""
    monkeypatch.setattr(listening, "REST_SECONDS", 0.01)
    (listener,), loop, refused = await listen("127.0.0.1", 0), asyncio.get_running_loop(), 0
    accept = loop.sock_accept

    async def refuse(sock: socket.socket) -> tuple[socket.socket, object]:
        nonlocal refused
        refused += 1
        if refused <= 3:
            raise OSError(errno.EMFILE, "too many open files")
        return await accept(sock)

    monkeypatch.setattr(loop, "sock_accept", refuse)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(let_in, listener, Greeter)
        assert await greeted(listener.getsockname()[1]) == b"hello"
        tasks.cancel_scope.cancel()
    listener.close()
    assert refused > 3
