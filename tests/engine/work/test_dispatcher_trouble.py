"""What functions of the user's, the file and commands can do to the dispatcher, and how it answers."""

import asyncio
from contextvars import Context, copy_context
from typing import Any

import anyio
import pytest

from engine.work.dispatcher import RETRY_SECONDS, SAID_SECONDS
from engine.work.handle import JobHandle, JobOver
from states.jobs import Cancelled, JobState, Retried
from states.pace import KindPolicy, WorkPolicy
from tests.engine.work.blocking import Lines, said
from tests.engine.work.harness import MemoryStore, RunLog, Stubborn, dispatching, rules

pytestmark = [pytest.mark.virtual, pytest.mark.usefixtures("lines")]  # logged for good, each trouble would be a page


async def test_a_silent_job_has_failed_when_patience_ends() -> None:
    """No end, no checkpoint and no progress for so long is a failure of its own; the next attempt follows."""
    log, store = RunLog(), MemoryStore()

    async def silent(job: JobHandle, _: Any) -> None:
        log.note(job)
        await anyio.sleep_forever()

    number = store.add("silent")
    async with dispatching({"silent": silent}, store, policy=rules(silent=KindPolicy(patience=60))) as harness:
        await anyio.sleep(59)
        assert (await harness.job(number)).state is JobState.RUNNING
        await anyio.sleep(5)
        job = await harness.job(number)
        assert (job.state, job.attempts) == (JobState.QUEUED, 1)
        assert job.detail == "no end, no checkpoint and no progress within 1 min"
        await anyio.sleep(10)
    assert len(log.begins) == 2


@pytest.mark.parametrize("word", ["checkpoint", "progress"])
async def test_a_job_that_says_something_is_not_silent(word: str) -> None:
    """A checkpoint or a word on progress gives it as long again."""
    store = MemoryStore()

    async def talks(job: JobHandle, _: Any) -> None:
        for turn in range(10):
            await anyio.sleep(50)
            if word == "progress":
                job.progress(turn)
            else:
                await job.checkpoint({"turn": turn})

    number = store.add("talks")
    async with dispatching({"talks": talks}, store, policy=rules(talks=KindPolicy(patience=60))) as harness:
        (job,) = await harness.over(number)
    assert (job.state, job.attempts) == (JobState.DONE, 0)


async def test_a_clock_that_is_set_makes_no_job_silent() -> None:
    """Patience is time that has passed, whatever the clock on the wall says since."""
    log, store = RunLog(), MemoryStore()
    number = store.add("paged")
    async with dispatching({"paged": log.paged}, store, policy=rules(paged=KindPolicy(patience=60))) as harness:
        await anyio.sleep(5)
        store.clock.shift = 86_400
        (job,) = await harness.over(number)
    assert (job.attempts, len(log.begins)) == (0, 1)


async def test_a_function_that_cannot_be_cancelled_is_given_up_and_named(lines: Lines) -> None:
    """It is told three times, named, its place goes to others, and it is not started a second time."""
    log, store = Stubborn(), MemoryStore()
    policy = WorkPolicy(per_account=1, kinds={"stay": KindPolicy(at_once=1)})
    number, other, same = store.add("stay", account="A"), store.add("quick"), store.add("quick", account="A")
    async with dispatching({"stay": log.stay, "quick": log.quick}, store, policy=policy) as harness:
        await anyio.sleep(10)
        harness.arrive("A")
        await anyio.sleep(4)
        assert log.jobs == [number]
        await harness.over(other, same)
        assert (log.told, list(harness.dispatcher.stuck)) == (3, [number])
        await anyio.sleep(100)
        assert (await harness.job(number)).state is JobState.RUNNING
        log.let_go.set()
        (job,) = await harness.over(number)
        assert (job.result, harness.dispatcher.stuck) == ("at last", {})
    assert log.jobs == [number, other, same]
    assert said(lines, f"Job {number} (stay) of A does not end although it was cancelled 3 times")


async def test_a_job_that_is_stuck_is_not_started_again_by_a_command() -> None:
    """Cancelled and retried while its function still runs, it begins anew only when that has ended."""
    log, store = Stubborn(), MemoryStore()
    number = store.add("stay")
    async with dispatching({"stay": log.stay}, store) as harness:
        await anyio.sleep(1)
        harness.change(number, Cancelled())
        await anyio.sleep(30)
        harness.change(number, Retried())
        await anyio.sleep(60)
        assert log.jobs == [number]
        log.let_go.set()
        (job,) = await harness.over(number)
    assert job.state is JobState.DONE


async def test_a_stuck_job_of_an_account_goes_on_when_its_function_has_ended() -> None:
    """The account looks for work again, although nothing else happens to it."""
    log, store = RunLog(), MemoryStore()

    async def slow(job: JobHandle, _: Any) -> None:
        log.note(job)
        for _ in range(40 if len(log.begins) == 1 else 0):
            try:
                await anyio.sleep(1)
            except asyncio.CancelledError:
                continue
        raise ConnectionError("gone long ago") if len(log.begins) == 1 else ValueError

    number = store.add("slow", account="A")
    async with dispatching({"slow": slow}, store) as harness:
        await anyio.sleep(1)
        harness.arrive("A")
        await anyio.sleep(20)
        assert list(harness.dispatcher.stuck) == [number]
        await anyio.sleep(25)
    assert [at for at, _, _ in log.begins][1] < 45


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), BaseException("odd"), GeneratorExit()])
async def test_whatever_a_function_raises_is_that_job_s_own(error: BaseException) -> None:
    """No exception of a job, not even one that ends programs, reaches the engine or another job."""
    log, store = RunLog(), MemoryStore()

    async def ends(_: JobHandle, __: Any) -> None:
        raise error

    number, other = store.add("ends"), store.add("paged")
    async with dispatching({"ends": ends, "paged": log.paged}, store) as harness:
        failed, done = await harness.over(number, other)
    assert (failed.state, failed.attempts, done.state) == (JobState.FAILED, 5, JobState.DONE)
    assert failed.detail.startswith(type(error).__name__)


async def test_an_exception_that_cannot_be_told_is_a_failure_all_the_same() -> None:
    """One whose own text raises is named by what that raises, and counted."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    log, store = RunLog(), MemoryStore()

    async def mute(job: JobHandle, _: Any) -> None:
        log.note(job)
        raise Mute

    number = store.add("mute")
    async with dispatching({"mute": mute}, store) as harness:
        (job,) = await harness.over(number)
    assert (job.state, job.detail, len(log.begins)) == (JobState.FAILED, "RuntimeError", 5)


async def test_a_cancellation_that_was_not_asked_for_is_a_failure() -> None:
    """A function that lets a cancellation of its own out has failed; it is not taken for one that was told to end."""
    store = MemoryStore()

    async def gives_up(_: JobHandle, __: Any) -> None:
        raise asyncio.CancelledError

    number = store.add("gives_up")
    async with dispatching({"gives_up": gives_up}, store) as harness:
        (job,) = await harness.over(number)
    assert (job.state, job.detail) == (JobState.FAILED, "it was cancelled, but not by the engine")


async def test_a_lost_connection_lets_the_account_rest() -> None:
    """Until the account itself has heard of the loss nothing begins with it, so no job spins on a dead client."""
    log, store = RunLog(), MemoryStore()

    async def drops(job: JobHandle, _: Any) -> None:
        log.note(job)
        raise ConnectionError("reset")

    store.add("drops")
    async with dispatching({"drops": drops}, store) as harness:
        await anyio.sleep(2.5)
        harness.arrive("A")
        await anyio.sleep(0.2)
    assert [at for at, _, _ in log.begins] == pytest.approx([0, 1, 2, 2.5], abs=0.05)


async def test_a_job_that_a_command_cancels_is_taken_away() -> None:
    """It ends at its next await, stays cancelled, and makes room for the next."""
    log, store = RunLog(), MemoryStore()
    number, following = store.add("paged"), store.add("paged")
    async with dispatching({"paged": log.paged}, store) as harness:
        await anyio.sleep(15)
        harness.change(number, Cancelled())
        await harness.over(following)
        job = await harness.job(number)
    assert (job.state, job.checkpoint) == (JobState.CANCELLED, {"page": 1})
    assert log.begins == [(0, number, "A"), (15, following, "A")]


async def test_a_job_cancelled_and_retried_at_once_runs_once_at_a_time() -> None:
    """The dispatcher sees only what is left of both wishes: it goes on as it was, and is not begun a second time."""
    log, store = RunLog(), MemoryStore()
    number = store.add("paged")
    async with dispatching({"paged": log.paged}, store, policy=rules(paged=KindPolicy(per_account=4))) as harness:
        await anyio.sleep(15)
        store.change(number, Cancelled())
        harness.change(number, Retried())
        (job,) = await harness.over(number)
    assert (log.jobs, job.state) == ([number], JobState.DONE)


async def test_a_retry_while_the_cancelled_run_still_ends_is_not_lost() -> None:
    """A function that tidies up for a while ends first; then the job begins anew, as the person wanted."""
    log, store = RunLog(), MemoryStore()
    ends: list[float] = []

    async def tidy(job: JobHandle, _: Any) -> None:
        log.note(job)
        try:
            await anyio.sleep(10)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3)
            ends.append(anyio.current_time())

    number = store.add("tidy")
    async with dispatching({"tidy": tidy}, store, policy=rules(tidy=KindPolicy(per_account=4))) as harness:
        await anyio.sleep(5)
        harness.change(number, Cancelled())
        await anyio.sleep(1)
        harness.change(number, Retried())
        (job,) = await harness.over(number)
    assert ([at for at, _, _ in log.begins], job.state) == ([0, 8], JobState.DONE)
    assert ends == pytest.approx([8, 21], abs=0.1)


async def test_what_a_job_says_after_it_was_taken_away_is_not_heard() -> None:
    """Its checkpoint and its progress raise ``JobOver``; so do those of a task that outlives it."""
    store, over = MemoryStore(), list[str]()

    async def speak(job: JobHandle) -> None:
        try:
            job.progress(1)
        except JobOver as exc:
            over.append(str(exc))
        try:
            await job.checkpoint({"late": True})
        except JobOver as exc:
            over.append(str(exc))

    async def late(job: JobHandle) -> None:
        await anyio.sleep(10)
        await speak(job)

    async def talks(job: JobHandle, _: Any) -> None:
        outlives.append(asyncio.ensure_future(late(job)))
        try:
            await anyio.sleep(100)
        finally:
            await speak(job)

    outlives: list[asyncio.Future[None]] = []
    number = store.add("talks", account="A")
    async with dispatching({"talks": talks}, store) as harness:
        await anyio.sleep(5)
        harness.leave("A")
        await anyio.sleep(10)
        job = await harness.job(number)
    assert over == [f"job {number} was taken from this run; let it end"] * 4
    assert (job.state, job.checkpoint) == (JobState.QUEUED, None)


async def test_what_a_job_says_after_it_has_returned_is_not_heard() -> None:
    """A task that a function leaves behind cannot alter what came of the job."""
    store, over = MemoryStore(), list[str]()

    async def late(job: JobHandle) -> None:
        await anyio.sleep(10)
        try:
            await job.checkpoint({"late": True}, results=["late"])
        except JobOver as exc:
            over.append(str(exc))

    async def leaves(job: JobHandle, _: Any) -> str:
        left.append(asyncio.ensure_future(late(job)))
        return "whole"

    left: list[asyncio.Future[None]] = []
    number = store.add("leaves")
    async with dispatching({"leaves": leaves}, store) as harness:
        await anyio.sleep(20)
        job = await harness.job(number)
    assert (len(over), job.result, job.results, store.results) == (1, "whole", 0, {})


async def test_data_that_do_not_fit_fail_the_job_with_the_reason() -> None:
    """What was added when the kind looked different is a failure of that job, and its function is not called."""
    from attrs import frozen

    @frozen
    class Wants:
        to: str

    log, store = RunLog(), MemoryStore()
    number = store.add("quick", data={"too": "me"})
    async with dispatching({"quick": log.quick}, store, data=Wants) as harness:
        (job,) = await harness.over(number)
    assert (job.state, log.begins) == (JobState.FAILED, [])
    assert job.detail.startswith("the data of a quick job does not fit: to is missing")


async def test_a_result_that_is_not_json_is_a_failure() -> None:
    """What cannot be stored is an error of that job, and holds up no other."""
    store = MemoryStore()

    async def odd(job: JobHandle, _: Any) -> Any:
        return [object(), float("nan")][job.id - 1]

    numbers = [store.add("odd") for _ in range(2)]
    async with dispatching({"odd": odd}, store) as harness:
        jobs = await harness.over(*numbers)
    assert [job.detail.split(":")[0] for job in jobs] == ["TypeError", "ValueError"]


async def test_a_wait_that_the_datacenter_asked_for_is_no_silence() -> None:
    """While a request of the job waits in place its patience does not run; that of other jobs does."""
    waits: list[Context] = []

    async def waits_in_place(job: JobHandle, _: Any) -> str:
        await asyncio.create_task(wait())  # a task of its own is the job's, too
        return "done"

    async def wait() -> None:
        waits.append(copy_context())
        await anyio.sleep(300)
        waits.clear()

    async def silent(job: JobHandle, _: Any) -> None:
        await anyio.sleep(300)

    store = MemoryStore()
    kinds = {"waits": waits_in_place, "silent": silent}
    policy = rules(waits=KindPolicy(patience=60), silent=KindPolicy(patience=60))
    async with dispatching(kinds, store, policy=policy, contexts_of=lambda client: waits) as harness:
        waiting, hung = harness.add("waits"), harness.add("silent")
        assert (await harness.over(waiting))[0].attempts == 0
        assert (await harness.job(hung)).attempts > 0


async def test_a_store_that_is_away_for_long_is_said_once_a_minute(lines: Lines) -> None:
    """The first try and one a minute; every try is made."""
    log, store = RunLog(), MemoryStore()

    async def works(job: JobHandle, _: Any) -> None:
        log.note(job)

    async with dispatching({"works": works}, store) as harness:
        store.fails.add("ready")
        number = store.add("works")
        harness.dispatcher.jobs_changed()
        await anyio.sleep(SAID_SECONDS + RETRY_SECONDS + 1)
        assert len(said(lines, "Jobs wait")) == 2
        store.fails.clear()
        (job,) = await harness.over(number)
    assert job.state is JobState.DONE
