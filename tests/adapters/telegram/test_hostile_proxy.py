"""A hostile proxy: its reply has bounds in size and in time, and the event names it."""

import itertools
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from adapters.telegram import Proxy
from states.events import NetworkLost, ProtocolBroken, TimedOut
from tests.adapters.telegram.attempts import failure, proxied
from tests.adapters.telegram.harness import DatacenterHarness
from tests.timeouts import TIMEOUT

PATIENCE = 1.0
MEGABYTE = b"X-Header: " + b"a" * 2**20


@asynccontextmanager
async def proxy_that_says(scheme: str, replies: Iterable[bytes], pause: float) -> AsyncIterator[Proxy]:
    """Listen as a proxy that answers whatever it is told with these replies, a pause after each."""
    sent = iter(replies)

    async def serve(stream: SocketStream) -> None:
        with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
            async with stream:
                await stream.receive()
                for reply in sent:
                    await stream.send(reply)
                    await anyio.sleep(pause)
                while True:
                    await stream.receive()

    multi = await anyio.create_tcp_listener(local_host="127.0.0.1")
    secret = b"s" * 16 if scheme == "mtproxy" else b""
    async with multi, anyio.create_task_group() as tasks:
        tasks.start_soon(multi.serve, serve)
        yield Proxy(scheme, "127.0.0.1", int(multi.extra(SocketAttribute.local_port)), secret=secret)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("scheme", "reply"),
    [
        ("socks5", b"\x05\x00\x05\x00\x00\x03\xff" + b"a" * 200),
        ("socks4", b"\x00\x5a"),
        ("http", b""),
        ("mtproxy", b"\x00" * 30),
    ],
)
async def test_a_reply_that_never_ends_has_a_deadline(harness: DatacenterHarness, scheme: str, reply: bytes) -> None:
    """A byte now and then keeps no attempt alive beyond its patience."""
    drops = [bytes([byte]) for byte in reply]
    async with harness, proxy_that_says(scheme, drops, 0.05) as proxy:
        began = time.monotonic()
        event = await failure(proxied(harness, proxy), timeout=PATIENCE)
        assert time.monotonic() - began < TIMEOUT
        assert isinstance(event, TimedOut | NetworkLost | ProtocolBroken)
        assert str(proxy) in event.detail


@pytest.mark.parametrize(
    ("scheme", "reply"),
    [
        ("http", b"HTTP/1.1 200 Connection established\r\n" + MEGABYTE),
        ("http", MEGABYTE),
        ("socks5", b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50" + MEGABYTE),
        ("socks4", b"\x00\x5a\x00\x50\x7f\x00\x00\x01" + MEGABYTE),
        ("mtproxy", MEGABYTE),
    ],
)
async def test_a_reply_without_measure_is_cut_off(harness: DatacenterHarness, scheme: str, reply: bytes) -> None:
    """Whatever follows the reply is taken for a frame, and a frame has its bounds."""
    async with harness, proxy_that_says(scheme, itertools.repeat(reply, 64), 0.0) as proxy:
        event = await failure(proxied(harness, proxy), timeout=TIMEOUT)
        assert isinstance(event, NetworkLost | ProtocolBroken)
        assert str(proxy) in event.detail
