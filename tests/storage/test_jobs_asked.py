"""Jobs in each store: what commands change, what the engine and its commands ask, and the counts."""

import time
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sqlite.messages import Message
from states.jobs import Cancelled, Job, JobState, Retried, decide
from tests.storage.job_stores import NOW, JobsUnderTest, new, put, stored

# --- what commands change ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [Cancelled(), Retried()], ids=["cancel", "retry"])
def test_a_wish_befalls_a_job_as_the_law_says(jobs: JobsUnderTest, event: Any) -> None:
    """In every state what is stored afterwards is what ``decide`` makes of it; where it says nothing, nothing is."""
    for state in JobState:
        over = state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
        number = put(jobs, Job(id=1, kind="k", state=state, attempts=3, worker="A", ended=NOW if over else None))
        ((before, after),) = [each for each in jobs.change([number], event) if isinstance(each, tuple)]
        lawful = decide(before, event, now=NOW)
        assert (after.state, after.attempts, after.due, after is before) == (
            *(lawful.state, lawful.attempts, lawful.due, lawful is before),
        )
        assert stored(jobs, number) == after


def test_wishes_for_several_jobs_are_one_transaction(jobs: JobsUnderTest) -> None:
    """Each has its outcome, one that does not exist its number; and if one cannot be stored, none is."""
    jobs.add([new(), new()])
    outcomes = jobs.change([1, 7, 2], Cancelled())
    assert [each[1].state.value if isinstance(each, tuple) else each for each in outcomes] == [
        *("cancelled", 7, "cancelled")
    ]
    jobs.refuse("UPDATE", "jobs", "OLD.id = 2")
    with pytest.raises(Exception, match="no"):
        jobs.change([1, 2], Retried())
    assert stored(jobs, 1).state is JobState.CANCELLED


def test_a_job_that_is_named_twice_changes_once(jobs: JobsUnderTest) -> None:
    """The second time it is what the first has made of it; a number that no store has is no job."""
    jobs.add([new()])
    first, second, third = jobs.change([1, 1, 2**70], Cancelled())
    assert isinstance(first, tuple)
    assert second == (first[1], first[1])
    assert third == 2**70


@pytest.mark.parametrize("late", [JobState.RUNNING, JobState.QUEUED, JobState.DONE, JobState.FAILED])
async def test_what_a_command_has_ended_stays_ended(jobs: JobsUnderTest, late: JobState) -> None:
    """The engine, which has not heard of it yet, does not bring a cancelled job back by what it still writes."""
    async with jobs.engine() as engine:
        await engine.add([new()])
        job = stored(jobs)
        jobs.change([1], Cancelled())
        await engine.save(attrs.evolve(job, state=late))
        await engine.flush()
        assert stored(jobs).state is JobState.CANCELLED
        assert await engine.ended([1, 2]) == {1}


async def test_which_have_ended_can_be_asked_of_any_number(jobs: JobsUnderTest) -> None:
    """A fleet runs more jobs at once than a statement of SQLite has variables."""
    async with jobs.engine() as engine:
        await engine.add([new(), new()])
        jobs.change([2], Cancelled())
        assert await engine.ended(range(1, 300_000)) == {2}


# --- looking ----------------------------------------------------------------------------------------------------------


async def test_queues_and_what_is_ready_in_them(jobs: JobsUnderTest) -> None:
    """Each kind and account with something to do is a queue; the most urgent goes first, then the oldest."""
    jobs.add([new("a"), new("b", account="B", due=NOW), new("b", account="A"), new("a"), new("a", priority=2)])
    async with jobs.engine() as engine:
        assert await engine.queues() == [("a", None), ("b", "A")]
        assert [job.id for job in await engine.ready("a", None, 2)] == [5, 1]
        assert [job.id for job in await engine.ready("a", None, 9)] == [5, 1, 4]
        assert [job.id for job in await engine.ready("b", "A", 9)] == [3]
        assert await engine.ready("b", None, 9) == []


async def test_what_is_due_becomes_ready(jobs: JobsUnderTest) -> None:
    """At its time, the same moment included, and not before."""
    jobs.add([new("a", due=NOW + 5), new("b", account="A", due=NOW + 9), new("c", due=NOW + 5.5)])
    async with jobs.engine() as engine:
        assert await engine.next_due() == NOW + 5
        await engine.wake_due(NOW + 5)
        await engine.flush()
        assert await engine.queues() == [("a", None)]
        assert await engine.next_due() == NOW + 5.5
        await engine.wake_due(NOW + 100)
        await engine.flush()
        assert await engine.next_due() is None
        assert await engine.queues() == [("a", None), ("b", "A"), ("c", None)]


async def test_when_the_oldest_was_added_that_could_begin(jobs: JobsUnderTest) -> None:
    """Jobs that wait for a time do not count, nor do those that are over."""
    async with jobs.engine() as engine:
        assert await engine.oldest_ready() is None
        jobs.add([new(), new(due=NOW), new(), new()])
        for number in range(1, 5):
            jobs.execute(f"UPDATE jobs SET added = {NOW + number} WHERE id = {number}")
        jobs.change([1], Cancelled())
        assert await engine.oldest_ready() == NOW + 3


async def test_what_ran_when_the_engine_died_is_in_the_queue_again(jobs: JobsUnderTest) -> None:
    """It counts as a lost connection: a job that kills the engine each time does not do so for ever."""
    async with jobs.engine() as engine:
        numbers = [put(jobs, Job(id=1, kind="k", losses=2, worker="A")) for _ in JobState]
        for number, state in zip(numbers, JobState, strict=True):
            await engine.save(attrs.evolve(stored(jobs, number), state=state))
        await engine.flush()
    before = {state: stored(jobs, number) for number, state in zip(numbers, JobState, strict=True)}
    async with jobs.engine() as engine:
        await engine.recover("the engine ended under it")
        await engine.flush()
    after = {state: stored(jobs, job.id) for state, job in before.items()}
    running = after.pop(JobState.RUNNING)
    assert after == {state: before[state] for state in after}
    assert (running.state, running.losses, running.detail) == (JobState.QUEUED, 3, "the engine ended under it")


async def test_places_in_budgets_outlive_the_engine(jobs: JobsUnderTest) -> None:
    """Each begin has a place of its own until its time: also the same job's with another account, or after a retry."""
    async with jobs.engine() as engine:
        await engine.add([new()])
        for account, until in (("A", NOW + 9), ("B", NOW + 5), ("A", NOW + 11)):
            await engine.charge(attrs.evolve(stored(jobs), paid=1, worker=account), account, until, 30.0)
        killed = jobs.killed()
        assert (stored(killed).paid, stored(killed).worker) == (1, "A")
    async with killed.engine() as engine:
        assert sorted(await engine.charges(NOW + 6)) == [("k", "A", NOW + 9, 30), ("k", "A", NOW + 11, 30)]
        await engine.flush()
    assert killed.rows("SELECT count(*) FROM job_charges") == [(2,)]


async def test_jobs_that_wait_for_a_limit_are_found_and_released(jobs: JobsUnderTest) -> None:
    """Those that an account has met itself and those that another job has kept back, and no others."""
    details = {
        1: "flood wait for strangers",
        2: "flood wait for strangers in the same chat",
        3: "flood wait for writes",
        4: "TimeoutError: x",
    }
    async with jobs.engine() as engine:
        await engine.add([*(new(account="A") for _ in details), new(account="B"), new(), new(account="A")])
        for number in range(1, 7):
            job, detail = stored(jobs, number), details.get(number, details[1])
            await engine.save(attrs.evolve(job, due=NOW + 100, wait=100.0, detail=detail))
        await engine.flush()
        assert sorted(job.id for job in await engine.waiting_held(NOW)) == [1, 2, 3, 5]
        assert await engine.waiting_held(NOW + 100) == []
        await engine.release_waiting("A", (details[1], details[2]))
        assert [number for number in range(1, 8) if stored(jobs, number).due is None] == [1, 2, 7]


async def test_what_is_held_is_let_go_when_its_wait_is_over(jobs: JobsUnderTest) -> None:
    """Only jobs that are held, of this account, and not before their time: a limit is not to be evaded."""
    async with jobs.engine() as engine:
        await engine.add([new() for _ in range(5)])
        cases = {1: ("A", True, NOW), 2: ("A", True, NOW + 2), 3: ("A", False, None), 4: ("B", True, None)}
        for number, (account, held, due) in cases.items():
            await engine.save(attrs.evolve(stored(jobs, number), account=account, held=held, due=due))
        await engine.flush()
        assert await engine.held_by() == {"A", "B"}
        await engine.release_held("A", NOW)
        await engine.flush()
        assert [(stored(jobs, number).account, stored(jobs, number).held) for number in range(1, 6)] == [
            *((None, False), ("A", True), ("A", False), ("B", True), (None, False))
        ]


async def test_waits_move_with_the_clock_that_they_were_computed_by(jobs: JobsUnderTest) -> None:
    """Those with a length that began before it was set; a time that was chosen stays, and a place in a budget moves."""
    now = time.time()
    async with jobs.engine() as engine:
        await engine.add([new(), new(), new(account="A")])
        waits = {1: (now + 50, 100.0), 2: (now + 50, None), 3: (now + 3700, 100.0)}
        for number, (due, wait) in waits.items():
            await engine.save(attrs.evolve(stored(jobs, number), due=due, wait=wait))
        await engine.charge(attrs.evolve(stored(jobs, 1), due=now + 50, wait=100.0), "A", now + 20, 60.0)
        await engine.move_waits(-3600.0, now - 3600)
        assert [stored(jobs, number).due for number in waits] == [
            *(now - 3550, now + 50, now - 3500),  # the last one: no longer than its length from now
        ]
        assert await engine.charges(now - 4000) == [("k", "A", now - 3580, 60.0)]


async def test_no_wait_lasts_longer_than_its_length_after_a_start(jobs: JobsUnderTest) -> None:
    """The clock may have been set while no engine ran: a wait of a minute does not last an hour."""
    now = time.time()
    async with jobs.engine() as engine:
        await engine.add([new(), new()])
        await engine.save(attrs.evolve(stored(jobs, 1), due=now + 3600, wait=60.0))
        await engine.save(attrs.evolve(stored(jobs, 2), due=now + 3600))
        await engine.flush()
    async with jobs.engine() as engine:
        await engine.move_waits(0.0, now)
        assert (stored(jobs, 1).due or 0) < now + 3000
        assert stored(jobs, 2).due == now + 3600


# --- for commands -----------------------------------------------------------------------------------------------------


def test_jobs_are_chosen_by_state_account_and_kind(jobs: JobsUnderTest) -> None:
    """Any of the values of each column, oldest first; with ``last`` the newest so many of them."""
    jobs.add([new("a"), new("b", account="A"), new("a", account="B"), new("a", account="A"), new("b")])
    jobs.change([4], Cancelled())
    with jobs.reader() as reader:

        def chosen(last: int | None = None, **wanted: Any) -> list[int]:
            return [job.id for job in reader.jobs({"state": None} | wanted, last=last)]

        assert chosen() == [1, 2, 3, 4, 5]
        assert chosen(account=["A", "B"]) == [2, 3, 4]
        assert chosen(account=["A"], state=["queued", "done"], kind=["b"]) == [2]
        assert chosen(last=2, kind=["a"]) == [3, 4]
        assert chosen(last=2, kind=["c"]) == []
        assert reader.counts() == {"a": {"queued": 2, "cancelled": 1}, "b": {"queued": 2}}
        assert reader.job(2**70) is None
        assert [job.id for job in reader.newest_of("A", 9, among=3)] == [4]
        assert [job.id for job in reader.newest_of("A", 1, among=9)] == [4]


def test_failed_jobs_are_counted_by_who_did_them_and_when(jobs: JobsUnderTest) -> None:
    """From a time to before another one; those that were cancelled are none."""
    for at, worker, state in ((1, "A", "failed"), (2, "B", "failed"), (3, "A", "failed"), (2, "A", "cancelled")):
        put(jobs, Job(id=1, kind="k", state=JobState(state), worker=worker, ended=NOW + at))
    with jobs.reader() as reader:
        assert reader.count_failed(["A"], NOW + 1, NOW + 3) == 1
        assert reader.count_failed(["A", "B"], NOW, NOW + 9) == 3
        assert reader.count_failed([], NOW, NOW + 9) == 0


async def test_messages_are_read_by_the_chat_and_whatever_a_job_calls_it(jobs: JobsUnderTest) -> None:
    """In their order, each account's own apart; a name is one with or without its @, in any letters."""
    async with jobs.engine() as engine:
        await engine.add([new(data={"chat": "@News"}), new(data={"chat": "@new"}), new(data={"chat": "@news\"'%_"})])
        for number, chat in ((1, -5), (2, -6), (3, -7)):
            found = [Message(chat=chat, id=each, at=NOW + each, text=f"m{each}") for each in (2, 1, 3)]
            mine = Message(chat=chat, id=9, at=NOW, text="own", owner="A")
            await engine.keep(attrs.evolve(stored(jobs, number), checkpoint={"chat": chat}), [*found, mine])
        await engine.flush()
    with jobs.messages() as reader:
        assert [reader.chat_named(name) for name in ("news", "@NEW", "@news\"'%_", "ne", "")] == [
            *(-5, -6, -7, None, None)
        ]
        read = list(reader.messages(-5))
        assert [(row[0], row[2], row[5]) for row in read] == [
            ("", 1, "m1"),
            ("", 2, "m2"),
            ("", 3, "m3"),
            ("A", 9, "own"),
        ]
        assert [row[2] for row in reader.messages(-5, NOW + 2)] == [2, 3]
    with jobs.reader() as reader:
        assert list(reader.messages(-6)) == [(1, "m1"), (2, "m2"), (3, "m3")]


# --- counts -----------------------------------------------------------------------------------------------------------

moves = st.one_of(
    st.tuples(st.just("add"), st.sampled_from("ab"), st.sampled_from(JobState)),
    st.tuples(st.just("move"), st.integers(1, 12), st.sampled_from(JobState)),
    st.tuples(st.just("touch"), st.integers(1, 12), st.just("")),
    st.tuples(st.just("remove"), st.integers(1, 12), st.just("")),
    st.tuples(st.just("move all"), st.sampled_from(JobState), st.sampled_from(JobState)),
)


def test_counts_are_what_counting_would_say(jobs: JobsUnderTest) -> None:
    """After any sequence of additions, changes and removals the triggers' counts equal those of a ``GROUP BY``."""

    @settings(max_examples=20, deadline=None, database=None)
    @given(st.lists(moves, max_size=12))
    def check(happening: list[tuple[str, Any, Any]]) -> None:
        jobs.execute("DELETE FROM jobs")
        for number, (what, which, state) in enumerate(happening, 1):
            match what:
                case "add":
                    columns = "(id, kind, data, added, state)"
                    jobs.execute(f"INSERT INTO jobs {columns} VALUES ({number}, '{which}', '', 0, '{state}')")
                case "move":
                    jobs.execute(f"UPDATE jobs SET state = '{state}' WHERE id = {which}")
                case "move all":
                    jobs.execute(f"UPDATE jobs SET state = '{state}' WHERE state = '{which}'")
                case "touch":
                    jobs.execute(f"UPDATE jobs SET attempts = attempts + 1 WHERE id = {which}")
                case "remove":
                    jobs.execute(f"DELETE FROM jobs WHERE id = {which}")
        counted = jobs.rows("SELECT kind, state, count(*) FROM jobs GROUP BY kind, state")
        with jobs.reader() as reader:
            kept = {(kind, state, n) for kind, states in reader.counts().items() for state, n in states.items()}
        assert kept == set(counted)

    check()


async def test_counts_name_what_there_is(jobs: JobsUnderTest) -> None:
    """By kind and state, without states that no job is in any more."""
    jobs.add([new("a"), new("a"), new("b")])
    jobs.change([3], Cancelled())
    async with jobs.engine() as engine:
        assert await engine.counts() == {"a": {"queued": 2}, "b": {"cancelled": 1}}
        jobs.change([1], Cancelled())
        assert await engine.counts() == {"a": {"queued": 1, "cancelled": 1}, "b": {"cancelled": 1}}
