"""``engine.db`` as the store that the workers of one machine share: no server is needed. A composition root.

The parent of the workers has the file for itself first (``take_over``): it holds the lock of the directory, and no
worker of before is there any more. What cannot be read of the accounts is repaired then. From there on the workers
write, each behind the fence of its life. A file that is deleted, moved or replaced meanwhile is put back by the first
of them that notices, as all of them still have it open.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from attrs import define, evolve, field, frozen

from adapters.sqlite import JournalWriter
from adapters.sqlite.node_accounts import FileAccounts
from adapters.sqlite.node_file import NodeFile, life_ended, make_file, take_over
from adapters.sqlite.nodes import FileNodes
from adapters.sqlite.shared_incidents import SharedIncidents, SharedOutbox
from adapters.sqlite.shared_jobs import SharedJobs
from adapters.stores.nodes import NodeEntry
from engine import paths
from engine.app.file_lines import FileLines
from engine.app.incidents import IncidentParts
from engine.app.journal import JournalTrouble, closed_in_time, database_replaced, snapshot_repaired
from engine.app.node_stores import StoreParts
from engine.config import Config
from engine.config.node import NodeSection


@frozen
class SharedFilePlace:
    """Where the data of all workers are, as ``engine.app.records.StoragePlace`` has it."""

    directory: Path
    database: None = None


@define(eq=False)
class SharedFileStore:
    """A file, see ``engine.app.node_stores.SharedStore``."""

    directory: Path
    """That of all workers: ``storage.directory`` of their parent."""
    _lines: FileLines | None = field(default=None, init=False)

    @property
    def path(self) -> Path:
        """The file."""
        return self.directory / paths.DATABASE

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def records(self) -> SharedFilePlace:
        """Where what it has is read."""
        return SharedFilePlace(self.directory)

    async def take_over(self, config: Config) -> None:
        """End all lives of before, and have the accounts of this config in the file.

        For the parent, which holds the lock of the directory, when no worker is there. Raises ``StorageError``.
        """
        for each in await anyio.to_thread.run_sync(take_over, self.path):
            snapshot_repaired(each)
        await self._use_accounts(config, adds=True)

    async def prepare(self, config: Config) -> None:
        """Bring the schema up to date: the accounts are those that the parent has put there."""
        await anyio.to_thread.run_sync(make_file, self.path)

    async def apply_accounts(
        self, config: Config, life: int, details: Mapping[str, Any], *, changed: bool
    ) -> Sequence[str]:
        """Have the workers give up the accounts that were removed, for the parent; a worker only says what it has.

        Those that were added come with ``begin_added``: the parent knows which config each of its workers has.
        """
        if not life:
            await self._use_accounts(config, adds=False)
            return ()
        file = await anyio.to_thread.run_sync(NodeFile.open, self.path)
        try:
            if not await FileNodes(file).note(life, details):
                raise life_ended(self.path, life)
        finally:
            file.close()
        if self._lines is not None:
            self._lines.entry = evolve(self._lines.entry, details=details)
        return ()

    async def begin_added(self, config: Config) -> None:
        """Have all accounts of a config there."""
        await self._use_accounts(config, adds=True)

    async def _use_accounts(self, config: Config, *, adds: bool) -> None:
        file = await anyio.to_thread.run_sync(NodeFile.open, self.path)
        try:
            wanted = {account.name: account.hosts for account in config.accounts}
            await FileAccounts(file).use_accounts(wanted, adds=adds)
        finally:
            file.close()

    def nodes(self, node: NodeSection, details: Mapping[str, Any]) -> FileLines:
        """Return what the lease goes over."""
        entry = NodeEntry(
            name=node.known_as,
            host=node.place,
            lease=node.lease,
            accounts_at_most=node.accounts_at_most,
            details=details,
        )
        self._lines = FileLines(self.path, entry)
        return self._lines

    def holds(self, node: NodeSection) -> FileLines:
        """Return where accounts are withheld."""
        return self.nodes(node, {})

    def commands(self, life: Callable[[], int]) -> None:
        """Return None: all workers are on this machine, and the parent speaks to their sockets."""

    def place(self, account: str, life: int, epoch: int) -> None:
        """Return None: sessions are in their files, which the lock of its owner guards."""

    async def close_sessions(self) -> None:
        """Do nothing: each account closes its own."""

    @asynccontextmanager
    async def opened(
        self, life: int, node: str, engine: str, incidents: IncidentParts, tasks: TaskGroup
    ) -> AsyncIterator[StoreParts]:
        """Yield what the life writes, all of it by one thread; at the end, wait for what was written last."""
        refused = anyio.Event()
        async with AsyncExitStack() as parts:
            on_trouble = JournalTrouble(incidents)
            parts.callback(on_trouble.end)
            journal = await JournalWriter.open(
                self.path,
                on_trouble=on_trouble,
                on_rescue=database_replaced,
                engine=engine,
                life=life,
                on_ended=refused.set,
            )
            await parts.enter_async_context(closed_in_time(journal))
            link = await anyio.to_thread.run_sync(partial(NodeFile.open, self.path, durable=True))
            parts.callback(link.close)
            writer = journal.jobs.writer
            outbox = SharedOutbox(self.path, writer, link=link, life=life)
            yield StoreParts(
                journal=journal,
                jobs=SharedJobs(self.path, writer, link=link, life=life, node=node),
                usernames=journal.usernames,
                ledger=journal.make_ledger(),
                incidents=SharedIncidents(self.path, writer, link=link, life=life, node=node),
                outbox=outbox,
                claims=outbox,
                remote=journal.remote,
                refused=refused,
                file=journal,
            )
