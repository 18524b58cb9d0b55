"""The work of an engine: its kinds of jobs, the dispatcher, and its background tasks. A composition root."""

import asyncio
from collections.abc import Iterable
from typing import Any

import anyio
from attrs import define, field

from adapters.sqlite.jobs import JobStore, NewJob
from adapters.system import SystemClock
from adapters.telegram.job_errors import classify_job_error
from engine.app.job_registry import JobRegistry
from engine.config import Config
from engine.console.format import matching
from engine.work.background_tasks import BackgroundTasks, Work
from engine.work.dispatcher import Dispatcher
from engine.work.kinds import Function, JobKind
from engine.work.labels import WorkLabel
from engine.work.ports import ClientOf
from states.jobs import OPEN, Job, JobSummary

POLL_SECONDS = 0.1
"""How often ``finished`` looks at a job, at first; it looks ever more rarely, down to once a second."""


@define(eq=False, repr=False)
class JobService:
    """What work an engine has; the ways to it are ``Engine``'s."""

    config: Config
    registry: JobRegistry = field(init=False)
    background: BackgroundTasks | None = field(default=None, init=False)
    dispatcher: Dispatcher | None = field(default=None, init=False)
    _store: JobStore | None = field(default=None, init=False)
    _own_background: list[tuple[str, Work]] = field(factory=list, init=False)
    """Background tasks that the program has added, each after the pattern of its accounts."""

    @registry.default
    def _read_modules(self) -> JobRegistry:
        return JobRegistry.of(self.config)

    def add_kind(self, name: str, function: Function, data: type[Any] | None) -> None:
        """Take a kind from the program itself."""
        self.registry.kinds.by_name[name] = JobKind(name, function, data)

    def add_background_task(self, pattern: str, function: Work) -> None:
        """Take a background task from the program itself, for the accounts whose names match ``pattern``."""
        self._own_background.append((pattern, function))

    def handlers_of(self, account: str) -> list[tuple[Any, Any]]:
        """Return the handlers of an account that are in modules, each with its event."""
        return [(each.function, each.event) for each in self.registry.found.handlers if _fits(account, each.accounts)]

    def open(self, store: JobStore, client_of: ClientOf) -> None:
        """Get ready to work, on a running loop."""
        names = [account.name for account in self.config.accounts]
        self._store = store
        self.dispatcher = Dispatcher(
            accounts=names,
            kinds=self.registry.kinds,
            policy=self.config.work,
            store=store,
            client_of=client_of,
            blame=classify_job_error,
            clock=SystemClock(),
        )
        self.background = BackgroundTasks(client_of, classify_job_error)
        for name in names:
            for each in self.registry.found.background_tasks:
                if _fits(name, each.accounts):
                    self.background.add(name, each.function)
            for pattern, function in self._own_background:
                if _fits(name, (pattern,)):
                    self.background.add(name, function)

    def account_changed(self, name: str) -> None:
        """Tell both that an account came or went."""
        for part in (self.dispatcher, self.background):
            if part is not None:
                part.account_changed(name)

    def jobs_changed(self) -> None:
        """Tell the dispatcher that jobs were added, retried or cancelled."""
        if self.dispatcher is not None:
            self.dispatcher.jobs_changed()

    def label_of(self, task: "asyncio.Task[Any]") -> WorkLabel | None:
        """Return what log lines call the user's work that a task does, if it does any."""
        parts = (self.dispatcher, self.background)
        return next((label for part in parts if part is not None and (label := part.label_of(task))), None)

    async def run(self) -> None:
        """Work until cancelled, and then end all of it, bounded."""
        assert self.dispatcher is not None, "open comes first"
        assert self.background is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.dispatcher.run)
            tasks.start_soon(self.background.run)

    async def close(self) -> None:
        """Close what was opened."""
        if self._store is not None:
            await self._store.aclose()

    @property
    def summary(self) -> JobSummary:
        """How the jobs are."""
        return self.dispatcher.summary if self.dispatcher is not None else JobSummary()

    @property
    def stuck(self) -> bool:
        """Whether some work does not end although it was told to."""
        return bool((self.dispatcher and self.dispatcher.stuck) or (self.background and self.background.stuck))

    # --- jobs --------------------------------------------------------------------------------------------------------

    async def add(self, jobs: Iterable[NewJob]) -> range:
        """Add jobs; return their numbers when they are durable."""
        added = await self.store.add(jobs)
        self.jobs_changed()
        return added

    async def finished(self, number: int) -> Job:
        """Wait until a job is over, and return it. Raises ``LookupError`` for one that does not exist."""
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
    def store(self) -> JobStore:
        """Where the jobs are; raises ``RuntimeError`` while the engine does not run."""
        if self._store is None:
            raise RuntimeError("the engine does not run; use its jobs inside 'async with engine'")
        return self._store


def _fits(account: str, patterns: Iterable[str]) -> bool:
    return any(matching([account], pattern) for pattern in patterns)
