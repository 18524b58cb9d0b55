"""Which job begins when: order, limits, budgets, hours and waits of the server's; all in virtual time."""

from datetime import datetime
from typing import Any

import anyio
import pytest

from engine.work.handle import JobHandle
from states.pace import Budget, Hours, KindPolicy, WorkPolicy
from tests.engine.fakes import EPOCH
from tests.engine.work.harness import MemoryStore, RunLog, Wait, dispatching, rules

pytestmark = [pytest.mark.virtual, pytest.mark.usefixtures("lines")]  # logged for good, each trouble would be a page


async def test_a_flood_wait_holds_its_kind_with_its_account_alone() -> None:
    """Jobs of the kind wait until the server's time with that account; other kinds and other accounts go on."""
    log, store = RunLog(), MemoryStore()

    async def send(job: JobHandle, _: Any) -> None:
        log.note(job)
        if job.id == 1 and anyio.current_time() < 100:
            raise Wait(100)

    flooded, held = store.add("send", account="A"), store.add("send", account="A")
    other_kind, other_account = store.add("quick", account="A"), store.add("send", account="B")
    async with dispatching({"send": send, "quick": log.quick}, store, here="AB") as harness:
        jobs = await harness.over(flooded, held, other_kind, other_account)
    assert sorted(log.begins) == [
        *((0, flooded, "A"), (0, other_kind, "A"), (0, other_account, "B")),
        *((100, flooded, "A"), (100, held, "A")),
    ]
    assert {job.attempts for job in jobs} == {0}


async def test_a_flooded_job_for_any_account_waits_as_well() -> None:
    """No other account does in its place what one was told to wait for; other jobs of the kind go on with the other."""
    log, store = RunLog(), MemoryStore()

    async def send(job: JobHandle, _: Any) -> None:
        log.note(job)
        if anyio.current_time() < 10 and job.account == "A":
            raise Wait(1000)

    first, second = store.add("send"), store.add("send")
    async with dispatching({"send": send}, store, here="AB") as harness:
        await harness.over(first, second)
    assert log.begins[:2] == [(0, first, "A"), (0, second, "B")]
    assert [(at, number) for at, number, _ in log.begins[2:]] == [(1000, first)]


async def test_a_wait_for_one_chat_holds_one_job() -> None:
    """Slow mode in the chat of one job keeps no other job of its kind from its account."""
    log, store = RunLog(), MemoryStore()

    async def send(job: JobHandle, _: Any) -> None:
        log.note(job)
        if job.id == 1 and anyio.current_time() < 100:
            raise Wait(100, True)

    slow, other = store.add("send"), store.add("send")
    async with dispatching({"send": send}, store) as harness:
        await harness.over(slow, other)
    assert log.begins == [(0, slow, "A"), (0, other, "A"), (100, slow, "A")]


async def test_the_highest_priority_goes_first_and_then_the_oldest() -> None:
    """The order is that of priority and number, also between jobs for any account, for one, and of several kinds."""
    log, store = RunLog(), MemoryStore()
    last = store.add("one", priority=-1)
    third = store.add("one", account="A")
    fourth = store.add("two")
    first = store.add("two", account="A", priority=9)
    second = store.add("one", priority=5)
    policy = WorkPolicy(per_account=1)
    async with dispatching({"one": log.second, "two": log.second}, store, policy=policy) as harness:
        await harness.over(last)
    assert log.jobs == [first, second, third, fourth, last]


async def test_an_urgent_job_that_is_added_goes_before_those_that_wait() -> None:
    """What is in memory already does not go before what was added since and is more urgent."""
    log, store = RunLog(), MemoryStore()
    numbers = [store.add("second") for _ in range(5)]
    async with dispatching({"second": log.second}, store) as harness:
        await anyio.sleep(0.5)
        urgent = harness.add("second", priority=1)
        await harness.over(*numbers)
    assert log.jobs == [1, urgent, 2, 3, 4, 5]


async def test_a_job_that_lost_its_connection_does_not_go_behind_newer_ones() -> None:
    """It is the oldest, so it goes on before those that have not begun, also if these are in memory already."""
    log, store = RunLog(), MemoryStore()
    numbers = [store.add("second") for _ in range(5)]
    async with dispatching({"second": log.second}, store) as harness:
        await anyio.sleep(1.5)
        harness.arrive("A")
        await harness.over(*numbers)
    assert log.jobs == [1, 2, 2, 3, 4, 5]


async def test_what_is_not_read_yet_may_go_first() -> None:
    """An urgent job that has to be read again goes before those of another kind that are in memory."""
    log, store = RunLog(), MemoryStore()

    async def drops(job: JobHandle, _: Any) -> None:
        log.note(job)
        if len(log.jobs) == 1:
            raise ConnectionError("reset")

    urgent, other = store.add("drops", priority=9), store.add("quick")
    kinds, policy = {"drops": drops, "quick": log.quick}, WorkPolicy(per_account=1)
    async with dispatching(kinds, store, policy=policy) as harness:
        await harness.over(urgent, other)
    assert log.jobs == [urgent, urgent, other]


async def test_an_account_does_so_many_jobs_at_once() -> None:
    """``per_account`` bounds all kinds together, and a kind's own bounds that kind."""
    log, store = RunLog(), MemoryStore()
    policy = WorkPolicy(per_account=3, kinds={"many": KindPolicy(per_account=2), "more": KindPolicy(per_account=9)})
    for kind in ("many", "many", "many", "more", "more"):
        store.add(kind)
    async with dispatching({"many": log.endless, "more": log.endless}, store, policy=policy) as harness:
        await anyio.sleep(10)
        assert sorted(job.kind for job in harness.dispatcher.summary.running) == ["many", "many", "more"]
    assert len(log.begins) == 3


async def test_the_fleet_does_so_many_jobs_of_a_kind_at_once() -> None:
    """``at_once`` bounds a kind over all accounts, and each end lets the next begin, with whichever account."""
    log, store = RunLog(), MemoryStore()
    numbers = [store.add("second", account=account) for account in "ABCD"]
    async with dispatching(
        {"second": log.second}, store, here="ABCD", policy=rules(second=KindPolicy(at_once=2))
    ) as harness:
        await harness.over(*numbers)
    assert [at for at, _, _ in log.begins] == [0, 0, 1, 1]


async def test_a_budget_lets_so_many_begin_in_a_while() -> None:
    """Two a minute with each account: the third waits for the first one's place."""
    log, store = RunLog(), MemoryStore()
    policy = rules(quick=KindPolicy(budget=Budget(at_most=2, per=60, jitter=0)))
    numbers = [store.add("quick", account=account) for account in "AAAB"]
    async with dispatching({"quick": log.quick}, store, here="AB", policy=policy) as harness:
        await harness.over(*numbers)
    assert sorted(log.begins) == [(0, 1, "A"), (0, 2, "A"), (0, 4, "B"), (60, 3, "A")]


async def test_a_budget_outlives_the_process() -> None:
    """What has begun before a kill is counted after it, and a job that goes on is not charged twice."""
    log, store = RunLog(), MemoryStore()
    policy = rules(second=KindPolicy(budget=Budget(at_most=2, per=60, jitter=0)))
    numbers = [store.add("second", account="A") for _ in range(3)]
    async with dispatching({"second": log.second}, store, policy=policy) as harness:
        await anyio.sleep(1.5)
        await store.flush()
        killed = store.kill()
    assert log.begins == [(0, 1, "A"), (1, 2, "A")]
    async with dispatching({"second": log.second}, killed, policy=policy) as harness:
        await harness.over(*numbers)
    assert [each for each in log.begins[2:] if each[1] == 3] == [(60, 3, "A")]
    assert len(killed.taken) == 3


async def test_a_job_that_moves_takes_a_place_in_the_other_account_s_budget() -> None:
    """What it paid with one account is not a ticket to hurry another."""
    log, store = RunLog(), MemoryStore()
    policy = rules(paged=KindPolicy(budget=Budget(at_most=1, per=600, jitter=0)))
    store.add("paged")
    moving = store.add("paged", priority=-1)
    async with dispatching({"paged": log.paged}, store, here="B", policy=policy) as harness:
        await anyio.sleep(60)
        harness.clients["A"] = None
    async with dispatching({"paged": log.paged}, store, here="A", away="B", policy=policy) as harness:
        await anyio.sleep(5)
        harness.arrive("B")
        harness.leave("A")
        await harness.over(moving)
    assert log.begins == [(0, 1, "B"), (60, moving, "A"), (600, moving, "B")]


async def test_a_job_that_goes_on_with_its_account_has_paid_already() -> None:
    """A lost connection costs no second place in the budget; a new attempt does."""
    log, store = RunLog(), MemoryStore()
    policy = rules(paged=KindPolicy(budget=Budget(at_most=1, per=600, jitter=0)))
    number = store.add("paged")
    async with dispatching({"paged": log.paged}, store, policy=policy) as harness:
        await anyio.sleep(15)
        harness.arrive("A")
        await harness.over(number)
    assert [at for at, _, _ in log.begins] == [0, 15]
    assert len(store.taken) == 1


async def test_jobs_begin_within_their_hours() -> None:
    """Before the hours a job waits for them, to the second."""
    log, store = RunLog(), MemoryStore()
    now = datetime.fromtimestamp(EPOCH)
    opens = (now.hour * 60 + now.minute + 2) % 1440
    policy = rules(quick=KindPolicy(hours=Hours(opens, (opens + 60) % 1440)))
    number = store.add("quick")
    async with dispatching({"quick": log.quick}, store, policy=policy) as harness:
        await harness.over(number)
    assert log.begins == [(120 - now.second, number, "A")]


async def test_a_job_begins_when_it_is_due() -> None:
    """Not before, and without being told again."""
    log, store = RunLog(), MemoryStore()
    number = store.add("quick", due=EPOCH + 3600)
    async with dispatching({"quick": log.quick}, store) as harness:
        await harness.over(number)
    assert log.begins == [(3600, number, "A")]


async def test_a_clock_that_is_set_is_noticed() -> None:
    """A job that waits for a time of day begins a moment after the clock shows it, however the clock got there."""
    log, store = RunLog(), MemoryStore()
    number = store.add("quick", due=EPOCH + 3600)
    async with dispatching({"quick": log.quick}, store) as harness:
        await anyio.sleep(10)
        store.clock.shift = 3600
        await harness.over(number)
    ((at, _, _),) = log.begins
    assert 10 <= at <= 12
