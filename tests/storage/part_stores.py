"""The stores of what an engine keeps beside its journal and its jobs, each behind the same few methods."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any, Protocol

import anyio
from attrs import define, field, frozen

from adapters.sqlite.ledger import LedgerStore
from adapters.sqlite.ledger_reader import LedgerReader
from adapters.sqlite.remote_reader import CursorLine, cursor_lines
from engine.work.ports import WorkStorage
from states.ledger import HoleCause, Interval, LedgerRow
from tests.adapters.sqlite.support import a_journal
from tests.storage.job_stores import ACCOUNTS
from tests.timeouts import TIMEOUT


@frozen(kw_only=True)
class Parts:
    """What a running engine has of a store."""

    ledger: LedgerStore
    usernames: Any
    remote: Any
    jobs: WorkStorage
    flush: Callable[[], Any]


class PartsUnderTest(Protocol):
    """One empty store."""

    def node(self, name: str = "one", accounts: Sequence[str] = ACCOUNTS) -> AbstractAsyncContextManager[Parts]:
        """Run an engine, which has these accounts; whoever had them before has them no more. One at a time."""

    def ledger(self) -> AbstractContextManager[Any]:
        """Open what commands read the ledger with."""

    def cursor_lines(self) -> list[CursorLine]:
        """Return what commands read of the cursors."""

    def execute(self, statement: str) -> None:
        """Do what another program does."""


class SqliteParts:
    """A file."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "engine.db"

    @asynccontextmanager
    async def node(self, name: str = "one", accounts: Sequence[str] = ACCOUNTS) -> AsyncIterator[Parts]:
        """Run the writer of a journal: a file is that of one engine, whatever it is called."""
        async with a_journal(self.path) as journal:
            jobs = journal.jobs
            try:
                yield Parts(
                    ledger=journal.make_ledger(), usernames=journal.usernames, remote=journal.remote, jobs=jobs,
                    flush=journal.flush,
                )  # fmt: skip
            finally:
                await jobs.aclose()

    def ledger(self) -> AbstractContextManager[Any]:
        """Open the file for reading."""
        return LedgerReader.open(self.path)

    def cursor_lines(self) -> list[CursorLine]:
        """Read the file."""
        return cursor_lines(self.path)

    def execute(self, statement: str) -> None:
        """Execute SQL by a connection of its own."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute(statement)


@define(eq=False)
class Source:
    """An account with rows to store."""

    account: str = "A"
    rows: list[LedgerRow] = field(factory=list)
    was_stored: list[LedgerRow] = field(factory=list)
    put_back_rows: list[LedgerRow] = field(factory=list)
    done: anyio.Event = field(factory=anyio.Event)

    def take(self) -> Sequence[LedgerRow]:
        """Give all of them away."""
        taken, self.rows = self.rows, []
        return taken

    def stored(self, rows: Sequence[LedgerRow]) -> None:
        """Note them."""
        self.was_stored += rows
        self.done.set()

    def put_back(self, rows: Sequence[LedgerRow]) -> None:
        """Note them."""
        self.put_back_rows += rows


def row(
    after: int, upto: int, *, box: int = 5, user: int = 7, login: str = "x", cause: HoleCause | None = None, **more: Any
) -> LedgerRow:
    """Return an interval that was handled, or is lost for a cause, in seconds that are like its numbers."""
    given = {"since": 1000.0 + after, "until": 1000.0 + upto} | more
    return LedgerRow(user=user, login=login, box=box, interval=Interval(after, upto), cause=cause, **given)


async def store(parts: Parts, *rows: LedgerRow, account: str = "A") -> None:
    """Store rows, each batch after the one before; durable on return."""
    await parts.ledger.now(Source(account, list(rows)))


def intervals(rows: Iterable[LedgerRow]) -> list[tuple[int, int]]:
    """Return what was handled, in order."""
    return sorted((each.interval.after, each.interval.upto) for each in rows if each.cause is None)


async def running(parts: Parts, source: Source) -> None:
    """Run the ledger until the rows of an account are stored."""
    with anyio.fail_after(TIMEOUT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parts.ledger.run)
            parts.ledger.soon(source)
            await source.done.wait()
            tasks.cancel_scope.cancel()
