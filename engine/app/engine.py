"""``Engine``: all parts as one object, for ``run`` and for programs that import it. A composition root."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload
from uuid import uuid4

import anyio
import structlog
from anyio.abc import TaskStatus
from attrs import Factory, define, evolve, field

from adapters.archive.marker import check_mark
from adapters.system import EngineLock, ServiceManager, WatchedClock, forks
from adapters.telegram.usernames import Usernames
from engine import paths
from engine.alerts.ports import AlertClaims
from engine.app.account import Account
from engine.app.account_places import AccountPlaces
from engine.app.fleet_parts import FleetParts
from engine.app.handlers import Handlers
from engine.app.incidents import IncidentHome, IncidentParts
from engine.app.jobs import JobService
from engine.app.journal import PresentStore, follower_of, opened_journal, retention, unwritten
from engine.app.live_config import LiveConfig
from engine.app.locks import refuse_remaining_workers, refuse_sessions_of_engines, watch_locks
from engine.app.node_stores import StoreParts
from engine.app.node_work import node_of
from engine.app.offered_config import OfferedConfigs
from engine.app.outward import OutwardParts, preload
from engine.app.page_source import EnginePageSource
from engine.app.records import StoragePlace
from engine.app.reload import Reloader
from engine.app.remote import RemoteAccounts, RemoteParts
from engine.app.restored import Restoration
from engine.app.stop import Stop
from engine.app.telegram import ConnectorSource, source_of
from engine.config import Config, load
from engine.console import logs
from engine.console.account_status import AccountStatus
from engine.console.status import EngineInfo
from engine.control import ControlHandlers, ControlServer
from engine.fleet.supervisor import Supervisor
from engine.fleet.watchers import Watcher, keep_running
from engine.incidents.watch import IncidentWatch
from engine.journal.follow import JournalFollower
from engine.journal.ports import JournalStore
from engine.journal.retention import Prunable
from engine.remote.feeds import UpdateStore
from engine.work.decorators import (
    BackgroundFunction,
    Handler,
    JobFunction,
    check_accounts,
    check_coroutine,
    check_event,
    check_kind,
)
from engine.work.ports import WorkStorage
from engine.work.stall import watched
from states import Entry, Snapshot, Step
from states.effects import ReleaseRequests
from states.jobs import Job

if TYPE_CHECKING:  # most engines are no nodes
    from engine.app.node import EngineNode

log = structlog.get_logger("holdfast.engine")


@define(eq=False)
class Engine:
    """Keeps all accounts of a config connected, from ``async with`` to its end.

    Raises ``LockHeld`` if another engine runs on the same data, ``OSError`` if its directory cannot be used, and
    ``StorageError`` for a file that cannot be used; each message is one sentence. ``source`` opens the connectors, by
    default to the datacenter that the config names, and may raise errors of its own.
    """

    config: Config
    source: ConnectorSource = field(default=Factory(lambda self: source_of(self.config), takes_self=True), repr=False)
    throws_out: bool = False
    """Whether a job that blocks the event loop is thrown out. It takes SIGURG, so it works on the main thread only."""
    manager: ServiceManager | None = field(default=None, repr=False)
    """The service manager that hears of this engine. ``run`` gives it that of its process; a program has its own."""
    identity: str = field(factory=lambda: uuid4().hex, repr=False)
    """What distinguishes this engine from those before and after it, whatever the clocks say."""
    stop: Stop = field(factory=Stop, init=False)
    clock: WatchedClock = field(factory=WatchedClock, init=False, repr=False)
    """The time of day by which the engine decides."""
    appliers: dict[str, Callable[[Config], object]] = field(factory=dict, init=False, repr=False)
    """What has another section of a config applied while the engine runs, by the section's name."""
    offers: OfferedConfigs | None = field(default=None, init=False, repr=False)
    """Where another config comes from; None for an engine that reads the file itself."""
    info: EngineInfo = field(init=False)
    fleet: Supervisor = field(init=False)
    jobs: JobService = field(init=False, repr=False)
    incidents: IncidentParts = field(init=False, repr=False)
    remote: RemoteParts = field(init=False, repr=False)
    control: ControlHandlers | None = field(default=None, init=False, repr=False)
    """What carries out the commands of people; None before the accounts are there."""
    _entered: bool = field(default=False, init=False)
    _handlers: Handlers = field(init=False, repr=False)
    _accounts: dict[str, Account] = field(init=False)
    _life: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    _lock: EngineLock | None = field(default=None, init=False, repr=False)
    _journal: JournalStore | None = field(default=None, init=False, repr=False)
    _reloader: Reloader | None = field(default=None, init=False, repr=False)
    _live: LiveConfig = field(init=False, repr=False)
    _follower: JournalFollower | None = field(default=None, init=False, repr=False)
    node: "EngineNode | None" = field(default=None, init=False, repr=False)
    """What shares the accounts with other engines; None where they are all this one's."""

    def __attrs_post_init__(self) -> None:
        self.info = EngineInfo(running=False, pid=os.getpid(), since=time.time())
        self.fleet = Supervisor({}, self.stop.wanted, self.config.states.shutting_down.grace)
        self.jobs = JobService(self.config)
        self._handlers = Handlers(self.config, self.jobs)
        self._accounts = {account.name: Account(account.name, self.fleet) for account in self.config.accounts}
        self.incidents = IncidentParts(self.config, self.clock)
        self._live = LiveConfig(lambda: self.config)
        self.node = node_of(self.config, self.fleet)
        self.source.check(self.jobs.registry)
        if self.config.web is not None:
            preload()

    @classmethod
    def from_config(cls, path: Path | str) -> Self:
        """Return the engine of a config file.

        Raises ``ConfigError``, which lists every error in it, and ``BadModule`` for a module that cannot be used.
        """
        return cls(load(Path(path)))

    def on(self, event: Any, *, accounts: str = "*") -> Callable[[Handler], Handler]:
        """Register the decorated coroutine function for an event of ``telethon.events``, as ``TelegramClient.on`` does.

        It is called for the accounts that ``accounts`` means, a name or a pattern such as ``News *``, once for each
        update, also for those that came during an outage. If the end of the process cuts a handler off, it gets that
        update again. Register handlers before the engine runs; the start warns of one that is for no account.
        """
        check_event(event)
        check_accounts(accounts)

        def register(handler: Handler) -> Handler:
            check_coroutine(handler, "a handler")
            self._handlers.add(accounts, handler, event)
            return handler

        return register

    @overload
    def while_healthy(self, work: BackgroundFunction, *, accounts: str = "*") -> BackgroundFunction: ...

    @overload
    def while_healthy(
        self, work: None = None, *, accounts: str = "*"
    ) -> Callable[[BackgroundFunction], BackgroundFunction]: ...

    def while_healthy(
        self, work: BackgroundFunction | None = None, *, accounts: str = "*"
    ) -> BackgroundFunction | Callable[[BackgroundFunction], BackgroundFunction]:
        """Run the decorated ``async def work(client)`` for as long as an account is healthy, anew with each client.

        It is cancelled when the account leaves ``healthy``. If it raises, the exception is logged, and it is started
        again a few times. Use it before the engine runs, as ``@engine.while_healthy`` or with ``accounts``, a name or a
        pattern of names.
        """
        check_accounts(accounts)

        def register(function: BackgroundFunction) -> BackgroundFunction:
            check_coroutine(function, "a background task")
            self.jobs.add_background_task(accounts, function)
            return function

        return register if work is None else register(work)

    def job_kind(self, name: str, *, data: type[Any] | None = None) -> Callable[[JobFunction], JobFunction]:
        """Let the decorated ``async def work(job, client)`` do jobs of the kind ``name``; see ``engine.job_kind``.

        Raises ``ValueError`` for a kind that there is already.
        """
        check_kind(name, data)
        self.jobs.check_new_kind(name)

        def register(function: JobFunction) -> JobFunction:
            check_coroutine(function, "the function of a kind of jobs")
            self.jobs.add_kind(name, function, data)
            return function

        return register

    async def add_job(
        self,
        kind: str,
        data: Mapping[str, Any],
        *,
        account: str | None = None,
        priority: int = 0,
        due: float | None = None,
    ) -> int:
        """Add a job, which begins no earlier than ``due`` (Unix seconds); return its number when it is durable.

        With ``account`` None any healthy account may do it. Raises ``BadJob`` for an unknown kind or account, and for
        data that do not fit.
        """
        return (await self.jobs.add([self.jobs.registry.check(kind, data, account, priority, due)]))[0]

    async def finished(self, job: int) -> Job:
        """Wait until a job is done, failed or cancelled, and return it. Raises ``LookupError`` if it does not exist."""
        return await self.jobs.finished(job)

    def subscribe(self, *, after: int | None = None) -> AsyncIterator[Entry]:
        """Yield the records of the journal in order, as they are written, until the engine ends.

        They begin after the number ``after``, or with the next one. They are read from the file, where they are
        durable: a slow reader misses nothing and delays nothing, and one that keeps ``entry.seq`` can continue there
        later. Raises ``RuntimeError`` if the engine does not run.
        """
        if self._follower is None:
            raise RuntimeError("the engine does not run; subscribe inside 'async with engine'")
        return self._follower.entries(after)

    def account(self, name: str) -> Account:
        """Return an account by its name; raises ``UnknownAccount``."""
        return self._accounts[self.config.account(name).name]

    @property
    def status(self) -> Mapping[str, AccountStatus]:
        """Where each account of the config is, as far as it is known, by name."""
        return {name: account.status for name, account in self._accounts.items()}

    @property
    def node_line(self) -> str:
        """What is to be said of the node that this engine is; empty if it shares its accounts with no other."""
        return "" if self.node is None else self.node.told()

    def __repr__(self) -> str:
        statuses = self.fleet.statuses.values()
        count = len(self.config.accounts)
        healthy = f", {sum(at.healthy for at in statuses)} healthy" if statuses else ""
        return f"<Engine {self.config.path.name}: {count} account{'s' if count != 1 else ''}{healthy}, {self._phase}>"

    @property
    def _phase(self) -> str:
        if self._follower is None:
            return "not started"
        if self._follower.over:
            return "stopped"
        return "stopping" if self.stop.wanted.is_set() else "running"

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("an Engine is entered once; make another one with Engine.from_config for another run")
        self._entered = True
        if not structlog.is_configured():
            logs.configure()  # to the standard library's loggers, which the program sets up as it likes
        async with AsyncExitStack() as life:
            life.enter_context(self.lock())
            tasks = await life.enter_async_context(anyio.create_task_group())
            await tasks.start(self.serve)
            self._life = life.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.now()
        await self._life.__aexit__(kind, exc, trace)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make the data directory, and hold the lock on it for the block; raise ``LockHeld`` or ``SessionHeld``.

        Raises ``RestoreUnfinished`` for data that a restore was replacing when it was killed.
        """
        self.config.storage.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = EngineLock(self.config.storage.directory / paths.LOCK)
        with self._lock.held(self.info.since or 0.0, self.identity):
            check_mark(self.config.storage.directory)
            if self.node is None:
                refuse_remaining_workers(self.config)
                refuse_sessions_of_engines(self.config)
            self.info = evolve(self.info, running=True)
            try:
                yield
            finally:
                self.info = evolve(self.info, running=False)

    async def serve(
        self, duration: float | None = None, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Run until a stop is requested, or for ``duration`` seconds; the caller holds the lock.

        It starts the parts, runs the fleet, and ends the parts in the opposite order.
        """
        forks.withhold_loop(asyncio.get_running_loop())
        async with AsyncExitStack() as parts:
            watchers: list[Watcher] = []
            if self.node is not None:
                await parts.enter_async_context(self.node.held())
            with self.stop.startup():
                watchers += await self._start(parts)
            if not watchers:
                task_status.started()
                log.info("start_abandoned")
                return
            async with anyio.create_task_group() as tasks:
                for name, watcher in watchers:
                    tasks.start_soon(keep_running, name, watcher, name=name)
                tasks.start_soon(self.stop.after, duration)
                task_status.started()
                await self._run_accounts()
                tasks.cancel_scope.cancel()
        log.info("engine_stopped")

    async def _start(self, parts: AsyncExitStack) -> Sequence[Watcher]:
        """Start the parts, which ``parts`` ends again, and make the runners; return what runs beside the fleet."""
        parts.callback(self._end_following)  # before the journal: its last rows are written when it closes
        node = self.node
        shared: StoreParts | None = None
        if node is not None:
            await node.begin(self.incidents)
            parts.push_async_callback(node.store.close_sessions)
            shared = await parts.enter_async_context(node.opened(self.identity, self.incidents))
            self.jobs.use_accounts(())
        own = None if shared is None else shared.file
        if own is None:
            own = await parts.enter_async_context(opened_journal(self.config, self.identity, self.incidents))
        journal: JournalStore = own if shared is None else shared.journal
        jobs: WorkStorage = own.jobs if shared is None else shared.jobs
        home: IncidentHome = own if shared is None else shared
        claims: AlertClaims | None = None if shared is None else shared.claims
        self._journal = journal
        self._follower = follower_of(lambda: self._journal or journal, self._records)
        database = None if node is None else node.store.name
        watch = await self.incidents.begin(
            home, self._count_jobs, database=database, claims=claims, records=self._records
        )
        parts.push_async_callback(watch.close)
        self.jobs.open(jobs, self._client_of, self.clock, watch.job_ended, self._moves_work)
        parts.push_async_callback(self.jobs.close)
        connectors = await parts.enter_async_context(self.source.opened(self))
        await parts.enter_async_context(watched(name=self.jobs.label_of, throw=self.throws_out))
        keeper = own.usernames if shared is None else shared.usernames
        usernames = Usernames(self.config.usernames.per_day, keeper)
        ledger = own.make_ledger() if shared is None else shared.ledger
        made = FleetParts(self.config, self.fleet, dict(connectors), journal, usernames, self.clock, ledger)
        restoration = Restoration(own, made.connectors)
        known: Mapping[str, Snapshot] = {}
        if node is None:
            known = await restoration.restore()
            parts.push_async_callback(restoration.remember)
        usernames.begin(await keeper.load())  # after accounts got their new names
        updates: UpdateStore = own.remote if shared is None else shared.remote
        self.remote = RemoteParts(lambda: self.config, self._remote_accounts(made), updates, self._handlers)
        await self.remote.begin()
        watch.begin(list(self._accounts) if node is None else None, [name for name, at in known.items() if at.paused])
        self.fleet.listeners.append(watch.observe)
        # Last: a start that is cancelled makes no runners.
        return self._assemble(made, restoration, known, watch)

    async def use_parts(self, parts: FleetParts, shared: StoreParts) -> None:
        """Write into these from now on: a node's life is over, and the next one has begun. Raises ``StorageError``.

        The accounts are gone by then, and come again with its claims.
        """
        await self.incidents.use_home(shared, shared.claims)
        self.remote.feeds.store = shared.remote
        parts.use_store(shared.journal, shared.usernames, shared.ledger)
        self._journal = shared.journal
        self.jobs.reopen(shared.jobs)

    def _remote_accounts(self, parts: FleetParts) -> RemoteAccounts:
        """Return the accounts as other programs use them."""
        storage, places = self.config.storage, None
        if self.node is not None and self.node.store.records is None:
            places = AccountPlaces(storage, str(storage.directory.absolute()))
        return RemoteAccounts(lambda: self._accounts, parts.connectors, self.fleet.runners.__contains__, places)

    @property
    def _records(self) -> StoragePlace:
        """Where what is stored is read."""
        return (None if self.node is None else self.node.store.records) or self.config.storage

    def _end_following(self) -> None:
        """Let readers of the records end: no more will be written."""
        if self._follower is not None:
            self._follower.wake(over=True)

    async def _run_accounts(self) -> None:
        """Run the accounts and their jobs until the stop has ended them all."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run_jobs)
            orderly = await self.fleet.run()
        if not orderly:
            log.error("grace_exceeded", grace=self.fleet.grace)

    async def flush(self) -> None:
        """Return when everything that the running engine has recorded is durable."""
        if self._journal is not None:
            await self._journal.flush()

    async def _run_jobs(self) -> None:
        """Run jobs until the stop begins: they are taken away while their accounts still disconnect."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_running, "the dispatcher of the jobs", self.jobs.run)
            await self.stop.wanted.wait()
            tasks.cancel_scope.cancel()

    def _assemble(
        self, parts: FleetParts, restoration: Restoration, known: Mapping[str, Snapshot], watch: IncidentWatch
    ) -> Sequence[Watcher]:
        """Add all accounts to the fleet; return what runs beside it."""
        present: list[Callable[[], Prunable]] = [lambda: parts.journal, lambda: self.jobs.store, lambda: watch.store]
        reloader = self._reloader = Reloader(self, parts, restoration, self._handlers)
        commands = self.control = ControlHandlers(
            self.fleet,
            self._commands_changed,
            parts.look,
            reloader.answer,
            lambda: unwritten(parts.journal, "" if self.node is None else self.node.silence),
        )

        page = EnginePageSource(self, self.node)
        outward = OutwardParts(parts, self.jobs, self.incidents, self._live, self.manager, page)
        to_parent = None if self.config.node.worker is None else outward.answer
        socket = self.config.storage.directory / paths.SOCKET
        control = ControlServer(socket, commands, to_parent, self.remote.door)
        self.fleet.listeners.append(self._observe)
        self._handlers.attach(parts.connectors)
        watchers: list[Watcher] = [
            ("the source of the connectors", self.source.run),
            *parts.watchers(self.jobs.clock_jumped, self.incidents.clock_jumped),
            *self.incidents.watchers(),
            *outward.watchers(),
            ("the socket for commands", control.run),
            ("the updates for other programs", self.remote.feeds.run),
            ("the reload", reloader.run),
            retention(self._live, [PresentStore(each) for each in present], known.values()),
        ]
        if self._lock is not None:
            watchers.append(("the watch over the locks", partial(watch_locks, self._lock)))
        if self.node is not None:  # the accounts come with its claims
            return [*watchers, *self.node.watchers(self, parts, self._handlers)]
        for account in self.config.accounts:
            parts.add(account.name, known.get(account.name))
        return watchers

    async def _count_jobs(self) -> Mapping[str, Mapping[str, int]]:
        return await self.jobs.store.counts()

    def _commands_changed(self) -> None:
        """Read what a command has written into the file."""
        self.jobs.jobs_changed()
        self.incidents.commands_changed()

    def reload_soon(self) -> None:
        """Have the running engine read its config again and apply it, as ``reload`` does; the log says the outcome."""
        if self._reloader is not None:
            self._reloader.soon()

    def look_for_accounts(self) -> None:
        """Have a node ask at once whether there are accounts for it."""
        if self.node is not None and self.node.holder is not None:
            self.node.holder.beat_soon()

    def use_config(self, config: Config) -> None:
        """Have the accounts and the values of another config, which the reload applies."""
        accounts = (
            self._accounts.get(account.name) or Account(account.name, self.fleet) for account in config.accounts
        )
        self.config, self._accounts = config, {account.name: account for account in accounts}
        self._live.changed()

    def _observe(self, account: str, step: Step) -> None:
        if not step.record.quiet:
            if (known := self._accounts.get(account)) is not None:  # one that is being removed has none
                known.changed()
            self.jobs.account_changed(account)
            for effect in step.effects:
                if isinstance(effect, ReleaseRequests):
                    self.jobs.limit_ended(account, effect.request)
            if self._follower is not None:
                self._follower.wake()

    def _moves_work(self, account: str) -> bool:
        """Return whether others may do what an account cannot do now: not while Telegram limits it as a whole."""
        runner = self.fleet.runners.get(account)
        return runner is None or runner.snapshot.limited is None

    def _client_of(self, account: str) -> Any:
        """Return the client of an account that work may use now, or None. Asked at each decision of each account."""
        runner = self.fleet.runners.get(account)
        return runner.usable_client if runner is not None else None
