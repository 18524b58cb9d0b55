"""The fence: with which every write for an account begins, in the same transaction.

A lock on the row of the node's life, while it is not dead. Beats and other writes pass it, because ``FOR KEY SHARE``
conflicts with neither; a death waits for it, because it takes the row with ``FOR UPDATE``. So what a transaction writes
after its fence is there before the death is, or not at all.
"""

from typing import Final

from adapters.postgres.connect import StoreConnection
from adapters.postgres.errors import Fenced

FENCE: Final = "SELECT id FROM nodes WHERE id = %s AND state <> 'dead' FOR KEY SHARE"
"""One row, with the number of the life as its value, or none when the life has ended."""


async def fence(connection: StoreConnection, life: int) -> None:
    """Hold up the end of this life until the transaction under way ends. Raises ``Fenced`` when it has ended."""
    if not await connection.execute(FENCE, (life,)):
        raise fenced(connection, life)


def fenced(connection: StoreConnection, life: int) -> Fenced:
    """Return the error for a life that has ended."""
    return Fenced(
        f"{connection.address}: life {life} of this node has ended, so nothing that it writes is taken; it begins anew"
    )
