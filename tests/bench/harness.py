"""The harness of a comparison: one sandbox, and for each program an account and a port of its own."""

import itertools
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any

import anyio
from attrs import define, field, frozen
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.sandbox import Fault, FaultKind, SandboxProcess
from adapters.sqlite import JournalWriter
from adapters.telegram import Datacenter
from states import Policy
from tests.bench.programs import Account, Bare, Holdfast, Program
from tests.bench.relay import Relay

Kind = type[Holdfast] | type[Bare]
ASK_EVERY = 5.0
"""Seconds after which a request is asked anew beside the one that waits, in case that one was lost."""
LOOK_EVERY = 0.005


@frozen
class Outcome:
    """What became of one program under one fault."""

    seconds: float
    """Infinite if it did not happen in time."""
    over: bool
    """The program has given up for good."""
    tries: int
    """Connections that it tried to make."""
    accepted: int
    """Those that the datacenter accepted."""
    times: int = 0
    """How often what was measured happened."""
    probes: int = 0
    """How many probes the network probe sent meanwhile."""


Outcomes = Mapping[str, list[Outcome]]


def median(outcomes: Sequence[Outcome], value: Callable[[Outcome], float]) -> float:
    """Return the median of a value, which may be infinite."""
    return float(statistics.median_low([value(outcome) for outcome in outcomes]))


@define(eq=False)
class Subject:
    """A program, its account, and the means to hurt it alone. Times and counts are from ``begin`` on."""

    program: Program
    phone: str
    relay: Relay
    _sandbox: SandboxProcess
    _began: float = field(default=0.0, init=False)
    _tries: int = field(default=0, init=False)
    _accepted: int = field(default=0, init=False)
    _probes: int = field(default=0, init=False)

    async def begin(self) -> None:
        """Count from now on; to be called before the fault."""
        self._tries, self._probes, self._accepted = self.program.tries, self.program.probes, await self._count()
        self.start_clock()

    def start_clock(self) -> None:
        """Measure time from now on."""
        self._began = time.perf_counter()

    async def hurt(self, kind: FaultKind, **options: Any) -> None:
        """Inject a fault for this account."""
        await self._sandbox.inject(Fault(kind, account=self.phone, **options))

    async def heal(self) -> None:
        """End every fault of this account, and measure time from there."""
        await self._sandbox.clear(self.phone)
        self.start_clock()

    async def push(self, text: str) -> None:
        """Let a message come in."""
        await self._sandbox.push(self.phone, text)

    async def answered(self, bound: float) -> Outcome:
        """Ask until an authorised request is answered, at most ``bound`` seconds from now."""
        at = inf
        with anyio.move_on_after(bound):
            async with anyio.create_task_group() as tasks:

                async def ask() -> None:
                    nonlocal at
                    while not await self.program.ask():
                        await anyio.sleep(LOOK_EVERY)
                    at = min(at, time.perf_counter())
                    tasks.cancel_scope.cancel()

                while not self.program.over:
                    tasks.start_soon(ask)
                    await anyio.sleep(ASK_EVERY)
                tasks.cancel_scope.cancel()
        return await self.outcome(at)

    async def until(self, when: Callable[[], float | None], bound: float) -> float:
        """Wait until something has happened, and return when; infinite if it did not within ``bound`` seconds."""
        with anyio.move_on_after(bound):
            while (at := when()) is None:
                await anyio.sleep(LOOK_EVERY)
            return at
        return inf

    async def outcome(self, at: float, times: int = 0) -> Outcome:
        """Say what became of the program, and when."""
        accepted = await self._count()
        return Outcome(
            seconds=at - self._began,
            over=self.program.over,
            tries=self.program.tries - self._tries,
            accepted=accepted - self._accepted,
            times=times,
            probes=self.program.probes - self._probes,
        )

    async def _count(self) -> int:
        """Return how many connections this account's port accepted."""
        stats = await self._sandbox.stats()
        return int(stats["accepted_by_account"].get(self.phone.lstrip("+"), 0))


@define(eq=False)
class RecoveryHarness:
    """See the module's docstring."""

    directory: Path
    sandbox: SandboxProcess
    journal: JournalWriter
    policy: Policy
    _numbers: "itertools.count[int]" = field(factory=itertools.count, init=False)

    @asynccontextmanager
    async def subject(self, kind: Kind, *, relayed: bool = False) -> AsyncIterator[Subject]:
        """Let a program of this kind run on an account of its own; ``relayed`` puts a relay before its port."""
        phone = f"+999662{next(self._numbers):04}"
        relay = Relay(await self.sandbox.listen(phone))
        async with relay.listening():
            port = relay.port if relayed else relay.target
            account = Account(
                await self._session(phone, port),
                phone,
                Datacenter(self.sandbox.dc_id, "127.0.0.1", port, self.sandbox.public_key),
            )
            async with kind.running(account, self.journal, self.policy) as program:
                yield Subject(program, phone, relay, self.sandbox)
                await self.sandbox.clear(phone)

    async def side_by_side(
        self, samples: Mapping[Kind, int], act: Callable[[Subject, int], Awaitable[Outcome]], *, relayed: bool = False
    ) -> Outcomes:
        """Do the same to so many programs of each kind at the same time; ``act`` is told which of its kind it is."""
        found: dict[str, list[Outcome]] = {kind.__name__: [] for kind in samples}

        async def one(kind: Kind, nth: int) -> None:
            async with self.subject(kind, relayed=relayed) as subject:
                found[kind.__name__].append(await act(subject, nth))

        async with anyio.create_task_group() as tasks:
            for kind, count in samples.items():
                for nth in range(count):
                    tasks.start_soon(one, kind, nth)
        return found

    async def _session(self, phone: str, port: int) -> Path:
        """Make a session file as Telethon writes it, logged in."""
        path = self.directory / f"{phone}.session"
        session = SQLiteSession(str(path))
        session.set_dc(self.sandbox.dc_id, "127.0.0.1", port)
        session.auth_key = AuthKey(await self.sandbox.authorize(phone))
        session.save()
        session.close()
        return path
