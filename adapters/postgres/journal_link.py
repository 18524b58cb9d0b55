"""Where a node's life writes its journal: one connection, on which each batch is stored exactly once."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final

from attrs import define, field

from adapters.postgres.address import StoreAddress
from adapters.postgres.arrays import BinaryArray
from adapters.postgres.connect import StoreConnection, StoreTimeouts
from adapters.postgres.errors import Fenced
from adapters.postgres.group_writer import Call
from adapters.postgres.journal_statements import KINDS, JournalNumbers, batch_sql, needed_kinds

_LAST_BATCH: Final = "SELECT coalesce((SELECT batch FROM journal_batches WHERE node = %s), 0)"
_ADD_NAMES: Final = "INSERT INTO names (name) SELECT * FROM unnest(%s::text[]) ON CONFLICT DO NOTHING"
_FIND_NAMES: Final = """SELECT name, id, coalesce((SELECT number FROM snapshots WHERE account = names.id), 0)
    FROM names WHERE name = ANY(%s)"""
_MAX_NAMES: Final = 200_000
"""Names whose numbers are kept; when there are more, they are asked for again."""


@define(eq=False)
class JournalLink:
    """The journal's own connection, for the life of a node. One task uses it.

    A batch whose answer was lost may have been stored. Batches are numbered, so it is sent again, and the number of the
    last one, which is stored with it, says that it is there.
    """

    address: StoreAddress
    life: int
    """The row of ``nodes``."""
    timeouts: StoreTimeouts = field(factory=StoreTimeouts)
    on_left_out: Callable[[int], None] = lambda rows: None
    """Called with how many rows of a batch are left out, because they are of accounts that were dropped."""
    _dropped: set[str] = field(factory=set, init=False)
    _connection: StoreConnection | None = field(default=None, init=False)
    _numbers: JournalNumbers = field(factory=JournalNumbers, init=False)
    _batch: int = field(default=0, init=False)
    _calls: object = field(default=None, init=False)
    """The rows of the batch with this number."""
    _kinds: tuple[str, ...] = field(default=(), init=False)
    """Their kinds."""
    _values: dict[str, BinaryArray] = field(factory=dict, init=False)
    """The same as arrays, by kind and column."""

    async def begin(self) -> None:
        """Connect. Raises ``StoreUnusable``."""
        connection = await self._connected()
        [(self._batch,)] = await connection.execute(_LAST_BATCH, (self.life,))

    async def transact(self, calls: Sequence[Call]) -> None:
        """Store a batch: the rows of each kind. To try it again, pass the same list.

        Raises ``Fenced`` when the life has ended: nothing is stored then. Raises ``StoreUnusable`` when it may be.
        """
        connection = await self._connected()
        if calls is not self._calls:
            await self._encode(connection, calls)
            self._batch, self._calls = self._batch + 1, calls
        sql, values = batch_sql(self._kinds), {**self._values, "node": self.life, "batch": self._batch}
        [(lives, _)] = await connection.execute(sql, values)
        if not lives:
            raise Fenced(
                f"{self.address}: the life of this node has ended in the store, and what it writes is not taken any "
                "more; its accounts may live on another node"
            )

    def forget(self, account: str) -> None:
        """Ask for the numbers of an account again: it may have lived elsewhere since, or have another name now."""
        self._numbers.names.pop(account, None)

    def drop(self, account: str) -> None:
        """Store no row of an account from the next batch on, until ``take``: another node may number its records."""
        self._dropped.add(account)
        self.forget(account)

    def take(self, account: str) -> None:
        """Store the rows of an account: this life owns it, and what was queued before has been seen by ``drop``."""
        self._dropped.discard(account)
        self.forget(account)

    def _without_dropped(self, calls: Sequence[Call]) -> list[Call]:
        kept: list[Call] = []
        left_out = 0
        for kind, found in calls:
            rows = [row for row in found if row[0] not in self._dropped] if 0 in KINDS[kind].names else list(found)
            left_out += len(found) - len(rows)
            kept.append((kind, rows))
        if left_out:
            self.on_left_out(left_out)
        return kept

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _connected(self) -> StoreConnection:
        if self._connection is None or not self._connection.is_usable:
            self.close()
            self._connection = await StoreConnection.open(
                self.address, application="holdfast journal", timeouts=self.timeouts
            )
        return self._connection

    async def _encode(self, connection: StoreConnection, calls: Sequence[Call]) -> None:
        """Make the arrays of a batch. New names get a number, which outlives a batch that fails."""
        numbers = self._numbers
        if len(numbers.names) > _MAX_NAMES:
            numbers.names.clear()
        names: set[str] = set()
        for kind, found in calls:
            for cell in KINDS[kind].names:
                names.update(map(itemgetter(cell), found))
        if new := sorted(map(str, names - numbers.names.keys())):
            await connection.execute(_ADD_NAMES, (new,))
            for name, number, records in await connection.execute(_FIND_NAMES, (new,)):
                numbers.names[name], numbers.records[name] = number, records
        if self._dropped:
            calls = self._without_dropped(calls)
        rows = dict(calls)
        self._kinds = needed_kinds(name for name, found in calls if found)
        self._values = {}
        for name in self._kinds:
            self._values.update(KINDS[name].arrays(rows.get(name, ()), numbers))
