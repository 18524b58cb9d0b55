"""Jobs in real files: what commands change, what the engine asks, and the counts."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sqlite import open_database
from adapters.sqlite.errors import JournalMissing
from adapters.sqlite.jobs import add, change
from adapters.sqlite.schema import migrate
from states.jobs import Cancelled, Job, JobState, Retried, decide
from tests.adapters.sqlite.jobs_support import NOW, after_a_kill, new, put, rows, stored
from tests.adapters.sqlite.support import a_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a file of jobs will be."""
    return tmp_path / "engine.db"


# --- what commands change ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("event", [Cancelled(), Retried()], ids=["cancel", "retry"])
def test_a_wish_befalls_a_job_as_the_law_says(path: Path, state: JobState, event: Any) -> None:
    """In every state what is stored afterwards is what ``decide`` makes of it; where it says nothing, nothing is."""
    over = state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
    put(path, Job(id=1, kind="k", state=state, attempts=3, worker="A", ended=NOW if over else None))
    ((before, after),) = [each for each in change(path, [1], event) if not isinstance(each, int)]
    lawful = decide(before, event, now=NOW)
    assert (after.state, after.attempts, after.due, after is before) == (
        *(lawful.state, lawful.attempts, lawful.due, lawful is before),
    )
    assert stored(path) == after


def test_wishes_for_several_jobs_are_one_transaction(path: Path) -> None:
    """Each has its outcome, one that does not exist its number; and if one cannot be stored, none is."""
    add(path, [new(), new()])
    outcomes = change(path, [1, 7, 2], Cancelled())
    assert [each if isinstance(each, int) else each[1].state.value for each in outcomes] == [
        "cancelled",
        7,
        "cancelled",
    ]
    with closing(open_database(path)) as db:
        db.execute("CREATE TRIGGER no BEFORE UPDATE ON jobs WHEN OLD.id = 2 BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(sqlite3.Error):
        change(path, [1, 2], Retried())
    assert stored(path, 1).state is JobState.CANCELLED


def test_a_wish_without_a_file_is_a_sentence(path: Path) -> None:
    """No file is made by mistake."""
    with pytest.raises(JournalMissing, match=r"engine\.db: there is no such file; add a job or run the engine first"):
        change(path, [1], Cancelled())
    assert not path.exists()


@pytest.mark.parametrize("late", [JobState.RUNNING, JobState.QUEUED, JobState.DONE, JobState.FAILED])
async def test_what_a_command_has_ended_stays_ended(path: Path, late: JobState) -> None:
    """The engine, which has not heard of it yet, does not bring a cancelled job back by what it still writes."""
    async with a_journal(path) as journal:
        store = journal.jobs
        await store.add([new()])
        job = stored(path)
        change(path, [1], Cancelled())
        await store.save(attrs.evolve(job, state=late))
        await store.flush()
        assert stored(path).state is JobState.CANCELLED
        assert await store.ended([1, 2]) == {1}
        await store.aclose()


async def test_which_have_ended_can_be_asked_of_any_number(path: Path) -> None:
    """A fleet runs more jobs at once than a statement of SQLite has variables."""
    async with a_journal(path) as journal:
        store = journal.jobs
        await store.add([new(), new()])
        change(path, [2], Cancelled())
        assert await store.ended(range(1, 300_000)) == {2}
        await store.aclose()


# --- looking ----------------------------------------------------------------------------------------------------------


async def test_lanes_and_what_is_ready_in_them(path: Path) -> None:
    """Each kind and account with something to do is a queue; the most urgent goes first, then the oldest."""
    add(path, [new("a"), new("b", account="B", due=NOW), new("b", account="A"), new("a"), new("a", priority=2)])
    async with a_journal(path) as journal:
        store = journal.jobs
        assert await store.queues() == [("a", None), ("b", "A")]
        assert [job.id for job in await store.ready("a", None, 2)] == [5, 1]
        assert [job.id for job in await store.ready("b", "A", 9)] == [3]
        assert await store.ready("b", None, 9) == []
        await store.aclose()


async def test_what_is_due_becomes_ready(path: Path) -> None:
    """At its time, the same moment included, and not before."""
    add(path, [new("a", due=NOW + 5), new("b", due=NOW + 9), new("c", due=NOW + 5.5)])
    async with a_journal(path) as journal:
        store = journal.jobs
        assert await store.next_due() == NOW + 5
        await store.wake_due(NOW + 5)
        await store.flush()
        assert await store.queues() == [("a", None)]
        assert await store.next_due() == NOW + 5.5
        await store.wake_due(NOW + 100)
        await store.flush()
        assert await store.next_due() is None
        await store.aclose()


async def test_what_ran_when_the_engine_died_is_in_the_queue_again(path: Path) -> None:
    """It counts as a lost connection: a job that kills the engine each time does not do so for ever."""
    for state in JobState:
        put(path, Job(id=1, kind="k", state=state, losses=2, worker="A"))
    before = {job.state: job for number in range(1, 6) for job in [stored(path, number)]}
    async with a_journal(path) as journal:
        await journal.jobs.recover("the engine ended under it")
        await journal.flush()
    after = {state: stored(path, job.id) for state, job in before.items()}
    running = after.pop(JobState.RUNNING)
    assert after == {state: before[state] for state in after}
    assert (running.state, running.losses, running.detail) == (JobState.QUEUED, 3, "the engine ended under it")


async def test_places_in_budgets_outlive_the_engine(path: Path) -> None:
    """Each begin has a place of its own until its time: also the same job's with another account, or after a retry."""
    async with a_journal(path) as journal:
        store = journal.jobs
        await store.add([new()])
        for account, until in (("A", NOW + 9), ("B", NOW + 5), ("A", NOW + 11)):
            await store.charge(attrs.evolve(stored(path), paid=1, worker=account), account, until, 30.0)
        killed = after_a_kill(path)
        assert (stored(killed).paid, stored(killed).worker) == (1, "A")
        await store.aclose()
    async with a_journal(killed) as journal:
        store = journal.jobs
        assert sorted(await store.charges(NOW + 6)) == [("k", "A", NOW + 9, 30), ("k", "A", NOW + 11, 30)]
        await store.flush()
        await store.aclose()
    assert rows(killed, "SELECT count(*) FROM job_charges") == [(2,)]


# --- counts -----------------------------------------------------------------------------------------------------------

moves: st.SearchStrategy[Callable[[sqlite3.Connection], Any]] = st.one_of(
    st.tuples(st.just("add"), st.sampled_from("ab"), st.sampled_from(JobState)),
    st.tuples(st.just("move"), st.integers(1, 12), st.sampled_from(JobState)),
    st.tuples(st.just("touch"), st.integers(1, 12), st.just("")),
    st.tuples(st.just("remove"), st.integers(1, 12), st.just("")),
    st.tuples(st.just("move all"), st.sampled_from(JobState), st.sampled_from(JobState)),
)


@settings(max_examples=60)
@given(st.lists(moves, max_size=25))
def test_counts_are_what_counting_would_say(happening: list[tuple[str, Any, Any]]) -> None:
    """After any sequence of additions, changes and removals the triggers' counts equal those of a ``GROUP BY``."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, Path("memory"))
        for what, which, state in happening:
            match what:
                case "add":
                    db.execute("INSERT INTO jobs (kind, data, added, state) VALUES (?, '{}', 0, ?)", (which, state))
                case "move":
                    db.execute("UPDATE jobs SET state = ? WHERE id = ?", (state, which))
                case "move all":
                    db.execute("UPDATE jobs SET state = ? WHERE state = ?", (state, which))
                case "touch":
                    db.execute("UPDATE jobs SET attempts = attempts + 1 WHERE id = ?", (which,))
                case "remove":
                    db.execute("DELETE FROM jobs WHERE id = ?", (which,))
        kept = db.execute("SELECT kind, state, jobs FROM job_counts WHERE jobs <> 0 ORDER BY kind, state").fetchall()
        assert (
            kept == db.execute("SELECT kind, state, count(*) FROM jobs GROUP BY kind, state ORDER BY 1, 2").fetchall()
        )


async def test_counts_name_what_there_is(path: Path) -> None:
    """By kind and state, without states that no job is in any more."""
    add(path, [new("a"), new("a"), new("b")])
    change(path, [3], Cancelled())
    async with a_journal(path) as journal:
        store = journal.jobs
        assert await store.counts() == {"a": {"queued": 2}, "b": {"cancelled": 1}}
        await store.aclose()
