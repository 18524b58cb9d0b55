"""Jobs that met a limit are not carried to the next account, across restarts; those of a useless account are."""

from typing import Any

import anyio
import attrs
import pytest

from engine.work.chat_holds import ChatHolds, chat_of
from engine.work.handle import JobHandle
from states.jobs import Job, JobState
from tests.engine.work.harness import MemoryStore, RunLog, Wait, dispatching

pytestmark = [pytest.mark.virtual, pytest.mark.usefixtures("lines")]


def flooding(log: RunLog, seconds: float, *, times: int = 1, alone: bool = False) -> Any:
    """Return a kind whose first runs meet a flood wait; ``alone`` as a limit of some requests does."""
    left = [times]

    async def work(job: JobHandle, _: Any) -> str:
        log.note(job)
        if left[0]:
            left[0] -= 1
            raise Wait(seconds, alone)
        return job.account

    return work


async def test_others_for_the_same_chat_wait_with_the_account_that_met_the_limit() -> None:
    """Neither the job nor its like goes to the other account, which does other chats meanwhile."""
    log, store = RunLog(), MemoryStore()
    first = store.add("send", data={"to": "@News"})
    async with dispatching({"send": flooding(log, 100)}, store, here="A", away="B") as harness:
        await anyio.sleep(5)
        harness.arrive("B")
        second = harness.add("send", data={"to": "https://t.me/news"})
        other = harness.add("send", data={"to": "@other"})
        (done,) = await harness.over(other)
        assert done.worker == "B"
        await anyio.sleep(50)
        for number in (first, second):
            job = await harness.job(number)
            assert (job.state, job.held, job.account) == (JobState.QUEUED, True, "A")
        ended = await harness.over(first, second)
    assert [job.worker for job in ended] == ["A", "A"]
    assert min(at for at, number, _ in log.begins if number == second) >= 100


async def test_a_restart_does_not_evade_it() -> None:
    """The stored jobs say which chat waits, so that a new one for it waits, too."""
    log, store = RunLog(), MemoryStore()
    first = store.add("send", data={"to": "@news"})
    kind = flooding(log, 100)
    async with dispatching({"send": kind}, store, here="A") as harness:
        await anyio.sleep(5)
        assert (await harness.job(first)).held
    store = store.kill()
    second = store.add("send", data={"to": "@news"})
    async with dispatching({"send": kind}, store, here="B", away="A") as harness:
        await anyio.sleep(20)
        assert (await harness.job(second)).account == "A"
        assert len(log.jobs) == 1


async def test_a_restart_does_not_evade_what_a_bound_job_met() -> None:
    """A job that had to be done by its account anyway has met the limit: a new one for its chat waits with it, too."""
    log, store = RunLog(), MemoryStore()
    store.add("send", data={"to": "@news"}, account="A")
    kind = flooding(log, 100)
    async with dispatching({"send": kind}, store, here="A"):
        await anyio.sleep(5)
    store = store.kill()
    second = store.add("send", data={"to": "@news"})
    async with dispatching({"send": kind}, store, here="B", away="A") as harness:
        await anyio.sleep(20)
        assert (await harness.job(second)).account == "A"
        assert len(log.jobs) == 1


async def test_the_end_of_a_limit_ends_the_waits_for_it() -> None:
    """A person says that it is over, or a request that went through does: nothing goes on waiting for a day."""
    log, store = RunLog(), MemoryStore()
    first = store.add("send", data={"to": "@news"})
    async with dispatching({"send": flooding(log, 86_400, alone=True)}, store, here="AB") as harness:
        await anyio.sleep(5)
        second = harness.add("send", data={"to": "@news"})
        await anyio.sleep(5)
        limited = (await harness.job(first)).account
        assert limited == (await harness.job(second)).account
        began = store.clock.now()
        harness.dispatcher.limit_ended(str(limited), "Other")
        await anyio.sleep(5)
        assert len(log.jobs) == 1
        harness.dispatcher.limit_ended(str(limited), "SendMessage")
        await harness.over(first, second)
        third = harness.add("send", data={"to": "@news"})
        await harness.over(third)
        assert store.clock.now() - began < 60


async def test_a_limit_that_ends_while_the_file_cannot_be_written_ends_all_the_same() -> None:
    """It is tried again until it is stored."""
    log, store = RunLog(), MemoryStore()
    first = store.add("send", data={"to": "@news"})
    async with dispatching({"send": flooding(log, 86_400, alone=True)}, store, here="A") as harness:
        await anyio.sleep(5)
        store.fails.add("release_waiting")
        harness.dispatcher.limit_ended("A", "SendMessage")
        await anyio.sleep(5)
        store.fails.clear()
        await harness.over(first)


def test_slow_mode_is_each_account_s_own_over_a_restart() -> None:
    """Only what another account must not do either is kept back."""
    stored = Job(id=1, kind="send", account="A", due=1100.0, wait=100.0, data={"to": "@news"})
    for detail, kept in [
        ("flood wait for SendMessage in -1001234", False),
        ("flood wait for SendMessage", True),
        ("flood wait for strangers in the same chat", True),
        ("TimeoutError: x", False),
    ]:
        holds = ChatHolds()
        holds.restore([attrs.evolve(stored, detail=detail)])
        assert (holds.keeps(Job(id=2, kind="send", data={"to": "@news"}), 1050.0) is not None) is kept


async def test_an_account_of_no_use_keeps_no_job() -> None:
    """When the wait is over and the account has no connection, any other goes on; before that none does."""
    log, store = RunLog(), MemoryStore()
    first = store.add("send", data={"to": "@news"})
    async with dispatching({"send": flooding(log, 100)}, store, here="A", away="B") as harness:
        await anyio.sleep(5)
        harness.leave("A")
        harness.arrive("B")
        await anyio.sleep(60)
        assert len(log.jobs) == 1
        (job,) = await harness.over(first)
    assert (job.worker, job.held) == ("B", False)


async def test_a_limited_account_keeps_its_jobs() -> None:
    """An account that Telegram limits as a whole has no client for work either, and is no lost connection."""
    log, store = RunLog(), MemoryStore()
    number = store.add("endless")
    limited: set[str] = set()
    dispatched = dispatching(
        {"endless": log.endless}, store, here="A", away="B", moves_work=lambda name: name not in limited
    )
    async with dispatched as harness:
        await anyio.sleep(5)
        limited.add("A")
        harness.leave("A")
        harness.arrive("B")
        await anyio.sleep(300)
        job = await harness.job(number)
        assert (job.state, job.account, job.held) == (JobState.QUEUED, "A", True)
        limited.clear()
        await harness.until(number, JobState.RUNNING)
        assert log.begins[-1][2] == "B"


async def test_a_job_for_one_account_is_not_touched() -> None:
    """The operator has named the account: the job waits for nobody else's limit."""
    log, store = RunLog(), MemoryStore()
    store.add("send", data={"to": "@news"}, account="A")
    own = store.add("send", data={"to": "@news"}, account="B")
    async with dispatching({"send": flooding(log, 100)}, store, here="AB") as harness:
        (job,) = await harness.over(own)
    assert job.worker == "B"


@pytest.mark.parametrize(
    ("data", "chat"),
    [
        ({"to": "@News"}, "news"),
        ({"chat": "https://t.me/News/"}, "news"),
        ({"chat": -1001234}, "-1001234"),
        ({"text": "x"}, None),
        ({"to": True}, None),
    ],
)
def test_a_chat_has_one_spelling(data: dict[str, Any], chat: str | None) -> None:
    """Names, links and numbers of a chat are the same chat; a job may be for none."""
    assert chat_of(Job(id=1, kind="send", data=data)) == chat


def test_waits_of_chats_move_with_the_clock() -> None:
    """What is left of a wait stays when somebody sets the clock."""
    holds, job = ChatHolds(), Job(id=1, kind="send", data={"to": "me"})
    holds.hold(job, "A", 1100.0, 100.0, "SendMessage")
    holds.move(10_000.0, 11_050.0)
    kept = holds.keeps(job, 11_050.0)
    assert kept is not None
    assert (kept.account, kept.until) == ("A", 11_100.0)
    assert holds.keeps(job, 11_200.0) is None
