"""A connection for commands and for reading in a worker thread: never on an event loop."""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self, TypeVar

import psycopg
from attrs import define, frozen
from psycopg.pq import TransactionStatus

from adapters.postgres.address import StoreAddress
from adapters.postgres.errors import translating_store_errors
from adapters.postgres.migrate import require_versions
from adapters.postgres.settings import SET_UP, StoreTimeouts, check_server, connection_options, set_up_values

T = TypeVar("T")

_TIMEOUTS: Final = StoreTimeouts(idle=10.0)
_SILENCE: Final = _TIMEOUTS.query + 2.0
"""Seconds without a byte after which a server is given up: it ends a statement itself before that, if it can."""


class BlockingConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up a server which has fallen silent.

    TCP does that for one whose machine is gone, and for nothing else: not for a server that is stopped, nor for one
    behind a proxy.
    """

    silence: float = _SILENCE

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **named: Any) -> T:
        """Run one exchange with the server, as psycopg wants it."""
        try:
            return super().wait(self._bounded(gen), *args, **named)
        except KeyboardInterrupt:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:  # it could not be cancelled
                self.pgconn.finish()  # the server rolls back; psycopg would try to, and log that it cannot
            raise

    def _bounded(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        heard, answer = time.monotonic(), None
        while True:
            try:
                wanted = next(gen) if answer is None else gen.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            answer = yield wanted
            now = time.monotonic()
            if answer:
                heard = now
            elif now - heard > self.silence:
                self.pgconn.finish()  # what follows, such as a rollback, fails at once
                raise psycopg.OperationalError(f"no answer within {self.silence:g} s")


@frozen
class BlockingStore:
    """A connection whose statements block, each for a bounded time."""

    address: StoreAddress
    raw: "psycopg.Connection[tuple[Any, ...]]"

    def rows(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement and return its rows, none if it has none. Raises ``StoreUnusable``."""
        with translating_store_errors(self.address.shown):
            cursor = self.raw.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Execute the statements of the block in one transaction. Raises ``StoreUnusable``."""
        with translating_store_errors(self.address.shown, uncertain=True), self.raw.transaction():
            yield


@contextmanager
def blocking_store(
    address: StoreAddress, *, application: str = "holdfast command", silence: float | None = None
) -> Iterator[BlockingStore]:
    """Connect for the block, to a database whose schema is this version's.

    ``silence`` is for how many seconds the server may say nothing, where its own limit of a statement is lifted.
    Raises ``StoreUnusable``, ``SchemaTooOld`` and ``SchemaTooNew``.
    """
    with translating_store_errors(address.shown):
        options = connection_options(address, application, _TIMEOUTS)
        raw = BlockingConnection.connect(address.conninfo, autocommit=True, **options)
    if silence is not None:
        raw.silence = silence
    with raw:
        store = BlockingStore(address, raw)
        with translating_store_errors(address.shown):
            row = raw.execute(SET_UP, set_up_values(_TIMEOUTS)).fetchone()
        assert row is not None
        check_server(address, row, writes=False)
        is_there = store.rows("SELECT to_regclass('schema_versions') IS NOT NULL")[0][0]
        versions = store.rows("SELECT version FROM schema_versions") if is_there else []
        require_versions(address, frozenset(version for (version,) in versions))
        yield store


@define(eq=False)
class StoreReader:
    """Reads for commands in a process of their own, and in worker threads. A context manager; not for an event loop."""

    _store: BlockingStore

    @classmethod
    @contextmanager
    def open(cls, address: StoreAddress) -> Iterator[Self]:
        """Connect for the block. Raises ``StoreUnusable``, ``SchemaTooOld`` and ``SchemaTooNew``."""
        with blocking_store(address) as store:
            yield cls(store)
