"""What a fleet knows of usernames, in PostgreSQL: what ``adapters.sqlite.usernames`` is for one engine.

Whose a name is, is the same for all nodes. The budget of look-ups is the account's: its owner alone changes it, and the
next owner reads it before the account looks up its first name there.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
from attrs import define

from adapters.postgres.errors import Fenced
from adapters.postgres.group_writer import StoreWriter
from adapters.postgres.job_statements import LIFE
from adapters.postgres.jobs import JobLink
from adapters.postgres.statements import RowStatement, clean
from adapters.sqlite.errors import WriterBroken, WriterClosed
from adapters.sqlite.usernames import DURABLE_SECONDS, StoredName, StoredUsernames, times_from

MAX_NAMES: Final = 10_000
"""Names that a node begins with; those that were stored last."""
KEPT_NAMES: Final = 100_000
"""Names that the table keeps: nodes forget what they do not use, but a node that is dead forgets nothing."""

USERNAME: Final = RowStatement(
    "username",
    """INSERT INTO usernames (name, peer, refusal, at) SELECT c0, c1, c2, c3 FROM rows
    ON CONFLICT (name) DO UPDATE SET peer = excluded.peer, refusal = excluded.refusal, at = excluded.at""",
    types=("text", "bigint", "text", "float8"),
    order=50,
    latest=True,
)
"""(name, peer or None, refusal, at)"""

FORGET_USERNAME: Final = RowStatement(
    "forget username", "DELETE FROM usernames USING rows WHERE name = c0", types=("text",), order=51, latest=True
)
"""(name)"""

LOOKUPS: Final = RowStatement(
    "username lookups",
    """, mine AS (SELECT id, c1 AS times FROM rows JOIN accounts ON name = c0 AND owner = %s FOR SHARE OF accounts)
    INSERT INTO username_lookups (account, times) SELECT id, times FROM mine
    ON CONFLICT (account) DO UPDATE SET times = excluded.times""",
    types=("text", "text"),
    order=52,
    latest=True,
    constants=(LIFE,),
)
"""(account, times as JSON): of an account that this life owns; the next owner may know of more."""

DROP_OLDEST_NAMES: Final = RowStatement(
    "drop oldest usernames",
    """DELETE FROM usernames WHERE name IN (SELECT name FROM usernames
        ORDER BY at DESC OFFSET (SELECT max(c0) FROM rows) LIMIT 10000 FOR UPDATE SKIP LOCKED)""",
    types=("bigint",),
    order=53,
    key=(),
    latest=True,
)
"""(names): deletes the oldest names, when there are more."""

_SELECT: Final = f"SELECT name, peer, refusal, at FROM usernames ORDER BY at DESC LIMIT {MAX_NAMES}"
_SELECT_LOOKUPS: Final = """SELECT times FROM username_lookups JOIN accounts ON accounts.id = account
    WHERE accounts.name = %s"""


@define(eq=False)
class PostgresUsernames:
    """The usernames of a node. What it stores goes through ``writer``, and so behind the fence of the node's life."""

    writer: StoreWriter
    link: JobLink

    async def load(self) -> StoredUsernames:
        """Return the names that were stored last; the budgets are read when accounts come. Raises ``StorageError``."""
        rows = await self.link.query(_SELECT)
        self._offer(DROP_OLDEST_NAMES, (KEPT_NAMES,))
        return StoredUsernames([StoredName(*row) for row in reversed(rows) if row[1] != 0])

    async def lookups(self, account: str) -> list[float]:
        """Return when an account has asked (Unix seconds), on whichever node. Raises ``StorageError``."""
        rows = await self.link.query(_SELECT_LOOKUPS, (clean(account),))
        return [each for (text,) in rows for each in times_from(text)]

    def put(self, name: StoredName) -> None:
        """Store a name, soon; it is a cache, so that it may be left out when the queue is full."""
        self._offer(USERNAME, (name.name, name.peer, name.refusal, name.at))

    def forget(self, name: str) -> None:
        """Delete a name, soon."""
        self._offer(FORGET_USERNAME, (name,))

    async def put_lookups(self, account: str, times: Sequence[float]) -> None:
        """Store when an account has asked (Unix seconds); durable on return, unless that takes too long.

        Raises ``Fenced`` when the life of the node has ended: the account is not to ask here any more.
        """
        row = (account, json.dumps([round(each, 3) for each in times]))
        with suppress(WriterBroken, WriterClosed), anyio.move_on_after(DURABLE_SECONDS):
            await self.writer.write(LOOKUPS, row)
            await self.writer.flush()

    def _offer(self, statement: RowStatement, row: tuple[Any, ...]) -> None:
        with suppress(WriterBroken, WriterClosed, Fenced):  # Telethon reads what came in: nothing may raise there
            self.writer.offer([(statement, row)])
