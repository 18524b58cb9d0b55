"""Each task beside the accounts meets what the system refuses, and mistakes of its own: the accounts go on."""

import errno
import inspect
import io
from functools import partial
from typing import Any

import anyio
import pytest
from rich.console import Console

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sqlite import JournalReader, JournalWriter
from adapters.sqlite.jobs import JobStore
from adapters.system import SteadyClock
from adapters.telegram import TelegramConnector
from engine import Engine
from engine.app import fleet_parts
from engine.app.telegram import TelegramConnectors
from engine.console import live
from engine.console.ranking import Ranking
from engine.console.status import EngineInfo
from engine.control import ControlServer
from engine.fleet import clock_watch, credentials_watch, probe_plan, watchers
from engine.fleet.outage_detector import OutageDetector
from engine.fleet.probe_plan import ProbePlan
from engine.fleet.refused_config import RefusedConfig
from engine.fleet.watchers import keep_running
from engine.work import dispatcher
from engine.work.background_tasks import BackgroundTasks
from states.jobs import JobSummary
from tests.engine.harness import FAST, EngineHarness
from tests.timeouts import TIMEOUT

PHONE = "+9996620001"
TASKS: dict[str, tuple[Any, str]] = {
    "the source of the connectors": (TelegramConnectors, "run"),
    "the network probe, at its connector": (TelegramConnector, "probe_datacenter"),
    "the network probe, at its listener": (ProbePlan, "found"),
    "the watch over session files": (TelegramConnector, "session_stamp"),
    "the watch over the shared settings": (RefusedConfig, "run"),
    "the socket for commands": (ControlServer, "_listen"),
    "the watch over the clocks": (SteadyClock, "now"),
    "retention": (JournalWriter, "prune"),
    "the dispatcher, at its store": (JobStore, "recover"),
    "the dispatcher, in itself": (dispatcher.Dispatcher, "run"),
    "the background tasks": (BackgroundTasks, "_advance"),
    "the log's narrator": (fleet_parts, "narrate"),
    "the outage detector": (OutageDetector, "observe"),
}
"""For each task of the composition root the call in which it meets the trouble."""


def troubles() -> list[Exception]:
    """Return what the system refuses, and a mistake."""
    return [OSError(errno.EMFILE, "Too many open files"), MemoryError(), RuntimeError("a mistake")]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for milliseconds where the engine waits for seconds."""
    monkeypatch.setattr(watchers, "PAUSES", (0.01,))
    monkeypatch.setattr(dispatcher, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(probe_plan, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(probe_plan, "LEAST_PAUSE", 0.01)
    monkeypatch.setattr(clock_watch, "CHECK_EVERY", 0.01)
    monkeypatch.setattr(credentials_watch, "CHECK_INTERVAL", 0.01)


async def idle(_: Any) -> None:
    """Do nothing while the account is healthy."""
    await anyio.sleep_forever()


def failing(target: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Let a call raise each trouble once before it does its work again; return the list of those that are left."""
    real, left = getattr(target, name), troubles()

    def raising(*arguments: Any, **named: Any) -> Any:
        if left:
            raise left.pop(0)
        return real(*arguments, **named)

    async def raising_async(*arguments: Any, **named: Any) -> Any:
        return await raising(*arguments, **named)

    monkeypatch.setattr(target, name, raising_async if inspect.iscoroutinefunction(real) else raising)
    return left


@pytest.mark.parametrize("task", TASKS)
async def test_no_task_of_the_root_ends_the_fleet(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """It fails three times in a row, goes on afterwards, and the account is healthy in the end."""
    left = failing(*TASKS[task], monkeypatch)
    async with Sandbox() as dc:
        harness.at(dc, PHONE, rest=FAST + "storage: {directory: data, keep: 1d}\n")
        engine = Engine.from_config(harness.config)
        engine.while_healthy(idle)
        async with engine:
            with anyio.fail_after(TIMEOUT):
                await engine.account("Account 1").ready()
                if "probe" in task:
                    await dc.inject(Fault(FaultKind.REFUSE, duration=1))
                    await dc.inject(Fault(FaultKind.RESET, duration=0.1))
                while left:
                    await anyio.sleep(0.01)
                await engine.account("Account 1").ready()
            assert not engine.stop.wanted.is_set()


async def test_a_program_that_follows_the_journal_waits_for_it(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that cannot be read for a moment does not end the loop over its records."""
    left = failing(JournalReader, "entries", monkeypatch)
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        engine = Engine.from_config(harness.config)
        async with engine:
            with anyio.fail_after(TIMEOUT):
                async for entry in engine.subscribe(after=0):
                    if entry.event == "Connected":
                        break
    assert not left


async def test_the_live_table_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that no clock can show, or a terminal that takes nothing, ends neither the engine nor the table."""
    left = failing(live, "picture", monkeypatch)
    monkeypatch.setattr(live, "REFRESH_INTERVAL", 0.01)
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=100)
    table = partial(live.show, console, lambda: EngineInfo(running=True), Ranking.of({}), JobSummary)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_running, "the live table", table)
        with anyio.move_on_after(TIMEOUT):
            while "Holdfast" not in terminal.getvalue():
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert not left
    assert "Holdfast" in terminal.getvalue()
