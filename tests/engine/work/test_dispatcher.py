"""The dispatcher gives jobs to accounts, takes them away and stores what came of them; all in virtual time."""

import asyncio
from typing import Any

import anyio
import pytest

from engine.work.handle import JobHandle
from engine.work.ready_queues import FETCH_ROWS
from states.jobs import JobState
from states.pace import KindPolicy
from tests.engine.fakes import EPOCH
from tests.engine.work.blocking import Lines, said
from tests.engine.work.harness import STEADY, MemoryStore, RunLog, dispatching, rules

pytestmark = [pytest.mark.virtual, pytest.mark.usefixtures("lines")]  # logged for good, each trouble would be a page


async def test_a_job_runs_while_its_account_has_a_client() -> None:
    """A job of an account that is away waits for it, however many others are there."""
    log, store = RunLog(), MemoryStore()
    number = store.add("quick", account="B")
    async with dispatching({"quick": log.quick}, store, here="A", away="B") as harness:
        await anyio.sleep(50)
        assert log.begins == []
        harness.arrive("B")
        (job,) = await harness.over(number)
    assert log.begins == [(50.0, number, "B")]
    assert (job.state, job.result, job.worker) == (JobState.DONE, number, "B")


async def test_a_job_gets_the_client_of_its_account() -> None:
    """The function is called with the very client that the account has, and with the job's data."""
    got: list[Any] = []

    async def look(job: JobHandle, client: Any) -> None:
        got.extend((client, job.data, job.id, job.account, job.attempt, job.began, job.saved))

    store = MemoryStore()
    number = store.add("look", data={"to": "me"})
    async with dispatching({"look": look}, store) as harness:
        await harness.over(number)
        assert got == [harness.clients["A"], {"to": "me"}, number, "A", 1, EPOCH, {}]


async def test_a_job_is_taken_away_with_its_client_and_goes_on_from_its_checkpoint() -> None:
    """When the account leaves, the job ends at its next await; when it is back, the job does what is left."""
    log, store = RunLog(), MemoryStore()
    number = store.add("paged", account="A")
    async with dispatching({"paged": log.paged}, store) as harness:
        await anyio.sleep(25)
        harness.leave("A")
        await anyio.sleep(5)
        job = await harness.job(number)
        assert (job.state, job.checkpoint, job.losses) == (JobState.QUEUED, {"page": 2}, 1)
        assert job.detail == "the connection is not healthy"
        harness.arrive("A")
        (job,) = await harness.over(number)
    assert log.begins == [(0.0, number, "A"), (30.0, number, "A")]
    assert (job.result, job.attempts, job.done) == ([2, 3, 4], 0, 5)
    assert store.results[number] == [0, 1, 2, 3, 4]


async def test_a_new_client_is_a_new_run() -> None:
    """A job keeps no client that its account has no more, even if the next one is there at once."""
    log, store = RunLog(), MemoryStore()
    number = store.add("paged")
    async with dispatching({"paged": log.paged}, store) as harness:
        await anyio.sleep(15)
        harness.arrive("A")
        await harness.over(number)
    assert log.begins == [(0.0, number, "A"), (15.0, number, "A")]


@pytest.mark.parametrize(("stays", "accounts"), [(False, ["A", "B"]), (True, ["A", "A"])])
async def test_a_job_for_any_goes_on_with_another_unless_it_stays(stays: bool, accounts: list[str]) -> None:
    """A job without an account goes on where one is free; after ``stay`` it waits for its own."""
    log, store = RunLog(), MemoryStore()
    number = store.add("paged", data={"stay": stays})
    async with dispatching({"paged": log.paged}, store, away="B") as harness:
        await anyio.sleep(15)
        harness.arrive("B")
        harness.leave("A")
        await anyio.sleep(100)
        harness.arrive("A")
        (job,) = await harness.over(number)
    assert [account for _, _, account in log.begins] == accounts
    assert job.result == [1, 2, 3, 4]


async def test_own_failures_wait_by_the_schedule_and_hold_no_other_job() -> None:
    """A job that raises is tried after 10, 20, 40 and 80 s and has then failed; the next job runs at once."""
    log, store = RunLog(), MemoryStore()

    async def bad(job: JobHandle, _: Any) -> None:
        log.note(job)
        raise ValueError(f"attempt {job.attempt}")

    first, second = store.add("bad", account="A"), store.add("quick", account="A")
    async with dispatching({"bad": bad, "quick": log.quick}, store) as harness:
        failed, done = await harness.over(first, second)
    assert [at for at, number, _ in log.begins if number == first] == [0, 10, 30, 70, 150]
    assert [at for at, number, _ in log.begins if number == second] == [0]
    assert (failed.state, failed.detail, failed.error) == (
        JobState.FAILED,
        "ValueError: attempt 5",
        ("ValueError",),
    )
    assert done.state is JobState.DONE


async def test_a_failed_job_makes_room_for_the_next_of_its_kind() -> None:
    """While one waits for its next attempt the others of the same kind and account have their turn."""
    log, store = RunLog(), MemoryStore()

    async def odd(job: JobHandle, _: Any) -> None:
        log.note(job)
        if job.id == 1 and job.attempt == 1:
            raise ValueError("not yet")

    numbers = [store.add("odd", account="A") for _ in range(3)]
    async with dispatching({"odd": odd}, store) as harness:
        jobs = await harness.over(*numbers)
    assert log.begins == [(0, 1, "A"), (0, 2, "A"), (0, 3, "A"), (10, 1, "A")]
    assert {job.state for job in jobs} == {JobState.DONE}


async def test_jobs_that_are_added_later_begin_at_once() -> None:
    """The dispatcher looks at the file when it is told to, also when that is while it looks."""
    log, store = RunLog(), MemoryStore(takes=0.5)
    async with dispatching({"quick": log.quick, "second": log.second}, store) as harness:
        await anyio.sleep(5)
        harness.add("second")
        await anyio.sleep(0.75)  # the queues have been read, the rest of the look is still under way
        late = harness.add("quick")
        await harness.over(late)
    assert log.jobs == [1, late]
    assert log.begins[1][0] < 15


async def test_what_ran_when_the_engine_died_goes_on() -> None:
    """A job that the file calls running is in the queue again before the first queue is read."""
    log, store = RunLog(), MemoryStore(takes=0.1)
    number = store.add("paged", state=JobState.RUNNING, worker="A", checkpoint={"page": 3})
    async with dispatching({"paged": log.paged}, store) as harness:
        with anyio.fail_after(60):
            (job,) = await harness.over(number)
    assert job.result == [3, 4]


async def test_many_jobs_are_read_a_few_at_a_time_and_each_once() -> None:
    """Two thousand jobs run in their order, only what runs is read twice, and a queue's share of them is in memory."""
    log, store = RunLog(), MemoryStore()
    numbers = [store.add("quick") for _ in range(2000)]
    async with dispatching(
        {"quick": log.quick}, store, here="ABC", policy=rules(quick=KindPolicy(per_account=4))
    ) as harness:
        await harness.until(numbers[-1], JobState.DONE)
        await harness.over(*numbers)
    assert log.jobs == numbers
    at_once = 3 * 4
    assert len(store.read) <= 2000 + 4 * at_once
    assert store.most_read <= FETCH_ROWS + at_once


async def test_jobs_that_no_account_can_do_wait(lines: Lines) -> None:
    """A kind or an account that the config does not have is told once; its jobs stay in the queue, and others go on."""
    log, store = RunLog(), MemoryStore()
    strange = store.add("strange", priority=9), store.add("quick", account="Gone", priority=9)
    async with dispatching({"quick": log.quick}, store) as harness:
        await harness.over(store.add("quick"))
        await anyio.sleep(100)
        assert [(await harness.job(number)).state for number in strange] == [JobState.QUEUED] * 2
    (line,) = said(lines, "There are jobs of the kind 'strange'")
    assert "name its module under work.modules" in line
    assert len(said(lines, "There are jobs for Gone, and the config has no such account")) == 1


async def test_an_idle_dispatcher_sleeps() -> None:
    """With nothing to do it asks for the counts each second and looks at the file twice a minute, and no more."""
    store = MemoryStore()
    async with dispatching({}, store):
        await anyio.sleep(600)
    assert store.asked["counts"] <= 600
    assert store.asked["queues"] <= 21
    assert store.asked["ready"] == 0


async def test_the_summary_says_how_many_there_are_and_what_runs() -> None:
    """What is open is of this moment, what is over a second old at most."""
    log, store = RunLog(), MemoryStore()
    for kind in ("endless", "endless", "quick"):
        store.add(kind)
    async with dispatching({"endless": log.endless, "quick": log.quick}, store) as harness:
        await anyio.sleep(0.5)
        await store.flush()
        await anyio.sleep(2)
        summary = harness.dispatcher.summary
    assert {state: many for state, many in summary.counts.items() if many} == {"queued": 1, "running": 1, "done": 1}
    assert [job.id for job in summary.running] == [1]


async def test_the_label_of_a_task_names_its_job() -> None:
    """Log lines of a job say which one it is; other tasks have no label."""
    labels: list[str | None] = []
    store = MemoryStore()
    number = store.add("look")

    async def look(job: JobHandle, _: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        labels.append(harness.dispatcher.label_of(task))

    async with dispatching({"look": look}, store, policy=STEADY) as harness:
        await harness.over(number)
        task = asyncio.current_task()
        assert task is not None
        labels.append(harness.dispatcher.label_of(task))
    assert labels == [f"job {number} (look) of A", None]
