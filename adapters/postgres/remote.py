"""Updates that wait for other programs, and how far each program has acknowledged them, in PostgreSQL.

The owner of an account numbers its updates, and the next owner goes on after the last one. Every write is behind the
fence of the node's life, and is left out for an account that this life does not own: its next owner may have given the
number to another update. Then the session does not move on either, and the datacenter sends the update once more.
"""

from base64 import b64encode
from collections.abc import Collection
from typing import Any, Final

from attrs import define

from adapters.postgres.address import StoreAddress
from adapters.postgres.blocking import blocking_store
from adapters.postgres.errors import AccountElsewhere
from adapters.postgres.group_writer import StoreWriter
from adapters.postgres.job_statements import LIFE
from adapters.postgres.jobs import JobLink
from adapters.postgres.statements import RowStatement, clean
from adapters.sqlite.remote import MARKS, StoredCursor, StoredFeed
from adapters.sqlite.remote_reader import CursorLine

_MINE: Final = ", mine AS (SELECT id, rows.* FROM rows JOIN accounts ON name = c0 AND owner = %s FOR SHARE OF accounts)"
"""The rows of accounts that the life owns, which it does until the end of the transaction."""

REMOTE_UPDATE: Final = RowStatement(
    "remote update",
    f"""{_MINE} INSERT INTO remote_updates (account, number, at, place, mark, body)
    SELECT id, c1, c2, c3, c4, decode(c5, 'base64') FROM mine
    ON CONFLICT (account, number) DO UPDATE SET at = excluded.at, place = excluded.place, mark = excluded.mark,
        body = excluded.body""",
    types=("text", "bigint", "float8", "bigint", "text", "text"),
    order=55,
    key=(0, 1),
    latest=True,
    constants=(LIFE,),
)
"""(account, number, at, place, mark, body in base64)"""

REMOTE_CURSOR: Final = RowStatement(
    "remote cursor",
    f"""{_MINE} INSERT INTO remote_cursors (account, program, feed, acknowledged, at)
    SELECT id, c1, c2, c3, c4 FROM mine
    ON CONFLICT (account, program) DO UPDATE SET feed = excluded.feed, acknowledged = excluded.acknowledged,
        at = excluded.at""",
    types=("text", "text", "text", "bigint", "float8"),
    order=56,
    key=(0, 1),
    latest=True,
    constants=(LIFE,),
)
"""(account, program, feed, acknowledged, at)"""

FORGET_CURSOR: Final = RowStatement(
    "forget remote cursor",
    f"{_MINE} DELETE FROM remote_cursors USING mine WHERE account = id AND program = c1",
    types=("text", "text"),
    order=57,
    key=(0, 1),
    latest=True,
    constants=(LIFE,),
)
"""(account, program)"""

PRUNE_UPDATES: Final = RowStatement(
    "prune remote updates",
    f"{_MINE} DELETE FROM remote_updates USING mine WHERE account = id AND number <= c1",
    types=("text", "bigint"),
    order=58,
    latest=True,
    constants=(LIFE,),
)
"""(account, number): deletes its updates up to this number."""

_OWN: Final = "accounts.owner = %s AND (%s::text[] IS NULL OR accounts.name = ANY(%s::text[]))"
_ACCOUNT: Final = "account = (SELECT id FROM accounts WHERE name = %s)"
SELECT_CURSORS: Final = f"""SELECT accounts.name, program, feed, acknowledged
    FROM accounts JOIN remote_cursors ON account = accounts.id WHERE {_OWN} ORDER BY accounts.name, program"""
"""(life, names, names)"""
SELECT_ENDS: Final = f"""SELECT accounts.name, first.number, last.number, last.size FROM accounts,
    LATERAL (SELECT number FROM remote_updates WHERE account = accounts.id ORDER BY number LIMIT 1) AS first,
    LATERAL (SELECT number, place + octet_length(body) AS size FROM remote_updates WHERE account = accounts.id
        ORDER BY number DESC LIMIT 1) AS last WHERE {_OWN}"""
"""(life, names, names): the first and the last update of each account, and the bytes of all so far."""
SELECT_MARKS: Final = f"SELECT mark, at FROM remote_updates WHERE {_ACCOUNT} ORDER BY number DESC LIMIT %s"
SELECT_AFTER: Final = f"""SELECT number, body FROM remote_updates WHERE {_ACCOUNT} AND number > %s
    ORDER BY number LIMIT %s"""
SELECT_FIRST: Final = f"""SELECT number FROM remote_updates WHERE {_ACCOUNT} AND at >= %s AND place >= %s
    ORDER BY number LIMIT 1"""
SELECT_CURSOR: Final = f"SELECT 1 FROM remote_cursors WHERE {_ACCOUNT} AND program = %s AND feed = %s"
SELECT_BEHIND: Final = """SELECT accounts.name, program, acknowledged, at, greatest(0, coalesce(
        (SELECT max(number) FROM remote_updates WHERE remote_updates.account = accounts.id), 0) - acknowledged)
    FROM remote_cursors JOIN accounts ON accounts.id = account ORDER BY accounts.name, program"""
"""Each cursor, and how many updates it is behind."""


@define(eq=False)
class PostgresRemote:
    """The updates and cursors of the accounts of a node."""

    writer: StoreWriter
    link: JobLink
    life: int
    """The row of ``nodes`` that this node has now."""

    async def load(self, accounts: Collection[str] | None = None) -> tuple[list[StoredCursor], dict[str, StoredFeed]]:
        """Return the cursors of the accounts that this node owns, and where each one's numbers go on.

        With ``accounts``, of these alone, which have come to it. Raises ``StorageError``.
        """
        await self.writer.flush()
        names = None if accounts is None else [clean(name) for name in accounts]
        own = (self.life, names, names)
        cursors = [StoredCursor(*row) for row in await self.link.query(SELECT_CURSORS, own)]
        feeds = {}
        for account, first, last, size in await self.link.query(SELECT_ENDS, own):
            rows = await self.link.query(SELECT_MARKS, (account, MARKS))
            feeds[account] = StoredFeed(first, last, size, tuple((mark, at) for mark, at in reversed(rows)))
        return cursors, feeds

    def add(self, account: str, number: int, *, at: float, place: int, mark: str, body: bytes) -> bool:
        """Queue an update; return False if there is no room for it now. Raises what ``StoreWriter.offer`` raises."""
        row = (account, number, at, place, mark, b64encode(body).decode())
        return self.writer.offer([(REMOTE_UPDATE, row)])

    async def flush(self) -> None:
        """Return when what was written before is durable."""
        await self.writer.flush()

    async def after(self, account: str, number: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the first updates after this number: their numbers and bodies. Raises ``StorageError``."""
        rows = await self.link.query(SELECT_AFTER, (clean(account), number, limit))
        return [(each, bytes(body)) for each, body in rows]

    async def first_kept(self, account: str, at: float, place: int) -> int | None:
        """Return the number of the first update that is neither older nor before this place; None if there is none."""
        rows = await self.link.query(SELECT_FIRST, (clean(account), at, place))
        return int(rows[0][0]) if rows else None

    async def prune(self, account: str, number: int) -> None:
        """Delete an account's updates up to this number, soon."""
        await self.writer.write(PRUNE_UPDATES, (account, number))

    def save(self, account: str, program: str, feed: str, acknowledged: int, at: float) -> bool:
        """Queue a cursor; return False if there is no room for it now."""
        return self.writer.offer([(REMOTE_CURSOR, (account, program, feed, acknowledged, at))])

    async def begin(self, account: str, program: str, feed: str, acknowledged: int, at: float) -> None:
        """Store a cursor, durably. Raises ``AccountElsewhere`` if this node does not own the account."""
        await self.writer.write(REMOTE_CURSOR, (account, program, feed, acknowledged, at))
        await self.writer.flush()
        if not await self.link.query(SELECT_CURSOR, (clean(account), clean(program), clean(feed))):
            raise AccountElsewhere(
                f"{account}: this node does not own the account any more, so nothing is kept here for {program}; "
                "connect to the node that owns it (see 'nodes')"
            )

    async def forget(self, account: str, program: str) -> None:
        """Delete a cursor, soon."""
        await self.writer.write(FORGET_CURSOR, (account, program))


def stored_cursor_lines(address: StoreAddress) -> list[CursorLine]:
    """Return the cursors of a fleet. Blocks. Raises ``StorageError``."""
    with blocking_store(address) as store:
        rows: list[tuple[Any, ...]] = store.rows(SELECT_BEHIND)
    return [CursorLine(*row) for row in rows]
