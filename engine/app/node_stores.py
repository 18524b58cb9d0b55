"""What a node asks of the store that it shares with others: where its lease is, and what it writes in its life.

``database_store.py`` has it in PostgreSQL, for nodes on many machines.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio.abc import TaskGroup
from attrs import field, frozen

from adapters.session.store import SessionPlace
from adapters.sqlite.ledger import LedgerStore
from adapters.sqlite.usernames import StoredUsernames
from adapters.telegram.usernames import UsernameKeeper
from engine.alerts.ports import AlertClaims, AlertOutbox
from engine.app.records import StoragePlace
from engine.config import Config
from engine.config.node import NodeSection
from engine.control.inbox import CommandStore
from engine.incidents.ports import LastingIncidents
from engine.journal.ports import JournalStore
from engine.node.ports import NodeStore
from engine.remote.feeds import UpdateStore
from engine.work.ports import WorkStorage
from engine.workers.ports import HoldStore

if TYPE_CHECKING:  # these import the engine's parts
    from adapters.sqlite import JournalWriter
    from engine.app.incidents import IncidentParts


class UsernameMemory(UsernameKeeper, Protocol):
    """What is known of usernames, for all that have the store."""

    async def load(self) -> StoredUsernames:
        """Return it."""


@frozen(eq=False, kw_only=True)
class StoreParts:
    """What one life of a node writes and reads. Nothing of it is taken once the life is over."""

    journal: JournalStore
    jobs: WorkStorage
    usernames: UsernameMemory
    ledger: LedgerStore
    incidents: LastingIncidents
    outbox: AlertOutbox
    claims: AlertClaims
    """Says which node sends a message."""
    remote: UpdateStore
    """The updates that wait for other programs."""
    drop: Callable[[Collection[str]], None] = lambda accounts: None
    """Has nothing more of accounts stored that may be another node's, also of what waits, until they begin again."""
    refused: anyio.Event = field(factory=anyio.Event)
    """Set when the store has refused something because the life is over."""
    file: "JournalWriter | None" = None
    """The engine's own file, where that is what nodes share."""


class SharedStore(Protocol):
    """A store that several nodes share."""

    @property
    def name(self) -> str:
        """What a sentence calls it, without a secret."""

    @property
    def records(self) -> StoragePlace | None:
        """Where what it has is read; None if it is where the config says."""

    async def take_over(self, config: Config) -> None:
        """Do what ``prepare`` does, before any node of this machine runs: their former lives are over."""

    async def prepare(self, config: Config) -> None:
        """Bring its schema up to date, and have the accounts of a config in it.

        Raises ``StorageError``, also if nodes live that have other accounts than this one.
        """

    async def apply_accounts(
        self, config: Config, life: int, details: Mapping[str, Any], *, changed: bool
    ) -> Sequence[str] | None:
        """Have all nodes know the accounts of a config of the node with this life, and no others.

        Returns the names of the living nodes whose configs are older: until they have read theirs again, nobody takes
        the accounts that were added. None if these accounts are not ``changed``, and another node has applied others:
        nothing is done then. For the parent of workers ``life`` is 0: each worker notes it of itself. Raises
        ``StorageError``.
        """

    async def begin_added(self, config: Config) -> None:
        """Have added accounts begin: all workers of this machine know them. Raises ``StorageError``."""

    def nodes(self, node: NodeSection, details: Mapping[str, Any]) -> NodeStore:
        """Return what the lease of a node goes over; ``details`` is what else it says of itself."""

    def holds(self, node: NodeSection) -> HoldStore:
        """Return where accounts are withheld from all nodes."""

    def commands(self, life: Callable[[], int]) -> CommandStore | None:
        """Return where commands from other hosts to the accounts of the present life are; None without other hosts."""

    def place(self, account: str, life: int, epoch: int) -> SessionPlace | None:
        """Return where the session of an account is for this ownership; None if it is in its file."""

    async def close_sessions(self) -> None:
        """Write all sessions, in bounded time."""

    def opened(
        self, life: int, node: str, engine: str, incidents: "IncidentParts", tasks: TaskGroup
    ) -> AbstractAsyncContextManager[StoreParts]:
        """Open what the life of a node of this name writes; at the end, wait for what was written last.

        ``engine`` is the identity of the engine, ``incidents`` hears of what keeps the store from being written, and
        ``tasks`` outlives the block.
        """
