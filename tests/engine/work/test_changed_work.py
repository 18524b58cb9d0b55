"""Accounts, kinds and rules that change under a dispatcher and background tasks that run; in virtual time."""

import asyncio
from typing import Any

import anyio
import pytest

from engine.work.kinds import JobKind, JobKinds
from states.jobs import JobState
from states.pace import KindPolicy, WorkPolicy
from tests.engine.work.harness import STEADY, MemoryStore, dispatching
from tests.engine.work.test_background_tasks import running

pytestmark = pytest.mark.virtual


def kinds(**functions: Any) -> JobKinds:
    """Return kinds of these functions."""
    return JobKinds.of(JobKind(name, function) for name, function in functions.items())


async def work(job: Any, client: Any) -> str:
    """Take ten seconds."""
    await asyncio.sleep(10)
    return "old"


async def other(job: Any, client: Any) -> str:
    """Be another code for the same kind."""
    return "new"


async def test_an_account_that_comes_takes_jobs_that_waited_for_it() -> None:
    """Its jobs were there before it; they begin when it has a client."""
    store = MemoryStore()
    async with dispatching({"work": other}, store, here="A") as harness:
        number = harness.add("work", account="B")
        await anyio.sleep(60)
        assert (await harness.job(number)).state is JobState.QUEUED
        harness.dispatcher.use(["A", "B"], harness.dispatcher.kinds, STEADY)
        harness.arrive("B")
        (job,) = await harness.over(number)
        assert (job.state, job.worker) == (JobState.DONE, "B")


async def test_a_job_of_an_account_that_leaves_waits_for_its_return() -> None:
    """It is taken away as at any loss of the connection, and goes on with the account later."""
    store = MemoryStore()
    async with dispatching({"work": work}, store, here="AB") as harness:
        number = harness.add("work", account="B")
        await harness.until(number, JobState.RUNNING)
        harness.leave("B")
        await harness.dispatcher.idle(["B"])
        harness.dispatcher.use(["A"], harness.dispatcher.kinds, STEADY)
        await anyio.sleep(60)
        job = await harness.job(number)
        assert (job.state, job.attempts) == (JobState.QUEUED, 0)
        harness.dispatcher.use(["A", "B"], harness.dispatcher.kinds, STEADY)
        harness.arrive("B")
        (job,) = await harness.over(number)
        assert job.state is JobState.DONE


async def test_new_code_is_for_new_jobs_and_the_old_ones_end_first() -> None:
    """A job that runs ends with its code; one of its kind that waits begins after it, with the other code."""
    store = MemoryStore()
    async with dispatching({"work": work, "free": work}, store, here="AB") as harness:
        first, second = harness.add("work", account="A"), harness.add("free", account="B")
        await harness.until(first, JobState.RUNNING)
        harness.dispatcher.use(["A", "B"], kinds(work=other, free=work), STEADY)
        third = harness.add("work", account="B")
        await anyio.sleep(1)
        assert (await harness.job(third)).state is JobState.QUEUED
        ended = await harness.over(first, second, third)
    assert [job.result for job in ended] == ["old", "old", "new"]
    assert ended[2].ended is not None
    assert ended[0].ended is not None
    assert ended[2].ended >= ended[0].ended


async def test_jobs_of_a_kind_that_is_gone_wait() -> None:
    """They fail nothing, and begin when the kind is there again."""
    store = MemoryStore()
    async with dispatching({"work": other}, store, here="A") as harness:
        harness.dispatcher.use(["A"], kinds(), STEADY)
        number = harness.add("work")
        await anyio.sleep(60)
        assert (await harness.job(number)).state is JobState.QUEUED
        harness.dispatcher.use(["A"], kinds(work=other), STEADY)
        (job,) = await harness.over(number)
        assert job.state is JobState.DONE


async def test_another_limit_holds_for_the_next_job() -> None:
    """With room for more, what waits begins at once."""
    store = MemoryStore()
    one = WorkPolicy(kinds={"work": KindPolicy(per_account=1)})
    async with dispatching({"work": work}, store, here="A", policy=one) as harness:
        numbers = [harness.add("work", account="A") for _ in range(3)]
        await harness.until(numbers[0], JobState.RUNNING)
        harness.dispatcher.use(["A"], harness.dispatcher.kinds, WorkPolicy(kinds={"work": KindPolicy(per_account=3)}))
        await anyio.sleep(3)
        assert [(await harness.job(number)).state for number in numbers] == [JobState.RUNNING] * 3


async def test_background_tasks_of_other_code_follow_those_of_before() -> None:
    """What goes on is left alone; what is left out ends, and what is new begins after that."""
    async with running(A="a", B="b") as harness:
        began: list[str] = []

        async def goes_on(client: Any) -> None:
            began.append(f"goes on {client}")
            await asyncio.sleep(1e6)

        async def slow_to_end(client: Any) -> None:
            began.append(f"old {client}")
            try:
                await asyncio.sleep(1e6)
            finally:
                await asyncio.sleep(2)
                began.append(f"ended {client}")

        async def new(client: Any) -> None:
            began.append(f"new {client}")
            await asyncio.sleep(1e6)

        harness.tasks.use({"A": [goes_on, slow_to_end], "B": [goes_on]})
        await anyio.sleep(1)
        assert began == ["goes on a", "old a", "goes on b"]
        harness.tasks.use({"A": [goes_on, new]})
        await anyio.sleep(1)
        assert "new a" not in began
        await anyio.sleep(5)
        assert began[3:] == ["ended a", "new a"]
        assert [task.account for task in harness.tasks.tasks] == ["A", "A"]
