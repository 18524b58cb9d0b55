"""Jobs in each store: what is durable and when, and what belongs together."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sqlite.errors import Undecodable, WriterBroken
from adapters.sqlite.messages import Deletion, Message
from states.jobs import Begun, Job, JobState, decide
from tests.storage.job_stores import NOW, JobsUnderTest, new, stored

# --- adding -----------------------------------------------------------------------------------------------------------


def test_what_was_added_is_there(jobs: JobsUnderTest) -> None:
    """When a command returns, the jobs are durable, under the numbers that it tells."""
    job = new(account="A", priority=3, due=NOW, wait=5.0)
    first = jobs.add([new("send", data={"to": "me", "text": "Привет"}), job])
    assert list(first) == [1, 2]
    assert list(jobs.add([new()])) == [3]
    read = stored(jobs)
    assert (read.kind, read.data, read.account, read.state) == (
        *("send", {"to": "me", "text": "Привет"}, None, JobState.QUEUED),
    )
    read = stored(jobs, 2)
    assert (read.account, read.priority, read.due, read.wait) == ("A", 3, NOW, 5.0)


def test_nothing_to_add_returns_nothing(jobs: JobsUnderTest) -> None:
    """An empty list makes no job."""
    assert list(jobs.add([])) == []


@pytest.mark.parametrize("data", [{"x": object()}, {"x": float("nan")}])
def test_of_jobs_that_are_not_json_none_is_added(jobs: JobsUnderTest, data: dict[str, Any]) -> None:
    """All or none: one that cannot be stored keeps its neighbours out, too."""
    jobs.add([new()])
    with pytest.raises((TypeError, ValueError)):
        jobs.add([new(), new(data=data)])
    assert jobs.rows("SELECT count(*) FROM jobs") == [(1,)]


def test_numbers_are_never_given_twice(jobs: JobsUnderTest) -> None:
    """A number that was shown once stays that job's, also when the last job was removed."""
    jobs.add([new(), new()])
    jobs.execute("DELETE FROM jobs WHERE id = 2")
    assert list(jobs.add([new()])) == [3]


async def test_a_running_engine_adds_beside_its_own_writer(jobs: JobsUnderTest) -> None:
    """Jobs that are added through the engine are durable when it says so, while its writer works."""
    async with jobs.engine() as engine:
        assert list(await engine.add([new(), new()])) == [1, 2]
        await engine.save(decide(stored(jobs), Begun("A"), now=NOW))
        assert list(await engine.add([new()])) == [3]
        await engine.flush()
        assert stored(jobs).state is JobState.RUNNING
        assert await engine.counts() == {"k": {"queued": 2, "running": 1}}
        assert list(await engine.add([])) == []


async def test_whether_an_equal_job_waits(jobs: JobsUnderTest) -> None:
    """One with the same kind, account and data that is queued or running, and no other."""
    async with jobs.engine() as engine:
        job = new(account="A", data={"n": 1})
        assert not await engine.is_waiting_for(job)
        await engine.add([job])
        assert await engine.is_waiting_for(job)
        others = [new(data={"n": 1}), new(account="A", data={"n": 2}), new("j", account="A", data={"n": 1})]
        assert not any([await engine.is_waiting_for(other) for other in others])
        await engine.save(attrs.evolve(stored(jobs), state=JobState.DONE))
        await engine.flush()
        assert not await engine.is_waiting_for(job)


# --- what a job is ----------------------------------------------------------------------------------------------------

texts = st.text(max_size=8) | st.sampled_from(["\ud800", "a\udcffb"])
"""Lone surrogates are among them: file names that are not UTF-8 come with them, and get into messages of exceptions."""
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
times = st.none() | st.floats(0, 2e9)
any_job = st.builds(
    Job,
    id=st.just(1),
    kind=st.just("k"),
    account=st.none() | st.sampled_from(["A", "Ä 1"]),
    held=st.booleans(),
    state=st.sampled_from(JobState),
    attempts=st.integers(0, 9),
    losses=st.integers(0, 25),
    paid=st.integers(0, 9),
    due=times,
    wait=times,
    worker=st.none() | st.sampled_from(["A"]),
    checkpoint=st.none() | st.dictionaries(texts, json_values, max_size=3),
    result=json_values,
    detail=texts.filter(lambda text: "\0" not in text),
    error=st.lists(texts, max_size=2).map(tuple),
    results=st.integers(0, 2**40),
    done=times,
    total=times,
    began=times,
    since=times,
    since_done=times,
    seen=times,
    ended=times,
)


async def test_any_job_comes_back_as_it_was(jobs: JobsUnderTest) -> None:
    """Every field of every job is read back exactly; of a text only what is not Unicode is replaced."""
    found: list[tuple[Job, dict[str, Any]]] = []

    @settings(max_examples=60, database=None)
    @given(job=any_job, data=st.dictionaries(texts, json_values, max_size=3))
    def collect(job: Job, data: dict[str, Any]) -> None:
        found.append((job, data))

    collect()
    async with jobs.engine() as engine:
        numbers = await engine.add([new(data=data) for _, data in found])
        for number, (job, _) in zip(numbers, found, strict=True):
            await engine.save(attrs.evolve(job, id=number))
        for number, (job, data) in zip(numbers, found, strict=True):
            read = await engine.job(number)
            detail = job.detail.encode("utf-8", "replace").decode()
            assert read == attrs.evolve(job, id=number, data=data, added=read.added, detail=detail)


async def test_half_a_character_makes_no_job_unreadable(jobs: JobsUnderTest) -> None:
    """In what a job was given, what it keeps and how it failed it is stored as it is, or as a question mark."""
    half = {"file \udcff": "\ud800"}
    async with jobs.engine() as engine:
        await engine.add([new(data=half)])
        job = attrs.evolve(
            stored(jobs), checkpoint=half, result=half, error=("\ud800",), detail="no file \udcff", results=1
        )
        await engine.keep(job, [Message(chat=1, id=1, at=NOW, text="\ud800")], [half])
        assert await engine.job(1) == attrs.evolve(job, detail="no file ?")
    assert jobs.rows("SELECT text FROM messages") == [("?",)]
    assert [json.loads(value) for (value,) in jobs.rows("SELECT value FROM job_results")] == [half]


async def test_a_text_with_nul_ends_no_job(jobs: JobsUnderTest) -> None:
    """What strangers write, or an exception quotes, is stored, whatever the store does not have."""
    async with jobs.engine() as engine:
        await engine.add([new(data={"a": "x\0y"})])
        job = attrs.evolve(stored(jobs), checkpoint={"b": "\0"}, state=JobState.RUNNING)
        await engine.keep(job, [Message(chat=1, id=1, at=NOW, text="a\0b", media_name="\0", raw="\0")], ["\0"])
        await engine.keep_trace(1, "raised \0")
        await engine.save(attrs.evolve(job, detail="no file \0"))
        await engine.flush()
        read = await engine.job(1)
        assert (read.data, read.checkpoint, read.detail[:8]) == ({"a": "x\0y"}, {"b": "\0"}, "no file ")
    with jobs.reader() as reader:
        assert reader.results(1, 9) == ["\0"]
        assert [text[0] for _, text in reader.messages(1)] == ["a"]


async def test_a_job_that_cannot_be_read_is_named(jobs: JobsUnderTest) -> None:
    """What another version wrote is one sentence with the job and what to do; the jobs behind it begin all the same."""
    jobs.add([new(), new()])
    jobs.execute("UPDATE jobs SET checkpoint = '{' WHERE id = 1")
    with pytest.raises(Undecodable, match=r"job 1 cannot be read .*; use the version that wrote it"):
        stored(jobs)
    told = []
    with jobs.reader() as reader:
        reader.on_unreadable = lambda number, why: told.append(number)
        assert [job.id for job in reader.jobs({})] == [2]
    assert told == [1]
    async with jobs.engine() as engine:
        assert [job.id for job in await engine.ready("k", None, 9)] == [2]
        await engine.flush()
    assert jobs.rows("SELECT state FROM jobs WHERE id = 1") == [("failed",)]


# --- writing ----------------------------------------------------------------------------------------------------------


async def test_a_checkpoint_and_what_was_found_survive_a_kill_together(jobs: JobsUnderTest) -> None:
    """When a flush has returned, mark, results and messages are stored, whatever happens to the process."""
    async with jobs.engine() as engine:
        await engine.add([new()])
        job = attrs.evolve(stored(jobs), state=JobState.RUNNING, checkpoint={"last": 7}, results=2)
        await engine.keep(job, [Message(chat=-1, id=7, at=NOW, text="hello", sender=5)], ["a", {"b": 1}])
        await engine.flush()
        killed = jobs.killed()
    assert stored(killed).checkpoint == {"last": 7}
    assert killed.rows("SELECT job, number, value FROM job_results") == [(1, 1, '"a"'), (1, 2, '{"b":1}')]
    assert killed.rows("SELECT owner, chat, id, at, sender, text, job FROM messages") == [
        ("", -1, 7, NOW, 5, "hello", 1)
    ]


@pytest.mark.parametrize("table", ["job_results", "messages", "jobs"])
async def test_a_checkpoint_and_what_was_found_are_one_transaction(jobs: JobsUnderTest, table: str) -> None:
    """Whichever part of them cannot be stored: nothing of them is."""
    async with jobs.engine() as engine:
        await engine.add([new()])
        jobs.refuse("UPDATE" if table == "jobs" else "INSERT", table)
        job = attrs.evolve(stored(jobs), checkpoint={"last": 7}, results=1)
        await engine.keep(job, [Message(chat=-1, id=7, at=NOW, text="hello")], ["a"])
        with pytest.raises(WriterBroken):
            await engine.flush()
    assert stored(jobs).checkpoint is None
    assert jobs.rows("SELECT 1 FROM job_results UNION ALL SELECT 1 FROM messages") == []


async def test_results_go_on_where_the_last_checkpoint_was(jobs: JobsUnderTest) -> None:
    """They are numbered from one over all runs; what a run stores again after a kill takes the place of the old."""
    async with jobs.engine() as engine:
        await engine.add([new()])
        job = stored(jobs)
        for results in (["a"], ["b", "c"], []):
            job = attrs.evolve(job, results=job.results + len(results))
            await engine.keep(job, (), results)
        await engine.keep(attrs.evolve(job, results=3), (), ["C"])
        await engine.flush()
    with jobs.reader() as reader:
        assert reader.results(1, 9) == ["a", "b", "C"]
        assert reader.results(1, 2) == ["a", "b"]


async def test_a_message_is_there_once_whichever_job_read_it(jobs: JobsUnderTest) -> None:
    """A channel's message has one row; a private chat's has one for each account."""
    async with jobs.engine() as engine:
        await engine.add([new(), new()])
        for number in (1, 2):
            mine = Message(chat=5, id=1, at=NOW, text="private", owner=f"Account {number}")
            await engine.keep(stored(jobs, number), [Message(chat=-1, id=1, at=NOW, text="public"), mine])
        await engine.flush()
    assert jobs.rows("SELECT owner, text, job FROM messages ORDER BY owner") == [
        *(("", "public", 1), ("Account 1", "private", 1), ("Account 2", "private", 2))
    ]


async def test_the_newest_of_a_message_stays_in_whatever_order_it_comes(jobs: JobsUnderTest) -> None:
    """By its edit and its box's number, also within one transaction; what is deleted stays so, and its text is kept."""

    def version(number: int, edited: float | None, text: str, **given: Any) -> Message:
        return Message(chat=-1, id=number, at=NOW, text=text, edited=edited, **given)

    async with jobs.engine() as engine:
        await engine.add([new()])
        job = stored(jobs)
        both = [version(1, None, "old", sender=5), version(1, NOW + 2, "new", version=9), version(1, NOW + 1, "mid")]
        await engine.keep(job, both)
        await engine.keep(job, [version(2, None, "a", version=3), version(2, None, "b", version=2)])
        await engine.keep(job, [Deletion(chat=-1, id=2, at=NOW + 3), Deletion(chat=-1, id=3, at=NOW + 4)])
        await engine.flush()
        await engine.keep(job, [version(3, None, "late"), Deletion(chat=-1, id=2, at=NOW + 9)])
        await engine.flush()
    assert jobs.rows("SELECT id, text, sender, version, edited, deleted FROM messages ORDER BY id") == [
        (1, "new", 5, 9, NOW + 2, None),
        (2, "a", None, 3, None, NOW + 3),
        (3, "late", None, None, None, NOW + 4),
    ]


async def test_what_is_not_json_is_refused_before_anything_is_queued(jobs: JobsUnderTest) -> None:
    """The caller hears of it, and the checkpoint that came with it is not stored without it."""
    async with jobs.engine() as engine:
        await engine.add([new()])
        for bad in ([object()], [float("nan")]):
            with pytest.raises((TypeError, ValueError)):
                await engine.keep(attrs.evolve(stored(jobs), checkpoint={"x": 1}, results=1), (), bad)
        await engine.flush()
        assert stored(jobs).checkpoint is None


async def test_the_last_traceback_of_a_job_is_kept_as_long_as_the_job(jobs: JobsUnderTest) -> None:
    """One for each job, in the place of the one before."""
    async with jobs.engine() as engine:
        await engine.add([new()])
        await engine.keep_trace(1, "first")
        await engine.keep_trace(1, "second")
        await engine.flush()
        with jobs.reader() as reader:
            assert reader.trace(1) == "second"
            assert reader.trace(2) is None
        await engine.keep(attrs.evolve(stored(jobs), state=JobState.DONE, ended=NOW, results=1), (), ["r"])
        await engine.flush()
        assert await engine.prune(NOW) == 0
        assert await engine.prune(NOW + 1) == 1
        assert await engine.prune(NOW + 1) == 0
        assert await engine.job(1) is None
        assert await engine.counts() == {}
    assert jobs.rows("SELECT 1 FROM job_traces UNION ALL SELECT 1 FROM job_results") == []
