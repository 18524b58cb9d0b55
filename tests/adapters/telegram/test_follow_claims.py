"""What a job that follows a channel claims for the ledger: never more numbers, and no later time, than it knows of."""

import asyncio
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from telethon.tl import types
from telethon.tl.types import updates

from adapters.sqlite.jobs import ReadHistory
from adapters.telegram import builtin_jobs
from adapters.telegram.chat_history import HistoryPage
from adapters.telegram.follow import Follow, _Follower
from adapters.telegram.followed import Box
from adapters.telegram.taps import Taps
from states.ledger import Interval

CHANNEL, CHAT = 5, -(10**12) - 5


class JobStub:
    """A job that keeps its checkpoints, and what goes into the ledger with each."""

    def __init__(self, saved: dict[str, Any]) -> None:
        self.saved, self.rows, self.data, self.id, self.account = saved, list[Any](), Follow(chat="@news"), 1, "A"

    async def checkpoint(self, progress: dict[str, Any], *, messages: list[Any], **_: Any) -> None:
        self.saved, self.rows = progress, [*self.rows, *messages]


class ClientStub:
    """A client whose account has a ledger; it answers what it is told to, and then never again."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.inbox = SimpleNamespace(ledger=object())
        self._mb_entity_cache = SimpleNamespace(self_id=7)
        self.session = SimpleNamespace(login="x")
        self.stopped = anyio.Event()

    async def __call__(self, _: Any) -> Any:
        if not self.answers:
            self.stopped.set()
            await asyncio.Event().wait()
        return self.answers.pop(0)


async def test_a_job_that_was_down_claims_no_time_that_nobody_knows() -> None:
    """A part of a difference is stored with its numbers; no time is claimed in which the engine was down."""
    part = updates.ChannelDifference(40, [], [], [], [], final=False)
    job = JobStub({"pts": 10, "known": 1000.0, "live": True, "last": 3, "after": 0, "messages": 3, "behind": 0.0})
    client = ClientStub(part)
    tap = Taps().open(CHANNEL, CHAT, 1, fresh=False)
    follower = _Follower(job, client, types.InputPeerChannel(CHANNEL, 1), Box(CHANNEL, CHAT, ""), tap, None)  # type: ignore[arg-type]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.run)
        await client.stopped.wait()
        tasks.cancel_scope.cancel()
    assert [(row.interval, row.since, row.until) for row in job.rows] == [(Interval(10, 40), 1000.0, 1000.0)]


async def test_what_was_posted_while_the_end_of_a_history_was_read_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fills a hole was read when the datacenter was asked, not when it had answered."""
    now, found = [1000.0], list[ReadHistory]()

    class Job(JobStub):
        async def checkpoint(self, progress: dict[str, Any], *, history: ReadHistory, **_: Any) -> None:  # type: ignore[override]
            found.append(history)

    async def answer_late(*_: Any) -> HistoryPage:
        now[0] += 60
        return HistoryPage([], None)

    async def entity(_: Any) -> Any:
        return types.InputPeerChannel(CHANNEL, 1)

    async def nothing(*_: Any) -> int:
        return 0

    monkeypatch.setattr(builtin_jobs, "time", SimpleNamespace(time=lambda: now[0]))
    monkeypatch.setattr(builtin_jobs, "fetch_after", answer_late)
    monkeypatch.setattr(builtin_jobs, "count_after", nothing)
    job = Job({"chat": CHAT, "last": 3, "messages": 3, "after": 0})
    await builtin_jobs.collect(job, SimpleNamespace(get_input_entity=entity))  # type: ignore[arg-type]
    assert [(each.after, each.at) for each in found] == [(0, 1000.0)]
