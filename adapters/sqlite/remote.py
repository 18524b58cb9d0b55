"""Updates that wait for other programs, and how far each program has acknowledged them, in ``engine.db``."""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
from attrs import define, frozen

from adapters.sqlite import remote_schema
from adapters.sqlite.connect import open_read_only, read_rows
from adapters.sqlite.errors import translating_errors
from adapters.sqlite.job_codec import is_legible
from adapters.sqlite.writer import GroupWriter

T = TypeVar("T")

MARKS = 2000
"""Updates of an account of which the marks are read: those that the datacenter may send again after a crash."""


@frozen
class StoredCursor:
    """How far a program has acknowledged the updates of an account."""

    account: str
    program: str
    feed: str
    acknowledged: int


@frozen
class StoredFeed:
    """Where the numbers of an account's updates go on: the first and the last, their bytes so far, the latest marks."""

    first: int
    last: int
    size: int
    marks: tuple[tuple[str, float], ...]
    """Each with when it was stored (Unix seconds)."""


@define(eq=False)
class RemoteStore:
    """The updates and cursors in one file, written by the engine's own thread."""

    path: Path
    writer: GroupWriter

    async def load(self, accounts: Collection[str] | None = None) -> tuple[list[StoredCursor], dict[str, StoredFeed]]:
        """Return the cursors of these accounts (None: all), and where each one's numbers go on.

        Raises ``StorageError``.
        """
        await self.writer.flush()
        return await self._read(lambda db: _load(db, accounts))

    def add(self, account: str, number: int, *, at: float, place: int, mark: str, body: bytes) -> bool:
        """Queue an update; return False if there is no room for it now. Raises what ``GroupWriter.offer`` raises."""
        return self.writer.offer([(remote_schema.REMOTE_UPDATE, (account, number, at, place, mark, body))])

    async def flush(self) -> None:
        """Return when what was written before is durable."""
        await self.writer.flush()

    async def after(self, account: str, number: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the first updates after this number: their numbers and bodies. Raises ``StorageError``."""
        rows = await self._read(lambda db: read_rows(db, remote_schema.SELECT_AFTER, (account, number, limit)))
        return [(each, body) for each, body in rows if isinstance(body, bytes)]

    async def first_kept(self, account: str, at: float, place: int) -> int | None:
        """Return the number of the first update that is neither older nor before this place; None if there is none."""
        rows = await self._read(lambda db: read_rows(db, remote_schema.SELECT_FIRST, (account, at, place)))
        return int(rows[0][0]) if rows else None

    async def prune(self, account: str, number: int) -> None:
        """Delete an account's updates up to this number, soon."""
        await self.writer.write(remote_schema.PRUNE_UPDATES, (account, number))

    def save(self, account: str, program: str, feed: str, acknowledged: int, at: float) -> bool:
        """Queue a cursor; return False if there is no room for it now."""
        return self.writer.offer([(remote_schema.REMOTE_CURSOR, (account, program, feed, acknowledged, at))])

    async def begin(self, account: str, program: str, feed: str, acknowledged: int, at: float) -> None:
        """Store a cursor, durably."""
        await self.writer.write(remote_schema.REMOTE_CURSOR, (account, program, feed, acknowledged, at))
        await self.writer.flush()

    async def forget(self, account: str, program: str) -> None:
        """Delete a cursor, soon."""
        await self.writer.write(remote_schema.FORGET_CURSOR, (account, program))

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            with translating_errors(self.path):
                db = open_read_only(self.path)
                try:
                    return read(db)
                finally:
                    db.close()

        return await anyio.to_thread.run_sync(run)


def _load(db: sqlite3.Connection, accounts: Collection[str] | None) -> tuple[list[StoredCursor], dict[str, StoredFeed]]:
    rows = read_rows(db, remote_schema.SELECT_CURSORS)
    cursors = [StoredCursor(*row) for row in rows if _is_cursor(row) and (accounts is None or row[0] in accounts)]
    feeds = {}
    for account, first, last in read_rows(db, remote_schema.SELECT_LAST):
        if accounts is not None and account not in accounts:
            continue
        if is_legible(account) and isinstance(first, int) and isinstance(last, int):
            size = read_rows(db, remote_schema.SELECT_SIZE, (account, last))[0][0]
            rows = read_rows(db, remote_schema.SELECT_MARKS, (account, MARKS))
            marks = [(mark, float(at)) for mark, at in rows if is_legible(mark) and isinstance(at, int | float)]
            feeds[account] = StoredFeed(first, last, size if isinstance(size, int) else 0, tuple(reversed(marks)))
    return cursors, feeds


def _is_cursor(row: Sequence[Any]) -> bool:
    """Return whether a row is one that an engine wrote: others are left alone."""
    return all(map(is_legible, row[:3])) and type(row[3]) is int
