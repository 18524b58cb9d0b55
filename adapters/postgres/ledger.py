"""The ledger of completeness of a node in PostgreSQL: what ``adapters.sqlite.ledger`` is for one engine.

Rows are those of a user, wherever the account lives: its next owner goes on in them.
"""

from collections.abc import Iterable

from attrs import define

from adapters.postgres.ledger_statements import LOGIN, NAME, compaction, ledger_row
from adapters.sqlite.ledger import MAX_AT_ONCE, LedgerStore, Rows
from states.ledger import LedgerRow


@define(eq=False)
class PostgresLedger(LedgerStore):
    """Stores what the accounts of a node have handled, through its ``StoreWriter``, and so behind the fence.

    Only what this node has written is compacted: the whole ledger is that of the fleet.
    """

    def _rows_of(self, row: LedgerRow) -> Rows:
        return [*ledger_row(row)]

    def _login_rows(self, account: str, user: int, login: str) -> Rows:
        # What another node has left ends where this one's begins, so it becomes one row at once.
        return [(NAME, (account,)), (LOGIN, (account, login, user)), *compaction(user)]

    def _compactions(self) -> Iterable[Rows]:
        users = sorted({user for user, _ in self._users.values()})
        for first in range(0, len(users), MAX_AT_ONCE):
            yield [row for user in users[first : first + MAX_AT_ONCE] for row in compaction(user)]
