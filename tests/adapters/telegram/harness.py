"""A harness with a datacenter in the test's own loop, and session files as Telethon writes them."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from types import TracebackType

import anyio
from attrs import define, field
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.sandbox import Sandbox
from adapters.telegram import Datacenter, TelegramConnector, TelegramLink
from adapters.telegram.client import REQUEST_TIMEOUT
from states import Event
from tests.timeouts import TIMEOUT

PHONE = "+9996620001"
POLL = 0.05
"""Seconds between two looks at whether a link has ended."""


@define
class DatacenterHarness:
    """A sandbox for the length of an ``async with``, and connectors to it.

    No fixture could keep it open: its task group must end in the task that began it.
    """

    directory: Path
    dc: Sandbox = field(factory=Sandbox)

    async def __aenter__(self) -> Sandbox:
        await self.dc.__aenter__()
        self.datacenter().trust()
        return self.dc

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.dc.__aexit__(kind, exc, trace)

    def datacenter(self, port: int | None = None) -> Datacenter:
        """Return where the sandbox is, or where the test says."""
        return Datacenter(self.dc.dc_id, "127.0.0.1", port or self.dc.port, self.dc.public_key)

    def connector(
        self, *, key: bytes | None = b"", port: int | None = None, timeout: float = REQUEST_TIMEOUT
    ) -> TelegramConnector:
        """Make a session file that Telethon wrote, logged in unless ``key`` is None, and a connector for it."""
        path = self.directory / "account.session"
        self.write_session(path, key if key is None else key or self.dc.authorize(PHONE))
        return TelegramConnector(
            session=path,
            api_id=1,
            api_hash="0" * 32,
            datacenter=self.datacenter(port),
            request_timeout=timeout,
        )

    def reopened(self, connector: TelegramConnector) -> TelegramConnector:
        """Return the connector that another process would have for the same file."""
        return TelegramConnector(
            session=connector.session, api_id=1, api_hash="0" * 32, datacenter=connector.datacenter
        )

    def write_session(self, path: Path, key: bytes | None) -> None:
        """Write a session file as Telethon does."""
        session = SQLiteSession(str(path))
        session.set_dc(self.dc.dc_id, "127.0.0.9", 443)  # nothing listens there: no mistake of ours leads outside
        if key is not None:
            session.auth_key = AuthKey(key)
        session.save()
        session.close()

    async def pts_in_file(self, connector: TelegramConnector, least: int) -> int:
        """Return the account's update state in its session file, as soon as it is this far."""
        with anyio.fail_after(TIMEOUT):
            while True:
                with closing(sqlite3.connect(connector.session)) as database:
                    row = database.execute("select pts from update_state where id = 0").fetchone()
                if row and row[0] >= least:
                    return int(row[0])
                await anyio.sleep(0.02)


async def events_of(link: TelegramLink) -> AsyncIterator[Event]:
    """Watch a link, and yield its events until it ends by itself."""
    found: asyncio.Queue[Event] = asyncio.Queue()
    ended = link.client._sender._disconnected
    link.watch(found.put_nowait)
    while True:
        event, over = None, ended.done()  # what is reported then is there after the wait
        with anyio.move_on_after(POLL):
            event = await found.get()
        if event is not None:
            yield event
        elif over:
            return


async def caught_up(link: TelegramLink) -> None:
    """Wait until a link has fetched what its account missed; it does so once it is proven, beside everything else."""
    with anyio.fail_after(TIMEOUT):
        while link.client.differences._catching_up:
            await anyio.sleep(0.005)
