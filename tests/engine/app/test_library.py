"""``Engine`` as a library: handlers that survive every client, accounts that can be waited for, and a clean end."""

import asyncio
from typing import Any

import anyio
import pytest
from telethon import events

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.system import LockHeld
from engine import Engine
from engine.app.account import NotReady
from engine.config import ConfigError, UnknownAccount
from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002")


def listening(engine: Engine, accounts: str = "*") -> list[str]:
    """Register a handler, and return the list of texts that it hears."""
    heard: list[str] = []

    @engine.on(events.NewMessage(), accounts=accounts)
    async def note(event: Any) -> None:
        heard.append(event.raw_text)

    return heard


async def until(seen: list[str], count: int) -> None:
    """Wait until so much was heard."""
    with anyio.fail_after(TIMEOUT):
        while len(seen) < count:
            await anyio.sleep(0.01)


async def test_messages_reach_a_handler_once_whatever_the_link_goes_through(harness: EngineHarness) -> None:
    """Messages pushed before, during and after outages of several kinds are heard once each."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        engine = Engine.from_config(harness.config)
        heard = listening(engine)
        async with engine:
            account = engine.account("Account 1")
            with anyio.fail_after(TIMEOUT):
                await account.ready()
            sent = 0
            for kind in (FaultKind.RESET, FaultKind.CLOSE, FaultKind.LOST_UPDATE, FaultKind.GARBAGE):
                await dc.push(PHONES[0], f"{sent}")
                await dc.inject(Fault(kind, duration=0.3))
                await dc.push(PHONES[0], f"{sent + 1}")
                await anyio.sleep(0.35)
                with anyio.fail_after(TIMEOUT):
                    await account.ready()
                await dc.push(PHONES[0], f"{sent + 2}")
                sent += 3
                await until(heard, sent)
            await anyio.sleep(0.1)
    assert sorted(heard, key=int) == [str(number) for number in range(sent)]


async def test_what_came_while_the_engine_was_down_is_heard_after_a_restart(harness: EngineHarness) -> None:
    """Update state is in the session file at the end: the next engine goes on where this one stopped."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        missed: list[str] = []
        for text in ("first", "second", "third"):
            engine = Engine.from_config(harness.config)
            heard = listening(engine)
            async with engine:
                with anyio.fail_after(TIMEOUT):
                    await engine.account("Account 1").ready()
                await until(heard, len(missed))
                await anyio.sleep(0.1)
            assert heard == missed
            missed = [text]
            await dc.push(PHONES[0], text)


async def test_a_handler_hears_of_the_accounts_that_it_names(harness: EngineHarness) -> None:
    """A pattern chooses the accounts."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES)
        engine = Engine.from_config(harness.config)
        all_of_them, second = listening(engine), listening(engine, "* 2")
        async with engine:
            for name in ("Account 1", "Account 2"):
                with anyio.fail_after(TIMEOUT):
                    await engine.account(name).ready()
            await dc.push(PHONES[0], "one")
            await dc.push(PHONES[1], "two")
            await until(all_of_them, 2)
            await until(second, 1)
    assert sorted(all_of_them) == ["one", "two"]
    assert second == ["two"]


async def test_a_client_is_given_only_while_work_may_use_it(harness: EngineHarness) -> None:
    """Before the account is healthy and while it is away ``client`` raises; ``ready`` waits for the next one."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        engine = Engine.from_config(harness.config)
        account = engine.account("Account 1")
        with pytest.raises(NotReady, match="not started"):
            _ = account.client
        async with engine:
            with anyio.fail_after(TIMEOUT):
                first = await account.ready()
            assert (await first.get_me()).phone == PHONES[0][1:]
            await dc.inject(Fault(FaultKind.REFUSE, duration=0.5))
            await dc.inject(Fault(FaultKind.RESET))
            with anyio.fail_after(TIMEOUT):
                while account.snapshot.state.value == "healthy":
                    await anyio.sleep(0.01)
                with pytest.raises(NotReady):
                    _ = account.client
                second = await account.ready()
            assert second is not first
            assert (await second.get_me()).phone == PHONES[0][1:]


async def test_an_engine_leaves_nothing_behind(harness: EngineHarness) -> None:
    """After the block no task is left, and the data is free for another engine."""
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        before = asyncio.all_tasks()
        for _ in range(2):
            async with Engine.from_config(harness.config) as engine:
                with pytest.raises(LockHeld):
                    await Engine.from_config(harness.config).__aenter__()
                with anyio.fail_after(TIMEOUT):
                    await engine.account("Account 1").ready()
        await anyio.sleep(0.05)
        assert {task for task in asyncio.all_tasks() - before if "adapters/sandbox" not in repr(task)} == set()


async def test_mistakes_are_said_at_once(harness: EngineHarness) -> None:
    """A config that is wrong and an account that does not exist are errors with a sentence, before anything runs."""
    with pytest.raises(ConfigError, match="no such file"):
        Engine.from_config(harness.directory / "nothing.yaml")
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0])
        with pytest.raises(UnknownAccount, match="Account 1"):
            Engine.from_config(harness.config).account("Account 7")
