"""A node: an engine whose accounts are shared with others over a store. A composition root.

Which store that is, ``node_stores.py`` does not say; ``database_store.py`` is the one of many machines.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup
from attrs import define, field

from adapters.sqlite.errors import StorageError
from adapters.system import ContinuousClock, open_dead_man
from adapters.telegram import Datacenter
from engine.app.fleet_parts import FleetParts
from engine.app.handlers import Handlers
from engine.app.incidents import IncidentParts
from engine.app.node_details import details_of, this_machine
from engine.app.node_lives import NodeLives
from engine.app.node_stores import SharedStore, StoreParts
from engine.app.node_work import ClaimedAccounts
from engine.app.records import StoragePlace, open_records
from engine.app.reload import close_accounts
from engine.app.telegram import connector_of, datacenter_outside
from engine.config import AccountConfig, Config, ConfigError, SandboxConfig
from engine.console.safe_text import one_line
from engine.control.inbox import CommandInbox
from engine.fleet.supervisor import Supervisor
from engine.fleet.watchers import Watcher
from engine.node.assigner import Assigner
from engine.node.holder import LeaseHolder
from states import Snapshot
from states.events import DatabaseUnavailable
from states.lease import LeaseTimes

if TYPE_CHECKING:
    from engine.app.engine import Engine

LIFE: Final = Path("node.life")
"""Below ``storage.directory``: the life of the node that was begun last, and where."""
STORE_SECONDS: Final = 5.0
"""How long the store may take before an account begins; then it is asked again."""
USE_AFTER: Final = 0.1
"""Seconds after which the work goes by the accounts that are left."""
MAX_NOTE: Final = 4096
"""Bytes of a note."""
LEAVES: Final = "another node takes the account"

log = structlog.get_logger("holdfast.node")


def refuse_what_nodes_lack(config: Config) -> None:
    """Raise ``ConfigError`` for what would do less than it says where nodes share the accounts."""
    lacks = []
    if isinstance(config.telegram.datacenter, SandboxConfig):
        shared = "storage.database is shared" if config.storage.database else "node.workers are several"
        lacks.append(
            f"telegram.datacenter: a sandbox is of one engine, and {shared}; leave one of them out, "
            "or start 'python -m adapters.sandbox' and give its address"
        )
    if lacks:
        raise ConfigError(config.path, lacks)


@define(eq=False)
class EngineNode:
    """The node that an engine is: its lease, and what it has in the database. ``held`` around all, ``begin`` first."""

    config: Config
    store: SharedStore
    work: ClaimedAccounts
    lives: NodeLives = field(init=False)
    holder: LeaseHolder | None = field(default=None, init=False)
    assigner: Assigner = field(init=False)
    _tasks: TaskGroup = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.lives = NodeLives(self.work)

    @classmethod
    def of(cls, config: Config, store: SharedStore, fleet: Supervisor) -> Self:
        """Return the node of a config. Raises ``ConfigError``."""
        refuse_what_nodes_lack(config)
        work = ClaimedAccounts(
            fleet=fleet,
            hosts=hosts_of(config),
            host=config.node.place,
            takeover_gap=config.node.takeover_gap,
        )
        return cls(config, store, work)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Keep the lease that ``begin`` gets until the end of the block, whose parts are closed by then.

        Raises whatever the block raises, as it is.
        """
        failure: Exception | None = None
        async with anyio.create_task_group() as self._tasks:
            try:
                yield
            except Exception as exc:  # as a group of exceptions nobody would know it
                failure = exc
            finally:
                self.work.parts = None  # they are closed
                if self.holder is not None:
                    self.holder.leave()
        if failure is not None:
            raise failure

    async def begin(self, incidents: IncidentParts) -> None:
        """Bring the store up to date, and begin a life there, which waits for a former one that is not over.

        ``incidents`` hears of a store that gives no answer: no row waits when the accounts are gone. Raises
        ``StorageError`` and ``DeadManUnusable``.
        """
        node, config = self.config.node, self.config
        await self.store.prepare(config)
        store, clock = self.store.nodes(node, details_of(config)), ContinuousClock()
        file = config.storage.directory / LIFE
        former = await anyio.to_thread.run_sync(read_life, file)
        dead_man = await anyio.to_thread.run_sync(open_dead_man)
        times, begun = LeaseTimes.of(node.lease), partial(self._life_begun, file)
        told = partial(_tell_silence, incidents, self)
        holder = self.holder = LeaseHolder(
            store, self.work, dead_man, clock, times, former=former, life_begun=begun, silence_changed=told
        )
        self.assigner = Assigner(store, self.work, holder, clock)
        self._tasks.start_soon(holder.run, name="node: holds the lease")
        await self.lives.first.wait()

    def _life_begun(self, file: Path, life: int) -> None:
        write_life(file, life)
        self.lives.begun(life)

    def opened(self, engine: str, incidents: IncidentParts) -> AbstractAsyncContextManager[StoreParts]:
        """Return what the engine of this identity writes in the first life; what the last one has ends with the block.

        Of further lives ``Engine.use_parts`` hears.
        """
        node, tasks = self.config.node.known_as, self._tasks
        return self.lives.opened(lambda life: self.store.opened(life, node, engine, incidents, tasks))

    async def _watch_refusals(self) -> None:
        """Close all links as soon as the store refuses a row because the life is over: a beat says so later."""
        assert self.holder is not None, "begin comes first"
        while True:
            self.holder.refused(await self.lives.refused())

    async def apply(self, config: Config) -> None:
        """Have all nodes know the accounts of another config. Raises ``StorageError``; nothing was done then.

        Those of a worker the parent has applied, which also tells of the other nodes.
        """
        is_worker = config.node.worker is not None
        changed = not is_worker and hosts_of(config) != hosts_of(self.config)
        life, details = self.lives.written, details_of(config)
        older = await self.store.apply_accounts(config, life, details, changed=changed)
        if not is_worker:
            tell_older(older)

    def use(self, config: Config, again: Collection[str]) -> None:
        """Go by another config, which was applied; begin the accounts in ``again``, which were closed, with it."""
        self.config = config
        self.work.use_hosts(hosts_of(config))
        if isinstance(self.work.parts, NodeAccounts):
            self.work.parts.use(config)
        if self.holder is not None:
            self.work.begin_again({name: self.holder.accounts[name] for name in again if name in self.holder.accounts})
            self.holder.beat_soon()  # what is another node's now is given up

    @property
    def silence(self) -> str:
        """Why there is no lease, if the store does not answer; empty otherwise."""
        return "" if self.holder is None or self.holder.may_act else self.holder.silence

    @property
    def silent_for(self) -> float:
        """For how many seconds the store has confirmed nothing, if there is no lease for that reason; 0 otherwise."""
        holder = self.holder
        return max(0.0, holder.clock.now() - holder.hold.confirmed) if holder is not None and self.silence else 0.0

    def told(self) -> str:
        """Return what a screen says of the node, as it is now."""
        name = one_line(self.config.node.known_as)
        if (holder := self.holder) is None or not holder.may_act:
            return f"node {name} has no lease, and acts for no account"
        others, total = len(holder.watcher.watch.sights), len(self.config.accounts)
        nodes = "no other node" if not others else f"{others:,} other node{'' if others == 1 else 's'}"
        return f"node {name} has {len(holder.accounts):,} of {total:,} accounts; {nodes}"

    def watchers(self, engine: "Engine", parts: FleetParts, handlers: Handlers) -> list[Watcher]:
        """Return what runs beside the fleet: it takes the accounts."""
        self.work.parts = NodeAccounts(self, engine, parts, handlers)
        watchers: list[Watcher] = [
            ("the accounts of the node", self.work.run),
            ("the end of the node's life", self._watch_refusals),
            ("the assignment of accounts", self.assigner.run),
            ("the lives of the node", partial(self.lives.run, partial(engine.use_parts, parts))),
        ]
        commands = self.store.commands(lambda: self.lives.written)
        if commands is not None and engine.control is not None:
            watchers.append(("the commands from other hosts", CommandInbox(commands, engine.control).run))
        return watchers


@define(eq=False)
class NodeAccounts:
    """The parts of an engine that have to do with the accounts of its node, which come and go."""

    node: EngineNode
    engine: "Engine"
    parts: FleetParts
    handlers: Handlers
    _accounts: Mapping[str, AccountConfig] = field(init=False)
    _datacenter: Datacenter | None = field(init=False)
    _using: asyncio.TimerHandle | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.use(self.engine.config)
        self._datacenter = datacenter_outside(self.engine.config)

    def use(self, config: Config) -> None:
        """Go by the accounts of another config from now on."""
        self._accounts = {account.name: account for account in config.accounts}

    async def left(self, names: Collection[str]) -> Mapping[str, Snapshot]:
        """Return where accounts were left, by whichever node had them; other programs' updates go on there, too."""
        with anyio.move_on_after(STORE_SECONDS) as limit:
            await self.engine.remote.feeds.load(names)
            await self.parts.journal.flush()  # what waits of an earlier time here is stored, or left out
        if limit.cancelled_caught:
            raise StorageError(f"the store has not answered within {STORE_SECONDS:g} s")
        read = partial(_read_left, self.node.store.records or self.engine.config.storage, frozenset(names))
        return await anyio.to_thread.run_sync(read, abandon_on_cancel=True)

    def begin(self, epochs: Mapping[str, int], left: Mapping[str, Snapshot]) -> None:
        """Add accounts to the fleet; each ownership has a connector of its own."""
        config, node = self.engine.config, self.node
        for name, epoch in epochs.items():
            place = node.store.place(name, node.lives.written, epoch)
            connector = connector_of(config, self._accounts[name], self._datacenter, place, leased=True)
            self.parts.connectors[name] = connector
            self.handlers.renew(name, connector)
            self.parts.add(name, left.get(name))
        self._use_accounts()

    async def end(self, names: Collection[str]) -> None:
        """Close accounts in order, and have all that they did stored."""
        await close_accounts(self.engine, self.parts, names, LEAVES)
        self.forget(names)
        await self.engine.jobs.store.flush()
        await self.parts.journal.flush()

    def dropped(self, names: Collection[str]) -> None:
        """Have nothing more of these accounts written into the journal."""
        self.node.lives.drop(names)

    async def let_go(self, name: str) -> None:
        """Let go of the session of an account that was dropped."""
        if (connector := self.parts.connectors.get(name)) is not None:
            await connector.discard()

    def forget(self, names: Collection[str]) -> None:
        """Forget accounts that the fleet has no more."""
        self.parts.forget(names)
        self.engine.remote.leave(names)
        if (watch := self.engine.incidents.watch) is not None:
            for name in names:
                watch.forget(name)
        if self._using is None:  # thousands may be dropped one by one, and each time all would be gone through
            self._using = asyncio.get_running_loop().call_later(USE_AFTER, self._use_accounts)

    def busy(self) -> Collection[str]:
        """Return the accounts with which jobs run."""
        return {job.worker for job in self.engine.jobs.summary.running if job.worker is not None}

    def _use_accounts(self) -> None:
        if self._using is not None:
            self._using.cancel()
            self._using = None
        self.engine.jobs.use_accounts(frozenset(self.parts.fleet.runners))


def _tell_silence(incidents: IncidentParts, node: EngineNode, why: str) -> None:
    incidents.storage_trouble(DatabaseUnavailable(detail=why) if why else None, node)


def tell_older(older: Sequence[str] | None) -> None:
    """Say which nodes have older configs; None: this one has."""
    if older is None:
        log.warning("node_config_older")
    elif older:
        log.warning("node_configs_older", names=", ".join(older), count=len(older))


def hosts_of(config: Config) -> dict[str, str]:
    """Return the accounts, each with its pattern of hosts."""
    return {account.name: account.hosts for account in config.accounts}


def _read_left(place: StoragePlace, names: Collection[str]) -> dict[str, Snapshot]:
    with open_records(place) as records:
        records.on_unreadable = lambda row: None  # it begins anew, as one of which nothing is stored
        return {name: snapshot for name, (snapshot, _) in records.snapshots_of(names).items()}


# --- the start -------------------------------------------------------------------------------------------------------


def read_life(file: Path) -> int:
    """Return the life that an earlier process began on this directory and this start of this machine; 0 if none.

    A directory that was copied, or is on another machine, says nothing of whether that process is gone: it may run
    beside the original. Blocks.
    """
    with suppress(OSError):
        return _life_in(file.read_bytes(), _place_of(file))
    return 0


def _life_in(note: bytes, here: list[Any] | None) -> int:
    """Return the life in a note that was written here; 0 if there is none."""
    with suppress(ValueError, TypeError, KeyError):
        stored = json.loads(note)
        if here is not None and stored["place"] == here:
            return int(stored["life"])
    return 0


@define(eq=False)
class LifeNote:
    """The note of another process's life, which is kept open: what it says is known also if it is deleted meanwhile.

    Its methods block.
    """

    file: Path
    _descriptor: int | None
    _here: list[Any] | None
    """The directory in which it was opened."""

    @classmethod
    def open(cls, file: Path) -> "LifeNote":
        """Have the file there, and open it; where that fails, the note is read by its name alone."""
        with suppress(OSError):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return cls(file, os.open(file, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), _place_of(file))
        return cls(file, None, None)

    def read(self) -> int:
        """Return the life that was noted last; 0 if none was."""
        life = read_life(self.file)
        if not life and self._descriptor is not None:
            with suppress(OSError):
                life = _life_in(os.pread(self._descriptor, MAX_NOTE, 0), self._here)
        return life

    def close(self) -> None:
        """Close it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def write_life(file: Path, life: int) -> None:
    """Note the life that this process has begun. A note that is lost costs a wait of the lease at the next start."""
    with suppress(OSError):
        file.write_text(json.dumps({"life": life, "place": _place_of(file)}), encoding="utf-8")


def _place_of(file: Path) -> list[Any] | None:
    """Return which directory this is, in which start of the machine; None where that cannot be told."""
    try:
        found = file.parent.stat()
    except OSError:
        return None
    machine = this_machine()
    return None if machine is None else [machine, found.st_dev, found.st_ino]
