"""A thousand slow clients at a real engine's web server: they are bounded, and nobody else notices them."""

import asyncio
import socket
from contextlib import ExitStack, suppress

import anyio
import pytest

from adapters.sandbox import Sandbox
from adapters.system.descriptors import raise_to
from engine import Engine
from engine.web import connection
from engine.web.connection import BoundedConnection
from tests.engine.harness import FAST, EngineHarness
from tests.engine.web.test_live import Web
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

PHONES = ("+9996640001", "+9996640002")
SLOW = (b"", b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ", b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 20)
"""What they send, and then nothing more: nothing, half a head, and many requests whose answers they do not read."""
CLIENTS = 999


@pytest.mark.slow
async def test_a_thousand_slow_clients_cost_no_account_its_connection(harness: EngineHarness) -> None:
    """There are never more of them than there are places, and an honest client is answered all the while."""
    raise_to(4096, at_least=2048)
    web, most = Web(harness), 0
    made = BoundedConnection.connection_made

    def counted(self: BoundedConnection, transport: asyncio.Transport) -> None:
        nonlocal most
        made(self, transport)
        most = max(most, len(self.connections))

    async with Sandbox() as dc:
        harness.at(dc, *PHONES, rest=FAST + web.section)
        engine = Engine.from_config(harness.config)
        async with engine:
            await web.until("/readyz", 200)
            links = [runner.snapshot.links for runner in engine.fleet.runners.values()]
            with ExitStack() as crowd:
                BoundedConnection.connection_made = counted  # type: ignore[method-assign]
                crowd.callback(setattr, BoundedConnection, "connection_made", made)
                for number in range(CLIENTS):
                    await come(crowd, web.port, SLOW[number % len(SLOW)])
                    if number % 100 == 0:
                        assert (await web.get("/healthz")).status_code == 200
                assert (await web.get("/readyz")).status_code == 200
            assert 0 < most <= connection.MOST_CLIENTS
            for account in engine.config.accounts:
                await engine.account(account.name).ready()
            assert [runner.snapshot.links for runner in engine.fleet.runners.values()] == links


async def come(crowd: ExitStack, port: int, sends: bytes) -> None:
    """Let one more client come, which stays as long as the server lets it."""
    client = crowd.enter_context(socket.socket())
    client.setblocking(False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with anyio.fail_after(TIMEOUT), suppress(ConnectionError):
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
        if sends:
            await asyncio.get_running_loop().sock_sendall(client, sends)
