"""The job service: the kinds of jobs of an engine, its dispatcher, its background tasks. A composition root."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

import anyio
from attrs import define, field

from adapters.sqlite.jobs import NewJob
from adapters.telegram.holds import contexts_of
from adapters.telegram.job_errors import classify_job_error
from engine.app.job_registry import JobRegistry
from engine.config import Config
from engine.console.names import addressed
from engine.fleet.ports import Clock
from engine.wakeup import Wakeup
from engine.work.background_tasks import BackgroundTasks, Work
from engine.work.dispatcher import Dispatcher
from engine.work.kinds import Function, JobKind
from engine.work.labels import WorkLabel
from engine.work.modules import BadModule, FreshImport
from engine.work.ports import ClientOf, WorkStorage
from states.events import ClockJumped
from states.jobs import OPEN, Job, JobSummary

POLL_SECONDS = 0.1
"""How often ``finished`` reads a job at first; the pause then grows to a second."""


@define(eq=False, repr=False)
class JobService:
    """The work of an engine; programs reach it through ``Engine``."""

    config: Config
    registry: JobRegistry = field(init=False)
    background: BackgroundTasks | None = field(default=None, init=False)
    dispatcher: Dispatcher | None = field(default=None, init=False)
    _store: WorkStorage | None = field(default=None, init=False)
    _make: Callable[[WorkStorage], None] = field(init=False)
    """Makes the dispatcher and the background tasks for a store."""
    _reopened: Wakeup = field(factory=Wakeup, init=False)
    _former: list[Dispatcher | BackgroundTasks] = field(factory=list, init=False)
    """Those of stores that are over, and have work that does not end."""
    _own_background: list[tuple[str, Work]] = field(factory=list, init=False)
    """Background tasks that the program has added, each with the name or pattern of its accounts."""
    _own_kinds: list[JobKind] = field(factory=list, init=False)
    """Kinds that the program has added."""
    _known: dict[tuple[str, ...], set[str]] = field(factory=dict, init=False)
    _owned: Collection[str] | None = field(default=None, init=False)
    """The accounts that this engine has; None for all of the config."""

    @registry.default
    def _read_modules(self) -> JobRegistry:
        return JobRegistry.of(self.config)

    def add_kind(self, name: str, function: Function, data: type[Any] | None) -> None:
        """Add a kind that the program itself defines."""
        kind = JobKind(name, function, data)
        self._own_kinds.append(kind)
        self.registry.kinds.by_name[name] = kind

    def check_new_kind(self, name: str) -> None:
        """Raise ``ValueError`` if there is a kind of this name already: its jobs would be done by another function."""
        if self.registry.kinds.get(name) is not None:
            raise ValueError(f"there is a kind {name!r} already, built in or from a module; choose another name")

    def add_background_task(self, pattern: str, function: Work) -> None:
        """Add a background task of the program itself, for the accounts that ``pattern`` means."""
        self._own_background.append((pattern, function))

    def handlers_of(self, account: str) -> list[tuple[Any, Any]]:
        """Return the modules' handlers for an account, each with its event."""
        return [
            (each.function, each.event)
            for each in self.registry.modules.handlers
            if account in self._addressed(each.accounts)
        ]

    def _addressed(self, patterns: tuple[str, ...]) -> set[str]:
        """Return whom patterns mean; once for each, because there may be a thousand accounts."""
        if patterns not in self._known:
            self._known[patterns] = addressed([account.name for account in self.config.accounts], patterns)
        return self._known[patterns]

    def unmatched(self) -> list[tuple[str, str]]:
        """Return each background task of the program that is for no account: its name and its pattern."""
        own = self._own_background
        return [(name_of(function), pattern) for pattern, function in own if not self._addressed((pattern,))]

    def open(
        self,
        store: WorkStorage,
        client_of: ClientOf,
        clock: Clock,
        ended: Callable[[Job, str], None] = lambda job, account: None,
        moves_work: Callable[[str], bool] = lambda account: True,
    ) -> None:
        """Make the dispatcher and the background tasks; needs a running loop. ``clock`` is the engine's time of day.

        ``ended`` is called with each job that has ended, and the account with which it ran; ``moves_work`` says whether
        others may do the work of an account that cannot.
        """
        self._make = partial(self._open, client_of=client_of, clock=clock, ended=ended, moves_work=moves_work)
        self._make(store)

    def reopen(self, store: WorkStorage) -> None:
        """Go on with another store, because the one before takes nothing any more: what runs is taken away.

        Nothing of it is stored, so it is done again from its last checkpoint, as after a crash.
        """
        former = [part for part in (self.dispatcher, self.background) if part is not None]
        if self.dispatcher is not None:
            self.dispatcher.abandoned = True
        self._former = [*(part for part in self._former if part.stuck), *former]
        self._make(store)
        self._reopened.notify()

    def _open(
        self,
        store: WorkStorage,
        client_of: ClientOf,
        clock: Clock,
        ended: Callable[[Job, str], None],
        moves_work: Callable[[str], bool],
    ) -> None:
        names = self._names
        self._store = store
        self.dispatcher = Dispatcher(
            accounts=names,
            kinds=self.registry.kinds,
            policy=self.config.work,
            store=store,
            client_of=client_of,
            classify_error=classify_job_error,
            contexts_of=contexts_of,
            clock=clock,
            ended=ended,
            moves_work=moves_work,
        )
        self.background = BackgroundTasks(client_of, classify_job_error)
        for name, functions in self._background_of(names).items():
            for function in functions:
                self.background.add(name, function)

    def _background_of(self, names: Sequence[str]) -> dict[str, list[Work]]:
        """Return the background tasks of each account: those of the modules, then those of the program."""
        modules = [(each.accounts, each.function) for each in self.registry.modules.background_tasks]
        declared = [*modules, *(((pattern,), function) for pattern, function in self._own_background)]
        return {
            name: [function for patterns, function in declared if name in self._addressed(patterns)] for name in names
        }

    def read_again(self, config: Config, importing: FreshImport) -> JobRegistry:
        """Return the registry of another config, and use nothing of it yet. Blocks.

        Raises ``BadModule``, also for a kind that the program has itself.
        """
        with importing:
            registry = JobRegistry.of(config)
            for kind in self._own_kinds:
                if registry.kinds.get(kind.name) is not None:
                    raise BadModule(
                        f"{config.path.name}: work.modules: the program has the kind {kind.name!r} itself; rename one"
                    )
                registry.kinds.by_name[kind.name] = kind
        if not importing.loaded.sources:  # what was imported before is not found once more
            registry.modules.sources.update(self.registry.modules.sources | registry.modules.sources)
        return registry

    def use(self, config: Config, registry: JobRegistry) -> None:
        """Go by another config from now on: jobs that run end as they began."""
        self.config, self.registry = config, registry
        self._known.clear()
        self._use_names()

    def use_accounts(self, names: Collection[str]) -> None:
        """Work with these accounts of the config from now on; the others are other nodes'. Call it before ``open``."""
        self._owned = names
        self._use_names()

    @property
    def _names(self) -> list[str]:
        """The accounts with which jobs are done here."""
        owned = self._owned
        return [account.name for account in self.config.accounts if owned is None or account.name in owned]

    def _use_names(self) -> None:
        names, config, registry = self._names, self.config, self.registry
        if self.dispatcher is not None and self.background is not None:
            self.dispatcher.use(names, registry.kinds, config.work)
            self.background.use(self._background_of(names))

    async def idle(self, accounts: Collection[str]) -> None:
        """Return when the jobs of these accounts, which have no client any more, have ended and are stored."""
        for name in accounts:
            self.account_changed(name)
        if self.dispatcher is not None:
            await self.dispatcher.idle(accounts)

    def account_changed(self, name: str) -> None:
        """Tell the dispatcher and the background tasks that an account may have another client, or none."""
        for part in (self.dispatcher, self.background):
            if part is not None:
                part.account_changed(name)

    def jobs_changed(self) -> None:
        """Tell the dispatcher that jobs were added, retried or cancelled."""
        if self.dispatcher is not None:
            self.dispatcher.jobs_changed()

    def limit_ended(self, account: str, limit: str) -> None:
        """Tell the dispatcher that a limit of some requests of an account is over."""
        if self.dispatcher is not None:
            self.dispatcher.limit_ended(account, limit)

    def clock_jumped(self, event: ClockJumped) -> None:
        """Tell the dispatcher that the clock jumped."""
        if self.dispatcher is not None:
            self.dispatcher.clock_jumped(event)

    def label_of(self, task: "asyncio.Task[Any]") -> WorkLabel | None:
        """Return what log lines call the user's function that is running in a task; None if there is none."""
        parts = (self.dispatcher, self.background, *self._former)
        return next((label for part in parts if part is not None and (label := part.label_of(task))), None)

    async def run(self) -> None:
        """Work until cancelled; then end all jobs and background tasks in bounded time."""
        while True:
            assert self.dispatcher is not None, "open comes first"
            assert self.background is not None
            reopened = self._reopened.upcoming
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.dispatcher.run)
                tasks.start_soon(self.background.run)
                await reopened.wait()
                tasks.cancel_scope.cancel()

    async def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            await self._store.aclose()

    @property
    def summary(self) -> JobSummary:
        """How many jobs there are, and those that run now."""
        return self.dispatcher.summary if self.dispatcher is not None else JobSummary()

    @property
    def stuck(self) -> bool:
        """Whether some work does not end although it was cancelled."""
        parts = (self.dispatcher, self.background, *self._former)
        return any(part is not None and bool(part.stuck) for part in parts)

    # --- jobs --------------------------------------------------------------------------------------------------------

    async def add(self, jobs: Iterable[NewJob]) -> range:
        """Add jobs; return their numbers when they are durable."""
        added = await self.store.add(jobs)
        self.jobs_changed()
        return added

    async def finished(self, number: int) -> Job:
        """Wait until a job has ended, and return it. Raises ``LookupError`` for a job that does not exist."""
        pause = POLL_SECONDS
        while True:
            job = await self.store.job(number)
            if job is None:
                raise LookupError(f"there is no job {number}")
            if job.state not in OPEN:
                return job
            await anyio.sleep(pause)
            pause = min(1.0, pause * 1.5)

    @property
    def store(self) -> WorkStorage:
        """Where the jobs are stored; raises ``RuntimeError`` while the engine does not run."""
        if self._store is None:
            raise RuntimeError("the engine does not run; use its jobs inside 'async with engine'")
        return self._store


def name_of(function: Any) -> str:
    """Return what a sentence calls a function of the user."""
    return str(getattr(function, "__qualname__", None) or type(function).__name__)
