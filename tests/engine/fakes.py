"""Stand-ins for the Protocols of the engine."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
from attrs import define, field

from engine.fleet.ports import StatStamp
from engine.fleet.runner import Runner
from states import Event, Hold, Policy, Record, Snapshot, State, Step
from states.events import Connected, NetworkLost, ProbeAnswered, StopRequested, TimedOut
from states.schedules import Backoff, BackoffSchedules

EPOCH = 1_700_000_000.0


@define
class VirtualClock:
    """A time of day that goes with the loop's; ``shift`` sets it apart, like a clock that was set."""

    shift: float = 0.0

    def now(self) -> float:
        """Return Unix time in seconds."""
        return EPOCH + anyio.current_time() + self.shift


@define
class FakeLink:
    """A link whose outcome the test decides."""

    number: int
    connector: "FakeConnector"
    report: Callable[[Event], None] | None = None
    lost: bool = False
    loss: Event = field(factory=NetworkLost)
    client: Any = None

    async def open(self, *, timeout: float) -> Sequence[Event]:
        """Return the outcome that the test chose for this attempt."""
        self.connector.opened.append((anyio.current_time(), self.number))
        self.connector.open_now += 1
        self.connector.max_open = max(self.connector.max_open, self.connector.open_now)
        outcome = self.connector.outcomes.pop(0) if self.connector.outcomes else "ok"
        if outcome == "hang":
            await anyio.sleep(timeout)
            return [TimedOut(link=self.number, what="connect", detail="no proof")]
        await anyio.sleep(self.connector.connect_takes)
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, Event):
            return [of_link(outcome, self.number)]
        self.connector.current = self
        self.lost = self.connector.drops is not None
        self.loss = self.connector.drops or self.loss
        return [Connected(link=self.number)]

    def abort(self) -> None:
        """Note it."""
        self.connector.aborted.append((anyio.current_time(), self.number))

    def begin_probe(
        self, *, proof: bool, timeout: float, report: Callable[[Sequence[Event]], None]
    ) -> Callable[[], None]:
        """Answer, unless the connector is silent."""
        self.connector.probes.append((anyio.current_time(), proof))
        loop = asyncio.get_running_loop()
        if self.connector.silent:
            silence = TimedOut(link=self.number, detail=f"no answer within {timeout:g} s")
            return loop.call_later(timeout, report, [silence]).cancel
        return loop.call_soon(report, [ProbeAnswered(link=self.number, proof=proof)]).cancel

    def fetch_updates(self, patience: float) -> None:
        """Have nothing to fetch."""

    def watch(self, report: Callable[[Event], None]) -> None:
        """Report what the test lets the link find, and then the loss that it brings about."""
        self.report = report
        if self.lost:
            self.lose()

    def lose(self) -> None:
        """Report the loss; it is not watched any more."""
        self.lost = True
        if self.report is not None:
            self.find(self.loss)
            self.report = None

    def find(self, event: Event) -> None:
        """Report an event."""
        assert self.report is not None, "the link is not watched yet, or was lost"
        self.report(of_link(event, self.number))

    def hold(self, request: str, until: float) -> None:
        """Remember what is held."""
        self.connector.held[request] = until

    async def close(self, *, timeout: float) -> None:
        """Take as long as the test says."""
        await anyio.sleep(self.connector.close_takes)
        self.connector.open_now -= 1
        self.connector.closed.append((anyio.current_time(), self.number))


def of_link(event: Event, number: int) -> Event:
    """Return the event as one of this link."""
    return attrs.evolve(event, link=number)


@define
class FakeConnector:
    """A connector whose attempts end as the test says, and a record of what the account did with it."""

    outcomes: list[Any] = field(factory=list)
    """For each attempt: ``ok``, ``hang``, a failure event, or an exception of ours; ``ok`` when used up."""
    silent: bool = False
    drops: Event | None = None
    """How every link is lost as soon as it is proven."""
    connect_takes: float = 0.1
    close_takes: float = 0.1
    current: FakeLink | None = None
    opened: list[tuple[float, int]] = field(factory=list)
    closed: list[tuple[float, int]] = field(factory=list)
    aborted: list[tuple[float, int]] = field(factory=list)
    probes: list[tuple[float, bool]] = field(factory=list)
    open_now: int = 0
    max_open: int = 0
    held: dict[str, float] = field(factory=dict)
    """Kinds of request that the present link does not send, and until when."""
    settled: int = 0

    route: str = "the only way"
    probed: list[tuple[float, str]] = field(factory=list)
    """When the datacenter was probed, and with which result."""

    async def probe_datacenter(self, *, timeout: float) -> Any:
        """Return whether the network is up."""
        found = "answers" if getattr(self.outcomes, "up", True) else "dark"
        self.probed.append((anyio.current_time(), found))
        return found

    async def credentials(self) -> str:
        """Return a fingerprint."""
        return "key"

    def session_stamp(self) -> StatStamp:
        """Return an empty stamp, as for a missing file."""
        return ()

    def link(self, number: int, holds: tuple[Hold, ...] = ()) -> FakeLink:
        """Return the next link."""
        self.held = {hold.request: hold.until for hold in holds}
        return FakeLink(number, self)

    def listen(self, hear: Callable[[Event], None]) -> None:
        """Report nothing: a test posts what a session file would report."""

    def deliver(self, start: Callable[[Callable[[], Awaitable[None]]], object] | None) -> None:
        """Deliver nothing: no handler is registered."""

    def memory_use(self) -> dict[str, Any]:
        """Return nothing: a fake has nothing in memory."""
        return {}

    async def settle(self) -> None:
        """Note that the life is over."""
        self.settled += 1

    def lose(self, loss: Event | None = None) -> None:
        """Let the present link be lost."""
        assert self.current is not None
        self.current.loss = loss or NetworkLost(detail="connection reset")
        self.current.lose()

    def find(self, event: Event) -> None:
        """Let the present link report something and live on."""
        assert self.current is not None
        self.current.find(event)


@define
class MemoryJournal:
    """A journal in memory."""

    records: list[tuple[str, Record]] = field(factory=list)
    stored: dict[str, Snapshot] = field(factory=dict)
    lives: list[tuple[str, Snapshot]] = field(factory=list)

    async def begin_life(self, account: str, at: float, policy: Policy, snapshot: Snapshot) -> None:
        """Keep where a life begins."""
        self.lives.append((account, snapshot))

    def use_policy(self, account: str, policy: Policy) -> None:
        """Nothing to do."""

    async def write(self, account: str, record: Record, snapshot: Snapshot) -> None:
        """Keep a decision."""
        self.records.append((account, record))
        self.stored[account] = snapshot

    async def save(self, account: str, snapshot: Snapshot) -> None:
        """Keep a snapshot."""
        self.stored[account] = snapshot

    async def flush(self) -> None:
        """Nothing to do."""

    async def snapshots(self) -> Mapping[str, Snapshot]:
        """Return what was stored."""
        return dict(self.stored)

    def path(self, account: str = "A") -> list[str]:
        """Return the states that an account entered, in order."""
        return [
            record.target.value for name, record in self.records if name == account and record.target != record.source
        ]


class UnlimitedTurns:
    """A connect limiter without a limit."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Do not wait."""
        yield


def runner_for(connector: FakeConnector, journal: MemoryJournal, **given: Any) -> Runner:
    """Return a runner of account ``A`` on this connector, without jitter in its schedules."""
    steady = Policy(backoff=BackoffSchedules(network=Backoff(jitter=0), server=Backoff(jitter=0)))
    seen: list[Step] = given.pop("seen", [])
    defaults: dict[str, Any] = {
        "account": "A",
        "connector": connector,
        "limiter": UnlimitedTurns(),
        "journal": journal,
        "clock": VirtualClock(),
        "policy": steady,
        "observer": lambda _, step: seen.append(step),
        "rng": random.Random(1),
    }
    return Runner(**(defaults | given))


@asynccontextmanager
async def living(connector: FakeConnector, journal: MemoryJournal, **given: Any) -> AsyncIterator[Runner]:
    """Let account ``A`` live for the length of the block, stop it, and wait for its end."""
    runner = runner_for(connector, journal, **given)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.live)
        yield runner
        await runner.post(StopRequested())


async def until(runner: Runner, *states: State) -> None:
    """Wait, in virtual time, until the account is in one of these states; give up after a virtual day."""
    with anyio.fail_after(86_400):
        while runner.snapshot.state not in states:  # in virtual time this is exact and free
            await anyio.sleep(0.01)
