"""A fleet of runners in virtual time, under a network that the test switches off and on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from attrs import define, field

from engine.fleet.connect_limiter import ConnectLimiter
from engine.fleet.outage_detector import OutageDetector
from engine.fleet.supervisor import Supervisor
from states import Policy, State, Step
from states.events import NetworkLost
from states.schedules import Backoff, BackoffSchedules, Health
from tests.engine.fakes import FakeConnector, MemoryJournal, runner_for

STABLE_AFTER = 5.0
SCHEDULE = Backoff(jitter=0)


@define
class FakeNetwork:
    """The network of all accounts: given as the ``outcomes`` of a connector, it decides every attempt."""

    up: bool = True
    silent: bool = False
    """Whether attempts hang instead of being refused, while the network is down."""

    def pop(self, _: int) -> Any:
        """Return the outcome of an attempt."""
        if self.up:
            return "ok"
        return "hang" if self.silent else NetworkLost(detail="connection refused")


@define(eq=False)
class FleetHarness:
    """Accounts side by side, with the connect limiter and the outage detector of the engine."""

    __test__ = False
    size: int
    at_once: int = 32
    stagger: float = 0.0
    probe_every: float = 20.0
    network: FakeNetwork = field(factory=FakeNetwork)
    connectors: dict[str, FakeConnector] = field(init=False)
    limiter: ConnectLimiter = field(init=False)
    detector: OutageDetector = field(init=False)
    supervisor: Supervisor = field(init=False)
    journal: MemoryJournal = field(factory=MemoryJournal)
    under_way: int = 0
    most: int = 0
    """Most attempts at once since the test last set it to zero."""

    def __attrs_post_init__(self) -> None:
        self.connectors = {f"A{number}": FakeConnector(outcomes=self.network) for number in range(self.size)}  # type: ignore[arg-type]
        self.limiter = ConnectLimiter(self.at_once, self.stagger)

    @asynccontextmanager
    async def living(self) -> AsyncIterator["FleetHarness"]:
        """Let the fleet live for the length of the block, from the moment at which all links are stable."""
        self.supervisor = Supervisor({}, anyio.Event(), grace=15)
        self.detector = OutageDetector(self.limiter, self.supervisor.notify)
        policy = Policy(
            healthy=Health(stable_after=STABLE_AFTER, probe_every=self.probe_every),
            backoff=BackoffSchedules(network=SCHEDULE),
        )
        for name, connector in self.connectors.items():
            self.supervisor.runners[name] = runner_for(
                connector, self.journal, account=name, limiter=self, policy=policy, observer=self._observe
            )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.supervisor.run)
            await self.until_healthy()
            await anyio.sleep(STABLE_AFTER + 1)
            self.most = 0
            yield self
            self.supervisor.stop.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Count the accounts that have a turn."""
        async with self.limiter.turn():
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                yield
            finally:
                self.under_way -= 1

    def _observe(self, account: str, step: Step) -> None:
        self.detector.observe(account, step)

    def lose(self, *accounts: str) -> None:
        """Let these accounts lose their links; without names all of them."""
        for name in accounts or self.connectors:
            self.connectors[name].lose()

    def state(self, account: str) -> State:
        """Where an account is."""
        return self.supervisor.runners[account].snapshot.state

    def all_healthy(self, *accounts: str) -> bool:
        """Say whether these accounts are healthy; without names all of them."""
        return all(self.state(name) is State.HEALTHY for name in accounts or self.connectors)

    async def until_healthy(self, *accounts: str) -> float:
        """Wait for that, at most a virtual hour; return how long it took."""
        began = anyio.current_time()
        with anyio.fail_after(3600):
            while not self.all_healthy(*accounts):
                await anyio.sleep(0.01)
        return anyio.current_time() - began

    def opened_since(self, since: float) -> list[float]:
        """Return when attempts began, in order."""
        return sorted(at for connector in self.connectors.values() for at, _ in connector.opened if at >= since)

    def events(self, name: str) -> list[str]:
        """Return the accounts that took an event of this name, in order."""
        return [account for account, record in self.journal.records if record.event == name]
