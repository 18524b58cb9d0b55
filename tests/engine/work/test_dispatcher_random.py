"""Many accounts that come and go, many jobs with outcomes by chance, and what must hold at every moment."""

import random
from collections import Counter, defaultdict
from typing import Any

import anyio
import pytest
from attrs import define, field

from engine.work.handle import JobHandle
from states.jobs import Cancelled, JobState, Retried
from states.pace import Budget, KindPolicy, WorkPolicy
from states.schedules import Backoff
from tests.engine.work.harness import DispatcherHarness, MemoryStore, Wait, dispatching

pytestmark = [pytest.mark.virtual, pytest.mark.usefixtures("lines")]  # logged for good, each trouble would be a page
ACCOUNTS = "ABCDEFGH"
JOBS = 300
STEPS = 4
"""Checkpoints of each job, with a result each."""
POLICY = WorkPolicy(
    per_account=3,
    retry=Backoff(first=1, cap=8, tries=4),
    kinds={
        "free": KindPolicy(per_account=2),
        "few": KindPolicy(at_once=3, per_account=2),
        "paced": KindPolicy(budget=Budget(at_most=5, per=30)),
        "brief": KindPolicy(patience=20),
    },
)


@define(eq=False)
class LimitChecker:
    """What runs now, and what has been seen."""

    rng: random.Random
    running: dict[int, tuple[str, str]] = field(factory=dict)
    begins: defaultdict[tuple[str, str], list[float]] = field(factory=lambda: defaultdict(list))
    """Of the kind with a budget, the first begin of each attempt with an account."""
    attempts: set[tuple[int, int, str]] = field(factory=set)
    raised: Counter[int] = field(factory=Counter)
    doomed: set[int] = field(factory=set)
    """Jobs that always raise."""
    runs: int = 0
    wrong: list[AssertionError] = field(factory=list)
    harness: DispatcherHarness | None = None

    async def work(self, job: JobHandle, client: Any) -> int:
        """Do what is left of four steps, unless chance has it otherwise."""
        kind = job.data["kind"]
        self.begin(job, kind, client)
        try:
            for step in range(job.saved.get("step", 0), STEPS):
                await anyio.sleep(self.rng.uniform(0, 4))
                await self.chance(job)
                await job.checkpoint({"step": step + 1}, results=[step], done=step + 1, stay=job.data["stay"])
            return job.id
        finally:
            self.running.pop(job.id, None)

    def begin(self, job: JobHandle, kind: str, client: Any) -> None:
        """Check every limit at the moment in which a run begins."""
        try:
            self.check(job, kind, client)
        except AssertionError as exc:  # raised here, it would be taken for a failure of the job's
            self.wrong.append(exc)

    def check(self, job: JobHandle, kind: str, client: Any) -> None:
        """Note a run, and that no limit is passed by it."""
        self.runs += 1
        twice = job.id in self.running
        self.running[job.id] = (kind, job.account)
        assert not twice, f"job {job.id} runs twice"
        assert self.harness is not None
        assert self.harness.clients[job.account] in (client, None)
        policy, places = POLICY.of(kind), Counter(self.running.values())
        assert sum(many for (_, account), many in places.items() if account == job.account) <= POLICY.per_account
        assert places[kind, job.account] <= policy.per_account
        assert policy.at_once is None or sum(n for (of, _), n in places.items() if of == kind) <= policy.at_once
        if policy.budget is not None and (job.id, job.attempt, job.account) not in self.attempts:
            self.attempts.add((job.id, job.attempt, job.account))
            times = self.begins[kind, job.account]
            times.append(anyio.current_time())
            over = times[-1 - policy.budget.at_most :]
            assert len(over) <= policy.budget.at_most or over[-1] - over[0] >= policy.budget.per - 0.001

    async def chance(self, job: JobHandle) -> None:
        """Raise, wait or be silent, each now and then."""
        dice = self.rng.random()
        if job.id in self.doomed or (dice < 0.05 and self.raised[job.id] < POLICY.retry.tries - 1):
            self.raised[job.id] += 1
            raise ValueError("by chance")
        if dice < 0.10:
            raise ConnectionError("by chance")
        if dice < 0.13:
            raise Wait(self.rng.uniform(1, 20))
        if dice < 0.15 and job.data["kind"] == "brief" and self.raised[job.id] < POLICY.retry.tries - 1:
            self.raised[job.id] += 1
            await anyio.sleep_forever()
        if dice < 0.2:
            job.progress(1)


async def disturb(checker: LimitChecker, harness: DispatcherHarness) -> None:
    """Let accounts come, go and get new clients, a store fail now and then, and commands cancel and retry jobs."""
    rng = checker.rng
    while True:
        await anyio.sleep(rng.uniform(0, 2))
        name = rng.choice(ACCOUNTS)
        if harness.clients[name] is None or rng.random() < 0.3:
            harness.arrive(name)
        else:
            harness.leave(name)
        if rng.random() < 0.05:
            harness.store.fails = {rng.choice(["ready", "queues", "ended", "counts", "charge"])}
            await anyio.sleep(rng.uniform(0, 8))
            harness.store.fails = set()
        if rng.random() < 0.1:
            number = rng.choice(list(harness.store.jobs))
            if harness.store.jobs[number].state in (JobState.QUEUED, JobState.RUNNING):
                harness.change(number, Cancelled())
                await anyio.sleep(rng.choice([0, 0.01, 1]))
                if harness.store.jobs[number].state is JobState.CANCELLED and rng.random() < 0.7:
                    harness.change(number, Retried())
                    checker.raised[number] = 0


@pytest.mark.parametrize("seed", range(6))
async def test_in_any_weather_every_job_comes_to_its_end_and_no_limit_is_passed(seed: int) -> None:
    """No job runs twice at a time, no limit is passed, and every job comes to its end.

    It is done with all its results, or has failed because it always does, or was cancelled by the operator.
    """
    rng = random.Random(seed)
    checker, store = LimitChecker(rng), MemoryStore(takes=0.005)
    for number in range(1, JOBS + 1):
        kind = rng.choice(["free", "few", "paced", "brief"])
        account = rng.choice([None, None, *ACCOUNTS])
        data = {"kind": kind, "stay": rng.random() < 0.3}
        due = store.clock.now() + rng.uniform(0, 200) if rng.random() < 0.2 else None
        store.add(kind, account=account, data=data, priority=rng.randrange(3), due=due)
        if rng.random() < 0.05:
            checker.doomed.add(number)
    kinds = dict.fromkeys(POLICY.kinds, checker.work)
    async with dispatching(kinds, store, here=ACCOUNTS, policy=POLICY, seed=seed) as harness:
        checker.harness = harness
        async with anyio.create_task_group() as disturbance:
            disturbance.start_soon(disturb, checker, harness)
            await anyio.sleep(400)
            disturbance.cancel_scope.cancel()
        store.fails = set()
        harness.arrive(*ACCOUNTS)
        jobs = await harness.over(*store.jobs)
        assert harness.dispatcher.summary.running == ()
    assert not checker.running
    assert not checker.wrong
    for job in jobs:
        if job.state is JobState.DONE:
            assert job.result == job.id
            assert store.results[job.id] == list(range(STEPS))
        elif job.state is JobState.FAILED:
            assert job.id in checker.doomed
    states = Counter(job.state for job in jobs)
    assert states[JobState.DONE] > JOBS / 2
    assert states[JobState.FAILED] > 0
    assert checker.runs > JOBS
