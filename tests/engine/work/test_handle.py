"""What a job's function can say and read: checkpoints, progress, results; as JSON, all or nothing."""

from typing import Any

import anyio
import pytest

from engine.work.handle import JobHandle
from states.jobs import JobState
from states.pace import KindPolicy
from tests.engine.work.harness import MemoryStore, dispatching, rules

pytestmark = [pytest.mark.virtual, pytest.mark.usefixtures("lines")]  # logged for good, each trouble would be a page


async def run(work: Any, store: MemoryStore) -> Any:
    """Let one job be done by ``work``, and return it when it is over."""
    number = store.add("work")
    async with dispatching({"work": work}, store, policy=rules(work=KindPolicy(patience=1e6))) as harness:
        (job,) = await harness.over(number)
    return job


async def test_a_checkpoint_is_durable_when_it_returns() -> None:
    """Mark, results and messages can be read by then, and are there even if the process dies at once."""
    store, seen = MemoryStore(), []

    async def work(job: JobHandle, _: Any) -> None:
        await job.checkpoint({"page": 1}, results=["a", "b"], messages=["hello"], done=1, total=9)
        seen.append(store.kill())

    await run(work, store)
    (after,) = seen
    assert (after.jobs[1].checkpoint, after.results[1], after.messages) == ({"page": 1}, ["a", "b"], ["hello"])
    assert (after.jobs[1].done, after.jobs[1].total, after.jobs[1].results) == (1, 9, 2)


async def test_what_is_put_into_a_mark_later_is_not_stored_before_it_is_said() -> None:
    """A list in the mark that the function goes on to fill belongs to the next checkpoint, with the results of that."""
    store = MemoryStore()
    stored = []

    async def work(job: JobHandle, _: Any) -> None:
        mark = job.saved or {"seen": []}
        await job.checkpoint(mark)
        mark["seen"].append(1)
        job.saved.setdefault("seen", []).append(2)
        job.progress(1)
        await anyio.sleep(3)
        await store.flush()
        stored.append((store.jobs[1].checkpoint, store.jobs[1].done))

    await run(work, store)
    assert stored == [({"seen": []}, 1.0)]


async def test_saved_reads_the_same_in_this_run_and_in_the_next() -> None:
    """A mark is JSON: tuples are lists and keys are text, also before it was read back."""
    saved = []

    async def work(job: JobHandle, _: Any) -> None:
        await job.checkpoint({"pair": (1, 2), "by": {7: "x"}})
        saved.append(job.saved)

    job = await run(work, MemoryStore())
    assert saved == [job.checkpoint] == [{"pair": [1, 2], "by": {"7": "x"}}]


@pytest.mark.parametrize(
    "given",
    [
        {"mark": {"x": object()}},
        {"mark": {"x": float("nan")}},
        {"mark": {}, "results": [object()]},
        {"mark": {}, "done": float("inf")},
        {"mark": {}, "total": "many"},
    ],
    ids="-".join,
)
async def test_what_cannot_be_stored_is_said_at_once_and_changes_nothing(given: dict[str, Any]) -> None:
    """The function hears of it in its own call, and the checkpoint before stays what it was."""
    store = MemoryStore()

    async def work(job: JobHandle, _: Any) -> None:
        await job.checkpoint({"page": 1}, results=["a"])
        with pytest.raises((TypeError, ValueError)):
            await job.checkpoint(**given)
        assert job.saved == {"page": 1}

    job = await run(work, store)
    assert (job.state, job.checkpoint, job.results, store.results[1]) == (JobState.DONE, {"page": 1}, 1, ["a"])


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), "half", object()])
async def test_progress_that_is_not_a_number_is_the_function_s_mistake(amount: Any) -> None:
    """It is refused where it is said: stored, it would hold up all jobs for ever."""

    async def work(job: JobHandle, _: Any) -> None:
        with pytest.raises((TypeError, ValueError)):
            job.progress(amount)

    assert (await run(work, MemoryStore())).state is JobState.DONE


async def test_progress_is_stored_within_a_second() -> None:
    """Progress costs no write of its own each time, and can be read a moment later."""
    store, stored = MemoryStore(), []

    async def work(job: JobHandle, _: Any) -> None:
        for done in range(1000):
            job.progress(done, 1000)
            await anyio.sleep(0.005)
        await anyio.sleep(1.1)
        await store.flush()
        stored.append((store.jobs[1].done, store.jobs[1].total, store.written["save"]))

    await run(work, store)
    ((done, total, writes),) = stored
    assert (done, total) == (999, 1000)
    assert writes < 10


async def test_checkpoints_side_by_side_keep_all_results() -> None:
    """A function that works on several things at once loses none of what they found."""
    store = MemoryStore()

    async def work(job: JobHandle, _: Any) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(lambda number=number: job.checkpoint({"n": number}, results=[number, number]))

    job = await run(work, store)
    assert job.results == 10
    assert sorted(store.results[1]) == sorted([*range(5), *range(5)])


async def test_a_handle_says_in_a_line_which_job_it_is() -> None:
    """Not what the job was given, which may be long or private."""
    seen = []

    async def work(job: JobHandle, _: Any) -> None:
        seen.append(repr(job))

    await run(work, MemoryStore())
    (shown,) = seen
    assert shown.startswith("<JobHandle job 1 (work) of ")
    assert shown.endswith(", attempt 1>")


async def test_the_attempt_counts_failures_alone() -> None:
    """After a lost connection it is the same attempt, after a failure the next."""
    seen = []

    async def work(job: JobHandle, _: Any) -> None:
        seen.append(job.attempt)
        if len(seen) == 1:
            raise ConnectionError
        if len(seen) == 2:
            raise ValueError

    await run(work, MemoryStore())
    assert seen == [1, 1, 2]
