"""What one account with a hostile datacenter costs the others: the lag of their event loop, before and during.

    uv run python -m tests.bench.hostile [--accounts N] [--seconds S]

Honest accounts each ask for their state all the time, and so does one whose answers are hostile: as soon as its link is
closed, it opens the next one, without any back-off (the engine would wait ever longer). Everything runs in one process
and one run; the datacenter is another process.
"""

import argparse
import asyncio
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import anyio
from attrs import define, field
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession
from telethon.tl.functions.updates import GetStateRequest

from adapters.sandbox import Fault, FaultKind, SandboxProcess
from adapters.sandbox.faults.kinds import HOSTILE_TEXTS
from adapters.telegram import Datacenter, TelegramConnector
from states.events import Connected
from tests.bench.table import Table, Target, add_option, hand_over

BEAT = 0.002
"""Seconds between two beats of the loop."""
ANSWER_SECONDS = 1.0
"""How long the account with the hostile datacenter waits for an answer: some tricks come in the place of one."""
TRICKS = {
    "gzip_bomb": "a gzip bomb",
    "gzip_result": "a gzip bomb as an answer",
    "packed": "packed fifty times",
    "container": "a container of 100,000 messages",
    "nesting": "objects 5,000 deep",
    "entities": "a million users",
    "frame": "a frame of 2 GB",
    "drip": "a byte each second",
    "differences": "a difference without end",
}
"""What the table calls them."""


@define
class Phase:
    """What was measured while something happened. All times are seconds."""

    name: str
    lags: list[float] = field(factory=list)
    answers: list[float] = field(factory=list)
    tricks: int = 0
    memory: int = 0

    def row(self) -> list[str]:
        """Return the row of the table."""
        cells = [f"{_at(self.lags, part) * 1000:.1f} ms" for part in (0.5, 0.99, 1.0)]
        cells += [f"{len(self.answers):,}", f"{_at(self.answers, 0.99) * 1000:.0f} ms"]
        return [TRICKS.get(self.name, self.name), *cells, f"{self.tricks}", f"{self.memory / 1024:.0f} MB"]


def _at(values: Sequence[float], part: float) -> float:
    ordered = sorted(values) or [0.0]
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


@define
class Measurement:
    """The phase that is being measured, for all tasks."""

    phase: Phase

    async def beat(self) -> None:
        """Measure how late the loop is."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(BEAT)
            self.phase.lags.append(time.perf_counter() - began - BEAT)

    async def ask(self, connector: TelegramConnector) -> None:
        """Be an honest account."""
        link = connector.link(1)
        assert isinstance((await link.open(timeout=60))[-1], Connected)
        try:
            while True:
                began = time.perf_counter()
                await link.client(GetStateRequest())
                self.phase.answers.append(time.perf_counter() - began)
                await anyio.sleep(0.02)
        finally:
            await link.close(timeout=5)

    async def suffer(self, connector: TelegramConnector) -> None:
        """Be the account with the hostile datacenter."""
        for number in range(2, 10**9):
            link = connector.link(number)
            if isinstance((await link.open(timeout=ANSWER_SECONDS))[-1], Connected):
                with suppress(Exception), anyio.move_on_after(ANSWER_SECONDS):
                    await link.client(GetStateRequest())
            self.phase.tricks += self.phase.name != "before"
            await link.close(timeout=1)


async def run(accounts: int, seconds: float) -> list[Phase]:
    """Measure one phase without and one for each trick."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-hostile-")))
        sandbox = await stack.enter_async_context(SandboxProcess.start())
        connectors = [await _connector(sandbox, directory, number) for number in range(accounts + 1)]
        hostile = f"+999662{0:04}"
        found = [Phase("before")]
        measurement = Measurement(found[0])
        async with anyio.create_task_group() as tasks:
            for connector in connectors[1:]:
                tasks.start_soon(measurement.ask, connector)
            tasks.start_soon(measurement.suffer, connectors[0])
            await anyio.sleep(2)
            measurement.phase.lags.clear()
            tasks.start_soon(measurement.beat)
            for phase in (*found, *(Phase(text) for text in HOSTILE_TEXTS)):
                measurement.phase = phase
                if phase.name != "before":
                    found.append(phase)
                    request = "updates.getDifference" if phase.name == "differences" else "updates.getState"
                    await sandbox.inject(Fault(FaultKind.HOSTILE, hostile, 600, text=phase.name, request=request))
                await anyio.sleep(seconds)
                await sandbox.clear(hostile)
                phase.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                await anyio.sleep(0.5)
            tasks.cancel_scope.cancel()
        for connector in connectors:
            await connector.settle()
    return found


async def _connector(sandbox: SandboxProcess, directory: Path, number: int) -> TelegramConnector:
    phone = f"+999662{number:04}"
    path = directory / f"{number}.session"
    session = SQLiteSession(str(path))
    session.set_dc(sandbox.dc_id, "127.0.0.1", sandbox.port)
    session.auth_key = AuthKey(await sandbox.authorize(phone))
    session.save()
    session.close()
    datacenter = Datacenter(sandbox.dc_id, "127.0.0.1", sandbox.port, sandbox.public_key)
    datacenter.trust()
    return TelegramConnector(path, 1, "0" * 32, datacenter)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each trick")
    add_option(parser)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    found = anyio.run(run, options.accounts, options.seconds)
    longest = max(max(phase.lags, default=0.0) for phase in found[1:])
    hand_over(options.results, [Target("longest lag beside a hostile datacenter", longest * 1000, unit="ms")])
    head = ["", "lag p50", "p99", "most", "answers to the others", "p99", "tricks", "memory so far"]
    title = f"What one account with a hostile datacenter costs {options.accounts} others in its process"
    print("\n".join(Table(title, head, [phase.row() for phase in found]).lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
