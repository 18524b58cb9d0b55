"""Jobs that several nodes share: which node has which, and what becomes of them when a node dies."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import psycopg
import pytest

from adapters.postgres import Fenced
from adapters.postgres.jobs import PostgresJobs
from adapters.sqlite.messages import Message
from adapters.sqlite.node_file import LifeIsOver, make_file
from states.jobs import Begun, Cancelled, Job, JobState, Retried, Returned, decide
from tests.postgres.relay import relay
from tests.postgres.server import PostgresServer
from tests.storage.job_stores import NOW, new, stored
from tests.storage.postgres_jobs import PostgresJobsDatabase
from tests.storage.shared_files import SharedJobFile
from tests.timeouts import TIMEOUT

ENDED = Fenced, LifeIsOver
Fleet = PostgresJobsDatabase | SharedJobFile


@pytest.fixture(params=["postgres", "workers"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Fleet:
    """Return an empty store for several nodes, of each kind."""
    if request.param == "workers":
        store = SharedJobFile(tmp_path / "engine.db")
        make_file(store.path)
        return store
    return PostgresJobsDatabase(request.getfixturevalue("store_url"))


@pytest.fixture
def database(store_url: str) -> PostgresJobsDatabase:
    """Return an empty database for several nodes."""
    return PostgresJobsDatabase(store_url)


@asynccontextmanager
async def nodes(fleet: Fleet, *names: str, accounts: Sequence[Sequence[str]] = ()) -> AsyncIterator[list[Any]]:
    """Run nodes of these names, with these accounts each."""
    async with AsyncExitStack() as stack:
        each = accounts or [()] * len(names)
        yield [await stack.enter_async_context(fleet.engine(name, own)) for name, own in zip(names, each, strict=True)]


def states_of(fleet: Fleet) -> dict[str, int]:
    """Return how many jobs are in each state, by counting them."""
    return dict(fleet.rows("SELECT state, count(*) FROM jobs GROUP BY state"))


@contextmanager
def holding(fleet: Fleet, life: int) -> Iterator["subprocess.Popen[str]"]:
    """Run a process that claims ten jobs for a life, and keeps them."""
    words = [sys.executable, "-m", *fleet.holder, str(life), "10"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def claimed_by(process: "subprocess.Popen[str]") -> set[int]:
    """Wait for the jobs that a process has claimed."""
    assert process.stdout is not None
    return {int(word) for word in process.stdout.readline().split()}


async def drain(node: Any, done: list[int]) -> None:
    """Do all jobs for any account that the node gets, until it gets none."""
    while claimed := await node.ready("k", None, 7):
        for job in claimed:
            done.append(job.id)
            await node.keep(decide(job, Begun("A"), now=NOW), (), [])
            await node.save(decide(decide(job, Begun("A"), now=NOW), Returned(), now=NOW))
        await node.flush()


async def test_no_two_nodes_have_one_job_and_those_of_a_killed_one_come_back(fleet: Fleet) -> None:
    """Four nodes take 200 jobs; one is killed with ten, which nobody else gets before it is dead, and one each then."""
    fleet.add(new() for _ in range(200))
    life = fleet.register("holder", ())
    with holding(fleet, life) as process:
        held = await asyncio.to_thread(claimed_by, process)
        assert len(held) == 10
        async with nodes(fleet, "b", "c", "d") as three:
            done: list[int] = []
            async with anyio.create_task_group() as tasks:
                for node in three:
                    tasks.start_soon(drain, node, done)
            assert sorted(done) == sorted(set(range(1, 201)) - held)
            process.kill()
            await asyncio.to_thread(process.wait, TIMEOUT)
            await three[0].recover("too early")
            assert await three[1].ready("k", None, 99) == [], "its lease is not over"
            fleet.end(life)
            async with anyio.create_task_group() as tasks:
                for node in three:
                    tasks.start_soon(node.recover, "its node died")
            again: list[int] = []
            async with anyio.create_task_group() as tasks:
                for node in three:
                    tasks.start_soon(drain, node, again)
            assert sorted(again) == sorted(held)
    assert states_of(fleet) == {"done": 200}
    assert fleet.rows("SELECT losses, count(*) FROM jobs GROUP BY losses ORDER BY losses") == [(0, 195), (1, 5)]


async def test_a_life_that_has_ended_changes_nothing(fleet: Fleet) -> None:
    """Neither by its writer, which is over then, nor by claiming, adding or giving back."""
    fleet.add([new(), new()])
    async with nodes(fleet, "a") as (node,):
        (job,) = await node.ready("k", None, 1)
        fleet.end(node.life)
        await node.save(decide(job, Begun("A"), now=NOW))
        with pytest.raises(ENDED, match=r"life \d+ of this node has ended"):
            await node.flush()
        with pytest.raises(ENDED):
            await node.save(job)
        for refused in (node.ready("k", None, 1), node.add([new()]), node.give_back([]), node.take_place(job, 1)):
            with pytest.raises(ENDED):
                await refused
    assert stored(fleet, 1).state is JobState.QUEUED
    assert fleet.rows("SELECT count(*) FROM jobs") == [(2,)]


async def test_what_a_node_gives_back_others_get(fleet: Fleet) -> None:
    """All that it has claimed but what it has begun; until then it finds its own again, in their order."""
    fleet.add(new(priority=number) for number in range(4))
    async with nodes(fleet, "a", "b") as (a, b):
        assert [job.id for job in await a.ready("k", None, 3)] == [4, 3, 2]
        assert [job.id for job in await a.ready("k", None, 9)] == [4, 3, 2, 1]
        assert await b.ready("k", None, 9) == []
        await a.give_back([3])
        assert [job.id for job in await b.ready("k", None, 9)] == [4, 2, 1]
        assert [job.id for job in await a.ready("k", None, 9)] == [3]


async def test_a_job_that_could_go_on_at_once_stays_with_its_node_until_it_is_given_back(
    fleet: Fleet,
) -> None:
    """The dispatcher may have it in memory again; one that waits, or is for an account, needs no claim."""
    fleet.add([new(), new(), new()])
    async with nodes(fleet, "a", "b") as (a, b):
        jobs = [decide(job, Begun("A"), now=NOW) for job in await a.ready("k", None, 9)]
        ends = [{}, {"due": NOW + 5}, {"account": "A"}]
        for job, end in zip(jobs, ends, strict=True):
            await a.save(attrs.evolve(job, state=JobState.QUEUED, **end))
        await a.flush()
        assert fleet.rows("SELECT node FROM jobs ORDER BY id") == [(a.life,), (None,), (None,)]
        assert await b.ready("k", None, 9) == []
        await a.give_back([])
        assert [job.id for job in await b.ready("k", None, 9)] == [1]


async def test_a_job_that_was_cancelled_and_retried_stays_with_the_node_that_still_runs_it(
    fleet: Fleet,
) -> None:
    """Two nodes would do it at once otherwise: the first one notices a moment later."""
    fleet.add([new()])
    async with nodes(fleet, "a", "b") as (a, b):
        (job,) = await a.ready("k", None, 1)
        await a.save(decide(job, Begun("A"), now=NOW))
        await a.flush()
        fleet.change([1], Cancelled())
        fleet.change([1], Retried())
        assert await b.ready("k", None, 1) == []
        await a.give_back([1])
        assert await b.ready("k", None, 1) == []
        await a.give_back([])
        assert [each.id for each in await b.ready("k", None, 1)] == [1]


async def test_a_node_does_not_write_over_a_job_that_another_one_has(fleet: Fleet) -> None:
    """Whatever it believes; of a dead node's job it does."""
    fleet.add([new()])
    async with nodes(fleet, "a", "b") as (a, b):
        (job,) = await a.ready("k", None, 1)
        await b.save(attrs.evolve(job, detail="mine"))
        await b.flush()
        assert stored(fleet).detail == ""
        fleet.end(a.life)
        await b.save(attrs.evolve(job, detail="mine"))
        await b.flush()
        assert stored(fleet).detail == "mine"


async def test_a_node_looks_after_the_jobs_of_its_own_accounts(fleet: Fleet) -> None:
    """Queues, waits and held jobs of another node's accounts are that one's to look after."""
    due = NOW + 5
    fleet.add([new(account="A"), new(account="B"), new(), new(account="B", due=due), new(account="A", due=due + 1)])
    async with nodes(fleet, "a", "b", accounts=[["A"], ["B"]]) as (a, b):
        assert await a.queues() == [("k", None), ("k", "A")]
        assert await b.queues() == [("k", None), ("k", "B")]
        assert (await a.next_due(), await b.next_due()) == (due + 1, due)
        await a.wake_due(due + 9)
        await a.flush()
        assert (stored(fleet, 4).due, stored(fleet, 5).due) == (due, None)
        fleet.execute("UPDATE jobs SET held = true WHERE id < 3")
        assert (await a.held_by(), await b.held_by()) == ({"A"}, {"B"})


async def test_a_limit_holds_for_the_whole_fleet(fleet: Fleet) -> None:
    """However many nodes ask at once; a place is free when its job has ended, or its node is dead."""
    fleet.add(new() for _ in range(12))
    async with nodes(fleet, "a", "b", "c") as three:
        taken: dict[int, tuple[Any, Job]] = {}

        async def take(node: Any, job: Job) -> None:
            if await node.take_place(job, 3):
                taken[job.id] = node, job

        async def all_take() -> None:
            async with anyio.create_task_group() as tasks:
                for node in three:
                    for job in await node.ready("k", None, 4):
                        if job.id not in taken:
                            tasks.start_soon(take, node, job)

        await all_take()
        assert len(taken) == 3
        node, job = taken[min(taken)]
        assert await node.take_place(job, 3), "a job that has a place takes no other one"
        running = decide(job, Begun("A"), now=NOW)
        await node.save(running)
        await node.flush()
        await all_take()
        assert len(taken) == 3
        await node.save(decide(running, Returned(), now=NOW))
        await node.flush()
        await all_take()
        assert len(taken) == 4
        ((dead,), *_) = fleet.rows("SELECT node FROM job_places")
        others = fleet.rows(f"SELECT job FROM job_places WHERE node <> {dead}")
        fleet.end(dead)
        (living, _) = [each for each in three if each.life != dead]
        await living.recover("dead")
        assert fleet.rows("SELECT job FROM job_places") == others


async def test_nodes_count_places_one_after_the_other(database: PostgresJobsDatabase) -> None:
    """While one node takes the last place, another one waits for the outcome, and then gets none."""
    database.add([new(), new()])
    async with nodes(database, "a") as (node,):
        (job, _) = await node.ready("k", None, 2)
        assert await node.take_place(job, 1)
        database.execute("DELETE FROM job_places")
        with psycopg.connect(database.url) as other:
            other.execute("SELECT FROM job_limits WHERE kind = 'k' FOR UPDATE")
            other.execute("INSERT INTO job_places VALUES (2, 'k', 99)")
            asked = asyncio.ensure_future(node.take_place(job, 1))
            with anyio.fail_after(TIMEOUT):
                while not (asked.done() or database.rows("SELECT 1 FROM pg_locks WHERE NOT granted")):
                    await anyio.sleep(0.01)
            other.commit()
            assert not await asked


async def test_only_the_waits_of_a_node_move_with_its_clock(fleet: Fleet) -> None:
    """Another node's clock was not set; and a movement that is sent again is not made again."""
    now = time.time()
    fleet.add([new(account="A"), new(account="B")])
    async with nodes(fleet, "a", "b", accounts=[["A"], ["B"]]) as (a, b):
        for node, number in ((a, 1), (b, 2)):
            await node.save(attrs.evolve(stored(fleet, number), due=now + 5000, wait=9000.0))
            await node.flush()
        await a.move_waits(3600.0, now + 3600)
        assert [stored(fleet, number).due for number in (1, 2)] == [now + 8600, now + 5000]
        if not isinstance(a, PostgresJobs):
            return
        a._moves -= 1  # as when the answer was lost
        await a.move_waits(3600.0, now + 3600)
        assert stored(fleet, 1).due == now + 8600


async def test_nothing_is_lost_or_doubled_when_the_connection_breaks(
    database: PostgresJobsDatabase, postgres: PostgresServer
) -> None:
    """Neither when a batch did not arrive, nor when only the answer to it did not: it is sent again."""
    database.add([new()])
    async with relay(postgres.socket) as wire:
        through = PostgresJobsDatabase(postgres.url(database.url.split("?")[0].rsplit("/", 1)[1], host=wire.address))
        life = database.register("a", ["A"])
        async with through.engine("a", life=life) as node:
            job = stored(database)
            for cut in (wire.swallow, wire.swallow_answers):
                cut()
                for _ in range(5):
                    job = attrs.evolve(job, results=job.results + 1, checkpoint={"n": job.results})
                    message = Message(chat=1, id=job.results, at=NOW, text="x", version=job.results)
                    await node.keep(job, [message], [job.results])
                with anyio.move_on_after(0.3):
                    await node.flush()
                wire.cut()
                wire.restore()
                with anyio.fail_after(TIMEOUT):
                    await node.flush()
        assert stored(database).checkpoint == {"n": 9}
        assert database.rows("SELECT number, value FROM job_results ORDER BY number") == [
            (number, str(number)) for number in range(1, 11)
        ]
        assert database.rows("SELECT count(*) FROM messages") == [(10,)]


async def test_counts_are_right_while_they_are_put_together(database: PostgresJobsDatabase) -> None:
    """All nodes add, end and count at once: no job is forgotten or counted twice."""
    async with nodes(database, "a", "b", "c") as three:

        async def work(node: Any) -> None:
            for _ in range(5):
                await node.add([new(), new()])
                await drain(node, [])
                node._asked = 0
                counts = await node.counts()
                assert sum(counts["k"].values()) >= 2

        async with anyio.create_task_group() as tasks:
            for node in three:
                tasks.start_soon(work, node)
        assert await three[0].counts() == {"k": {"done": 30}}
        three[0]._asked = 0
        assert await three[0].counts() == {"k": {"done": 30}}
    assert database.rows("SELECT count(*) FROM job_counts") == [(1,)]
