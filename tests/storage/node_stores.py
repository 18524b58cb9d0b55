"""The stores of lives and accounts that the contract is asked of: a file of several workers, a database of nodes."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from adapters.sqlite.node_accounts import FileAccounts
from adapters.sqlite.node_file import NodeFile, make_file
from adapters.sqlite.nodes import FileNodes
from adapters.stores.nodes import NodeEntry

WHY = "a test ended it"
_lives = itertools.count(5_000_000_000_000_000_001)


class NodeUnderTest(Protocol):
    """A node with its rows, over a connection of its own."""

    nodes: Any
    accounts: Any
    entry: Any
    life: int

    async def begin(self) -> None:
        """Begin a new life, which ends the one before."""

    async def beat(self) -> Any:
        """Beat, and expect that the life is not over."""

    async def claim(self, up_to: int = 1_000_000, hosts: str = "*") -> dict[str, int]:
        """Claim, and return the accounts with their epochs."""


class NodesUnderTest(Protocol):
    """One empty store."""

    ended: type[Exception]
    held: type[Exception]
    refused: type[Exception]

    def node(self, name: str, **entry: Any) -> AbstractAsyncContextManager[NodeUnderTest]:
        """Begin the life of a node for the length of the block; it does not end with it."""


class WorkerUnderTest:
    """A worker, with a connection to the file."""

    def __init__(self, file: NodeFile, entry: NodeEntry) -> None:
        self.file, self.entry = file, entry
        self.nodes, self.accounts = FileNodes(file), FileAccounts(file)
        self.life = 0

    async def begin(self) -> None:
        """Begin a new life, which ends the one before."""
        life = next(_lives)
        await self.nodes.begin(life, self.entry, ends=self.life)
        self.life = life

    async def beat(self) -> Any:
        """Beat, and expect that the life is not over."""
        answer = await self.nodes.beat(self.life)
        assert answer is not None
        return answer

    async def claim(self, up_to: int = 1_000_000, hosts: str = "*") -> dict[str, int]:
        """Claim, and return the accounts with their epochs."""
        server = (await self.beat()).server
        await self.accounts.free_accounts_of_the_dead()
        return {each.name: each.epoch for each in await self.accounts.claim(self.life, server, {hosts: up_to})}


class SqliteNodes:
    """A file."""

    def __init__(self, path: Path) -> None:
        from adapters.sqlite.node_accounts import MoveRefused
        from adapters.sqlite.node_file import LifeIsOver, NameHeld

        self.path = path
        self.ended, self.held, self.refused = LifeIsOver, NameHeld, MoveRefused
        make_file(path)

    @contextlib.asynccontextmanager
    async def node(self, name: str, **entry: Any) -> AsyncIterator[WorkerUnderTest]:
        """Open the file once more."""
        file = NodeFile.open(self.path)
        try:
            it = WorkerUnderTest(file, NodeEntry(name=name, **{"host": f"{name}-host", "lease": 15.0, **entry}))
            await it.begin()
            yield it
        finally:
            file.close()


class PostgresNodes:
    """A database."""

    def __init__(self, url: str) -> None:
        from adapters.postgres.errors import CannotMove, Fenced, NodeNameTaken

        self.url = url
        self.ended, self.held, self.refused = Fenced, NodeNameTaken, CannotMove

    def node(self, name: str, **entry: Any) -> AbstractAsyncContextManager[NodeUnderTest]:
        """Connect once more."""
        from tests.postgres.support import node

        return node(self.url, name, **entry)


async def put(on: NodeUnderTest, number: int, hosts: str = "*") -> list[str]:
    """Have so many accounts in the store."""
    names = [f"Account {n}" for n in range(number)]
    await on.accounts.set_accounts(dict.fromkeys(names, hosts))
    return names


def counts(groups: Collection[Any]) -> list[tuple[str, int, int, Mapping[int, int]]]:
    """Return what groups of accounts say."""
    return [(each.hosts, each.total, each.free, each.owned) for each in groups]
