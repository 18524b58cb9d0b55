"""The accounts that a node has claimed, in a running engine: what a lease has begun, dropped at once, or given up.

take ──▶ due, after the quiet gap ──▶ one read of where they were left ──▶ the fleet
abort ─▶ links dropped, lives cancelled ──▶ removed by ``run`` when these have ended
give up ──▶ links closed in order, jobs away, all of it stored
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import anyio
import structlog
from anyio.abc import TaskGroup
from attrs import define, field

from adapters.sqlite.errors import StorageError
from engine.config import Config, ConfigError
from engine.fleet.supervisor import Supervisor
from engine.wakeup import Wakeup
from states import Snapshot
from states.assignment import quiet_gap

if TYPE_CHECKING:  # it needs PostgreSQL's client
    from engine.app.node import EngineNode
    from engine.app.node_stores import SharedStore

RETRY_SECONDS: Final = 1.0
"""Between two attempts to read where accounts were left."""
LOST: Final = "another node may have the account now"

log = structlog.get_logger("holdfast.node")


class RunningAccounts(Protocol):
    """What runs the accounts of a node: a ``Supervisor``."""

    @property
    def runners(self) -> Mapping[str, object]:
        """The accounts that it has, by name."""

    def abort(self, names: Iterable[str]) -> None:
        """Drop their connections at once, open none any more, and cancel their lives."""

    async def unlinked(self, names: Iterable[str]) -> None:
        """Return when no connection of these accounts is there, which were aborted."""

    async def remove(self, name: str, reason: str) -> bool:
        """Close an account's connection, and have the account no more."""


class ClaimParts(Protocol):
    """The parts of an engine that have to do with accounts that come and go."""

    async def left(self, names: Collection[str]) -> Mapping[str, Snapshot]:
        """Return where accounts were left, those that ever were somewhere. Raises ``StorageError``."""

    def begin(self, epochs: Mapping[str, int], left: Mapping[str, Snapshot]) -> None:
        """Add accounts to the fleet, each with the number of its ownership and where it was left."""

    async def end(self, names: Collection[str]) -> None:
        """Close accounts in order, take their jobs away, and return when all of that is stored."""

    def dropped(self, names: Collection[str]) -> None:
        """Have nothing more of accounts stored that were dropped, until they begin again. Does not wait."""

    async def let_go(self, name: str) -> None:
        """Let go of an account that was dropped and whose life has ended, in moments; nothing of it is stored."""

    def forget(self, names: Collection[str]) -> None:
        """Forget accounts that the fleet has no more, and take their jobs away."""

    def busy(self) -> Collection[str]:
        """Return the accounts with which jobs run."""


@define(eq=False, kw_only=True)
class ClaimedAccounts:
    """Runs the accounts of a node, see ``engine.node.ports.NodeWork``; ``run`` it beside the fleet."""

    fleet: RunningAccounts
    hosts: Mapping[str, str]
    """The pattern of hosts of each account of the config."""
    host: str
    """Where this node is."""
    takeover_gap: float = 0.0
    waits: bool = field(default=False, init=False)
    """Whether the life of the node was lost, and what the next one writes is not open yet: nothing is begun."""
    parts: ClaimParts | None = field(default=None, init=False)
    """Set before the first claim."""
    _due: dict[str, tuple[int, float]] = field(factory=dict, init=False)
    """Accounts that do not run yet: the number of the ownership, and when they may, by the loop's clock."""
    _aborted: set[str] = field(factory=set, init=False)
    """Accounts that were dropped and that the fleet may still have."""
    _dropping: set[str] = field(factory=set, init=False)
    _changed: Wakeup = field(factory=Wakeup, init=False)

    # --- what the lease wants ---

    def take(self, account: str, epoch: int, last_host: str | None) -> None:
        """Begin to run an account, after the quiet gap if it comes from elsewhere."""
        if account not in self.hosts:
            log.error("node_account_unknown", account=account)
            return
        gap = quiet_gap(self.host, last_host, self.takeover_gap)
        self._due[account] = epoch, anyio.current_time() + gap
        self._changed.notify()

    def abort(self, accounts: Collection[str]) -> None:
        """Drop the connections of these accounts."""
        for name in accounts:
            self._due.pop(name, None)
        self._aborted.update(self.fleet.runners.keys() & set(accounts))
        self.fleet.abort(accounts)
        if self.parts is not None:
            self.parts.dropped(accounts)
        self._changed.notify()

    def abort_all(self) -> None:
        """Drop all connections, and begin none until ``go_on``."""
        self.wait_for_life()
        self._due.clear()
        self.abort(list(self.fleet.runners))

    def use_hosts(self, hosts: Mapping[str, str]) -> None:
        """Go by the accounts of another config from now on; those that it lacks do not begin."""
        self.hosts = hosts
        for name in self._due.keys() - hosts.keys():
            del self._due[name]

    def begin_again(self, epochs: Mapping[str, int]) -> None:
        """Begin accounts again that were closed here and are this node's still."""
        for name, epoch in epochs.items():
            self._due[name] = epoch, anyio.current_time()
        self._changed.notify()

    def wait_for_life(self) -> None:
        """Begin nothing until ``go_on``: what would be written is of a life that is over."""
        self.waits = True

    def go_on(self) -> None:
        """Begin what is due: what the life of the node writes is open."""
        self.waits = False
        self._changed.notify()

    async def gone(self) -> None:
        """Return when no connection of a dropped account is there any more, nor will be.

        What is left of its life may still wait for the store, for a few seconds; the account does not begin before.
        """
        await self.fleet.unlinked(tuple(self._aborted))

    async def give_up(self, accounts: Collection[str]) -> None:
        """Close these accounts in order."""
        for name in accounts:
            self._due.pop(name, None)
        leaving = [name for name in accounts if name in self.fleet.runners and name not in self._aborted]
        if leaving and self.parts is not None:
            await self.parts.end(leaving)
        self._changed.notify()

    def idle(self, hosts: str) -> Sequence[str]:
        """Return the accounts with this pattern of hosts, those first with which no job runs."""
        busy = self.busy()
        mine = [name for name in (*self._due, *self.fleet.runners) if self.hosts.get(name) == hosts]
        return sorted(dict.fromkeys(mine), key=lambda name: (name in busy, name))

    def busy(self) -> Collection[str]:
        """Return the accounts with which a job runs."""
        return self.parts.busy() if self.parts is not None else ()

    # --- what is done beside the fleet ---

    async def run(self) -> None:
        """Begin accounts when they are due, and remove those that were dropped, until cancelled."""
        async with anyio.create_task_group() as tasks:
            while True:
                changed = self._changed.upcoming
                self._drop_all(tasks)
                with anyio.move_on_after(await self._begin_due()):
                    await changed.wait()

    async def _begin_due(self) -> float:
        """Begin the accounts that are due; return the seconds until the next one is, infinite if none waits."""
        assert self.parts is not None, "the parts come first"
        if self.waits:
            return math.inf
        now = anyio.current_time()
        ready = {name: epoch for name, (epoch, at) in self._due.items() if at <= now and not self._is_here(name)}
        if ready:
            try:
                left = await self.parts.left(ready.keys())
            except StorageError as exc:
                log.warning("node_accounts_wait", count=len(ready), detail=str(exc))
                return RETRY_SECONDS
            # What was dropped, or claimed anew, during the reading is not begun by what it says.
            mine = {name: epoch for name, epoch in ready.items() if self._due.get(name, (0, 0.0))[0] == epoch}
            try:
                if mine:
                    self.parts.begin(mine, left)
            finally:  # those that an error kept from beginning are tried again
                for name in self.fleet.runners.keys() & mine.keys():
                    del self._due[name]
        times = [at for name, (_, at) in self._due.items() if not self._is_here(name)]
        return max(0.0, min(times, default=math.inf) - anyio.current_time())

    def _is_here(self, name: str) -> bool:
        """Return whether something of an earlier life of the account is left."""
        return name in self.fleet.runners or name in self._aborted

    def _drop_all(self, tasks: TaskGroup) -> None:
        for name in self._aborted - self._dropping:
            self._dropping.add(name)
            tasks.start_soon(self._drop, name, name=f"node: drops {name}")

    async def _drop(self, name: str) -> None:
        """Remove an account whose connection was dropped. One that is cancelled here is not gone."""
        try:
            if name in self.fleet.runners:
                await self.fleet.remove(name, LOST)
            if self.parts is not None:
                await self.parts.let_go(name)
                self.parts.forget([name])
            self._aborted.discard(name)
        finally:
            self._dropping.discard(name)
            self._changed.notify()


def fleet_directory(config: Config) -> Path | None:
    """Return the directory of all workers, for the config of one of them; None for other engines."""
    return getattr(config.node, "fleet_directory", None)


def is_node(config: Config) -> bool:
    """Return whether the engine of a config shares its accounts with others."""
    return config.storage.database is not None or fleet_directory(config) is not None


def store_of(config: Config) -> "SharedStore | None":
    """Return the store that the nodes of a config share; None if all of it is one engine's.

    Raises ``ConfigError``, and ``DriverMissing`` without PostgreSQL's client.
    """
    if config.storage.database is None:
        directory = fleet_directory(config)
        if directory is None:
            return None
        from engine.app.file_store import SharedFileStore  # noqa: PLC0415 - for workers alone

        return SharedFileStore(directory)
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415 - for such a config alone
    from adapters.postgres.errors import BadAddress  # noqa: PLC0415 - as above

    try:
        address = StoreAddress.parse(config.storage.database)
    except BadAddress as exc:
        raise ConfigError(config.path, [str(exc)]) from None
    from adapters.postgres.session_keys import SessionKeys  # noqa: PLC0415 - as above
    from engine.app.database_store import DatabaseStore  # noqa: PLC0415 - once it is known that the client is there

    return DatabaseStore(address, SessionKeys.read(config.storage.session_key))


def node_of(config: Config, fleet: Supervisor) -> "EngineNode | None":
    """Return the node that the engine of a config is; None if it is alone. Raises as ``store_of`` does."""
    store = store_of(config)
    if store is None:
        return None
    from engine.app.node import EngineNode  # noqa: PLC0415 - for nodes alone

    return EngineNode.of(config, store, fleet)
