"""The lines of the log, byte for byte as people know them: a walk of the machine, and what the fleet and jobs say."""

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.app.journal import storage_trouble
from engine.app.sandbox import _scenario
from engine.config import Chaos, SandboxSection
from engine.console import logs
from engine.console.messages import narrate
from engine.fleet.outage_detector import OutageDetector
from engine.fleet.refused_config import RefusedConfig
from engine.fleet.supervisor import Supervisor
from engine.work.background_tasks import BackgroundTask, BackgroundTasks
from engine.work.handle import Run
from engine.work.job_log import log_outcome
from engine.work.owned_task import OwnedTask
from engine.work.ready_queues import ReadyQueues
from states import Cause, Snapshot, State
from states.events import DatabaseUnavailable, NetworkRestored
from states.jobs import Cancelled, Flooded, Job, JobState, Lost, Raised, Returned
from tests.engine.console.walk import NOW, steps

GOLDEN = Path(__file__).with_name("golden_lines.txt")


class Lines(logging.Handler):
    """Keeps each line with its level."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s - %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(self.format(record))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return what is logged, in a place where it is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    logs.configure()
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    yield handler.lines
    root.setLevel(level)
    root.removeHandler(handler)
    monkeypatch.undo()
    time.tzset()


def _walk() -> None:
    for account, decision in steps():
        narrate(account, decision)


def _fleet() -> None:
    """Have the parts that watch over all accounts say what they can."""
    storage_trouble(None, 0)
    storage_trouble(DatabaseUnavailable(detail="the disk is full"), 12)
    busy: Any = SimpleNamespace(offer=lambda _: False)
    Supervisor({"Account 1": busy}, None, 1.0).notify(["Account 1", "gone"], NetworkRestored())  # type: ignore[arg-type]
    turns: Any = SimpleNamespace(one_by_one=lambda: None, all_go=lambda: None, at_once=32)
    record: Any = SimpleNamespace(source=State.BACKOFF, at=NOW + 31.4)
    answer: Any = SimpleNamespace(source=State.HEALTHY, at=NOW + 2.0)
    for sign in (record, answer):
        detector = OutageDetector(turns, lambda *_: None)
        detector._in_play = {f"A{number}" for number in range(14)}
        detector._together = dict.fromkeys(("A1", "A2", "A3"))
        detector._lost = dict.fromkeys(detector._together, State.BACKOFF)
        detector._begin(NOW)
        detector._sign_of_life("A9", sign)
    cause = Cause(event="ConfigRefused", detail="telegram.api_id (API_ID_INVALID (400))")
    for count in (1, 3):
        snapshots = {f"A{number}": Snapshot() for number in range(count)}
        fleet: Any = SimpleNamespace(listeners=[], snapshots=snapshots)
        refusal = SimpleNamespace(event="ConfigRefused", payload={"detail": "API_ID_INVALID (400)"}, cause=())
        step: Any = SimpleNamespace(record=refusal, snapshot=Snapshot(cause=cause))
        RefusedConfig(fleet)._raise_alert(step)
    _scenario(SandboxSection(scenario=Chaos(), seed=7, duration=120.0), {"A": "+9996620001"})


def _jobs() -> None:
    """Have jobs end in every way."""
    job = Job(id=17, kind="send", account=None, attempts=2, detail="CHAT_WRITE_FORBIDDEN (403)", began=NOW - 75)
    kind: Any = SimpleNamespace()
    ends = (
        (Raised("no"), Job(id=17, kind="send", attempts=5, detail="no such chat", state=JobState.FAILED)),
        (Raised("no"), Job(id=17, kind="send", attempts=2, detail="no such chat", due=NOW + 20.0)),
        (Flooded("SendMessage", NOW + 60), job),
        (Flooded("SendMessage", NOW + 60, alone=True), job),
        (Cancelled(), job),
        (Lost("the connection is not healthy"), job),
        (Returned(), job),
        (Returned(), Job(id=17, kind="send", began=NOW - 7300, done=1000.0, total=2500.0)),
        (Returned(), Job(id=17, kind="send", began=NOW - 1)),
    )
    for end, after in ends:
        run = Run(job, kind, "Account 1", None)
        run.end = end
        log_outcome(run, after, NOW)


class _Store:
    claims = None

    async def queues(self) -> list[tuple[str, str | None]]:
        return [("strange", None), ("send", "Gone"), ("strange", None), ("send", "A")]

    async def next_due(self) -> None:
        return None

    async def give_back(self, busy: object) -> None:
        pass


async def _work() -> None:
    """Have queues and background tasks say what they can."""
    kinds: Any = SimpleNamespace(get=lambda kind: None if kind == "strange" else kind)
    await ReadyQueues(_Store(), kinds, ["A"]).load(())  # type: ignore[arg-type]

    async def watch(_: Any) -> None:
        """Stand with an account."""

    tasks = BackgroundTasks(lambda _: None, lambda *_: Raised("no"))
    task = BackgroundTask("Account 1", watch)
    task.began = asyncio.get_running_loop().time()
    for _ in range(5):
        task.failure = ValueError("it fell")
        tasks._ended(task, OwnedTask(task.label, 1), None)  # type: ignore[arg-type]
    task.given_up = False
    tasks._give_up(task)


def test_every_line_is_as_it_was(said: list[str]) -> None:
    """What people and their scripts read in the log stays the same, byte for byte."""

    async def speak() -> None:
        _walk()
        _fleet()
        _jobs()
        await _work()

    asyncio.run(speak())
    assert "\n".join(said) + "\n" == GOLDEN.read_text("utf-8")
