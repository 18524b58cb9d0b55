"""What a person asks of the workers that share a file: commands that block, each on a connection of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from adapters.sqlite.node_accounts import FileAccounts, MoveRefused
from adapters.sqlite.node_file import NodeFile
from adapters.sqlite.nodes import FileNodes

T = TypeVar("T")


def drain(path: Path, name: str, *, drain: bool) -> bool | None:
    """Ask a worker to drain, or take that back; see ``FileNodes.drain``. Raises ``StorageError``."""

    async def ask(file: NodeFile) -> bool | None:
        rows = FileNodes(file)
        return await (rows.drain(name) if drain else rows.resume(name))

    return _done(path, ask)


def move(path: Path, account: str, to: str) -> str | None:
    """Ask for an account to go to a worker; return why it cannot, None if it can. Raises ``StorageError``."""

    async def ask(file: NodeFile) -> str | None:
        try:
            await FileAccounts(file).move(account, to)
        except MoveRefused as exc:
            return str(exc)
        return None

    return _done(path, ask)


def _done(path: Path, ask: Callable[[NodeFile], Awaitable[T]]) -> T:
    file = NodeFile.open(path)
    try:
        return asyncio.run(_awaited(ask(file)))
    finally:
        file.close()


async def _awaited(work: Awaitable[T]) -> T:
    return await work
