"""Dispatchers of several nodes work off the same jobs, in a real database."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest

from adapters.postgres.jobs import PostgresJobs
from adapters.system.clock import SystemClock
from engine.work.dispatcher import Dispatcher
from engine.work.handle import JobHandle
from engine.work.kinds import Function, JobKind, JobKinds
from states.jobs import Cancelled, JobState
from states.pace import KindPolicy, WorkPolicy
from tests.engine.work.harness import STEADY, classify_error
from tests.storage.job_stores import new, stored
from tests.storage.postgres_jobs import PostgresJobsDatabase
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.usefixtures("lines")


@pytest.fixture
def fleet(store_url: str) -> PostgresJobsDatabase:
    """Return an empty store for several nodes."""
    return PostgresJobsDatabase(store_url)


def dispatcher_of(
    store: PostgresJobs, accounts: list[str], kinds: dict[str, Function], policy: WorkPolicy
) -> Dispatcher:
    """Return the dispatcher of a node, all of whose accounts are healthy."""
    return Dispatcher(
        accounts=accounts,
        kinds=JobKinds.of(JobKind(name, function, None) for name, function in kinds.items()),
        policy=policy,
        store=store,
        client_of=dict.fromkeys(accounts, object()).get,
        classify_error=classify_error,
        clock=SystemClock(),
        rng=random.Random(1),
    )


@asynccontextmanager
async def working(
    fleet: PostgresJobsDatabase, nodes: dict[str, list[str]], kinds: dict[str, Function], policy: WorkPolicy = STEADY
) -> AsyncIterator[list[Dispatcher]]:
    """Run nodes, which have these accounts, for the length of the block."""
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(fleet.engine(name, accounts)) for name, accounts in nodes.items()]
        tasks = await stack.enter_async_context(anyio.create_task_group())
        found = [dispatcher_of(store, own, kinds, policy) for store, own in zip(stores, nodes.values(), strict=True)]
        for each in found:
            for name in each.accounts:
                each.account_changed(name)
            tasks.start_soon(each.run)
        try:
            yield found
        finally:
            tasks.cancel_scope.cancel()


async def until_done(fleet: PostgresJobsDatabase, dispatchers: list[Dispatcher], count: int) -> None:
    """Wait until so many jobs are done; tell the dispatchers to look, as a notice of a change does."""
    with anyio.fail_after(TIMEOUT):
        while fleet.rows("SELECT count(*) FROM jobs WHERE state = 'done'") != [(count,)]:
            for each in dispatchers:
                each.jobs_changed()
            await anyio.sleep(0.05)


async def test_each_job_is_done_once_by_one_of_the_nodes(fleet: PostgresJobsDatabase) -> None:
    """Jobs for any account by whoever claims them, those for an account by its owner; all nodes get some."""
    ran: list[tuple[int, str]] = []

    async def work(job: JobHandle, _: Any) -> None:
        ran.append((job.id, job.account))

    fleet.add(new(account="B") if number % 10 == 0 else new() for number in range(150))
    nodes = {"a": ["A"], "b": ["B"], "c": ["C"]}
    async with working(fleet, nodes, {"k": work}) as dispatchers:
        await until_done(fleet, dispatchers, 150)
    assert sorted(number for number, _ in ran) == list(range(1, 151))
    assert set(Counter(account for _, account in ran)) == {"A", "B", "C"}
    assert {account for number, account in ran if number % 10 == 1} == {"B"}
    assert fleet.rows("SELECT count(*) FROM jobs WHERE node IS NOT NULL") == [(0,)]


async def test_a_limit_of_a_kind_holds_among_all_nodes(fleet: PostgresJobsDatabase) -> None:
    """However many accounts could begin: never are more under way at once, and all get their turn."""
    now: list[int] = []
    most: list[int] = []

    async def work(job: JobHandle, _: Any) -> None:
        now.append(job.id)
        most.append(len(now))
        await anyio.sleep(0.05)
        now.remove(job.id)

    fleet.add(new() for _ in range(12))
    policy = WorkPolicy(kinds={"k": KindPolicy(at_once=2)})
    async with working(fleet, {"a": ["A", "D"], "b": ["B"], "c": ["C"]}, {"k": work}, policy) as dispatchers:
        await until_done(fleet, dispatchers, 12)
    assert max(most) == 2
    assert fleet.rows("SELECT 1 FROM job_places") == []


async def test_what_a_dead_node_had_begun_another_one_does(
    fleet: PostgresJobsDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as its death is stored, and not before; nothing that it stores later counts."""
    monkeypatch.setattr("engine.work.dispatcher.RETRY_SECONDS", 0.05)
    monkeypatch.setattr("engine.work.dispatcher.STOP_TIMEOUT", 0.2)
    began: list[str] = []
    hangs = anyio.Event()

    async def work(job: JobHandle, _: Any) -> None:
        began.append(job.account)
        if job.account == "A":
            await hangs.wait()

    fleet.add([new()])
    async with working(fleet, {"a": ["A"]}, {"k": work}) as first:
        with anyio.fail_after(TIMEOUT):
            while not began:
                await anyio.sleep(0.01)
        async with working(fleet, {"b": ["B"]}, {"k": work}) as second:
            for _ in range(3):
                second[0].jobs_changed()
                await anyio.sleep(0.05)
            assert began == ["A"]
            fleet.execute("UPDATE nodes SET state = 'dead' WHERE name = 'a'")
            await until_done(fleet, second, 1)
            hangs.set()
            first[0].jobs_changed()
            await anyio.sleep(0.05)
    assert began == ["A", "B"]
    job = stored(fleet)
    assert (job.state, job.worker) == (JobState.DONE, "B")


async def test_a_job_that_a_command_cancels_frees_its_place(fleet: PostgresJobsDatabase) -> None:
    """It is not stored again when it ends, so its place is given back when the node looks."""
    began: list[int] = []

    async def work(job: JobHandle, _: Any) -> None:
        began.append(job.id)
        if job.id == 1:
            await anyio.sleep_forever()

    fleet.add([new(), new()])
    policy = WorkPolicy(kinds={"k": KindPolicy(at_once=1)})
    async with working(fleet, {"a": ["A"], "b": ["B"]}, {"k": work}, policy) as dispatchers:
        with anyio.fail_after(TIMEOUT):
            while not began:
                await anyio.sleep(0.01)
        fleet.change([1], Cancelled())
        await until_done(fleet, dispatchers, 1)
    assert began == [1, 2]


async def test_an_account_that_comes_brings_the_places_that_are_taken_in_its_budgets(
    fleet: PostgresJobsDatabase,
) -> None:
    """Its owner before has charged them; what this node knew of the account from earlier is forgotten."""
    now = SystemClock().now()
    fleet.add([new(account="A"), new(account="B")])

    async def work(job: JobHandle, _: Any) -> None:
        raise AssertionError("no job may begin")

    async with fleet.engine("a", ["A", "B"]) as former:
        for number, account in ((1, "A"), (2, "B")):
            await former.charge(stored(fleet, number), account, now + 900, 1000.0)
    async with fleet.engine("b", ["A", "B"]) as store:
        dispatcher = dispatcher_of(store, ["A"], {"k": work}, STEADY)
        await dispatcher._begin_work()
        await dispatcher._read_queues()
        dispatcher.use(["A", "B"], dispatcher.kinds, STEADY)
        await dispatcher._read_queues()
        assert {key: len(places) for key, places in dispatcher._pace._charged.items()} == {
            ("k", "A"): 1, ("k", "B"): 1,
        }  # fmt: skip
