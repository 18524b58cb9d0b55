"""Connections of a node that holds a lease, over real TCP: nothing that was not delivered outlives them."""

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import AsyncExitStack

import pytest

from adapters.sockets import undelivered
from adapters.telegram import transport
from adapters.telegram.proxy import MTPROXY, Proxy, connection_class
from adapters.telegram.transport import FullConnection, LeasedConnection
from tests.adapters.telegram.attempts import proxied
from tests.adapters.telegram.harness import DatacenterHarness
from tests.adapters.telegram.test_proxy import KINDS, made
from tests.adapters.telegram.test_transport import LOGGERS, framed
from tests.engine.harness import ROOT
from tests.timeouts import TIMEOUT

LINGERS = (1).to_bytes(4, sys.byteorder) + bytes(4)
SENDER = """
import asyncio, sys, uvloop
from adapters.sockets import undelivered
from adapters.telegram import transport
from tests.adapters.telegram.test_transport import LOGGERS

async def main():
    made = getattr(transport, sys.argv[1])("127.0.0.1", int(sys.argv[2]), 2, loggers=LOGGERS)
    await made.connect(timeout=60)
    sent = 0
    while made._drained is None:
        made.transport.write(bytes(100_000))
        sent += 100_000
    sock = made.transport.get_extra_info("socket")
    before = None
    while (now := (made.transport.get_write_buffer_size(), undelivered(sock))) != before:
        before = now
        await asyncio.sleep(0.2)
    print(sent - sum(now), now[1], flush=True)
    await asyncio.sleep(600)

(uvloop if sys.argv[3] == "uvloop" else asyncio).run(main())
"""


def read_all(sock: socket.socket) -> tuple[int, bool]:
    """Read until the connection ends; return how many bytes came, and whether it was reset."""
    count = 0
    try:
        while found := sock.recv(1 << 20):
            count += len(found)
    except ConnectionResetError:
        return count, True
    return count, False


def narrow_server() -> socket.socket:
    """Return a socket that listens, whose connections take little that nobody reads."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", ["FullConnection", "LeasedConnection"])
def test_what_can_be_read_after_a_process_was_killed(kind: str, loop: str) -> None:
    """With a lease what had arrived before, and then a reset; without one all that the kernel had, megabytes of it."""
    with narrow_server() as server:
        argv = [sys.executable, "-c", SENDER, kind, str(server.getsockname()[1]), loop]
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        ) as sender:
            accepted, _ = server.accept()
            with accepted:
                assert sender.stdout is not None
                delivered, queued = map(int, sender.stdout.readline().split())
                assert queued > 100_000
                sender.kill()
                sender.wait(TIMEOUT)
                accepted.settimeout(TIMEOUT)
                expected = (delivered, True) if kind == "LeasedConnection" else (delivered + queued, False)
                assert read_all(accepted) == expected


def fill(connection: FullConnection) -> None:
    """Write until the socket takes no more."""
    assert connection.transport is not None
    while connection._drained is None:
        connection.transport.write(bytes(100_000))


async def connected(server: socket.socket, kind: type[FullConnection]) -> tuple[FullConnection, socket.socket]:
    """Return both sides of a connection; the other side blocks."""
    connection = kind(*server.getsockname(), 2, loggers=LOGGERS)
    await connection.connect(timeout=TIMEOUT)
    accepted, _ = server.accept()
    accepted.settimeout(TIMEOUT)
    return connection, accepted


async def test_a_normal_close_delivers_what_was_sent() -> None:
    """The last acknowledgements, for example: the other side has all of it, and then a normal end."""
    with narrow_server() as server:
        connection, accepted = await connected(server, LeasedConnection)
        with accepted:
            packet = bytes(50_000)
            await connection.send(packet)
            closing = asyncio.create_task(connection.disconnect())
            count, reset = await asyncio.to_thread(read_all, accepted)
            assert (count, reset) == (len(framed(packet)), False)
            await asyncio.wait_for(closing, TIMEOUT)


async def test_a_close_does_not_wait_for_a_silent_datacenter(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has not confirmed is dropped after a moment, and never sent."""
    monkeypatch.setattr(transport, "DELIVERY_SECONDS", 0.05)
    with narrow_server() as server:
        connection, accepted = await connected(server, LeasedConnection)
        with accepted:
            fill(connection)
            monkeypatch.setattr(transport, "CLOSE_SECONDS", 0.05)
            await asyncio.wait_for(connection.disconnect(), TIMEOUT)
            count, reset = read_all(accepted)
            assert reset
            assert count < 100_000


async def test_a_close_that_is_cancelled_closes() -> None:
    """And drops what was not delivered."""
    with narrow_server() as server:
        connection, accepted = await connected(server, LeasedConnection)
        with accepted:
            fill(connection)
            closing = asyncio.create_task(connection.disconnect())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            assert connection.transport is not None
            connection.transport.abort()
            await asyncio.sleep(0)
            assert (await asyncio.to_thread(read_all, accepted))[1]


async def test_a_connection_that_is_aborted_while_it_is_made_sends_nothing() -> None:
    """It ends as soon as it is there."""
    with narrow_server() as server:
        connection = LeasedConnection(*server.getsockname(), 2, loggers=LOGGERS)
        connecting = asyncio.create_task(connection.connect(timeout=TIMEOUT))
        await asyncio.sleep(0)
        connection.abort()
        with pytest.raises(ConnectionError):
            await connecting
        with pytest.raises(ConnectionError):
            await connection.send(b"abcd")
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(TIMEOUT)
            assert read_all(accepted) == (0, True)


@pytest.mark.parametrize("kind", ["none", *KINDS])
async def test_a_link_of_a_node_with_a_lease_resets_its_connection(harness: DatacenterHarness, kind: str) -> None:
    """Through whichever proxy it goes; an abort ends it at once, and the link closes as always."""
    async with harness, AsyncExitStack() as open_:
        proxy = None if kind == "none" else await open_.enter_async_context(made(kind, harness).listening())
        connector = proxied(harness, proxy and proxy.address())
        connector.leased = True
        link = connector.link(1)
        await link.open(timeout=TIMEOUT)
        sock = link._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == LINGERS
        assert undelivered(sock) >= 0
        link.abort()
        assert link._transport is None or link._transport.is_closing()
        await link.close(timeout=TIMEOUT)


async def test_a_link_without_a_lease_is_as_it_was(harness: DatacenterHarness) -> None:
    """The kernel delivers what it has."""
    async with harness:
        link = harness.connector().link(1)
        await link.open(timeout=TIMEOUT)
        sock = link._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == bytes(8)
        await link.close(timeout=TIMEOUT)


async def test_a_link_that_is_aborted_before_it_has_a_client_does_not_connect(harness: DatacenterHarness) -> None:
    """Its attempt fails, and the datacenter has not heard of it."""
    async with harness as dc:
        link = harness.connector().link(1)
        link.abort()
        events = await link.open(timeout=TIMEOUT)
        assert [type(event).__name__ for event in events] == ["NetworkLost"]
        assert not dc._connections
        await link.close(timeout=TIMEOUT)


def test_every_way_has_a_connection_that_resets() -> None:
    """And only the node with a lease has it."""
    mtproxies = [Proxy(MTPROXY, "h", 1, secret=bytes(size)) for size in (16, 17)]
    ways = [None, Proxy("http", "h", 1), *mtproxies]
    plain, leased = ([connection_class(way, leased=each) for way in ways] for each in (False, True))
    assert [each.resets for each in plain] == [False] * 4
    assert [each.resets for each in leased] == [True] * 4
    assert all(issubclass(new, old) for old, new in zip(plain, leased, strict=True))
