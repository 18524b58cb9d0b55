"""What a person asks of nodes, from any host: commands that block, each on a connection of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from adapters.postgres.accounts import AccountRows
from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreConnection
from adapters.postgres.errors import CannotMove
from adapters.postgres.migrate import require_schema
from adapters.postgres.nodes import NodeRows

T = TypeVar("T")

APPLICATION: Final = "holdfast command"


def drain(address: StoreAddress, name: str, *, drain: bool) -> bool | None:
    """Ask a node to drain, or take that back; see ``NodeRows.drain``. Raises ``StoreError``."""

    async def ask(connection: StoreConnection) -> bool | None:
        rows = NodeRows(connection)
        return await (rows.drain(name) if drain else rows.resume(name))

    return _done(address, ask)


def move(address: StoreAddress, account: str, to: str) -> str | None:
    """Ask for an account to go to a node; return why it cannot, None if it can. Raises ``StoreError``."""

    async def ask(connection: StoreConnection) -> str | None:
        try:
            await AccountRows(connection).move(account, to)
        except CannotMove as exc:
            return str(exc)
        return None

    return _done(address, ask)


def _done(address: StoreAddress, ask: Callable[[StoreConnection], Awaitable[T]]) -> T:
    async def work() -> T:
        connection = await StoreConnection.open(address, application=APPLICATION)
        try:
            await require_schema(connection)
            return await ask(connection)
        finally:
            connection.close()

    return asyncio.run(work())
