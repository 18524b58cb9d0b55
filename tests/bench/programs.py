"""The two programs that are compared, each on one account: the engine's runner, and a bare Telethon client."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import anyio
from attrs import define, field, frozen
from telethon import TelegramClient, events
from telethon.network import ConnectionTcpFull
from telethon.tl.functions.updates import GetStateRequest

from adapters.sqlite import JournalWriter
from adapters.system import SystemClock
from adapters.telegram import Datacenter, TelegramConnector
from adapters.telegram.cancellation import translate_cancellation
from engine.fleet.connect_limiter import ConnectLimiter
from engine.fleet.network_probe import NetworkProbe
from engine.fleet.outage_detector import OutageDetector
from engine.fleet.runner import Runner
from engine.fleet.supervisor import Supervisor
from states import Policy, State, Step
from states.events import UpdatesStalled

API = (12345, "0123456789abcdef0123456789abcdef")
CONNECTS_AT_ONCE, STAGGER = 32, 0.1
"""The defaults of ``fleet``."""
SETTLE_SECONDS = 0.1
"""How long the bare client is left alone before it is hurt again."""
CLOSE_SECONDS = 5.0


@frozen
class Account:
    """An account that is logged in, and where its program connects."""

    session: Path
    phone: str
    datacenter: Datacenter


class Program(Protocol):
    """A program that listens to one account, and asks something when the benchmark wants to know whether it can.

    All times are ``time.perf_counter``'s.
    """

    heard: list[tuple[float, str]]
    """What reached its NewMessage handler."""

    @property
    def tries(self) -> int:
        """How often it tried to connect."""

    @property
    def probes(self) -> int:
        """How many probes it sent, without its account, to see whether the datacenter is there."""

    @property
    def noticed(self) -> float | None:
        """When the program could tell, without asking, that its login is dead or its connection gone for good."""

    @property
    def over(self) -> bool:
        """Whether it has given up for good."""

    async def settle(self) -> None:
        """Return when it is in order, and may be hurt again."""

    async def ask(self) -> bool:
        """Send an authorised request as soon as the program may; return whether it was answered."""


# --- the engine ------------------------------------------------------------------------------------------------------


@define(eq=False)
class Holdfast:
    """The engine with one account, put together as ``engine run`` does it."""

    heard: list[tuple[float, str]] = field(factory=list, init=False)
    noticed: float | None = field(default=None, init=False)
    missed: float | None = field(default=None, init=False)
    """When it found out that updates are missing."""
    over: bool = field(default=False, init=False)
    runner: Runner = field(init=False)
    probe: NetworkProbe = field(init=False)
    _changed: anyio.Event = field(factory=anyio.Event, init=False)

    @classmethod
    @asynccontextmanager
    async def running(cls, account: Account, journal: JournalWriter, policy: Policy) -> AsyncIterator["Holdfast"]:
        """Run it for the length of the block; it is healthy when the block begins."""
        program = cls()
        turns = ConnectLimiter(CONNECTS_AT_ONCE, STAGGER)
        supervisor = Supervisor({}, anyio.Event(), policy.shutting_down.grace)
        connector = TelegramConnector(account.session, *API, account.datacenter)
        network = OutageDetector(turns, supervisor.notify)
        program.probe = NetworkProbe({account.phone: connector}, network.datacenter_answers)
        supervisor.listeners += [network.observe, program.probe.observe, program._observe]
        connector.on(program._hear, events.NewMessage())
        program.runner = supervisor.runners[account.phone] = Runner(
            account=account.phone,
            connector=connector,
            limiter=turns,
            journal=journal,
            clock=SystemClock(),
            policy=policy,
            observer=lambda *_: None,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(supervisor.run)
            tasks.start_soon(program.probe.run)
            await program.settle()
            yield program
            supervisor.stop.set()
            await program.runner.ended.wait()
            tasks.cancel_scope.cancel()

    @property
    def tries(self) -> int:
        """How often it opened a link; each makes one connection at the most."""
        return self.runner.snapshot.links

    @property
    def probes(self) -> int:
        """How many probes the network probe has sent."""
        return self.probe.probes

    async def settle(self) -> None:
        """Return when the link is stable, so that its loss is not counted as another failure in a row."""
        while not (self._ready and self.runner.snapshot.stable):
            await self._changed.wait()

    async def ask(self) -> bool:
        """Wait until work may use the account, and send a request through its client."""
        while not self._ready:
            await self._changed.wait()
        assert self.runner.link is not None
        return await _answered(self.runner.link.client)

    @property
    def _ready(self) -> bool:
        runner = self.runner
        return runner.snapshot.state is State.HEALTHY and not runner.work_held and runner.link is not None

    def _observe(self, _: str, step: Step) -> None:
        if step.snapshot.state is State.AUTH_FAILED:
            self.noticed, self.over = self.noticed or time.perf_counter(), True
        if self.missed is None and step.record.event == UpdatesStalled.__name__:
            self.missed = time.perf_counter()
        # The effects of a decision are performed after it was shown.
        self._changed.set()
        self._changed = anyio.Event()

    @property
    def client(self) -> Any:
        """The client of the present link; None while there is none."""
        return self.runner.link.client if self.runner.link is not None else None

    async def _hear(self, event: Any) -> None:
        self.heard.append((time.perf_counter(), event.raw_text))


# --- the yardstick ---------------------------------------------------------------------------------------------------


@define(eq=False)
class Bare:
    """A Telethon client with every setting its default, so that it reconnects by itself."""

    heard: list[tuple[float, str]] = field(factory=list, init=False)
    tries: int = field(default=0, init=False)
    probes: int = field(default=0, init=False)
    noticed: float | None = field(default=None, init=False)
    client: Any = field(init=False)

    @classmethod
    @asynccontextmanager
    async def running(cls, account: Account, journal: JournalWriter, policy: Policy) -> AsyncIterator["Bare"]:
        """Run it for the length of the block; it has no use for the journal and the policy."""
        program = cls()
        program.client = TelegramClient(str(account.session), *API, connection=_counted(program._tried))
        program.client.add_event_handler(program._hear, events.NewMessage())
        await program.client.connect()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(program._watch)
                yield program
                tasks.cancel_scope.cancel()
        finally:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True), suppress(Exception):
                await program.client.disconnect()

    @property
    def over(self) -> bool:
        """Whether the client has disconnected itself: from then on nothing connects it again."""
        return self.noticed is not None

    async def settle(self) -> None:
        """Return when a request is answered, and a moment later."""
        while not await self.ask():
            await anyio.sleep(SETTLE_SECONDS)
        await anyio.sleep(SETTLE_SECONDS)

    async def ask(self) -> bool:
        """Send a request at once: the client keeps it until it is connected."""
        return await _answered(self.client)

    async def _watch(self) -> None:
        with suppress(Exception):  # why it ended does not matter here, only that the program can tell
            await self.client.disconnected
        self.noticed = time.perf_counter()

    def _tried(self) -> None:
        self.tries += 1

    async def _hear(self, event: Any) -> None:
        self.heard.append((time.perf_counter(), event.raw_text))


def _counted(tried: Callable[[], None]) -> type[ConnectionTcpFull]:
    """Return Telethon's default kind of connection, which tells how often it connects."""

    class Counted(ConnectionTcpFull):  # type: ignore[misc]  # Telethon ships no types
        async def connect(self, *args: Any, **kwargs: Any) -> None:
            tried()
            await super().connect(*args, **kwargs)

    return Counted


async def _answered(client: Any) -> bool:
    try:
        await translate_cancellation(client(GetStateRequest()))
    except Exception:  # whatever it is (the connection went, most likely), it is no answer
        return False
    return True
