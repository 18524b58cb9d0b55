"""No node may live during a copy: one that beats is refused, and the life of one that is silent is ended.

A node that was killed leaves a life that is not over; whoever sees no beat of it for a lease may end it. All looks are
made on one connection, and the death is on condition of that beat and of the server that was looked at.
"""

import asyncio
import time
from typing import Final

from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreConnection
from adapters.postgres.errors import SchemaTooOld
from adapters.postgres.migrate import migrate, require_schema
from adapters.postgres.nodes import SERVER, NodeRows
from adapters.storage_copy.errors import StoreInUse
from adapters.storage_copy.rows import Progress
from adapters.stores.nodes import LivingNode

_LOOK_EVERY: Final = 0.5
"""Seconds between two looks at silent nodes."""


def end_silent_lives(address: StoreAddress, progress: Progress, *, check: bool) -> None:
    """Have the tables of this version, and no life in them; with ``check`` nothing is written.

    Waits for the longest lease of nodes that are silent. Raises ``StoreInUse`` if a node lives, and ``StoreError``.
    """
    asyncio.run(_end_silent_lives(address, progress, check=check))


async def _end_silent_lives(address: StoreAddress, progress: Progress, *, check: bool) -> None:
    connection = await StoreConnection.open(address, application="holdfast storage copy")
    try:
        if check:
            try:
                await require_schema(connection)
            except SchemaTooOld:
                return
        else:
            await migrate(connection)
        rows = NodeRows(connection)
        [[server]] = await connection.execute(f"SELECT {SERVER}")
        silent = {node.life: node for node in await rows.living()}
        began = time.monotonic()
        while silent:
            waited = time.monotonic() - began
            if waited > max(node.lease for node in silent.values()):
                break
            progress("waiting for nodes that may live", round(waited))
            await asyncio.sleep(_LOOK_EVERY)
            for node in await rows.living():
                if node.life not in silent or node.beat != silent[node.life].beat:
                    raise _lives(address, node)
        for node in silent.values():
            if not check and not await rows.declare_dead(node.life, node.beat, server):
                raise _lives(address, node)
    finally:
        connection.close()


def _lives(address: StoreAddress, node: LivingNode) -> StoreInUse:
    return StoreInUse(
        f"{address}: the node {node.name!s:.64} on {node.host!s:.64} runs on this database; stop all nodes first"
    )
