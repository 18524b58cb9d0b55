"""Whatever leaves a handler or its filter: it is logged and counted, and the fleet goes on."""

import asyncio
from typing import Any

import anyio
import pytest
from telethon import events

from adapters.sandbox import Sandbox
from engine import Engine
from tests.engine.app.test_jobs_live import QUICK, until
from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT

PHONE = "+9996620001"


class Alien(BaseException):
    """What no ``except Exception`` catches."""


async def cancel_itself() -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(TIMEOUT)


@pytest.mark.parametrize("end", [Alien("x"), GeneratorExit(), asyncio.CancelledError(), None], ids=str)
@pytest.mark.parametrize("where", ["handler", "filter"])
async def test_nothing_that_leaves_a_handler_ends_the_fleet(
    harness: EngineHarness, end: BaseException | None, where: str
) -> None:
    """The next message is heard over the same connection, and the one that failed counts as handled."""
    heard: list[str] = []

    async def fail() -> None:
        if end is None:
            await cancel_itself()
        else:
            raise end

    async def choose(event: Any) -> bool:
        if where == "filter" and event.raw_text == "bad":
            await fail()
        return True

    async with Sandbox() as dc:
        harness.at(dc, PHONE, rest=QUICK)
        engine = Engine.from_config(harness.config)

        @engine.on(events.NewMessage(func=choose))
        async def hear(event: Any) -> None:
            if where == "handler" and event.raw_text == "bad":
                await fail()
            heard.append(event.raw_text)

        async with engine:
            with anyio.fail_after(TIMEOUT):
                client = await engine.account("Account 1").ready()
            await dc.push(PHONE, "bad")
            await dc.push(PHONE, "good")
            await until(lambda: heard == ["good"])
            await until(lambda: client.inbox.is_handled(client.inbox.last))
        assert dc.stats()["accepted"] == 1
