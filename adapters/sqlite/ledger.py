"""The ledger of completeness of a running engine: what its accounts have handled, stored together."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import anyio
from attrs import define, field

from adapters.sqlite import ledger_schema, rename_schema, schema
from adapters.sqlite.errors import WriterClosed, WriterFenced
from states.ledger import HoleCause, LedgerRow

DELAY = 0.2
"""Seconds for which rows are gathered: less than the session file takes to say that an update was seen."""
COMPACT_EVERY = 6 * 3600.0
"""Seconds between two times at which intervals that touch become one row."""
MAX_AT_ONCE = 256
"""Accounts whose rows are stored in one transaction."""

Rows = list[tuple[Any, Sequence[Any]]]
"""Each with its statement, as the store has it."""


class RowSource(Protocol):
    """What has rows to store: an account, of which one transaction at a time is on its way."""

    @property
    def account(self) -> str:
        """Its name."""

    def take(self) -> Sequence[LedgerRow]:
        """Return the rows, which are on their way until one of the others is called."""

    def stored(self, rows: Sequence[LedgerRow]) -> None:
        """Note that these rows are durable."""

    def put_back(self, rows: Sequence[LedgerRow]) -> None:
        """Note that these rows may not be durable."""


class LedgerWriter(Protocol):
    """What stores the rows; each store has one."""

    async def write_together(self, rows: Sequence[tuple[Any, Sequence[Any]]]) -> None:
        """Queue rows that become durable in one transaction."""

    async def flush(self) -> None:
        """Return when everything written before is durable."""


@define(eq=False)
class LedgerStore:
    """Stores what accounts have handled, through ``writer``. ``run`` it for as long as they live."""

    writer: LedgerWriter
    _waiting: dict[RowSource, None] = field(factory=dict, init=False)
    _changed: anyio.Event = field(factory=anyio.Event, init=False)
    _users: dict[str, tuple[int, str]] = field(factory=dict, init=False)
    """The user and the login of each account, as they are stored: ``prove`` finds the rows by them."""

    def soon(self, ledger: RowSource) -> None:
        """Store an account's rows within a moment, while ``run`` runs."""
        self._waiting[ledger] = None
        self._changed.set()

    async def now(self, ledger: RowSource) -> None:
        """Store an account's rows; durable on return. Raises what ``GroupWriter.write`` raises."""
        self._waiting.pop(ledger, None)
        await self._store([ledger])

    async def run(self) -> None:
        """Store rows as they come, until cancelled; join those of earlier runs, at once and then a few times a day.

        Ends when the writer is over, with the life of a node: what it has not stored is with the accounts still.
        """
        with suppress(WriterClosed, WriterFenced):
            await self._run()

    async def _run(self) -> None:
        await self._compact()
        while True:
            with anyio.move_on_after(COMPACT_EVERY):
                while True:
                    await self._changed.wait()
                    await anyio.sleep(DELAY)
                    self._changed = anyio.Event()
                    await self._store_waiting()
            await self._compact()

    async def _compact(self) -> None:
        for rows in self._compactions():
            await self.writer.write_together(rows)

    async def _store_waiting(self) -> None:
        while self._waiting:
            some = list(self._waiting)[:MAX_AT_ONCE]
            for each in some:
                del self._waiting[each]
            await self._store(some)

    async def _store(self, ledgers: Sequence[RowSource]) -> None:
        taken = [(ledger, ledger.take()) for ledger in ledgers]
        users = {ledger.account: (rows[-1].user, rows[-1].login) for ledger, rows in taken if rows}
        new = {account: user for account, user in users.items() if self._users.get(account) != user}
        try:
            await self.writer.write_together(
                [
                    *(row for account, (user, login) in new.items() for row in self._login_rows(account, user, login)),
                    *(row for _, rows in taken for each in rows for row in self._rows_of(each)),
                ]
            )
            await self.writer.flush()
        except BaseException:
            for ledger, rows in taken:
                ledger.put_back(rows)
                self._waiting[ledger] = None
            raise
        self._users.update(new)
        for ledger, rows in taken:
            ledger.stored(rows)

    # --- what another store writes in its own way ---

    def _rows_of(self, row: LedgerRow) -> Rows:
        return rows_of(row)

    def _login_rows(self, account: str, user: int, login: str) -> Rows:
        """Return what says whose rows those of an account are, when it first has some here."""
        return [(schema.NAME, (account,)), (rename_schema.LOGIN, (account, login, user))]

    def _compactions(self) -> Iterable[Rows]:
        """Return what keeps the ledger small, by transactions."""
        return [list(ledger_schema.COMPACT)]


def rows_of(row: LedgerRow) -> Rows:
    """Return what is to be written for an interval."""
    after, upto = row.interval.after, row.interval.upto
    if row.cause is not None:
        hole = (ledger_schema.HOLE, (row.user, row.box, after, row.cause.value, upto, row.since, row.until))
        if row.cause is HoleCause.RENUMBERED:
            box = (row.user, row.box, after)
            return [(ledger_schema.CUT, box), (ledger_schema.RENUMBER, box), hole]
        return [hole]
    return [
        (ledger_schema.VOID, (row.user, row.box, row.login, after)),
        (
            ledger_schema.INTERVAL,
            (row.user, row.box, row.login, after, upto, row.since, row.until, row.first_id, row.last_id),
        ),
    ]
