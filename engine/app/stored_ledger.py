"""Where a config's ledger of completeness is read: in the engine's own file, or in the database of many nodes.

A composition root.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from adapters.session import lookup
from engine import paths
from states.completeness import ReadLater
from states.ledger import LedgerRow

if TYPE_CHECKING:  # reading a file needs no client of PostgreSQL
    from adapters.postgres.session_lookup import StoredSessionLookup
    from adapters.sqlite.remote_reader import CursorLine
    from engine.app.records import StoragePlace


class StoredLedger(Protocol):
    """Reads the ledger. Not for an event loop."""

    def users(self) -> dict[str, int]:
        """Return the user of each account that has run, by its name."""

    def rows(self, box: int, users: Sequence[int] | None = None) -> list[LedgerRow]:
        """Return what is known of a box, as these users have seen it; with None, whoever has."""

    def boxes(self, user: int) -> dict[int, list[LedgerRow]]:
        """Return what is known of each box of a user."""

    def broken(self) -> list[tuple[int, int]]:
        """Return user and box of what is not one chain: only there can be holes."""

    def fills(self, chat: int, user: int = 0) -> list[ReadLater]:
        """Return what was read of a chat's history; ``user`` is 0 where all see a message under one number."""


class ConfiguredAccount(Protocol):
    """An account of a config."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def session(self) -> Path:
        """Its session file, where sessions are files."""


class KnownChats(Protocol):
    """What the sessions of accounts say of chats. Not for an event loop."""

    def chat_named(self, account: ConfiguredAccount, name: str) -> int | None:
        """Return the marked id of the chat with this @name; None if the account does not know it."""

    def knows_chat(self, account: ConfiguredAccount, chat: int) -> bool:
        """Return whether an account knows a chat by its marked id."""

    def user_of(self, account: ConfiguredAccount) -> int | None:
        """Return the id of the user whose session an account has; None if it does not say."""


class ChatsInFiles:
    """What session files say."""

    def chat_named(self, account: ConfiguredAccount, name: str) -> int | None:
        """Return the marked id of the chat with this @name; None if the file does not know it."""
        return lookup.chat_named(account.session, name)

    def knows_chat(self, account: ConfiguredAccount, chat: int) -> bool:
        """Return whether the file knows a chat by its marked id."""
        return lookup.knows_chat(account.session, chat)

    def user_of(self, account: ConfiguredAccount) -> int | None:
        """Return the id of the user whose session the file is; None if it does not say."""
        return lookup.user_of(account.session)


class ChatsInStore:
    """What the sessions in a database say."""

    def __init__(self, found: "StoredSessionLookup") -> None:
        self._found = found

    def chat_named(self, account: ConfiguredAccount, name: str) -> int | None:
        """Return the marked id of the chat with this @name; None if the account does not know it."""
        return self._found.chat_named(account.name, name)

    def knows_chat(self, account: ConfiguredAccount, chat: int) -> bool:
        """Return whether an account knows a chat by its marked id."""
        return self._found.knows_chat(account.name, chat)

    def user_of(self, account: ConfiguredAccount) -> int | None:
        """Return the id of the user whose session an account has; None if it does not say."""
        return self._found.user_of(account.name)


@contextmanager
def open_ledger(place: "StoragePlace") -> Iterator[tuple[StoredLedger, KnownChats]]:
    """Open the ledger and what the sessions know, for a block. Raises ``StorageError``, also where none was written."""
    if place.database is None:
        from adapters.sqlite.ledger_reader import LedgerReader  # noqa: PLC0415 - one of the two

        with LedgerReader.open(place.directory / paths.DATABASE) as reader:
            yield reader, ChatsInFiles()
        return
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415 - psycopg is needed for such a config alone
    from adapters.postgres.blocking import blocking_store  # noqa: PLC0415
    from adapters.postgres.ledger_reader import PostgresLedgerReader  # noqa: PLC0415
    from adapters.postgres.session_lookup import StoredSessionLookup  # noqa: PLC0415

    with blocking_store(StoreAddress.parse(place.database)) as store:
        yield PostgresLedgerReader(store), ChatsInStore(StoredSessionLookup(store))


def read_cursors(place: "StoragePlace") -> "list[CursorLine]":
    """Return how far other programs are with the updates of each account. Blocks. Raises ``StorageError``."""
    if place.database is None:
        from adapters.sqlite.remote_reader import cursor_lines  # noqa: PLC0415 - one of the two

        return cursor_lines(place.directory / paths.DATABASE)
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415 - as above
    from adapters.postgres.remote import stored_cursor_lines  # noqa: PLC0415

    return stored_cursor_lines(StoreAddress.parse(place.database))
