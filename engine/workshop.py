"""The work of an engine: its kinds of jobs, the dispatcher, and what stands with its accounts. A composition root."""

import asyncio
from collections.abc import Iterable
from typing import Any

import anyio
from attrs import define, field

from adapters.sqlite.jobs import JobStore, NewJob
from adapters.system import SystemClock
from adapters.telegram.blame import blame
from engine.catalogue import Catalogue
from engine.config import Config, SandboxJob
from engine.control import matching
from engine.work.dispatcher import Dispatcher
from engine.work.kinds import BadJob, Function, Kind
from engine.work.ports import ClientOf
from engine.work.standing import Standing, Work
from engine.work.summary import Summary
from states.jobs import OPEN, Job

POLL_SECONDS = 0.1
"""How often ``finished`` looks at a job, at first; it looks ever more rarely, down to once a second."""


@define(eq=False)
class Workshop:
    """What work an engine has; the ways to it are ``Engine``'s."""

    config: Config
    catalogue: Catalogue = field(init=False)
    standing: Standing | None = field(default=None, init=False)
    dispatcher: Dispatcher | None = field(default=None, init=False)
    _store: JobStore | None = field(default=None, init=False)
    _own: list[tuple[str, Work]] = field(factory=list, init=False)
    """Standing work that the program has added, and for which accounts."""

    @catalogue.default
    def _read_modules(self) -> Catalogue:
        return Catalogue.of(self.config)

    def __attrs_post_init__(self) -> None:
        for index, each in enumerate(self.config.sandbox.jobs):
            try:
                self.catalogue.check(each.kind, each.data, each.account)
            except BadJob as exc:
                raise BadJob(f"{self.config.path.name}: sandbox.jobs[{index}]: {exc}") from None

    def add_kind(self, name: str, function: Function, data: type[Any] | None) -> None:
        """Take a kind from the program itself."""
        self.catalogue.kinds.by_name[name] = Kind(name, function, data)

    def stand(self, pattern: str, function: Work) -> None:
        """Take standing work from the program itself."""
        self._own.append((pattern, function))

    def handlers_of(self, account: str) -> list[tuple[Any, Any]]:
        """Return the handlers of an account that are in modules, each with its event."""
        return [(each.function, each.event) for each in self.catalogue.found.handlers if _fits(account, each.accounts)]

    def open(self, store: JobStore, client_of: ClientOf) -> None:
        """Get ready to work, on a running loop."""
        names = [account.name for account in self.config.accounts]
        self._store = store
        self.dispatcher = Dispatcher(
            accounts=names,
            kinds=self.catalogue.kinds,
            policy=self.config.work,
            store=store,
            client_of=client_of,
            blame=blame,
            clock=SystemClock(),
        )
        self.standing = Standing(client_of, blame)
        for name in names:
            for each in self.catalogue.found.standing:
                if _fits(name, each.accounts):
                    self.standing.add(name, each.function)
            for pattern, function in self._own:
                if _fits(name, (pattern,)):
                    self.standing.add(name, function)

    def account_changed(self, name: str) -> None:
        """Tell both that an account came or went."""
        for part in (self.dispatcher, self.standing):
            if part is not None:
                part.account_changed(name)

    def jobs_changed(self) -> None:
        """Tell the dispatcher that jobs were added, retried or cancelled."""
        if self.dispatcher is not None:
            self.dispatcher.jobs_changed()

    def label_of(self, task: "asyncio.Task[Any]") -> str | None:
        """Return what log lines call the user's work that a task does, if it does any."""
        parts = (self.dispatcher, self.standing)
        return next((label for part in parts if part is not None and (label := part.label_of(task))), None)

    async def run(self) -> None:
        """Work until cancelled, and then end all of it, bounded."""
        assert self.dispatcher is not None, "open comes first"
        assert self.standing is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.dispatcher.run)
            tasks.start_soon(self.standing.run)

    async def close(self) -> None:
        """Close what was opened."""
        if self._store is not None:
            await self._store.aclose()

    @property
    def summary(self) -> Summary:
        """How the jobs are."""
        return self.dispatcher.summary if self.dispatcher is not None else Summary()

    @property
    def stuck(self) -> bool:
        """Whether some work does not end although it was told to."""
        return bool((self.dispatcher and self.dispatcher.stuck) or (self.standing and self.standing.stuck))

    # --- jobs --------------------------------------------------------------------------------------------------------

    async def add(self, jobs: Iterable[NewJob]) -> range:
        """Add jobs; return their numbers when they are durable."""
        added = await self.store.add(jobs)
        self.jobs_changed()
        return added

    async def queue(self, wanted: Iterable[SandboxJob]) -> None:
        """Add the jobs that the config asks for, but those that are still to be done from before."""
        jobs: list[NewJob] = []
        for each in wanted:
            job = self.catalogue.check(each.kind, each.data, each.account)
            if not await self.store.is_waiting_for(job):
                jobs += [job] * each.times
        await self.store.add(jobs)

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
