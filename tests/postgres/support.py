"""Nodes of the tests: lives in a store, and connections to it."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any, Final

from adapters.postgres.accounts import AccountRows
from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreConnection, StoreTimeouts
from adapters.postgres.nodes import NodeRows
from adapters.stores.nodes import BeatAnswer, NodeEntry
from tests.timeouts import TIMEOUT

WHY: Final = "a test ended it"
_lives = itertools.count(7_000_000_000_000_000_001)


def new_life() -> int:
    """Return a number that no life has had."""
    return next(_lives)


@contextlib.asynccontextmanager
async def connected(url: str, timeouts: StoreTimeouts | None = None) -> AsyncIterator[StoreConnection]:
    """Connect for the length of the block."""
    connection = await StoreConnection.open(StoreAddress.parse(url), application="test", timeouts=timeouts)
    try:
        yield connection
    finally:
        connection.close()


class Node:
    """A node with its rows, over a connection of its own."""

    def __init__(self, connection: StoreConnection, entry: NodeEntry) -> None:
        self.connection = connection
        self.entry = entry
        self.nodes = NodeRows(connection)
        self.accounts = AccountRows(connection)
        self.life = 0

    async def begin(self) -> None:
        """Begin a new life, which ends the one before."""
        life = new_life()
        await self.nodes.begin(life, self.entry, ends=self.life)
        self.life = life

    async def beat(self) -> BeatAnswer:
        """Beat, and expect that the life is not over."""
        answer = await self.nodes.beat(self.life)
        assert answer is not None
        return answer

    async def claim(self, up_to: int = 1_000_000, hosts: str = "*") -> dict[str, int]:
        """Claim, and return the accounts with their epochs."""
        server = (await self.beat()).server
        await self.accounts.free_accounts_of_the_dead()
        return {each.name: each.epoch for each in await self.accounts.claim(self.life, server, {hosts: up_to})}


@contextlib.asynccontextmanager
async def node(url: str, name: str, *, timeouts: StoreTimeouts | None = None, **entry: Any) -> AsyncIterator[Node]:
    """Begin the life of a node for the length of the block; it does not end with it."""
    async with connected(url, timeouts) as connection:
        it = Node(connection, NodeEntry(name=name, **{"host": f"{name}-host", "lease": 15.0, **entry}))
        await it.begin()
        yield it


async def waits_for_lock(connection: StoreConnection, statements: int = 1) -> None:
    """Return when so many statements of other connections wait for a lock."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(TIMEOUT):
        while (await connection.execute(sql))[0][0] < statements:
            await asyncio.sleep(0.005)
