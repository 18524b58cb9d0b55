"""The program that a simulated operator runs: an engine with handlers, jobs of its own kind, and readers of records.

What it hears and does, it tells the ledger, which is outside and remembers also what a killed program has done.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from attrs import define, field
from telethon import events

from adapters.telegram import Datacenter, TelegramConnector
from engine import BadJob, Engine, JobOver, StorageError
from engine.app.job_registry import JobRegistry
from engine.app.telegram import connectors_of
from engine.config import AccountConfig, Config
from engine.config.load import load
from tests.simulation.evidence import (
    EngineLife,
    Following,
    Hearing,
    JobAttempt,
    JobSeen,
    ReaderSeen,
    Write,
)
from tests.simulation.job_bounds import work_of
from tests.simulation.ledger import Ledger
from tests.simulation.story import JobOrder, Story

GROUP = "holdfast_group"
"""The group in which all accounts are members, and into which jobs write."""
STEPS = "steps"
READERS_END_SECONDS = 30.0
"""How long readers may go on after the engine was told to stop."""


class StepFailed(Exception):
    """An attempt of a job of the program's own kind that was drawn to fail."""


class HandlerFailed(Exception):
    """A call of a handler that was drawn to fail."""


@define(eq=False)
class PlannedJob:
    """A job that is to be added at a time of the story."""

    at: float
    order: JobOrder
    index: int
    name: str


def plan(story: Story) -> list[PlannedJob]:
    """Return the jobs of a story, in the order of their times; each has a name that no other one has."""
    planned = [
        PlannedJob(order.at + index * order.every, order, index, f"job {number}.{index}")
        for number, order in enumerate(story.workload.jobs, 1)
        for index in range(order.count)
    ]
    return sorted((each for each in planned if each.at < story.seconds), key=lambda each: (each.at, each.name))


@define(eq=False)
class Program:
    """What stays from life to life: what is still to be added, and where each reader is."""

    story: Story
    ledger: Ledger
    config: Path
    datacenters: Mapping[str, Datacenter]
    planned: list[PlannedJob] = field(init=False)
    places: dict[str, int | None] = field(factory=dict)
    engine: Engine | None = None
    chance: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.planned = plan(self.story)
        self.chance = self.story.random("program")

    async def live(self, life: EngineLife, stop: anyio.Event) -> None:
        """Run one engine until it is told to stop, or ends by itself."""
        config = load(self.config)
        engine = Engine(config, source=WorldConnectors(config, self.datacenters))
        self._register(engine, life)
        try:
            async with engine:
                self.engine = engine
                async with anyio.create_task_group() as tasks:
                    for name in self._readers():
                        tasks.start_soon(self._follow, engine, life, name, name=f"reader {name}")
                    orders = anyio.CancelScope()
                    tasks.start_soon(self._add_jobs, engine, orders, name="orders")
                    await self._until_over(engine, stop)
                    life.asked_to_stop = self.ledger.now
                    orders.cancel()
                    engine.stop.now()
                    tasks.cancel_scope.deadline = anyio.current_time() + READERS_END_SECONDS
        finally:
            self.engine = None

    def _may_be_gone_from(self) -> float | None:
        """Return from when on what is written now may be gone by ``storage.keep``, by the wall clock."""
        keep = self.story.settings.get("storage.keep")
        if keep is None:
            return None
        jumps = [each for each in self.story.incidents if each.kind.group == "clock"]
        ahead = sum(max(0.0, float(each.value or 0.0)) + each.seconds for each in jumps)
        return self.ledger.now + max(0.0, float(keep) - ahead)

    async def _until_over(self, engine: Engine, stop: anyio.Event) -> None:
        async with anyio.create_task_group() as either:
            for event in (stop, engine.stop.wanted):
                either.start_soon(self._cancel_after, event, either.cancel_scope)

    @staticmethod
    async def _cancel_after(event: Any, scope: anyio.CancelScope) -> None:
        await event.wait()
        scope.cancel()

    # --- handlers and jobs ---

    def _register(self, engine: Engine, life: EngineLife) -> None:
        for number in range(1, self.story.accounts + 1):
            name = f"Account {number}"

            async def hear(event: Any, name: str = name) -> None:
                await self._hear(life, name, event)

            engine.on(events.NewMessage(incoming=True), accounts=name)(hear)

        async def steps(job: Any, client: Any) -> dict[str, Any]:
            return await self._steps(life, job, client)

        engine.job_kind(STEPS)(steps)

    async def _hear(self, life: EngineLife, account: str, event: Any) -> None:
        hearing = Hearing(at=self.ledger.now, life=life.number, account=account, mark=event.raw_text)
        self.ledger.evidence.hearings.append(hearing)
        self.ledger.counters["hearings"] += 1
        try:
            if self.story.workload.handler_seconds:
                await anyio.sleep(self.chance.uniform(0, self.story.workload.handler_seconds))
            if self.chance.random() < self.story.workload.handler_failing:
                raise HandlerFailed("this call was drawn to fail")
        except asyncio.CancelledError:  # cut off: it has not handled the message
            raise
        except BaseException:
            hearing.ended = self.ledger.now
            raise
        hearing.ended = self.ledger.now

    async def _steps(self, life: EngineLife, job: Any, client: Any) -> dict[str, Any]:
        attempt = JobAttempt(
            number=job.id,
            life=life.number,
            account=job.account,
            began=self.ledger.now,
            checkpoint=json.dumps(job.saved, sort_keys=True) if job.saved else "",
            attempt=job.attempt,
        )
        self.ledger.evidence.attempts.append(attempt)
        data, done = job.data, int(job.saved.get("done", 0))
        try:
            while done < data["steps"]:
                await client.get_me()
                await anyio.sleep(data["seconds"])
                if self.chance.random() < data["failing"] / data["steps"]:
                    attempt.failed = True
                    raise StepFailed("this attempt was drawn to fail")
                done += 1
                await self._checkpoint(life, job, {"done": done})
            attempt.returned = True
        except Exception:
            attempt.raised = True
            raise
        finally:
            attempt.ended = self.ledger.now
        return {"done": done}

    async def _checkpoint(self, life: EngineLife, job: Any, mark: dict[str, Any]) -> None:
        write = Write(
            kind="checkpoint",
            key=str(job.id),
            value=json.dumps(mark, sort_keys=True),
            asked=self.ledger.now,
            life=life.number,
            gone_from=self._may_be_gone_from(),
        )
        self.ledger.evidence.writes.append(write)
        await job.checkpoint(mark, done=float(mark["done"]))
        write.acknowledged = self.ledger.now

    # --- orders ---

    async def _add_jobs(self, engine: Engine, scope: anyio.CancelScope) -> None:
        with scope:
            while self.planned:
                first = self.planned[0]
                await anyio.sleep(max(0.0, first.at - self.ledger.now))
                self.planned.pop(0)
                try:
                    await self._add(engine, first)
                except (StorageError, BadJob, JobOver, OSError):
                    self.ledger.counters["jobs_refused"] += 1

    async def _add(self, engine: Engine, planned: PlannedJob) -> None:
        order, account = planned.order, None
        if planned.order.account is not None:
            account = f"Account {planned.order.account}"
        data: dict[str, Any]
        if order.kind == "send":
            data = {"to": f"@{GROUP}", "text": planned.name}
        elif order.kind == "collect":
            data = {"chat": f"@{GROUP}"}
        else:
            data = {"steps": order.steps, "seconds": order.seconds, "failing": order.failing, "name": planned.name}
        write = Write(kind="job", key=planned.name, value=order.kind, asked=self.ledger.now, life=self.ledger.life)
        write.gone_from = self._may_be_gone_from()
        self.ledger.evidence.writes.append(write)
        number = await engine.add_job(order.kind, data, account=account)
        write.acknowledged, write.key = self.ledger.now, str(number)  # by which the file knows it
        self.ledger.counters["jobs"] += 1
        self.ledger.tell("program", f"adds {order.kind} {planned.name} (job {number})", "engine")
        self.ledger.evidence.jobs.append(
            JobSeen(
                number=number,
                kind=order.kind,
                added=self.ledger.now,
                account=account or "",
                text=planned.name if order.kind == "send" else "",
                chat=GROUP if order.kind == "collect" else "",
                work=work_of(order, self.ledger.evidence.promises.job_tries),
            )
        )

    # --- readers ---

    def _readers(self) -> list[str]:
        workload = self.story.workload
        names = [f"follower {number}" for number in range(1, workload.followers + 1)]
        return names + [f"subscriber {number}" for number in range(1, workload.subscribers + 1)]

    async def _follow(self, engine: Engine, life: EngineLife, name: str) -> None:
        keeps = name.startswith("follower")
        who = name if keeps else f"{name} of life {life.number}"
        after = self.places.get(who, 0 if keeps else None)
        seen = None
        if who not in self.places:
            seen = ReaderSeen(name=who, after=after or 0, began=self.ledger.now, reached_end=False)
            self.ledger.evidence.readers.append(seen)
        else:
            seen = next(each for each in self.ledger.evidence.readers if each.name == who)
            seen.reached_end = False
        async for entry in engine.subscribe(after=after):
            if after is None and not keeps and seen.after == 0:
                seen.after = entry.seq - 1  # it began with the next one, whatever that is
            self.places[who] = after = entry.seq
            self.ledger.evidence.followings.append(
                Following(at=self.ledger.now, life=life.number, reader=who, seq=entry.seq, account=entry.account)
            )
            self.ledger.counters["followed"] += 1
        seen.reached_end = True


@define(eq=False)
class WorldConnectors:
    """The source of connectors to the simulated datacenter, where each account has a port of its own."""

    config: Config
    datacenters: Mapping[str, Datacenter]

    def check(self, registry: JobRegistry) -> None:
        """Return: this source has no jobs."""

    @asynccontextmanager
    async def opened(self, engine: Engine) -> AsyncIterator[Mapping[str, TelegramConnector]]:
        """Yield the connectors."""
        for datacenter in self.datacenters.values():
            datacenter.trust()
        yield connectors_of(self.config, dict(self.datacenters))

    async def add(self, config: Config, accounts: Sequence[AccountConfig]) -> Mapping[str, TelegramConnector]:
        """Add none: the datacenters of the world are made at its beginning."""
        return {}

    async def run(self) -> None:
        """Wait until cancelled."""
        await anyio.sleep_forever()
