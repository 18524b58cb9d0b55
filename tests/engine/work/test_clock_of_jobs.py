"""The waits of jobs, in the file and in memory, when the clock is set: each keeps what was left of it."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from adapters.sqlite.job_reader import JobReader
from adapters.sqlite.jobs import JobStore, NewJob
from adapters.sqlite.schema import MIGRATIONS
from engine.work.handle import JobHandle
from engine.work.pace import Pace
from states.events import ClockJumped
from states.jobs import Begun, Flooded, Job, JobState, Raised, decide, move_times, rate_of
from states.pace import Budget, KindPolicy, WorkPolicy
from tests.adapters.sqlite.support import a_journal
from tests.engine.work.harness import MemoryStore, RunLog, Wait, dispatching

NOW = 1_700_000_000.0
AHEAD = 3 * 3600.0


async def test_waits_in_the_file_move_and_chosen_times_stay(tmp_path: Path) -> None:
    """A flood wait, ``--after`` and a place in a budget move with the clock; ``not_before`` is a time of day."""
    async with a_journal(tmp_path / "engine.db") as journal:
        store = journal.jobs
        await store.add(
            [
                NewJob(kind="k", data={}, due=NOW + 600, wait=600.0),
                NewJob(kind="k", data={}, due=NOW + 600),
                NewJob(kind="k", data={}),
            ]
        )
        await store.charge(job(3), "A", NOW + 50, 60.0)
        await store.move_waits(-AHEAD, NOW + 20 - AHEAD)
        assert [await due(store, number) for number in (1, 2, 3)] == [NOW + 600 - AHEAD, NOW + 600, None]
        assert await store.charges(NOW - AHEAD) == [("k", "A", NOW + 50 - AHEAD, 60.0)]
        await store.move_waits(AHEAD, NOW + 30)
        assert await due(store, 1) == NOW + 600


async def test_at_a_start_no_wait_is_longer_than_it_is_long(tmp_path: Path) -> None:
    """The clock was ahead when they were stored: what is left is capped by the length, and no more is changed."""
    async with a_journal(tmp_path / "engine.db") as journal:
        store = journal.jobs
        await store.add([NewJob(kind="k", data={}, due=NOW + AHEAD + 5, wait=5.0)])
        await store.add([NewJob(kind="k", data={}, due=NOW + 3, wait=5.0)])
        await store.charge(job(99), "A", NOW + AHEAD + 60, 60.0)
        await store.move_waits(0.0, NOW)
        assert [await due(store, number) for number in (1, 2)] == [NOW + 5, NOW + 3]
        assert await store.charges(NOW) == [("k", "A", NOW + 60, 60.0)]


def job(number: int) -> Job:
    """Return a queued job."""
    return Job(id=number, kind="k", paid=1)


async def due(store: JobStore, number: int) -> float | None:
    """Return when a job is due."""
    found = await store.job(number)
    assert found is not None
    return found.due


@pytest.mark.parametrize("shift", [-AHEAD, AHEAD])
def test_budgets_and_holds_in_memory_move(shift: float) -> None:
    """The next job may begin after the same time as before."""
    policy = WorkPolicy(kinds={"k": KindPolicy(budget=Budget(at_most=1, per=60, jitter=0))})
    at = Pace(policy, random.Random(1))
    at.charge("k", "A", NOW + 60, 60)
    at.hold("h", "A", NOW + 30, 30)
    assert (at.opening("k", "A", NOW + 10), at.opening("h", "A", NOW + 10)) == (NOW + 60, NOW + 30)
    at.move(shift, NOW + 10 + shift)
    now = NOW + 10 + shift
    assert (at.opening("k", "A", now), at.opening("h", "A", now)) == (NOW + 60 + shift, NOW + 30 + shift)


def test_a_wait_that_follows_from_the_job_has_its_length() -> None:
    """A flood wait and the wait after a failure; a begin and a retry forget it."""
    running = decide(Job(id=1, kind="k"), Begun("A"), now=NOW)
    flooded = decide(running, Flooded("SendMessage", NOW + AHEAD + 30, seconds=30.0), now=NOW)
    assert (flooded.due, flooded.wait) == (NOW + 30, 30)
    failed = decide(running, Raised("a bug"), now=NOW)
    assert failed.state is JobState.QUEUED
    assert failed.due is not None
    assert failed.wait == pytest.approx(failed.due - NOW)
    assert decide(failed, Begun("A"), now=NOW).wait is None


def test_the_rate_of_a_running_job_is_that_of_the_time_that_has_passed() -> None:
    """The clock is set back by three hours while it runs: done per second stays what it was."""
    running = attrs.evolve(decide(Job(id=1, kind="k"), Begun("A"), now=NOW), done=50.0, since_done=0.0, seen=NOW + 10)
    moved = move_times(running, -AHEAD)
    assert (rate_of(running), rate_of(moved)) == (5, 5)
    assert moved.began == NOW - AHEAD


def test_a_file_of_the_version_before_is_read(tmp_path: Path) -> None:
    """``jobs list`` reads what no engine has migrated yet."""
    path = tmp_path / "engine.db"
    with closing(sqlite3.connect(path)) as db, db:
        for each in MIGRATIONS[:3]:
            for statement in each:
                db.execute(statement)
        db.execute("PRAGMA user_version = 3")
        db.execute("INSERT INTO jobs (kind, data, due, added) VALUES ('k', '{}', 5, 0)")
    with JobReader.open(path) as reader:
        assert [(each.due, each.wait) for each in reader.jobs({})] == [(5, None)]
        assert reader.job(1) is not None


async def test_it_is_used_by_an_engine(tmp_path: Path) -> None:
    """The migration of such a file keeps its jobs."""
    test_a_file_of_the_version_before_is_read(tmp_path)
    async with a_journal(tmp_path / "engine.db") as journal:
        found = await journal.jobs.job(1)
    assert found is not None
    assert (found.due, found.wait) == (5, None)


@pytest.mark.virtual
@pytest.mark.parametrize("shift", [-AHEAD, AHEAD])
async def test_a_flood_wait_ends_when_it_would_have_ended(shift: float) -> None:
    """The clock is set after ten of a hundred seconds: the job goes on after the other ninety, and its kind with it."""
    log, store = RunLog(), MemoryStore()

    async def send(job: JobHandle, _: Any) -> None:
        log.note(job)
        if job.id == 1 and anyio.current_time() < 100:
            raise Wait(100)

    jobs = store.add("send", account="A"), store.add("send", account="A")
    async with dispatching({"send": send}, store, here="A") as harness:
        await anyio.sleep(10)
        store.clock.shift += shift
        harness.dispatcher.clock_jumped(ClockJumped(seconds=shift, slept=0.0))
        await harness.over(*jobs)
    assert [(round(at), number) for at, number, _ in log.begins] == [(0, 1), (100, 1), (100, 2)]
