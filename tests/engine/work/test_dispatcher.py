"""The dispatcher gives jobs to accounts, takes them away and stores what came of them; all in virtual time."""

import asyncio
from datetime import datetime
from typing import Any

import anyio
import pytest

from engine.work.handle import JobHandle
from engine.work.lanes import FETCH_ROWS
from states.jobs import JobState
from states.pace import Budget, Hours, KindPolicy, WorkPolicy
from states.schedules import Backoff
from tests.engine.fakes import EPOCH, virtually
from tests.engine.work.shop import STEADY, MemoryStore, Wait, working

pytestmark = pytest.mark.usefixtures("lines")  # logged for good, each trouble would be a page
Begins = list[tuple[float, int, str]]
"""When a run began (virtual seconds), the job's number, and the account."""


class Log:
    """Kinds that note their begins."""

    def __init__(self) -> None:
        self.begins: Begins = []
        self.jobs: list[int] = []

    def note(self, job: JobHandle) -> None:
        """Note that a run begins."""
        self.begins.append((round(anyio.current_time(), 2), job.id, job.account))
        self.jobs.append(job.id)

    async def quick(self, job: JobHandle, _: Any) -> int:
        """Return at once."""
        self.note(job)
        return job.id

    async def second(self, job: JobHandle, _: Any) -> None:
        """Take a second."""
        self.note(job)
        await anyio.sleep(1)

    async def endless(self, job: JobHandle, _: Any) -> None:
        """Never return, and say every minute that all is well."""
        self.note(job)
        while True:
            await anyio.sleep(60)
            job.progress(1)

    async def paged(self, job: JobHandle, _: Any) -> list[int]:
        """Do five pages of ten seconds, each with a checkpoint; return those that this run did."""
        self.note(job)
        mine = []
        for page in range(job.saved.get("page", 0), 5):
            await anyio.sleep(10)
            mine.append(page)
            await job.checkpoint({"page": page + 1}, results=[page], done=page + 1, total=5, stay=job.data.get("stay"))
        return mine


def rules(**kinds: KindPolicy) -> WorkPolicy:
    """Return rules without chance."""
    return WorkPolicy(retry=Backoff(jitter=0), kinds=kinds)


def test_a_job_runs_while_its_account_has_a_client() -> None:
    """A job of an account that is away waits for it, however many others are there."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        number = store.add("quick", account="B")
        async with working({"quick": log.quick}, store, here="A", away="B") as shop:
            await anyio.sleep(50)
            assert log.begins == []
            shop.arrive("B")
            (job,) = await shop.over(number)
        assert log.begins == [(50.0, number, "B")]
        assert (job.state, job.result, job.worker) == (JobState.DONE, number, "B")

    virtually(main)


def test_a_job_gets_the_client_of_its_account() -> None:
    """The function is called with the very client that the account has, and with the job's data."""

    async def main() -> None:
        got: list[Any] = []

        async def look(job: JobHandle, client: Any) -> None:
            got.extend((client, job.data, job.id, job.account, job.attempt, job.began, job.saved))

        store = MemoryStore()
        number = store.add("look", data={"to": "me"})
        async with working({"look": look}, store) as shop:
            await shop.over(number)
            assert got == [shop.clients["A"], {"to": "me"}, number, "A", 1, EPOCH, {}]

    virtually(main)


def test_a_job_is_taken_away_with_its_client_and_goes_on_from_its_checkpoint() -> None:
    """When the account leaves, the job ends at its next await; when it is back, the job does what is left."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        number = store.add("paged", account="A")
        async with working({"paged": log.paged}, store) as shop:
            await anyio.sleep(25)
            shop.leave("A")
            await anyio.sleep(5)
            job = await shop.job(number)
            assert (job.state, job.checkpoint, job.losses) == (JobState.QUEUED, {"page": 2}, 1)
            assert job.detail == "the connection is not healthy"
            shop.arrive("A")
            (job,) = await shop.over(number)
        assert log.begins == [(0.0, number, "A"), (30.0, number, "A")]
        assert (job.result, job.attempts, job.done) == ([2, 3, 4], 0, 5)
        assert store.results[number] == [0, 1, 2, 3, 4]

    virtually(main)


def test_a_new_client_is_a_new_run() -> None:
    """A job keeps no client that its account has no more, even if the next one is there at once."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        number = store.add("paged")
        async with working({"paged": log.paged}, store) as shop:
            await anyio.sleep(15)
            shop.arrive("A")
            await shop.over(number)
        assert log.begins == [(0.0, number, "A"), (15.0, number, "A")]

    virtually(main)


@pytest.mark.parametrize(("stays", "accounts"), [(False, ["A", "B"]), (True, ["A", "A"])])
def test_a_job_for_any_goes_on_with_another_unless_it_stays(stays: bool, accounts: list[str]) -> None:
    """Who named no account goes on where one is free; after ``stay`` it waits for its own."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        number = store.add("paged", data={"stay": stays})
        async with working({"paged": log.paged}, store, away="B") as shop:
            await anyio.sleep(15)
            shop.arrive("B")
            shop.leave("A")
            await anyio.sleep(100)
            shop.arrive("A")
            (job,) = await shop.over(number)
        assert [account for _, _, account in log.begins] == accounts
        assert job.result == [1, 2, 3, 4]

    virtually(main)


def test_own_failures_wait_by_the_schedule_and_hold_nobody_up() -> None:
    """A job that raises is tried after 10, 20, 40 and 80 s and has then failed; the next job runs at once."""

    async def main() -> None:
        log, store = Log(), MemoryStore()

        async def bad(job: JobHandle, _: Any) -> None:
            log.note(job)
            raise ValueError(f"attempt {job.attempt}")

        first, second = store.add("bad", account="A"), store.add("quick", account="A")
        async with working({"bad": bad, "quick": log.quick}, store) as shop:
            failed, done = await shop.over(first, second)
        assert [at for at, number, _ in log.begins if number == first] == [0, 10, 30, 70, 150]
        assert [at for at, number, _ in log.begins if number == second] == [0]
        assert (failed.state, failed.detail, failed.error) == (
            JobState.FAILED,
            "ValueError: attempt 5",
            ("ValueError",),
        )
        assert done.state is JobState.DONE

    virtually(main)


def test_a_failed_job_makes_room_for_the_next_of_its_kind() -> None:
    """While one waits for its next attempt the others of the same kind and account have their turn."""

    async def main() -> None:
        log, store = Log(), MemoryStore()

        async def odd(job: JobHandle, _: Any) -> None:
            log.note(job)
            if job.id == 1 and job.attempt == 1:
                raise ValueError("not yet")

        numbers = [store.add("odd", account="A") for _ in range(3)]
        async with working({"odd": odd}, store) as shop:
            jobs = await shop.over(*numbers)
        assert log.begins == [(0, 1, "A"), (0, 2, "A"), (0, 3, "A"), (10, 1, "A")]
        assert {job.state for job in jobs} == {JobState.DONE}

    virtually(main)


def test_a_flood_wait_holds_its_kind_with_its_account_alone() -> None:
    """Jobs of the kind wait until the server's time with that account; other kinds and other accounts go on."""

    async def main() -> None:
        log, store = Log(), MemoryStore()

        async def send(job: JobHandle, _: Any) -> None:
            log.note(job)
            if job.id == 1 and anyio.current_time() < 100:
                raise Wait(100)

        flooded, held = store.add("send", account="A"), store.add("send", account="A")
        other_kind, other_account = store.add("quick", account="A"), store.add("send", account="B")
        async with working({"send": send, "quick": log.quick}, store, here="AB") as shop:
            jobs = await shop.over(flooded, held, other_kind, other_account)
        assert sorted(log.begins) == [
            *((0, flooded, "A"), (0, other_kind, "A"), (0, other_account, "B")),
            *((100, flooded, "A"), (100, held, "A")),
        ]
        assert {job.attempts for job in jobs} == {0}

    virtually(main)


def test_a_flooded_job_for_any_account_waits_as_well() -> None:
    """No other account does in its place what one was told to wait for; other jobs of the kind go on with the other."""

    async def main() -> None:
        log, store = Log(), MemoryStore()

        async def send(job: JobHandle, _: Any) -> None:
            log.note(job)
            if anyio.current_time() < 10 and job.account == "A":
                raise Wait(1000)

        first, second = store.add("send"), store.add("send")
        async with working({"send": send}, store, here="AB") as shop:
            await shop.over(first, second)
        assert log.begins[:2] == [(0, first, "A"), (0, second, "B")]
        assert [(at, number) for at, number, _ in log.begins[2:]] == [(1000, first)]

    virtually(main)


def test_a_wait_for_one_chat_holds_one_job() -> None:
    """Slow mode in the chat of one job keeps no other job of its kind from its account."""

    async def main() -> None:
        log, store = Log(), MemoryStore()

        async def send(job: JobHandle, _: Any) -> None:
            log.note(job)
            if job.id == 1 and anyio.current_time() < 100:
                raise Wait(100, True)

        slow, other = store.add("send"), store.add("send")
        async with working({"send": send}, store) as shop:
            await shop.over(slow, other)
        assert log.begins == [(0, slow, "A"), (0, other, "A"), (100, slow, "A")]

    virtually(main)


def test_the_highest_priority_goes_first_and_then_the_oldest() -> None:
    """The order is that of priority and number, also between jobs for any account, for one, and of several kinds."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        last = store.add("one", priority=-1)
        third = store.add("one", account="A")
        fourth = store.add("two")
        first = store.add("two", account="A", priority=9)
        second = store.add("one", priority=5)
        policy = WorkPolicy(per_account=1)
        async with working({"one": log.second, "two": log.second}, store, policy=policy) as shop:
            await shop.over(last)
        assert log.jobs == [first, second, third, fourth, last]

    virtually(main)


def test_an_urgent_job_that_is_added_goes_before_those_that_wait() -> None:
    """What is in memory already does not go before what was added since and is more urgent."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        numbers = [store.add("second") for _ in range(5)]
        async with working({"second": log.second}, store) as shop:
            await anyio.sleep(0.5)
            urgent = shop.add("second", priority=1)
            await shop.over(*numbers)
        assert log.jobs == [1, urgent, 2, 3, 4, 5]

    virtually(main)


def test_a_job_that_lost_its_connection_does_not_go_behind_newer_ones() -> None:
    """It is the oldest, so it goes on before those that have not begun, also if these are in memory already."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        numbers = [store.add("second") for _ in range(5)]
        async with working({"second": log.second}, store) as shop:
            await anyio.sleep(1.5)
            shop.arrive("A")
            await shop.over(*numbers)
        assert log.jobs == [1, 2, 2, 3, 4, 5]

    virtually(main)


def test_what_is_not_read_yet_may_go_first() -> None:
    """An urgent job that has to be read again goes before those of another kind that are in memory."""

    async def main() -> None:
        log, store = Log(), MemoryStore()

        async def drops(job: JobHandle, _: Any) -> None:
            log.note(job)
            if len(log.jobs) == 1:
                raise ConnectionError("reset")

        urgent, other = store.add("drops", priority=9), store.add("quick")
        kinds, policy = {"drops": drops, "quick": log.quick}, WorkPolicy(per_account=1)
        async with working(kinds, store, policy=policy) as shop:
            await shop.over(urgent, other)
        assert log.jobs == [urgent, urgent, other]

    virtually(main)


def test_an_account_does_so_many_jobs_at_once() -> None:
    """``per_account`` bounds all kinds together, and a kind's own bounds that kind."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        policy = WorkPolicy(per_account=3, kinds={"many": KindPolicy(per_account=2), "more": KindPolicy(per_account=9)})
        for kind in ("many", "many", "many", "more", "more"):
            store.add(kind)
        async with working({"many": log.endless, "more": log.endless}, store, policy=policy) as shop:
            await anyio.sleep(10)
            assert sorted(job.kind for job in shop.dispatcher.summary.running) == ["many", "many", "more"]
        assert len(log.begins) == 3

    virtually(main)


def test_the_fleet_does_so_many_jobs_of_a_kind_at_once() -> None:
    """``at_once`` bounds a kind over all accounts, and each end lets the next begin, with whichever account."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        numbers = [store.add("second", account=account) for account in "ABCD"]
        async with working(
            {"second": log.second}, store, here="ABCD", policy=rules(second=KindPolicy(at_once=2))
        ) as shop:
            await shop.over(*numbers)
        assert [at for at, _, _ in log.begins] == [0, 0, 1, 1]

    virtually(main)


def test_a_budget_lets_so_many_begin_in_a_while() -> None:
    """Two a minute with each account: the third waits for the first one's place."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        policy = rules(quick=KindPolicy(budget=Budget(at_most=2, per=60, jitter=0)))
        numbers = [store.add("quick", account=account) for account in "AAAB"]
        async with working({"quick": log.quick}, store, here="AB", policy=policy) as shop:
            await shop.over(*numbers)
        assert sorted(log.begins) == [(0, 1, "A"), (0, 2, "A"), (0, 4, "B"), (60, 3, "A")]

    virtually(main)


def test_a_budget_outlives_the_process() -> None:
    """What has begun before a kill is counted after it, and a job that goes on is not charged twice."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        policy = rules(second=KindPolicy(budget=Budget(at_most=2, per=60, jitter=0)))
        numbers = [store.add("second", account="A") for _ in range(3)]
        async with working({"second": log.second}, store, policy=policy) as shop:
            await anyio.sleep(1.5)
            await store.flush()
            killed = store.kill()
        assert log.begins == [(0, 1, "A"), (1, 2, "A")]
        async with working({"second": log.second}, killed, policy=policy) as shop:
            await shop.over(*numbers)
        assert [each for each in log.begins[2:] if each[1] == 3] == [(60, 3, "A")]
        assert len(killed.taken) == 3

    virtually(main)


def test_a_job_that_moves_takes_a_place_in_the_other_account_s_budget() -> None:
    """What it paid with one account is no ticket to hurry another."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        policy = rules(paged=KindPolicy(budget=Budget(at_most=1, per=600, jitter=0)))
        store.add("paged")
        moving = store.add("paged", priority=-1)
        async with working({"paged": log.paged}, store, here="B", policy=policy) as shop:
            await anyio.sleep(60)
            shop.clients["A"] = None
        async with working({"paged": log.paged}, store, here="A", away="B", policy=policy) as shop:
            await anyio.sleep(5)
            shop.arrive("B")
            shop.leave("A")
            await shop.over(moving)
        assert log.begins == [(0, 1, "B"), (60, moving, "A"), (600, moving, "B")]

    virtually(main)


def test_a_job_that_goes_on_with_its_account_has_paid_already() -> None:
    """A lost connection costs no second place in the budget; a new attempt does."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        policy = rules(paged=KindPolicy(budget=Budget(at_most=1, per=600, jitter=0)))
        number = store.add("paged")
        async with working({"paged": log.paged}, store, policy=policy) as shop:
            await anyio.sleep(15)
            shop.arrive("A")
            await shop.over(number)
        assert [at for at, _, _ in log.begins] == [0, 15]
        assert len(store.taken) == 1

    virtually(main)


def test_jobs_begin_within_their_hours() -> None:
    """Before the hours a job waits for them, to the second."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        now = datetime.fromtimestamp(EPOCH)
        opens = (now.hour * 60 + now.minute + 2) % 1440
        policy = rules(quick=KindPolicy(hours=Hours(opens, (opens + 60) % 1440)))
        number = store.add("quick")
        async with working({"quick": log.quick}, store, policy=policy) as shop:
            await shop.over(number)
        assert log.begins == [(120 - now.second, number, "A")]

    virtually(main)


def test_a_job_begins_when_it_is_due() -> None:
    """Not before, and without being told again."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        number = store.add("quick", due=EPOCH + 3600)
        async with working({"quick": log.quick}, store) as shop:
            await shop.over(number)
        assert log.begins == [(3600, number, "A")]

    virtually(main)


def test_a_clock_that_is_set_is_noticed() -> None:
    """Whoever waits for a time of day begins a moment after the clock says so, however it came there."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        number = store.add("quick", due=EPOCH + 3600)
        async with working({"quick": log.quick}, store) as shop:
            await anyio.sleep(10)
            store.clock.shift = 3600
            await shop.over(number)
        ((at, _, _),) = log.begins
        assert 10 <= at <= 12

    virtually(main)


def test_jobs_that_are_added_later_begin_at_once() -> None:
    """The dispatcher looks at the file when it is told to, also when that is while it looks."""

    async def main() -> None:
        log, store = Log(), MemoryStore(takes=0.5)
        async with working({"quick": log.quick, "second": log.second}, store) as shop:
            await anyio.sleep(5)
            shop.add("second")
            await anyio.sleep(0.75)  # the lanes have been read, the rest of the look is still under way
            late = shop.add("quick")
            await shop.over(late)
        assert log.jobs == [1, late]
        assert log.begins[1][0] < 15

    virtually(main)


def test_what_ran_when_the_engine_died_goes_on() -> None:
    """A job that the file calls running is in the queue again before the first lane is read."""

    async def main() -> None:
        log, store = Log(), MemoryStore(takes=0.1)
        number = store.add("paged", state=JobState.RUNNING, worker="A", checkpoint={"page": 3})
        async with working({"paged": log.paged}, store) as shop:
            with anyio.fail_after(60):
                (job,) = await shop.over(number)
        assert job.result == [3, 4]

    virtually(main)


def test_many_jobs_are_read_a_few_at_a_time_and_each_once() -> None:
    """Two thousand jobs run in their order, only what runs is read twice, and a lane's share of them is in memory."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        numbers = [store.add("quick") for _ in range(2000)]
        async with working(
            {"quick": log.quick}, store, here="ABC", policy=rules(quick=KindPolicy(per_account=4))
        ) as shop:
            await shop.until(numbers[-1], JobState.DONE)
            await shop.over(*numbers)
        assert log.jobs == numbers
        at_once = 3 * 4
        assert len(store.read) <= 2000 + 4 * at_once
        assert store.most_read <= FETCH_ROWS + at_once

    virtually(main)


def test_jobs_of_an_unknown_kind_wait() -> None:
    """They stay in the queue for the day on which their module is named, and others go on."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        strange, known = store.add("strange", priority=9), store.add("quick")
        async with working({"quick": log.quick}, store) as shop:
            await shop.over(known)
            assert (await shop.job(strange)).state is JobState.QUEUED

    virtually(main)


def test_an_idle_dispatcher_sleeps() -> None:
    """With nothing to do it asks for the counts each second and looks at the file twice a minute, and no more."""

    async def main() -> None:
        store = MemoryStore()
        async with working({}, store):
            await anyio.sleep(600)
        assert store.asked["counts"] <= 600
        assert store.asked["lanes"] <= 21
        assert store.asked["ready"] == 0

    virtually(main)


def test_the_summary_says_how_many_there_are_and_what_runs() -> None:
    """What is open is of this moment, what is over a second old at most."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        for kind in ("endless", "endless", "quick"):
            store.add(kind)
        async with working({"endless": log.endless, "quick": log.quick}, store) as shop:
            await anyio.sleep(0.5)
            await store.flush()
            await anyio.sleep(2)
            summary = shop.dispatcher.summary
        assert {state: many for state, many in summary.counts.items() if many} == {"queued": 1, "running": 1, "done": 1}
        assert [job.id for job in summary.running] == [1]

    virtually(main)


def test_the_label_of_a_task_names_its_job() -> None:
    """Log lines of a job say which one it is; other tasks have no label."""

    async def main() -> None:
        labels: list[str | None] = []
        store = MemoryStore()
        number = store.add("look")

        async def look(job: JobHandle, _: Any) -> None:
            task = asyncio.current_task()
            assert task is not None
            labels.append(shop.dispatcher.label_of(task))

        async with working({"look": look}, store, policy=STEADY) as shop:
            await shop.over(number)
            task = asyncio.current_task()
            assert task is not None
            labels.append(shop.dispatcher.label_of(task))
        assert labels == [f"job {number} (look) of A", None]

    virtually(main)
