"""What an event costs does not depend on how many accounts there are: lines of Python are counted, not time."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import FrameType
from typing import Any

import anyio
import pytest
from attrs import define, field

from engine.app.account import Account
from engine.console.ranking import Ranking
from engine.control.handlers import ControlHandlers
from engine.fleet.connect_limiter import ConnectLimiter
from engine.fleet.credentials_watch import CredentialsWatch
from engine.fleet.network_probe import NetworkProbe
from engine.fleet.outage_detector import OutageDetector
from engine.fleet.refused_config import RefusedConfig
from engine.fleet.supervisor import Supervisor
from engine.work.background_tasks import BackgroundTasks
from engine.work.dispatcher import Dispatcher
from engine.work.kinds import JobKinds
from states import Policy, State, Step
from states.events import ProbeDue, RetryRequested
from states.pace import WorkPolicy
from states.schedules import Health
from tests.engine.fakes import FakeConnector, MemoryJournal, VirtualClock, runner_for
from tests.engine.work.harness import MemoryStore, classify_error

pytestmark = pytest.mark.virtual

NAME = "A3"
FEW = 10
QUIET = Policy(healthy=Health(probe_every=1e6, prove_every=1e6, stable_after=5.0))
"""No account does anything by itself while an event of one of them is counted."""


@define(eq=False)
class Fleet:
    """A fleet with everything beside it that the engine has, on fakes of the outside world."""

    size: int
    connectors: dict[str, FakeConnector] = field(init=False)
    supervisor: Supervisor = field(init=False)
    limiter: ConnectLimiter = field(factory=lambda: ConnectLimiter(10_000, 0.0), init=False)
    accounts: dict[str, Account] = field(init=False)
    ranking: Ranking = field(init=False)
    commands: ControlHandlers = field(init=False)
    lines: int = 0

    @asynccontextmanager
    async def living(self) -> AsyncIterator["Fleet"]:
        """Let it live for the length of the block, from the moment at which every link is stable."""
        self.connectors = {f"A{number}": FakeConnector(connect_takes=0.0) for number in range(self.size)}
        fleet = self.supervisor = Supervisor({}, anyio.Event(), grace=15)
        detector = OutageDetector(self.limiter, fleet.notify)
        probe = NetworkProbe(self.connectors, detector.datacenter_answers)
        refused, watch = RefusedConfig(fleet), CredentialsWatch(fleet)
        self.commands = ControlHandlers(fleet)
        self.accounts = {name: Account(name, fleet) for name in self.connectors}
        background = BackgroundTasks(self._client_of, classify_error)
        dispatcher = Dispatcher(
            accounts=self.connectors,
            kinds=JobKinds(),
            policy=WorkPolicy(),
            store=MemoryStore(),
            client_of=self._client_of,
            classify_error=classify_error,
            clock=VirtualClock(),
        )

        def observe(account: str, step: Step) -> None:
            if not step.record.quiet:
                self.accounts[account].changed()
                background.account_changed(account)
                dispatcher.account_changed(account)

        self.ranking = Ranking(self.connectors, fleet.status)
        fleet.on_change.append(self.ranking.update)
        fleet.listeners += [detector.observe, probe.observe, observe]
        journal = MemoryJournal()
        for name, connector in self.connectors.items():
            fleet.add(
                runner_for(connector, journal, account=name, limiter=self.limiter, policy=QUIET, observer=_nothing)
            )
            background.add(name, _stay)
        assert watch.fleet is refused.fleet
        async with anyio.create_task_group() as tasks:
            for part in (fleet.run, probe.run, refused.run, background.run, dispatcher.run):
                tasks.start_soon(part)
            await anyio.sleep(10)
            assert self.ranking.states[State.HEALTHY] == self.size
            yield self
            tasks.cancel_scope.cancel()

    def _client_of(self, account: str) -> Any:
        runner = self.supervisor.runners.get(account)
        return runner.link if runner is not None and runner.snapshot.state is State.HEALTHY else None

    # --- typical events of one account -------------------------------------------------------------------------------

    async def answer_a_probe(self) -> None:
        """A probe is due, sent and answered."""
        runner = self.supervisor.runners[NAME]
        asked = len(self.connectors[NAME].probes)
        assert runner.offer(ProbeDue(generation=runner.snapshot.generation))
        await self.settle()
        assert len(self.connectors[NAME].probes) == asked + 1

    async def lose_and_reconnect(self) -> None:
        """The link is lost, and another one is made at once."""
        self.connectors[NAME].lose()
        await self.settle()
        assert self.supervisor.runners[NAME].snapshot.links > 1

    async def ask_for_the_status(self) -> None:
        """A program asks where an account is, and the table shows the first ones."""
        assert self.accounts[NAME].state == "healthy"
        assert len(self.ranking.first(5)) == 5

    async def retry(self) -> None:
        """An operator asks for an attempt."""
        assert self.supervisor.runners[NAME].offer(RetryRequested())
        await self.settle()

    async def pause_and_resume(self) -> None:
        """An operator pauses the account and resumes it."""
        assert (await self.commands.pause(NAME)).done
        assert (await self.commands.resume(NAME)).done
        await self.settle()

    async def settle(self) -> None:
        """Let everything happen that follows, without letting time pass for the other accounts."""
        await anyio.sleep(0.3)

    # --- counting ----------------------------------------------------------------------------------------------------

    async def count(self, event: Callable[[], Awaitable[None]]) -> int:
        """Return how many lines of Python are run from an event until everything is quiet again."""
        self.lines = 0
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            await event()
        finally:
            sys.settrace(before)
        return self.lines

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        self.lines += 1  # a loop over all accounts on one line has as many events of that line
        return self._trace


EVENTS = [
    Fleet.answer_a_probe,
    Fleet.lose_and_reconnect,
    Fleet.ask_for_the_status,
    Fleet.retry,
    Fleet.pause_and_resume,
]


def _nothing(account: str, step: Step) -> None:
    pass


async def _stay(client: Any) -> None:
    await asyncio.sleep(1e9)


async def counts(size: int) -> dict[str, int]:
    """Return what each event takes with so many accounts; the second time, when nothing is new any more."""
    found = {}
    async with Fleet(size).living() as fleet:
        for event in EVENTS:
            await partial(event, fleet)()
            await anyio.sleep(10)  # the link is stable again
            found[event.__name__] = await fleet.count(partial(event, fleet))
            await anyio.sleep(10)
    return found


@pytest.mark.parametrize("many", [500, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_an_event_takes_as_much_with_few_accounts_as_with_many(many: int) -> None:
    """Probe answered, link lost and made anew, status asked, retry, pause: none of them looks at the other accounts."""
    few, more = await counts(FEW), await counts(many)
    assert all(few.values())
    # A heap of timers compares a few more of them when it holds more.
    assert {name: more[name] for name in few if more[name] > few[name] * 1.1 + 150} == {}, (few, more)
