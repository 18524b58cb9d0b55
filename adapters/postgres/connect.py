"""Connections to PostgreSQL on which nothing waits for ever.

psycopg *cancels* a query whose task is cancelled: it opens a second connection for that, and waits for the end of the
query. In a black hole that took 11 s for a deadline of 1 s (``shared/facts/many-hosts.md``). So a query runs in a task
of its own that nobody cancels; at its deadline the socket is shut down beneath it, at which it fails at once. Closing
the connection under it (``pgconn.finish()``) would free the number of the descriptor while the loop still watches it,
and the next socket of the process would get that number. So this comes only when the query has ended.

There is a pool here, not psycopg's: that one connects behind its users, so that they learn of a timeout and never of
the reason, and it puts connections back in order by queries without deadlines.
"""

import asyncio
import contextlib
import select
import socket
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, Final, Self, TypeVar

import anyio
from psycopg import AsyncConnection, Error, OperationalError
from psycopg.pq import TransactionStatus

from adapters.postgres.address import StoreAddress
from adapters.postgres.errors import StoreUnusable, store_unusable, translating_store_errors, unusable
from adapters.postgres.settings import SET_UP, StoreTimeouts, check_server, connection_options, set_up_values

__all__ = ["StoreConnection", "StorePool", "StoreTimeouts"]

T = TypeVar("T")

_END: Final = 1.0
"""Seconds that a query gets to notice that its socket was shut down."""
_WHERE: Final = "check the server and the network"


class StoreConnection:
    """One connection, for one task at a time. Its methods raise ``StoreUnusable``, after which it is closed."""

    def __init__(self, address: StoreAddress, raw: AsyncConnection[tuple[Any, ...]], timeouts: StoreTimeouts) -> None:
        self.address = address
        self.raw = raw
        """psycopg's connection. What is awaited on it goes through ``within``."""
        self.timeouts = timeouts
        self._cut = False
        self._running: asyncio.Task[Any] | None = None

    @classmethod
    async def open(
        cls, address: StoreAddress, *, application: str, timeouts: StoreTimeouts | None = None, writes: bool = True
    ) -> Self:
        """Connect. ``application`` is the name in PostgreSQL's own lists; ``writes`` refuses a server that only reads.

        Raises ``StoreUnusable``, in a sentence that says why: unknown database, wrong password, too old a server …
        """
        times = timeouts or StoreTimeouts()
        with translating_store_errors(address.shown):
            try:
                async with asyncio.timeout(times.connect * address.hosts + _END):
                    raw = await AsyncConnection.connect(
                        address.conninfo, autocommit=True, **connection_options(address, application, times)
                    )
            except TimeoutError:
                raise unusable(address.shown, "the server does not answer", _WHERE) from None
        connection = cls(address, raw, times)
        try:
            [row] = await connection.execute(SET_UP, set_up_values(times))
            check_server(address, row, writes=writes)
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def is_usable(self) -> bool:
        """Return whether it can be used as far as this side knows: a server that is gone has closed its socket."""
        if not self._is_open() or self.raw.pgconn.transaction_status != TransactionStatus.IDLE:
            return False
        poll = select.poll()
        poll.register(self.raw.pgconn.socket, select.POLLIN)
        if not poll.poll(0):
            return True
        with contextlib.suppress(Error):  # a notice or a notification is no end
            self.raw.pgconn.consume_input()
            return not poll.poll(0)
        return False

    async def execute(
        self,
        sql: str,
        values: Sequence[Any] | dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> list[tuple[Any, ...]]:
        """Execute a statement, and return its rows. Outside a transaction it is one by itself.

        Without ``values`` there may be several statements, and the rows are those of the first one. Raises
        ``StoreUnusable``, with ``uncertain`` where the statement may have been committed.
        """
        return await self.within(self._execute(sql, values), timeout=timeout)

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Any]], *, timeout: float | None = None) -> None:
        """Execute a statement once with each of the rows, which are sent without waiting for answers."""
        await self.within(self._execute_many(sql, rows), timeout=timeout)

    async def _execute(self, sql: str, values: Sequence[Any] | dict[str, Any] | None) -> list[tuple[Any, ...]]:
        cursor = await self.raw.execute(sql, values)
        return await cursor.fetchall() if cursor.description else []

    async def _execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        async with self.raw.cursor() as cursor:
            await cursor.executemany(sql, rows)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Write in one transaction: it is committed at the end of the block, and rolled back if the block raises.

        ``StoreUnusable`` from the commit is ``uncertain`` where its answer did not arrive.
        """
        await self.execute("BEGIN")
        try:
            yield
        except BaseException:
            with anyio.CancelScope(shield=True), contextlib.suppress(StoreUnusable):
                if self._is_open():
                    await self.execute("ROLLBACK", timeout=_END)
            raise
        # The server would answer COMMIT by rolling back, without an error.
        assert self.raw.pgconn.transaction_status == TransactionStatus.INTRANS, "an error in the block was swallowed"
        await self.within(self._execute("COMMIT", None), commits=True)

    async def within(self, work: Coroutine[Any, Any, T], *, timeout: float | None = None, commits: bool = False) -> T:
        """Await what uses ``raw``, for at most ``timeout`` seconds (None: those of a query).

        Not done by then, or when the caller is cancelled, the connection is closed under it. ``commits`` says that it
        ends a transaction.
        """
        if not self._is_open():
            work.close()
            raise unusable(self.address.shown, "the connection is closed", _WHERE)
        uncertain = commits or self.raw.pgconn.transaction_status == TransactionStatus.IDLE
        task = asyncio.create_task(work)  # owned here: it ends before this function does
        self._running = task
        try:
            await asyncio.wait({task}, timeout=self.timeouts.query if timeout is None else timeout)
        finally:
            if not task.done():
                with anyio.CancelScope(shield=True):
                    await self._end(task)
            self._running = None
            if self._cut:
                self.raw.pgconn.finish()
        if not task.done() or (self._cut and task.exception() is not None):
            raise unusable(self.address.shown, "the server does not answer", _WHERE, uncertain=uncertain)
        return self._result(task, uncertain)

    def _is_open(self) -> bool:
        return not self._cut and not self.raw.closed

    def _result(self, task: asyncio.Task[T], uncertain: bool) -> T:
        try:
            return task.result()
        except Error as exc:
            if (error := store_unusable(self.address.shown, exc, uncertain=uncertain)) is None:
                raise
            if isinstance(exc, OperationalError) and self.raw.closed:
                self.close()
            raise error from None

    async def _end(self, task: "asyncio.Task[Any]") -> None:
        """Shut the socket down under a query, and wait until the query has noticed."""
        self._shut_down()
        await asyncio.wait({task}, timeout=_END)
        if not task.done():
            self.raw.pgconn.finish()
            await asyncio.wait({task}, timeout=_END)
        if task.done() and not task.cancelled():
            task.exception()  # seen

    def _shut_down(self) -> None:
        self._cut = True
        with contextlib.suppress(OSError, Error):
            # An object for the same descriptor, which must not close it.
            wire = socket.socket(fileno=self.raw.pgconn.socket)
            try:
                wire.shutdown(socket.SHUT_RDWR)
            finally:
                wire.detach()

    def close(self) -> None:
        """Close it at once; the server ends what was under way, and here that fails. Does not wait."""
        if self._running is not None and not self._running.done():
            self._shut_down()
            return
        self._cut = True
        self.raw.pgconn.finish()


class StorePool:
    """Up to ``size`` connections that are opened when they are needed and kept for the next ones."""

    def __init__(
        self,
        address: StoreAddress,
        *,
        application: str = "holdfast",
        size: int = 4,
        timeouts: StoreTimeouts | None = None,
        writes: bool = True,
    ) -> None:
        self.address = address
        self.timeouts = timeouts or StoreTimeouts()
        self._application = application
        self._writes = writes
        self._turns = asyncio.Semaphore(size)
        self._idle: list[StoreConnection] = []
        self._closed = False

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[StoreConnection]:
        """Lend a connection to the block. Raises ``StoreUnusable``."""
        try:
            async with asyncio.timeout(self.timeouts.turn):
                await self._turns.acquire()
        except TimeoutError:
            raise unusable(
                self.address.shown, "all connections to the server are in use", "see what keeps it busy", locked=True
            ) from None
        try:
            connection = await self._take()
            try:
                yield connection
            finally:
                if connection.is_usable and not self._closed:
                    self._idle.append(connection)
                else:
                    connection.close()
        finally:
            self._turns.release()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[StoreConnection]:
        """Lend a connection in a transaction, which ends with the block: see ``StoreConnection.transaction``."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def execute(
        self, sql: str, values: Sequence[Any] | dict[str, Any] | None = None, *, timeout: float | None = None
    ) -> list[tuple[Any, ...]]:
        """Execute one statement in a transaction of its own, and return its rows."""
        async with self.connection() as connection:
            return await connection.execute(sql, values, timeout=timeout)

    async def _take(self) -> StoreConnection:
        if self._closed:
            raise unusable(self.address.shown, "the connections to the server are closed", "the engine is stopping")
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
            connection.close()
        return await StoreConnection.open(
            self.address, application=self._application, timeouts=self.timeouts, writes=self._writes
        )

    def close(self) -> None:
        """Close the connections that nobody uses; those in use are closed when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
