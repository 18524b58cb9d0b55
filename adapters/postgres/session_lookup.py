"""What the sessions in PostgreSQL say of chats by their names, without a node: see ``adapters.session.lookup``."""

from typing import Any, Final

from attrs import frozen

from adapters.postgres.address import StoreAddress
from adapters.postgres.blocking import BlockingStore, blocking_store
from adapters.postgres.session_sql import as_text
from adapters.session.lookup import SELF

_ASK: Final = "SELECT {0} FROM session_entities AS e JOIN accounts ON accounts.id = e.account WHERE accounts.name = %s"
_CHAT_NAMED: Final = f"""{_ASK.format("e.id")} AND left(e.username, 100) = left(%s, 100) AND e.username = %s
    ORDER BY e.seen DESC NULLS LAST, e.id DESC LIMIT 1"""
_KNOWS: Final = f"{_ASK.format('e.id')} AND e.id = %s"
_USER: Final = f"{_ASK.format('e.hash')} AND e.id = {SELF}"
_LOGINS: Final = """SELECT a.name, s.taken_to FROM sessions s JOIN accounts a ON a.id = s.account
    WHERE s.login <> '' ORDER BY a.id"""


def logins_of(address: StoreAddress) -> dict[str, str | None]:
    """Return the accounts that have a login in a store, each with the file to which it was taken, if it was.

    Blocks. Raises ``StoreError``.
    """
    with blocking_store(address) as store:
        return dict(store.rows(_LOGINS))


@frozen
class StoredSessionLookup:
    """Asks the sessions of accounts. Blocks; raises ``StoreUnusable``."""

    store: BlockingStore

    def chat_named(self, account: str, name: str) -> int | None:
        """Return the id of the chat with this @name, as Telethon marks ids; None if the account does not know it."""
        plain = as_text(name.removeprefix("@").lower())
        return None if plain is None else self._ask(_CHAT_NAMED, account, plain, plain)

    def knows_chat(self, account: str, chat: int) -> bool:
        """Return whether an account knows a chat by its marked id."""
        return self._ask(_KNOWS, account, chat) is not None

    def user_of(self, account: str) -> int | None:
        """Return the id of the user whose session an account has; None if it does not say."""
        return self._ask(_USER, account)

    def _ask(self, query: str, *values: Any) -> int | None:
        rows = self.store.rows(query, values)
        return int(rows[0][0]) if rows else None
