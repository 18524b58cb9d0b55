"""Work in a running engine: real clients, a real datacenter, a real file; what a user's functions do is their own."""

import asyncio
import logging
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import anyio
import pytest
from telethon import events

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sqlite.jobs import NewJob, add
from engine import Engine
from engine.work.kinds import BadJob
from engine.work.stall import watched
from states.jobs import Job, JobState
from tests.engine.harness import COMPLAINTS, FAST, EngineHarness
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002")
GROUP = "holdfast_test"
QUICK = FAST + "work: {retry: {first: 50ms, cap: 100ms, tries: 3}}\n"


async def over(engine: Engine, job: int) -> Job:
    """Return a job when it is over."""
    with anyio.fail_after(TIMEOUT):
        return await engine.finished(job)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it is so."""
    with anyio.fail_after(TIMEOUT):
        while not holds():
            await anyio.sleep(0.01)


def job_states(harness: EngineHarness) -> list[str]:
    """Return the states of the jobs in the file."""
    with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
        return [state for (state,) in db.execute("SELECT state FROM jobs ORDER BY id")]


def texts_of(dc: Sandbox) -> list[str]:
    """Return what is written in the group."""
    return [message.text for message in dc.channel_messages(GROUP)]


async def test_an_answer_that_is_lost_does_not_send_twice(harness: EngineHarness) -> None:
    """The datacenter hears the request and resets: the message is there once, and the job knows its number."""
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            await dc.inject(Fault(FaultKind.RESET_AFTER, request="messages.sendMessage", times=2))
            job = await over(engine, await engine.add_job("send", {"to": f"@{GROUP}", "text": "once"}))
        [message] = dc.channel_messages(GROUP)
        assert (message.text, job.state, job.attempts) == ("once", JobState.DONE, 0)
        assert job.result["message"] == message.id
        assert job.checkpoint == {"random_id": message.random_id}


async def test_a_job_without_an_account_goes_on_with_another_one(harness: EngineHarness) -> None:
    """When its account falls silent, a job that names none is taken away at an await, and another account does it."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES, rest=QUICK)
        engine = Engine.from_config(harness.config)
        seen: list[str] = []

        @engine.job_kind("wait")
        async def wait(job: Any, client: Any) -> str:
            seen.append(job.account)
            if len(seen) == 1:
                await anyio.sleep_forever()
            return str(job.account)

        async with engine:
            for name in ("Account 1", "Account 2"):
                await engine.account(name).ready()
            number = await engine.add_job("wait", {})
            await until(lambda: bool(seen))
            await dc.inject(Fault(FaultKind.BLACKHOLE, PHONES[int(seen[0][-1]) - 1], duration=5.0))
            job = await over(engine, number)
        assert {*seen} == {"Account 1", "Account 2"}
        assert (job.result, job.attempts, job.losses) == (seen[1], 0, 1)


async def test_a_send_that_may_have_been_heard_stays_with_its_account(harness: EngineHarness) -> None:
    """Telegram knows a message again only from the account that sent it, so no other goes on with it."""
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        harness.at(dc, *PHONES, rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            for name in ("Account 1", "Account 2"):
                await engine.account(name).ready()
            await dc.inject(Fault(FaultKind.RESET_AFTER, request="messages.sendMessage", times=1))
            job = await over(engine, await engine.add_job("send", {"to": f"@{GROUP}", "text": "stays"}))
        assert job.account == job.worker
        assert texts_of(dc) == ["stays"]


async def test_a_flood_wait_holds_its_kind_and_nothing_else(harness: EngineHarness) -> None:
    """A send that has to wait is not a failure, and meanwhile the account collects."""
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        await dc.post(GROUP, "read me")
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            flood = {"code": 420, "text": "FLOOD_WAIT_90", "times": 1}
            await dc.inject(Fault(FaultKind.RPC_ERROR, request="messages.sendMessage", **flood))
            first = await engine.add_job("send", {"to": f"@{GROUP}", "text": "first"})
            second = await engine.add_job("send", {"to": f"@{GROUP}", "text": "second"})
            read = await over(engine, await engine.add_job("collect", {"chat": f"@{GROUP}"}))
            assert read.result["messages"] == 1
            for number in (first, second):
                job = await engine.jobs.store.job(number)
                assert job is not None
                assert (job.state, job.attempts) == (JobState.QUEUED, 0)
            assert engine.account("Account 1").snapshot.state.value == "healthy"
        assert texts_of(dc) == ["read me"]


async def test_failures_of_its_own_end_a_job_and_the_next_one_runs(harness: EngineHarness) -> None:
    """After its tries it has failed, with the cause chain; the datacenter's refusal costs the account nothing."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            failed = await over(engine, await engine.add_job("send", {"to": 123456789, "text": "hello"}))
            done = await over(engine, await engine.add_job("send", {"to": "me", "text": "hello"}))
            assert (failed.state, failed.attempts) == (JobState.FAILED, 3)
            assert any("UserIdInvalid" in line for line in failed.error)
            assert done.state is JobState.DONE
            assert engine.account("Account 1").snapshot.reconnects == 0


async def test_a_kind_that_raises_what_ends_programs_ends_nothing(harness: EngineHarness) -> None:
    """SystemExit, KeyboardInterrupt and a bare BaseException are failures of the job; the connection stays."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=QUICK)
        engine = Engine.from_config(harness.config)

        @engine.job_kind("leave")
        async def leave(job: Any, client: Any) -> None:
            raise {"exit": SystemExit(3), "break": KeyboardInterrupt(), "base": BaseException("base")}[job.data["by"]]

        async with engine:
            for by in ("exit", "break", "base"):
                job = await over(engine, await engine.add_job("leave", {"by": by}))
                assert (job.state, job.attempts) == (JobState.FAILED, 3)
            assert (await over(engine, await engine.add_job("send", {"to": "me", "text": "x"}))).state is JobState.DONE
            assert engine.account("Account 1").snapshot.reconnects == 0


async def test_a_kind_that_never_returns_loses_its_attempt_and_its_place(harness: EngineHarness) -> None:
    """Without a checkpoint for as long as its kind's patience, it has failed, and the next job has its place."""
    async with Sandbox() as dc:
        rest = FAST + "work: {per_account: 1, retry: {first: 1h, cap: 1h}, kinds: {send: {patience: 1s}}}\n"
        harness.at(dc, PHONES[0], rest=rest)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            await dc.inject(Fault(FaultKind.SLOW, request="contacts.resolveUsername", seconds=60.0))
            silent = await engine.add_job("send", {"to": "@somebody_far", "text": "x"}, priority=1)
            done = await over(engine, await engine.add_job("send", {"to": "me", "text": "x"}))
            job = await engine.jobs.store.job(silent)
            assert job is not None
            assert (done.state, job.state, job.attempts) == (JobState.DONE, JobState.QUEUED, 1)
            assert job.detail == "no end, no checkpoint and no progress within 1 s"


async def test_checkpoint_results_and_messages_are_of_one_piece(harness: EngineHarness) -> None:
    """What a job stores with a checkpoint is there with it, once, however often the job is cut off."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=QUICK)
        engine = Engine.from_config(harness.config)

        @engine.job_kind("count")
        async def count(job: Any, client: Any) -> int:
            n = job.saved.get("n", 0)
            while n < 40:
                n += 1
                await job.checkpoint({"n": n}, results=[{"n": n}], done=n, total=40)
                await asyncio.sleep(0.005)
            return int(n)

        async with engine:
            await engine.account("Account 1").ready()
            number = await engine.add_job("count", {})
            for _ in range(3):
                await anyio.sleep(0.05)
                await dc.inject(Fault(FaultKind.RESET))
            job = await over(engine, number)
            assert (job.result, job.results, job.done, job.total) == (40, 40, 40, 40)
    with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
        stored = db.execute("SELECT number, value FROM job_results ORDER BY number").fetchall()
    assert stored == [(n, f'{{"n":{n}}}') for n in range(1, 41)]


async def test_background_work_comes_and_goes_with_the_connection(
    harness: EngineHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """It starts on healthy, is cancelled on leaving it, starts anew; an exception in it is logged and is its own."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        engine = Engine.from_config(harness.config)
        clients: list[Any] = []
        ended: list[str] = []

        @engine.while_healthy
        async def stand(client: Any) -> None:
            clients.append(client)
            try:
                await anyio.sleep_forever()
            finally:
                ended.append("cancelled")

        @engine.while_healthy
        async def fall(client: Any) -> None:
            raise ValueError("fallen")

        async with engine:
            await until(lambda: len(clients) == 1)
            await dc.inject(Fault(FaultKind.RESET))
            await until(lambda: len(clients) == 2)
            assert ended == ["cancelled"]
            assert clients[0] is not clients[1]
            assert engine.account("Account 1").snapshot.reconnects <= 1
        assert ended == ["cancelled"] * 2
    assert "fall of Account 1 failed, 1 of 5 times in a row" in caplog.text.replace("<locals>.", "")
    assert "ValueError: fallen" in caplog.text


async def test_a_handler_whose_connection_is_lost_is_called_again(harness: EngineHarness) -> None:
    """The same update reaches it once more, with a client that is connected."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        engine = Engine.from_config(harness.config)
        answers: list[str] = []

        @engine.on(events.NewMessage(incoming=True))
        async def answer(event: Any) -> None:
            answers.append(event.raw_text)
            if len(answers) == 1:
                await dc.inject(Fault(FaultKind.RESET_BEFORE, request="messages.sendMessage", times=1))
            await event.respond(f"{event.raw_text} to you")

        async with engine:
            await engine.account("Account 1").ready()
            await dc.push(PHONES[0], "hello", sender="+9996630001")
            await until(lambda: any(each.text == "hello to you" for each in dc.messages("+9996630001")))
    assert answers == ["hello", "hello"]


async def test_subscribers_read_the_journal_as_it_grows(harness: EngineHarness) -> None:
    """Records come in order, with their numbers, from the beginning or from now on, and end with the engine."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        engine = Engine.from_config(harness.config)
        with pytest.raises(RuntimeError, match="does not run"):
            engine.subscribe()
        heard: list[int] = []

        async def listen(after: int | None) -> None:
            async for entry in engine.subscribe(after=after):
                heard.append(entry.seq)

        async with anyio.create_task_group() as tasks, engine:
            tasks.start_soon(listen, 0)
            await engine.account("Account 1").ready()
            await dc.inject(Fault(FaultKind.RESET))
            await until(lambda: len(heard) > 5)
        assert heard == [entry.seq for entry in harness.entries()]


async def test_what_does_not_fit_is_refused_before_it_is_queued(harness: EngineHarness) -> None:
    """An unknown kind, data that do not fit, an unknown account: a sentence each, and nothing is in the file."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        async with Engine.from_config(harness.config) as engine:
            with pytest.raises(BadJob, match=r"no kind of jobs called 'sand'; did you mean 'send'\?"):
                await engine.add_job("sand", {})
            with pytest.raises(BadJob, match=r"the data of a send job does not fit: .*text is missing"):
                await engine.add_job("send", {"to": "me", "x": 1})
            with pytest.raises(BadJob, match=r"no account 'Account 7'; did you mean 'Account 1'\?"):
                await engine.add_job("send", {"to": "me", "text": "x"}, account="Account 7")
            assert await engine.jobs.store.counts() == {}


async def test_what_blocks_the_loop_is_named(
    harness: EngineHarness, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says which job stands in the way of all accounts, and where in it; then everything goes on."""
    monkeypatch.setattr("engine.app.engine.watched", partial(watched, every=0.05, first_report=0.2))
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=QUICK)
        engine = Engine.from_config(harness.config)

        @engine.job_kind("block")
        async def block(job: Any, client: Any) -> None:
            time.sleep(0.7)  # noqa: ASYNC251 - that is the mistake

        with caplog.at_level(logging.INFO):
            async with engine:
                await over(engine, await engine.add_job("block", {}))
                await over(engine, await engine.add_job("send", {"to": "me", "text": "x"}))
    assert "in job 1 (block) of Account 1; nothing else ran meanwhile" in caplog.text
    assert "in block\n    time.sleep(0.7)" in caplog.text


@pytest.mark.slow
async def test_an_engine_ends_also_when_a_job_does_not(harness: EngineHarness) -> None:
    """A function that swallows its cancellation is named and left behind: the run ends in order, with exit code 0."""
    module = (
        "import asyncio\nfrom engine import job_kind\n@job_kind('stubborn')\nasync def stubborn(job, client):\n"
        "    while True:\n        try:\n            await asyncio.sleep(3600)\n"
        "        except asyncio.CancelledError:\n            pass\n"
    )
    (harness.directory / "my_stubborn.py").write_text(module)
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=FAST + "work: {modules: [my_stubborn.py]}\n")
        add(harness.directory / "data" / "engine.db", [NewJob(kind="stubborn", data={})])
        async with harness.running() as process:
            await harness.until(lambda at: "Successfully connected" in at.text)
            await harness.until(lambda at: job_states(at) == ["running"])
            assert await harness.finish(process, signal.SIGTERM) == 0
    assert "Job 1 (stubborn) of Account 1 does not end although it was cancelled" in harness.text
    assert "Stopped" in harness.text
    assert not COMPLAINTS.search(harness.text), harness.text
    assert "CONNECTION STATUS" in harness.printed
