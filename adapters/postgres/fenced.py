"""What a life of a node does in the store: transactions that begin with its fence, in one round trip each."""

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from attrs import frozen

from adapters.postgres.connect import StorePool
from adapters.postgres.fence import fenced
from adapters.postgres.group_writer import Call

LIFE_OVER: Final = "HF001"
"""The error of the function ``fence``, see ``schema/0003_jobs.sql``."""
_FENCE: Final = "SELECT fence(%s)"


@frozen
class FencedLink:
    """The connections of a life of a node. A transaction that was begun before its death is over when it is dead."""

    pool: StorePool
    life: int
    """The row of ``nodes``."""

    async def transact(self, calls: Sequence[Call]) -> list[list[tuple[Any, ...]]]:
        """Execute these in one transaction that begins with the fence, and return the rows of each.

        All are sent at once, and the server skips what comes after an error, the commit included. Raises ``Fenced`` if
        the life has ended, and ``StoreUnusable``, with ``uncertain`` if they may have been stored.
        """
        async with self.pool.connection() as connection:
            try:
                return await connection.within(_run(connection.raw, self.life, calls), commits=True)
            except psycopg.Error as exc:
                if exc.sqlstate == LIFE_OVER:
                    raise fenced(connection, self.life) from None
                raise

    async def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a question. Raises ``StoreUnusable``."""
        return await self.pool.execute(statement, values)


async def _run(
    raw: "psycopg.AsyncConnection[tuple[Any, ...]]", life: int, calls: Sequence[Call]
) -> list[list[tuple[Any, ...]]]:
    async with raw.pipeline():
        await raw.execute("BEGIN")
        await raw.execute(_FENCE, (life,))
        cursors = [await raw.execute(statement, values) for statement, values in calls]
        await raw.execute("COMMIT")
    return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]
