"""A connection for commands and for reading in a worker thread: never on an event loop."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from attrs import frozen

from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreTimeouts
from adapters.postgres.errors import translating_store_errors
from adapters.postgres.migrate import require_versions

_TIMEOUTS = StoreTimeouts()


@frozen
class BlockingStore:
    """A connection whose statements block, each for a bounded time."""

    address: StoreAddress
    raw: "psycopg.Connection[tuple[Any, ...]]"

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
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
def blocking_store(address: StoreAddress, *, application: str = "holdfast command") -> Iterator[BlockingStore]:
    """Connect for the block, to a database whose schema is this version's.

    Raises ``StoreUnusable``, ``SchemaTooOld`` and ``SchemaTooNew``.
    """
    milliseconds = round(_TIMEOUTS.query * 1000)
    with translating_store_errors(address.shown):
        raw = psycopg.connect(
            address.conninfo,
            autocommit=True,
            application_name=application,
            connect_timeout=round(_TIMEOUTS.connect),
            tcp_user_timeout=milliseconds,
            client_encoding="utf8",
        )
    with raw:
        store = BlockingStore(address, raw)
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            store.rows("SELECT set_config(%s, %s, false)", (name, f"{milliseconds}ms"))
        is_there = store.rows("SELECT to_regclass('schema_versions') IS NOT NULL")[0][0]
        versions = store.rows("SELECT version FROM schema_versions") if is_there else []
        require_versions(address, frozenset(version for (version,) in versions))
        yield store
