"""What clients of the web server cost the engine: the lag of its loop, before and while they are at it.

    uv run python -m tests.bench.web_load [--accounts N] [--clients N] [--seconds S]

An engine with accounts that are probed five times a second each has a web server, and slow clients come: a thousand
that say nothing, that send a head byte by byte, or that do not read their answers. Each that loses its place connects
again a second later. At last, a few ask as fast as they can. All of it is one run; the clients, an honest one among
them that asks ``/healthz`` ten times a second, and the datacenter are other processes.
"""

import argparse
import asyncio
import logging
import resource
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from attrs import define, field
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.sandbox import SandboxProcess
from engine import Engine
from engine.app.process import tidy_memory
from states import State, Step
from tests.bench.table import Table, Target, add_option, hand_over
from tests.bench.web_clients import HOST, KINDS
from tests.engine.harness import EngineHarness

BEAT = 0.002
"""Seconds between two beats of the loop."""
PROBED = "states: {healthy: {probe_every: 200ms, prove_every: 1s}}\nfleet: {stagger: 0}\n"
HASTY = 20
"""As many clients ask as fast as they can."""
NAMES = {
    "before": "nobody else",
    "silent": "say nothing",
    "dribble": "send a head byte by byte",
    "unread": "do not read answers",
    "hasty": f"{HASTY} that ask for metrics as fast as they can",
    "after": "nobody else, afterwards",
}


@define
class Phase:
    """What was measured while some clients were there. All times are seconds."""

    name: str
    lags: list[float] = field(factory=list)
    own: list[float] = field(factory=list)
    """Of each lag what this process has computed meanwhile: the rest was other work on the machine."""
    answers: list[float] = field(factory=list)
    """How long the honest client waited for each answer; −1 if there was none."""
    made: int = 0
    """Connections of the others."""
    lost: int = 0
    """Accounts that were healthy and then were not."""
    cpu: float = 0.0
    """Of one core."""
    memory: int = 0

    def row(self) -> list[str]:
        """Return the row of the table."""
        answered = [took for took in self.answers if took >= 0]
        lags = [f"{at(self.lags, part) * 1000:.1f} ms" for part in (0.5, 0.99)]
        lags += [f"{at(self.own, part) * 1000:.1f} ms" for part in (0.99, 1.0)]
        asked = [f"{len(answered)} of {len(self.answers)}", f"{at(answered, 0.99) * 1000:.0f} ms"]
        rest = [f"{self.made:,}", f"{self.cpu * 100:.0f} %", f"{self.memory / 1024:.0f} MB", f"{self.lost}"]
        return [NAMES[self.name], *lags, *asked, *rest]


def at(values: Sequence[float], part: float) -> float:
    """Return a quantile."""
    ordered = sorted(values) or [0.0]
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


@asynccontextmanager
async def process(take: Callable[[bytes], None], *words: str) -> AsyncIterator[None]:
    """Run a process of clients for the block; ``take`` is given what it prints, line by line."""
    command = [sys.executable, "-m", "tests.bench.web_clients", *words]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    out = child.stdout

    async def read() -> None:
        async for line in out:
            take(line)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        try:
            yield
        finally:
            child.kill()
            await child.wait()
            tasks.cancel_scope.cancel()


@define
class Measurement:
    """The phase that is being measured, for all tasks."""

    phase: Phase
    connections: int = 0

    async def beat(self) -> None:
        """Measure how late the loop is."""
        while True:
            began, used = time.perf_counter(), time.process_time()
            await asyncio.sleep(BEAT)
            lag = max(0.0, time.perf_counter() - began - BEAT)
            self.phase.lags.append(lag)
            self.phase.own.append(min(lag, time.process_time() - used))

    def observe(self, _: str, step: Step) -> None:
        """Count accounts that lose their health."""
        self.phase.lost += step.record.source is State.HEALTHY and step.record.target is not State.HEALTHY

    def answered(self, line: bytes) -> None:
        """Take an answer that the honest client got."""
        self.phase.answers.append(float(line))

    def made(self, line: bytes) -> None:
        """Take how many connections the others have made."""
        self.connections = int(line)

    async def during(self, phase: Phase, seconds: float) -> None:
        """Measure a phase for so long."""
        self.phase = phase
        began, used = time.perf_counter(), time.process_time()
        await asyncio.sleep(seconds)
        phase.cpu = (time.process_time() - used) / (time.perf_counter() - began)
        self.phase = Phase("between")


async def run(accounts: int, clients: int, seconds: float) -> list[Phase]:
    """Measure each kind of clients, and before and after them."""
    with tempfile.TemporaryDirectory(prefix="holdfast-web-load-") as name:
        async with SandboxProcess.start() as sandbox:
            harness = EngineHarness(Path(name))
            with socket.create_server((HOST, 0)) as listener:
                port = listener.getsockname()[1]
            await configure(harness, sandbox, accounts, PROBED + f"web: {{listen: {HOST}:{port}}}\n")
            async with Engine.from_config(harness.config) as engine:
                for account in engine.config.accounts:
                    await engine.account(account.name).ready()
                tidy_memory()
                return await measure(engine, port, clients, seconds)


async def configure(harness: EngineHarness, sandbox: SandboxProcess, accounts: int, rest: str) -> None:
    """Write a config with so many accounts that are logged in."""
    (harness.directory / "dc.pem").write_text(sandbox.public_key)
    lines = []
    for number in range(accounts):
        phone = f"+999662{number:04}"
        session = SQLiteSession(str(harness.directory / f"{number}.session"))
        session.set_dc(sandbox.dc_id, "127.0.0.9", 443)
        session.auth_key = AuthKey(await sandbox.authorize(phone))
        session.save()
        session.close()
        lines.append(f'  - {{name: Account {number}, session: "{number}", phone: "{phone}"}}')
    where = f"{{id: {sandbox.dc_id}, host: 127.0.0.1, port: {sandbox.port}, public_key: dc.pem}}"
    harness.write(where, "\n".join(lines), rest)


async def measure(engine: Engine, port: int, clients: int, seconds: float) -> list[Phase]:
    """Measure all phases, one after the other."""
    measurement, found = Measurement(Phase("between")), list[Phase]()
    engine.fleet.listeners.append(measurement.observe)
    async with process(measurement.answered, "ask", str(port)), anyio.create_task_group() as tasks:
        tasks.start_soon(measurement.beat)
        await asyncio.sleep(2)  # what comes once: the first answers, the first text of the metrics
        for name in NAMES:
            phase = Phase(name)
            if name in KINDS:
                many = HASTY if name == "hasty" else clients
                async with process(measurement.made, name, str(port), str(many)):
                    with anyio.fail_after(60):
                        while measurement.connections < many:
                            await asyncio.sleep(0.05)
                    await measurement.during(phase, seconds)
                    phase.made, measurement.connections = measurement.connections, 0
            else:
                await measurement.during(phase, seconds)
            phase.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            found.append(phase)
        tasks.cancel_scope.cancel()
    engine.fleet.listeners.remove(measurement.observe)
    return found


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each kind of clients")
    add_option(parser)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    found = anyio.run(run, options.accounts, options.clients, options.seconds, backend_options={"use_uvloop": True})
    targets = targets_of(found)
    hand_over(options.results, targets)
    head = ["clients", "lag p50", "p99", "own p99", "own most", "answers to an honest one", "p99"]
    head += ["connections", "CPU", "memory", "lost"]
    title = f"What {options.clients:,} slow clients cost an engine with {options.accounts} accounts"
    print("\n".join(Table(title, head, [phase.row() for phase in found], targets).lines()))
    return 0 if all(target.kept for target in targets) else 1


def targets_of(found: Sequence[Phase]) -> list[Target]:
    """Return what is judged: nobody loses a connection by them, and the honest client has its answers."""
    by = {phase.name: phase for phase in found}
    slow = [by[name] for name in ("silent", "dribble", "unread")]
    asked = [took for phase in slow for took in phase.answers]
    worst = max(at(phase.own, 0.99) for phase in slow)
    answered = sum(took >= 0 for took in asked) / max(1, len(asked))
    return [
        Target("own loop lag p99 beside slow clients", worst * 1000, unit="ms"),
        Target("own loop lag p99 before them", at(by["before"].own, 0.99) * 1000, unit="ms"),
        Target("accounts that lost their health meanwhile", sum(phase.lost for phase in found), most=0, unit=""),
        Target("questions of an honest client that were answered", answered * 100, least=50, unit="%"),
    ]


if __name__ == "__main__":
    sys.exit(main())
