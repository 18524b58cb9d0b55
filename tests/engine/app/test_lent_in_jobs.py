"""Jobs and handlers that treat the client as a script's own: the account stays connected by one link."""

from typing import Any

import anyio
from telethon import events

from adapters.sandbox import Sandbox
from engine import Engine, JobHandle
from states.jobs import JobState
from tests.engine.app.test_jobs_live import QUICK, over, until
from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT

PHONE = "+9996620001"


async def test_jobs_and_handlers_cannot_end_a_link(harness: EngineHarness) -> None:
    """Who closes the client as a script does is done, who logs out has failed, and nothing was reconnected."""
    heard: list[str] = []
    async with Sandbox() as dc:
        harness.at(dc, PHONE, rest=QUICK)
        engine = Engine.from_config(harness.config)

        @engine.job_kind("block")
        async def block(job: JobHandle, client: Any) -> str:
            async with client:
                return str((await client.get_me()).phone)

        @engine.job_kind("leave")
        async def leave(job: JobHandle, client: Any) -> None:
            await client.log_out()

        @engine.on(events.NewMessage())
        async def hear(event: Any) -> None:
            await event.client.disconnect()
            heard.append(event.raw_text)

        async with engine:
            with anyio.fail_after(TIMEOUT):
                await engine.account("Account 1").ready()
            done = [await over(engine, await engine.add_job("block", {})) for _ in range(3)]
            failed = await over(engine, await engine.add_job("leave", {}))
            await dc.push(PHONE, "one")
            await until(lambda: heard == ["one"])
            snapshot = engine.account("Account 1").snapshot
        assert [job.result for job in done] == [PHONE[1:]] * 3
        assert (failed.state, failed.attempts) == (JobState.FAILED, 3)
        assert failed.detail.startswith("LentClientError: LogOutRequest is not sent with a client")
        assert snapshot.reconnects == 0
        assert dc.stats()["accepted"] == 1
