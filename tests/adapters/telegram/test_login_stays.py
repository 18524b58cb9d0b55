"""The promise that a running engine writes neither key nor address of a session, at each door."""

import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from telethon import TelegramClient
from telethon.crypto import AuthKey
from telethon.sessions import MemorySession

from adapters.session import HoldfastSession
from adapters.session.errors import NotASession, SessionFixed
from adapters.telegram import TelegramConnector
from adapters.telegram.engine_session import open_session, stored_address
from adapters.telegram.lent import LentClientError
from states.events import Connected
from tests.adapters.session.support import KEY, rows, telethons
from tests.adapters.telegram.harness import DatacenterHarness
from tests.timeouts import TIMEOUT

ROW = "select dc_id, server_address, port, auth_key from sessions"


def has_ipv6() -> bool:
    """Return whether this machine has an IPv6 loopback."""
    try:
        with closing(socket.create_server(("::1", 0), family=socket.AF_INET6)):
            return True
    except OSError:
        return False


@asynccontextmanager
async def forwarded(port: int) -> AsyncIterator[int]:
    """Forward a port of ``::1`` to one of 127.0.0.1; yield it."""

    async def pipe(source: Any, target: Any) -> None:
        try:
            async for data in source:
                await target.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        await target.aclose()

    async def serve(client: Any) -> None:
        async with client, await anyio.connect_tcp("127.0.0.1", port) as server, anyio.create_task_group() as tasks:
            tasks.start_soon(pipe, client, server)
            tasks.start_soon(pipe, server, client)

    async with await anyio.create_tcp_listener(local_host="::1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


def rewrite(path: Path, **columns: Any) -> None:
    """Change columns of a session's row, as another program has them."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"update sessions set {', '.join(f'{name} = ?' for name in columns)}", tuple(columns.values()))


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]", "0:0:0:0:0:0:0:1"])
async def test_a_session_of_an_ipv6_address_connects_and_keeps_its_row(harness: DatacenterHarness, host: str) -> None:
    """The login of a file that was made with ``use_ipv6`` is still there, to the letter, after links came and went."""
    async with harness:
        made = harness.connector()
        assert made.address is not None
        async with forwarded(made.address[2]) as port:
            rewrite(made.session, dc_id=made.address[0], server_address=host, port=port)
            wanted = rows(made.session, ROW)
            connector = TelegramConnector(session=made.session, api_id=made.api_id, api_hash=made.api_hash)
            for number in (1, 2):
                link = connector.link(number)
                assert (await link.open(timeout=TIMEOUT))[-1] == Connected(link=number)
                await link.close(timeout=TIMEOUT)
            await connector.settle()
        assert rows(made.session, ROW) == wanted


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session.set_dc(2, "149.154.167.51", 443),
        lambda session: session.set_dc(session.dc_id, session.server_address, 80),
        lambda session: setattr(session, "auth_key", AuthKey(b"n" * 256)),
    ],
)
async def test_a_running_session_takes_no_other_datacenter_and_no_other_key(tmp_path: Path, change: Any) -> None:
    """Whoever tries it gets a sentence, and neither memory nor file has changed."""
    path = telethons(tmp_path / "a.session")
    connector = TelegramConnector(session=path, api_id=1, api_hash="0" * 32)
    session = await open_session(connector)
    before = rows(path, ROW)
    with pytest.raises(LentClientError, match="which the engine uses"):
        change(session)
    session.takeout_id = 7
    await session.release()
    assert rows(path, ROW) == before
    assert rows(path, "select takeout_id from sessions") == [7]


@pytest.mark.parametrize(
    ("columns", "address"),
    [
        ({"dc_id": 4, "server_address": None, "port": None}, (4, "149.154.167.91", 443)),
        ({"dc_id": 5, "server_address": "", "port": 0}, (5, "91.108.56.130", 443)),
        ({"dc_id": 2, "server_address": "dc.example.org", "port": "8443"}, (2, "dc.example.org", 8443)),
        ({"dc_id": 3, "server_address": "[2001:67c:4e8:f002::b]", "port": 99999}, (3, "2001:67c:4e8:f002::b", 443)),
    ],
)
async def test_a_row_that_says_little_is_completed_in_memory_alone(
    tmp_path: Path, columns: dict[str, Any], address: tuple[int, str, int]
) -> None:
    """The address that a converter left out follows from the datacenter; Telethon would take another datacenter."""
    path = telethons(tmp_path / "a.session")
    rewrite(path, **columns)
    before = rows(path, ROW)
    connector = TelegramConnector(session=path, api_id=1, api_hash="0" * 32)
    session = await open_session(connector)
    assert (session.dc_id, session.server_address, session.port) == address == stored_address(path)
    client = connector.make_client(session, timeout=1, proxy=None)
    assert client._use_ipv6 == (":" in address[1])
    session.takeout_id = 3
    await session.release()
    assert rows(path, ROW) == before


async def test_a_key_of_no_datacenter_is_refused(tmp_path: Path) -> None:
    """A key that belongs to an unknown datacenter is not tried at another one."""
    path = telethons(tmp_path / "a.session")
    rewrite(path, dc_id=0, server_address=None)
    with pytest.raises(NotASession, match="does not say of which datacenter"):
        await open_session(TelegramConnector(session=path, api_id=1, api_hash="0" * 32))


async def test_a_redirect_reaches_no_file(harness: DatacenterHarness) -> None:
    """An account that is redirected to another datacenter's address has its own in the file, also with a takeout."""
    async with harness:
        connector = harness.connector()
        rewrite(connector.session, server_address="10.1.2.3", port=4)
        before = rows(connector.session, ROW)
        link = connector.link(1)
        assert (await link.open(timeout=TIMEOUT))[-1] == Connected(link=1)
        link.client.session.takeout_id = 8
        await link.close(timeout=TIMEOUT)
        await connector.settle()
        assert rows(connector.session, ROW) == before


async def test_a_clone_for_another_datacenter_is_in_memory(tmp_path: Path) -> None:
    """Telethon clones a session for a CDN, and gives the clone that one's address and key."""
    path = telethons(tmp_path / "a.session")
    session = await open_session(TelegramConnector(session=path, api_id=1, api_hash="0" * 32))
    clone = session.clone()
    clone.set_dc(203, "10.0.0.1", 443)
    clone.auth_key = AuthKey(b"c" * 256)
    await session.release()
    assert isinstance(clone, MemorySession)
    assert rows(path, ROW) == [(2, "127.0.0.1", 443, KEY)]


@pytest.mark.parametrize(("address", "ipv6"), [("::1", False), ("127.0.0.1", True)])
async def test_a_program_whose_client_is_of_the_other_kind_loses_no_login(
    tmp_path: Path, address: str, ipv6: bool
) -> None:
    """Bare Telethon overwrites the row with datacenter 2; the session says how the client has to be made."""
    path = telethons(tmp_path / "a.session")
    rewrite(path, dc_id=4, server_address=address)
    session = HoldfastSession(path)
    client = TelegramClient(session, 1, "0" * 32, use_ipv6=ipv6, connection_retries=0)
    with pytest.raises(SessionFixed, match=f"make it with use_ipv6={not ipv6}"):
        await client.connect()
    await client.disconnect()
    await session.close()
    assert rows(path, ROW) == [(4, address, 443, KEY)]
