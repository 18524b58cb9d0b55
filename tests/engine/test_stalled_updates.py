"""Updates that do not flow, with a real client and the real machine: asked for, a fresh client, a person told once."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.telegram import TelegramConnector, update_proof
from engine.fleet.runner import Runner
from states import Action, State
from states.events import StopRequested
from states.schedules import Renewal
from tests.adapters.telegram.harness import PHONE, DatacenterHarness
from tests.adapters.telegram.test_inbox import listening, until
from tests.engine.fakes import MemoryJournal, UnlimitedTurns
from tests.engine.test_matrix import LONG, Clock, policy
from tests.timeouts import TIMEOUT

NEWS = "news"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every wait be short."""
    for name, seconds in {"GRACE": 0.1, "POLL": 0.05, "CHANNELS_EVERY": 0.1, "STRANGERS_EVERY": 0.1}.items():
        monkeypatch.setattr(update_proof, name, seconds)


@pytest.fixture
def harness(tmp_path: Path) -> DatacenterHarness:
    """Return a datacenter for real clients."""
    return DatacenterHarness(tmp_path)


class Lived:
    """An account that lives, what its journal has, and what its handlers heard."""

    def __init__(self, runner: Runner, journal: MemoryJournal, heard: list[str]) -> None:
        self.runner, self.journal, self.heard = runner, journal, heard

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        with anyio.fail_after(TIMEOUT):
            while not condition():
                await anyio.sleep(0.005)

    async def healthy(self) -> None:
        """Wait until the account is healthy and stable."""
        await self.wait(lambda: self.runner.snapshot.stable and self.runner.snapshot.state is State.HEALTHY)

    @property
    def path(self) -> list[str]:
        """The states that were entered since the account was healthy first."""
        moves = [record.target.value for _, record in self.journal.records if record.target is not record.source]
        return moves[moves.index("healthy") + 1 :]

    def told(self, effect: str) -> int:
        """Return how many decisions had this effect."""
        return sum(effect in record.effects for _, record in self.journal.records)


@asynccontextmanager
async def living(harness: DatacenterHarness, dc: Sandbox, **of_policy: Any) -> AsyncIterator[Lived]:
    """Let an account live that is in a channel, until the end of the block; it is healthy at its beginning."""
    await dc.create_channel(NEWS, NEWS, members=[PHONE])
    connector: TelegramConnector = harness.connector(port=await dc.listen(PHONE))
    heard, journal = listening(connector), MemoryJournal()
    quick = policy(LONG)
    renewal = Renewal(first=0.5, factor=1, cap=0.5)
    runner = Runner(
        account="A",
        connector=connector,
        limiter=UnlimitedTurns(),
        journal=journal,
        clock=Clock(),
        policy=evolve(
            quick,
            healthy=evolve(quick.healthy, catch_up_within=of_policy.pop("catch_up_within", 0.3)),
            backoff=evolve(quick.backoff, updates=evolve(renewal, **of_policy)),
        ),
        observer=lambda *_: None,
    )
    lived = Lived(runner, journal, heard)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.live)
        await lived.healthy()
        assert runner.link is not None
        await runner.link.client.get_dialogs()  # Telethon learns the channel's number
        yield lived
        await runner.post(StopRequested())


async def lose(dc: Sandbox, where: str, text: str) -> None:
    """Post something in the channel, or privately, while nothing is pushed there."""
    await dc.inject(Fault(FaultKind.LOST_UPDATE, channel=NEWS if where == NEWS else None))
    await (dc.post(NEWS, text) if where == NEWS else dc.push(PHONE, text))


@pytest.mark.parametrize("where", ["private", NEWS])
async def test_what_is_not_pushed_is_fetched_without_a_cut(harness: DatacenterHarness, where: str) -> None:
    """The numbers say it, the difference brings it, and the link that works stays."""
    async with harness as dc, living(harness, dc, catch_up_within=TIMEOUT) as lived:
        await lose(dc, where, "lost")
        await until(lived.heard, 1)
        await lived.wait(lambda: lived.journal.records[-1][1].event == "UpdatesConfirmed")
        assert lived.path == []
        assert lived.told("FetchUpdates") == 1
        assert lived.runner.snapshot.stall is None
        assert lived.heard == ["lost"]


@pytest.mark.parametrize("where", ["private", NEWS])
async def test_a_lost_difference_is_healed_by_a_fresh_client(harness: DatacenterHarness, where: str) -> None:
    """One cut, with its own cause, and each message is heard once; nobody is told."""
    async with harness as dc, living(harness, dc, first=60.0, cap=60.0) as lived:
        await dc.inject(Fault(FaultKind.LOST_DIFFERENCE))
        await lose(dc, where, "lost")
        await lived.wait(lambda: lived.path[:1] == ["reconnecting"])
        await dc.clear()
        await until(lived.heard, 1)
        await lived.wait(lambda: lived.runner.snapshot.stall is None)
        assert lived.path == ["reconnecting", "healthy"]
        assert lived.told("AlertStalled") == 0
        assert lived.heard == ["lost"]


async def test_a_person_is_told_once_of_what_no_fresh_client_gets(harness: DatacenterHarness) -> None:
    """The account stays connected, is renewed by its schedule, and all is forgotten when the updates are there."""
    async with harness as dc, living(harness, dc) as lived:
        await dc.inject(Fault(FaultKind.LOST_DIFFERENCE))
        await lose(dc, "private", "lost")
        await lived.wait(lambda: lived.told("AlertStalled") == 1)
        assert lived.runner.snapshot.action is Action.RETRY
        await lived.wait(lambda: lived.path.count("reconnecting") >= 2)
        assert lived.told("AlertStalled") == 1
        assert {*lived.path} == {"reconnecting", "healthy"}
        await dc.clear()
        await until(lived.heard, 1)
        await lived.wait(lambda: lived.runner.snapshot.stall is None)
        assert lived.heard == ["lost"]
        assert lived.runner.snapshot.state is State.HEALTHY
        renewed = [
            record.at
            for _, record in lived.journal.records
            if record.rule.startswith("healthy.UpdatesStalled[client_due]")
        ]
        assert all(later - sooner >= 0.5 for sooner, later in itertools.pairwise(renewed))
