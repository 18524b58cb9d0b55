"""Jobs in real files: what is durable and when, and what belongs together."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.sqlite import open_database
from adapters.sqlite.errors import Undecodable, WriterBroken
from adapters.sqlite.jobs import JobStore, add
from adapters.sqlite.messages import Message
from adapters.sqlite.schema import MIGRATIONS, VERSION
from states.jobs import Begun, Job, JobState, decide
from tests.adapters.sqlite.jobs_support import NOW, after_a_kill, new, rows, stored
from tests.adapters.sqlite.support import a_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a file of jobs will be."""
    return tmp_path / "engine.db"


# --- adding -----------------------------------------------------------------------------------------------------------


def test_what_was_added_is_there(path: Path) -> None:
    """A command makes the file if need be; when it returns, the jobs are durable, under the numbers that it tells."""
    first = add(path, [new("send", data={"to": "me", "text": "Привет"}), new(account="A", priority=3, due=NOW)])
    assert list(first) == [1, 2]
    assert list(add(path, [new()])) == [3]
    killed = after_a_kill(path) if path.with_name(f"{path.name}-wal").exists() else path
    job = stored(killed)
    assert (job.kind, job.data, job.account, job.state) == (
        "send",
        {"to": "me", "text": "Привет"},
        None,
        JobState.QUEUED,
    )
    job = stored(killed, 2)
    assert (job.account, job.priority, job.due) == ("A", 3, NOW)


def test_nothing_to_add_returns_nothing(path: Path) -> None:
    """An empty list makes no file and no job."""
    assert list(add(path, [])) == []
    assert not path.exists()


@pytest.mark.parametrize("data", [{"x": object()}, {"x": float("nan")}])
def test_of_jobs_that_are_not_json_none_is_added(path: Path, data: dict[str, Any]) -> None:
    """All or none: one that cannot be stored keeps its neighbours out, too."""
    add(path, [new()])
    with pytest.raises((TypeError, ValueError)):
        add(path, [new(), new(data=data)])
    assert rows(path, "SELECT count(*) FROM jobs") == [(1,)]


def test_numbers_are_never_given_twice(path: Path) -> None:
    """A number that was shown once stays that job's, also when the last job was removed."""
    add(path, [new(), new()])
    with closing(open_database(path)) as db:
        db.execute("DELETE FROM jobs WHERE id = 2")
    assert list(add(path, [new()])) == [3]


async def test_a_running_engine_adds_beside_its_own_writer(path: Path) -> None:
    """Jobs that are added through the engine are durable when it says so, while its writer works."""
    async with a_journal(path) as journal:
        store = journal.jobs
        assert list(await store.add([new(), new()])) == [1, 2]
        await store.save(decide(stored(path), Begun("A"), now=NOW))
        assert list(await store.add([new()])) == [3]
        await store.flush()
        assert stored(path).state is JobState.RUNNING
        assert (await store.counts()) == {"k": {"queued": 2, "running": 1}}
        await store.aclose()


# --- what a job is ----------------------------------------------------------------------------------------------------

texts = st.text(max_size=8) | st.sampled_from(["\ud800", "a\udcffb"])
"""Lone surrogates are among them: file names that are not UTF-8 come with them, and get into messages of exceptions."""
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
times = st.none() | st.floats(0, 2e9)
jobs = st.builds(
    Job,
    id=st.just(1),
    kind=st.just("k"),
    account=st.none() | st.sampled_from(["A", "Ä 1"]),
    state=st.sampled_from(JobState),
    attempts=st.integers(0, 9),
    losses=st.integers(0, 25),
    paid=st.integers(0, 9),
    due=times,
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


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(job=jobs, data=st.dictionaries(texts, json_values, max_size=3))
async def test_any_job_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, job: Job, data: dict[str, Any]
) -> None:
    """Every field of every job is read back exactly; of a text only what is not Unicode is replaced."""
    path = tmp_path_factory.mktemp("any") / "engine.db"
    async with a_journal(path) as journal:
        store = journal.jobs
        await store.add([new(data=data)])
        await store.save(job)
        read = await store.job(1)
        await store.aclose()
    assert read is not None
    legible = job.detail.encode("utf-8", "replace").decode()
    assert read == attrs.evolve(job, data=data, added=read.added, detail=legible)


async def test_half_a_character_makes_no_job_unreadable(path: Path) -> None:
    """In what a job was given, what it keeps and how it failed it is stored as it is, or as a question mark."""
    half = {"file \udcff": "\ud800"}
    async with a_journal(path) as journal:
        store = journal.jobs
        await store.add([new(data=half)])
        job = attrs.evolve(
            stored(path), checkpoint=half, result=half, error=("\ud800",), detail="no file \udcff", results=1
        )
        await store.keep(job, [Message(chat=1, id=1, at=NOW, text="\ud800")], [half])
        assert await store.job(1) == attrs.evolve(job, detail="no file ?")
        await store.aclose()
    assert rows(path, "SELECT text FROM messages") == [("?",)]
    assert [json.loads(value) for (value,) in rows(path, "SELECT value FROM job_results")] == [half]


def test_a_job_that_cannot_be_read_is_named(path: Path) -> None:
    """What another version wrote is one sentence with the job and what to do."""
    add(path, [new()])
    with closing(open_database(path)) as db:
        db.execute("UPDATE jobs SET checkpoint = '{'")
    with pytest.raises(Undecodable, match=r"job 1 cannot be read .*; use the version that wrote it"):
        stored(path)


# --- writing ----------------------------------------------------------------------------------------------------------


async def test_a_checkpoint_and_what_was_found_survive_a_kill_together(path: Path) -> None:
    """When a flush has returned, mark, results and messages are on the disk, whatever happens to the process."""
    async with a_journal(path) as journal:
        store = journal.jobs
        await store.add([new()])
        job = attrs.evolve(stored(path), state=JobState.RUNNING, checkpoint={"last": 7}, results=2)
        await store.keep(job, [Message(chat=-1, id=7, at=NOW, text="hello", sender=5)], ["a", {"b": 1}])
        await store.flush()
        killed = after_a_kill(path)
        await store.aclose()
    assert stored(killed).checkpoint == {"last": 7}
    assert rows(killed, "SELECT job, number, value FROM job_results") == [(1, 1, '"a"'), (1, 2, '{"b":1}')]
    assert rows(killed, "SELECT owner, chat, id, at, sender, text, job FROM messages") == [
        ("", -1, 7, NOW, 5, "hello", 1)
    ]


@pytest.mark.parametrize("table", ["job_results", "messages", "jobs"])
async def test_a_checkpoint_and_what_was_found_are_one_transaction(path: Path, table: str) -> None:
    """Whichever part of them cannot be stored: nothing of them is."""
    async with a_journal(path) as journal:
        store = journal.jobs
        await store.add([new()])
        event = "UPDATE" if table == "jobs" else "INSERT"
        with closing(open_database(path)) as db:
            db.execute(f"CREATE TRIGGER no BEFORE {event} ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END")
        job = attrs.evolve(stored(path), checkpoint={"last": 7}, results=1)
        await store.keep(job, [Message(chat=-1, id=7, at=NOW, text="hello")], ["a"])
        with pytest.raises(WriterBroken):
            await store.flush()
    assert stored(path).checkpoint is None
    assert rows(path, "SELECT 1 FROM job_results UNION ALL SELECT 1 FROM messages") == []


async def test_results_go_on_where_the_last_checkpoint_was(path: Path) -> None:
    """They are numbered from one over all runs; what a run stores again after a kill takes the place of the old."""
    async with a_journal(path) as journal:
        store = journal.jobs
        await store.add([new()])
        job = stored(path)
        for results in (["a"], ["b", "c"], []):
            job = attrs.evolve(job, results=job.results + len(results))
            await store.keep(job, (), results)
        await store.keep(attrs.evolve(job, results=3), (), ["C"])
        await store.flush()
        await store.aclose()
    assert [value for (value,) in rows(path, "SELECT value FROM job_results ORDER BY number")] == ['"a"', '"b"', '"C"']


async def test_a_message_is_there_once_whichever_job_read_it(path: Path) -> None:
    """A channel's message has one row; a private chat's has one for each account."""
    async with a_journal(path) as journal:
        store = journal.jobs
        await store.add([new(), new()])
        for number in (1, 2):
            job = stored(path, number)
            mine = Message(chat=5, id=1, at=NOW, text="private", owner=f"Account {number}")
            await store.keep(job, [Message(chat=-1, id=1, at=NOW, text="public"), mine])
        await store.flush()
        await store.aclose()
    assert rows(path, "SELECT owner, text, job FROM messages ORDER BY owner") == [
        *(("", "public", 1), ("Account 1", "private", 1), ("Account 2", "private", 2))
    ]


async def test_what_is_not_json_is_refused_before_anything_is_queued(path: Path) -> None:
    """The caller hears of it, and the checkpoint that came with it is not stored without it."""
    async with a_journal(path) as journal:
        store = journal.jobs
        await store.add([new()])
        for bad in ([object()], [float("nan")]):
            with pytest.raises((TypeError, ValueError)):
                await store.keep(attrs.evolve(stored(path), checkpoint={"x": 1}, results=1), (), bad)
        await store.flush()
        assert stored(path).checkpoint is None
        await store.aclose()


# --- the file ---------------------------------------------------------------------------------------------------------


def test_a_file_from_before_there_were_jobs_gets_them(path: Path) -> None:
    """A journal of the second schema keeps what it has, and takes jobs from then on."""
    with closing(open_database(path)) as db:
        for step in MIGRATIONS[:2]:
            for statement in step:
                db.execute(statement)
        db.execute("PRAGMA user_version = 2")
        db.execute("INSERT INTO names (name) VALUES ('Account 1')")
    assert list(add(path, [new()])) == [1]
    assert rows(path, "PRAGMA user_version") == [(VERSION,)]
    assert rows(path, "SELECT name FROM names") == [("Account 1",)]


async def test_a_store_can_be_closed_and_read_again(path: Path) -> None:
    """Closing lets go of the file; a later question opens it anew."""
    async with a_journal(path) as journal:
        store: JobStore = journal.jobs
        await store.add([new(data={"n": 1})])
        assert await store.job(2) is None
        await store.aclose()
        await store.aclose()
        job = await store.job(1)
        assert job is not None
        assert job.data == {"n": 1}
        await store.aclose()


async def test_jobs_that_wait_for_a_limit_are_found_and_released(path: Path) -> None:
    """Those that an account has met itself and those that another job has kept back, and no others."""
    details = {
        1: "flood wait for strangers",
        2: "flood wait for strangers in the same chat",
        3: "flood wait for writes",
        4: "TimeoutError: x",
    }
    async with a_journal(path) as journal:
        store = journal.jobs
        await store.add([*(new(account="A") for _ in details), new(account="B"), new(), new(account="A")])
        for number in range(1, 7):
            job, detail = stored(path, number), details.get(number, details[1])
            await store.save(attrs.evolve(job, due=NOW + 100, wait=100.0, detail=detail))
        await store.flush()
        assert sorted(job.id for job in await store.waiting_held(NOW)) == [1, 2, 3, 5]
        assert await store.waiting_held(NOW + 100) == []
        await store.release_waiting("A", (details[1], details[2]))
        assert [number for number in range(1, 8) if stored(path, number).due is None] == [1, 2, 7]
        await store.aclose()
