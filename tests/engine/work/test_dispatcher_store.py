"""A file that fails, and the end of the dispatcher; in virtual time."""

import asyncio

import anyio
import pytest

from states.jobs import JobState
from states.pace import Budget, KindPolicy, WorkPolicy
from tests.engine.work.blocking import Lines, said
from tests.engine.work.harness import STEADY, MemoryStore, RunLog, Stubborn, dispatching, rules

pytestmark = [pytest.mark.virtual, pytest.mark.usefixtures("lines")]  # logged for good, each trouble would be a page


WRITES = ("save", "charge", "keep", "flush", "wake_due")
READS = ("recover", "charges", "queues", "next_due", "ready", "ended", "counts")


@pytest.mark.parametrize("method", [*WRITES, *READS])
async def test_a_store_that_fails_for_a_while_stops_nothing(method: str, lines: Lines) -> None:
    """Whichever call raises for a minute: each job is done in the end, once, no place is lost, and all ends in time."""
    log, store = RunLog(), MemoryStore()
    policy = WorkPolicy(
        per_account=2,
        retry=STEADY.retry,
        kinds={"paged": KindPolicy(per_account=2, budget=Budget(at_most=2, per=300, jitter=0))},
    )
    numbers = [store.add("paged", account="A") for _ in range(2)]
    numbers.append(store.add("paged", account="A", due=store.clock.now() + 70))
    async with dispatching({"paged": log.paged}, store, policy=policy) as harness:
        for begin, end in ((0, 60), (70, 130)):
            await anyio.sleep(begin - anyio.current_time())
            store.fails = {method}
            harness.add("quick")  # of no kind that is known
            await anyio.sleep(end - anyio.current_time())
            store.fails = set()
        harness.arrive("A")
        with anyio.fail_after(1500):
            jobs = await harness.over(*numbers)
        assert harness.dispatcher.summary.running == ()
    assert {job.state for job in jobs} == {JobState.DONE}
    assert not said(lines, "does not end")


async def test_a_job_whose_end_cannot_be_stored_is_not_stuck(lines: Lines) -> None:
    """Its function has let its cancellation through: it is not blamed for the file, and the job goes on afterwards."""
    log, store = RunLog(), MemoryStore()
    number = store.add("paged", account="A")
    async with dispatching({"paged": log.paged}, store) as harness:
        await anyio.sleep(5)
        store.fails = {"save"}
        harness.leave("A")
        await anyio.sleep(120)
        assert not said(lines, "does not end")
        store.fails = set()
        harness.arrive("A")
        (job,) = await harness.over(number)
    assert job.state is JobState.DONE


async def test_a_job_that_waits_for_the_disk_is_not_silent() -> None:
    """A checkpoint that takes longer than the kind's patience is no failure of the job, whose patience begins anew."""
    log, store = RunLog(), MemoryStore()
    number = store.add("paged", account="A")
    async with dispatching({"paged": log.paged}, store, policy=rules(paged=KindPolicy(patience=60))) as harness:
        await anyio.sleep(5)
        store.takes = 100
        await anyio.sleep(200)
        store.takes = 0
        (job,) = await harness.over(number)
    assert (job.state, job.attempts, len(log.begins)) == (JobState.DONE, 0, 1)


async def test_a_begin_that_cannot_be_stored_takes_no_place() -> None:
    """While a begin fails again and again no room of the account and no place of the budget is used up."""
    log, store = RunLog(), MemoryStore(fails={"charge"})
    policy = rules(quick=KindPolicy(budget=Budget(at_most=1, per=86_400, jitter=0)))
    number = store.add("quick")
    async with dispatching({"quick": log.quick}, store, policy=policy) as harness:
        await anyio.sleep(60)
        store.fails = set()
        with anyio.fail_after(60):
            await harness.over(number)
    assert len(store.taken) == 1


async def test_a_stop_takes_all_jobs_away_and_stores_where_they_are() -> None:
    """When the dispatcher ends, no task runs on, and the file says what is still to be done, from which checkpoint."""
    log, store = RunLog(), MemoryStore()
    numbers = [store.add("paged", account=account) for account in "ABC"]
    async with dispatching({"paged": log.paged}, store, here="ABC"):
        await anyio.sleep(15)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == []
    after = store.kill()
    assert [after.jobs[number].state for number in numbers] == [JobState.QUEUED] * 3
    assert [after.jobs[number].checkpoint for number in numbers] == [{"page": 1}] * 3
    assert after.jobs[1].detail == "the engine stopped"


async def test_a_stop_is_bounded_by_a_function_that_cannot_be_cancelled(lines: Lines) -> None:
    """It waits five seconds for such a one, names it and leaves it; the others are stored."""
    log, store = Stubborn(), MemoryStore()
    stuck, good = store.add("stay"), store.add("paged")
    try:
        async with dispatching({"stay": log.stay, "paged": log.paged}, store) as harness:
            await anyio.sleep(15)
        assert 19.9 <= anyio.current_time() <= 21
        assert list(harness.dispatcher.stuck) == [stuck]
        await store.flush()
        assert store.jobs[good].state is JobState.QUEUED
    finally:
        log.let_go.set()
    await anyio.wait_all_tasks_blocked()
    assert len(said(lines, "does not end")) == 1


async def test_a_stop_with_a_broken_file_is_a_stop(lines: Lines) -> None:
    """An error of the store does not reach the end of the engine, which comes in time, and no ended job has failed."""
    log, store = RunLog(), MemoryStore()
    store.add("paged")
    async with dispatching({"paged": log.paged}, store):
        await anyio.sleep(15)
        store.fails = {"save", "flush"}
    assert anyio.current_time() <= 21
    assert not said(lines, "does not end")
    assert said(lines, "Jobs wait for 5 s: save: the disk is gone")


async def test_a_stop_while_a_begin_is_stored_leaves_nothing_behind(lines: Lines) -> None:
    """A job that was about to begin is in the queue, and the end does not wait for a task that was never made."""
    log, store = RunLog(), MemoryStore(takes=2)
    policy = rules(quick=KindPolicy(budget=Budget(at_most=1, per=60)))
    number = store.add("quick")
    async with dispatching({"quick": log.quick}, store, policy=policy):
        while not store._writes or "charge" not in store.written:
            await anyio.sleep(0.1)
        stops_at = anyio.current_time()
    assert anyio.current_time() - stops_at <= 4.5
    assert (log.begins, store.jobs[number].state) == ([], JobState.QUEUED)
    assert not said(lines, "does not end")


async def test_a_dispatcher_whose_store_takes_nothing_any_more_ends_without_it(lines: Lines) -> None:
    """Its functions are cancelled, and nothing is stored: another one goes on, here or elsewhere, from what is."""
    log, store = RunLog(), MemoryStore()
    number = store.add("paged")
    async with dispatching({"paged": log.paged}, store) as harness:
        await anyio.sleep(15)
        store.fails = {"save", "flush", "give_back"}
        harness.dispatcher.abandoned = True
    assert anyio.current_time() <= 15.1
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == []
    assert not said(lines, "Jobs wait")
    assert store.kill().jobs[number].state is JobState.RUNNING
