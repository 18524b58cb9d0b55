"""Floods and limits in a running engine: a job waits in place, everybody can see it, and what may go on goes on."""

import anyio
import anyio.to_thread

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sqlite.incident_reader import IncidentReader
from engine import Engine
from engine.console.status import EngineInfo, as_data, remark
from engine.control.client import look
from states.events import RetryRequested
from states.jobs import JobState
from states.limits import WRITES
from tests.engine.app.test_jobs_live import GROUP, PHONES, QUICK, over, texts_of, until
from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT

APPEAL = "https://t.me/spambot?start=x"


async def test_a_job_waits_in_place_for_a_short_flood_and_status_says_so(harness: EngineHarness) -> None:
    """It goes on running, ``status`` of this and of another process names what waits, and a stop ends the wait."""
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            flood = Fault(FaultKind.RPC_ERROR, request="messages.sendMessage", code=420, text="FLOOD_WAIT_50", times=1)
            await dc.inject(flood)
            number = await engine.add_job("send", {"to": f"@{GROUP}", "text": "later"})
            await until(lambda: bool(engine.status["Account 1"].waits))
            at = engine.status["Account 1"]
            job = engine.jobs.dispatcher.summary.running[0]
            assert (job.id, job.state, job.attempts) == (number, JobState.RUNNING, 0)
            assert "1 SendMessage waiting in place" in remark(at, engine.clock.now())
            (account,) = as_data(EngineInfo(running=True), {"Account 1": at})["accounts"]
            assert [(each["request"], each["requests"]) for each in account["waiting"]] == [("SendMessage", 1)]
            directory = harness.config.parent / "data"
            _, waits = await anyio.to_thread.run_sync(lambda: look(directory, timeout=TIMEOUT))
            assert [(each.request, each.count) for each in waits["Account 1"]] == [("SendMessage", 1)]
        assert texts_of(dc) == []


async def test_a_frozen_account_reads_on_and_its_incident_says_where_to_appeal(harness: EngineHarness) -> None:
    """A job that writes waits with its account, one that reads is done, and a retry lets the first go on."""
    async with Sandbox() as dc:
        await dc.create_channel(GROUP, "Test", megagroup=True, members=PHONES)
        await dc.post(GROUP, "read me")
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            await engine.account("Account 1").ready()
            await dc.freeze(PHONES[0], 1_900_000_000, APPEAL)
            number = await engine.add_job("send", {"to": f"@{GROUP}", "text": "when thawed"})
            await until(lambda: engine.account("Account 1").snapshot.is_limit(WRITES))
            read = await over(engine, await engine.add_job("collect", {"chat": f"@{GROUP}"}))
            assert read.result["messages"] == 1
            with anyio.fail_after(TIMEOUT):
                while (job := await engine.jobs.store.job(number)) is None or job.due is None:
                    await anyio.sleep(0.01)
            assert (job.account, job.state, job.attempts) == ("Account 1", JobState.QUEUED, 0)
            assert f"appeal at {APPEAL} before 2030-03-17" in remark(engine.status["Account 1"], engine.clock.now())
            await engine.flush()
            with IncidentReader.open(harness.config.parent / "data" / "engine.db") as reader:
                (incident,) = reader.incidents(open_only=True)
            assert (incident.kind.value, incident.cause) == ("limited", "AccountFrozen")
            assert APPEAL in incident.detail
            assert texts_of(dc) == ["read me"]
            await dc.freeze(PHONES[0], 0)
            await engine.fleet.runners["Account 1"].post(RetryRequested())
            assert (await over(engine, number)).state is JobState.DONE
        assert texts_of(dc) == ["read me", "when thawed"]
