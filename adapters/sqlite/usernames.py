"""What is known of usernames, in ``engine.db``: read when an engine begins, and written behind."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
from attrs import define, field, frozen

from adapters.sqlite import schema, username_schema
from adapters.sqlite.connect import open_read_only, read_rows
from adapters.sqlite.errors import WriterBroken, WriterClosed, translating_errors
from adapters.sqlite.job_codec import is_legible
from adapters.sqlite.node_file import LifeIsOver
from adapters.sqlite.writer import GroupWriter

DURABLE_SECONDS: Final = 5.0
"""How long a look-up waits until it is stored that it counts: a database that is locked holds up no request."""
MAX_TIMES: Final = 10_000
"""Times of one account that are read; the budget of a day is smaller."""


@frozen
class StoredName:
    """A row of the table: ``peer`` None means that Telegram refused the name with ``refusal``."""

    name: str
    peer: int | None
    refusal: str
    at: float
    """When that was so (Unix seconds)."""


@frozen
class StoredUsernames:
    """What an engine begins with: names, those that were used last at the end, and each account's times."""

    names: Sequence[StoredName] = ()
    lookups: Mapping[str, Sequence[float]] = field(factory=dict)


@define(eq=False)
class UsernameStore:
    """The usernames of a running engine. Reads in a worker thread, writes through ``writer``."""

    path: Path
    writer: GroupWriter

    async def load(self) -> StoredUsernames:
        """Return what is stored; a row that cannot be read is left out. Raises ``StorageError``."""
        return await anyio.to_thread.run_sync(read_usernames, self.path)

    async def lookups(self, account: str) -> list[float]:
        """Return when an account has asked (Unix seconds). Raises ``StorageError``."""
        return list((await self.load()).lookups.get(account, ()))

    def put(self, name: StoredName) -> None:
        """Store a name, soon; it is a cache, so that it may be left out when the queue is full."""
        self._offer(username_schema.USERNAME, (name.name, name.peer, name.refusal, name.at))

    def forget(self, name: str) -> None:
        """Delete a name, soon."""
        self._offer(username_schema.FORGET_USERNAME, (name,))

    async def put_lookups(self, account: str, times: Sequence[float]) -> None:
        """Store when an account has asked (Unix seconds); durable on return, unless that takes too long."""
        row = (account, json.dumps([round(each, 3) for each in times]))
        with suppress(WriterBroken, WriterClosed, LifeIsOver), anyio.move_on_after(DURABLE_SECONDS):
            await self.writer.write_together([(schema.NAME, (account,)), (username_schema.LOOKUPS, row)])
            await self.writer.flush()

    def _offer(self, statement: Any, row: tuple[Any, ...]) -> None:
        with suppress(WriterBroken, WriterClosed, LifeIsOver):
            self.writer.offer([(statement, row)])


def read_usernames(path: Path) -> StoredUsernames:
    """Return what a file has of usernames; nothing if an older version wrote it. Blocks. Raises ``StorageError``."""
    with translating_errors(path), closing(open_read_only(path)) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0] < username_schema.FIRST_VERSION:
            return StoredUsernames()
        names = [StoredName(*row) for row in read_rows(connection, username_schema.SELECT) if _is_name(row)]
        rows = read_rows(connection, username_schema.SELECT_LOOKUPS)
        return StoredUsernames(
            names, {account: list(times_from(text)) for account, text in rows if is_legible(account)}
        )


def _is_name(row: Sequence[Any]) -> bool:
    name, peer, refusal, at = row
    is_peer = peer is None or (isinstance(peer, int) and peer != 0)
    return is_legible(name) and is_peer and is_legible(refusal) and isinstance(at, int | float) and math.isfinite(at)


def times_from(text: Any) -> Iterator[float]:
    """Yield the times of one account's row; of a row that something else has spoilt, those that can be read."""
    with suppress(ValueError, TypeError, RecursionError):
        found = json.loads(text)
        for each in found[-MAX_TIMES:] if isinstance(found, list) else ():
            if isinstance(each, int | float) and not isinstance(each, bool) and math.isfinite(each):
                yield float(each)
