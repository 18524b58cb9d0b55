"""What a lost connection costs: CPU of the process for each reconnect, until the new link is proven.

    python -m tests.bench.reconnect [--accounts 100] [--rounds 12] [--json]

Each contender is a process of its own with a sandbox of its own, which resets all its connections at once, again and
again; the contenders take turns, so that what else the machine does hits both alike.

**Holdfast** is the library's ``Engine`` with session files, journal and log, 32 accounts at a time and no stagger. Its
link is proven when the account is healthy on a new connection. **bare Telethon** has every setting its default and a
session file: it reconnects by itself, and its link is proven when a request that was made at once is answered.

CPU is counted from just before the reset until all links are proven and for a moment longer, in which is done what was
put off. The median of the rounds counts.
"""

import argparse
import asyncio
import gc
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
from attrs import define, frozen
from telethon import TelegramClient
from telethon.tl.functions.updates import GetStateRequest

from adapters.sandbox import Fault, FaultKind, SandboxProcess
from adapters.telegram import Datacenter
from engine.app.engine import Engine
from engine.app.run import COLLECTIONS
from engine.config import AccountConfig, Config, DatacenterConfig, Fleet, Storage, Telegram
from engine.console import logs
from states import Policy, State
from states.schedules import Health
from tests.bench.storage.memory import API, AT_ONCE, ROOT, prepare
from tests.bench.table import Table, Target, add_option, hand_over, middle, number, ratio

STABLE_AFTER: Final = 0.5
"""Seconds after which a link is stable, in place of a minute: the loss of an unstable one is another measurement."""
MOMENT: Final = 0.5
"""Seconds that are counted after the last link was proven."""
REST: Final = 1.0
"""Seconds between two rounds."""
LOOK_EVERY: Final = 0.02
TIMEOUT: Final = 120.0
"""Seconds for one step of a contender; on a machine that is not overrun it takes one or two."""
MOST_TIMES_BARE: Final = 2.0
Proven = Callable[[], Awaitable[None]]
"""Return when each account has a link that was proven after the reset."""


# --- the contenders, each in its process -----------------------------------------------------------------------------


@asynccontextmanager
async def engine(given: Mapping[str, Any]) -> AsyncIterator[tuple[Proven, Proven]]:
    """The engine: its accounts prove their links by themselves."""
    config = Config(
        telegram=Telegram(api_id=API[0], api_hash=API[1], datacenter=DatacenterConfig(**given["datacenter"])),
        accounts=tuple(AccountConfig(name=Path(path).stem, session=Path(path)) for path in given["sessions"]),
        storage=Storage(directory=Path(given["directory"])),
        fleet=Fleet(connects_at_once=AT_ONCE, stagger=0.0),
        states=Policy(healthy=Health(stable_after=STABLE_AFTER)),
    )
    running = Engine(config)
    links: dict[str, int] = {}

    async def settle() -> None:
        runners = running.fleet.runners
        while not (runners and all(each.snapshot.stable for each in runners.values())):
            await asyncio.sleep(LOOK_EVERY)
        links.update((name, each.snapshot.links) for name, each in runners.items())

    async def proven() -> None:
        waiting = dict(running.fleet.runners)
        while waiting:
            name = next(iter(waiting))
            snapshot = waiting[name].snapshot
            if snapshot.state is State.HEALTHY and snapshot.links > links[name]:
                del waiting[name]
            else:
                await asyncio.sleep(LOOK_EVERY)

    gc.collect()  # as ``run`` does
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)
    with logs.opened(Path(given["directory"]) / "logs", recent=logs.RecentLines()):
        async with running:
            yield settle, proven


@asynccontextmanager
async def bare(given: Mapping[str, Any]) -> AsyncIterator[tuple[Proven, Proven]]:
    """Bare clients: a request of each is kept by Telethon until it is connected again."""
    clients = [TelegramClient(path, *API) for path in given["sessions"]]
    turns = anyio.CapacityLimiter(AT_ONCE)

    async def connect(client: Any) -> None:
        async with turns:
            await client.connect()

    async def settle() -> None:
        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(client, GetStateRequest())

    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(connect, client)
    yield settle, settle
    for client in clients:
        await client.disconnect()


CONTENDERS: Final[Mapping[str, Callable[[Mapping[str, Any]], AbstractAsyncContextManager[tuple[Proven, Proven]]]]] = {
    "Holdfast": engine,
    "bare Telethon": bare,
}


async def contend(name: str, given: Mapping[str, Any]) -> None:
    """Be a contender: a line on stdin for each step, and a line of JSON on stdout when it is done.

    ``settle`` waits until all are in order and begins to count, ``reset`` says that the connections are reset.
    """
    used = time.process_time()
    async with CONTENDERS[name](given) as (settle, proven):
        while step := (await anyio.to_thread.run_sync(sys.stdin.readline)).strip():
            with anyio.fail_after(TIMEOUT):
                if step == "settle":
                    await settle()
                    await asyncio.sleep(REST)
                    used = time.process_time()
                else:
                    await proven()
                    await asyncio.sleep(MOMENT)
            print(json.dumps(time.process_time() - used), flush=True)


# --- the driver ------------------------------------------------------------------------------------------------------


@define(eq=False)
class Subject:
    """A contender's process and its sandbox."""

    sandbox: SandboxProcess
    process: "subprocess.Popen[str]"
    accounts: int

    async def round(self) -> float:
        """Reset all connections; return the CPU seconds of each reconnect."""
        await anyio.to_thread.run_sync(self._step, "settle")
        accepted = await self._accepted()
        await self.sandbox.inject(Fault(FaultKind.RESET))
        used = await anyio.to_thread.run_sync(self._step, "reset")
        again = await self._accepted() - accepted
        assert again >= self.accounts, f"{again} of {self.accounts} connected again"
        return used / self.accounts

    async def _accepted(self) -> int:
        return int((await self.sandbox.stats())["accepted"])

    def _step(self, name: str) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A contender ended before its time; what it said is above.")
        return float(json.loads(line))


@contextmanager
def _process(name: str, given: Mapping[str, Any]) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.bench.reconnect", "--contender", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(given) + "\n")
        try:
            yield process
        finally:
            process.stdin.close()


@asynccontextmanager
async def subject(directory: Path, name: str, accounts: int) -> AsyncIterator[Subject]:
    """Start a contender with accounts of its own."""
    directory.mkdir()
    async with SandboxProcess.start() as sandbox:
        datacenter = {
            "id": sandbox.dc_id, "host": "127.0.0.1", "port": sandbox.port, "public_key": sandbox.public_key,
        }  # fmt: skip
        sessions = await prepare(directory, sandbox, accounts)
        with _process(name, {"sessions": sessions, "datacenter": datacenter, "directory": str(directory)}) as process:
            yield Subject(sandbox, process, accounts)


async def measure(accounts: int, rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of a reconnect in each round, by contender; a first round is not counted."""
    found: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory(prefix="holdfast-reconnect-") as place:
        async with AsyncExitStack() as stack:
            subjects = {
                name: await stack.enter_async_context(subject(Path(place) / f"{index}", name, accounts))
                for index, name in enumerate(CONTENDERS)
            }
            for turn in range(rounds + 1):
                for name, each in subjects.items():
                    took = await each.round()
                    if turn:
                        found[name].append(took)
    return found


@frozen
class Cost:
    """What a reconnect of one contender costs (ms of CPU)."""

    median: float
    least: float
    most: float


def table(accounts: int, found: Mapping[str, Sequence[float]]) -> Table:
    """Return the costs beside those of bare clients."""
    costs = {name: Cost(middle(each) * 1000, min(each) * 1000, max(each) * 1000) for name, each in found.items()}
    mine, theirs = costs.values()
    rows = [
        [
            name,
            f"{cost.median:.2f} ms",
            f"{cost.least:.2f} ms–{cost.most:.2f} ms",
            number(ratio(cost.median, theirs.median)),
        ]
        for name, cost in costs.items()
    ]
    rounds = len(next(iter(found.values())))
    return Table(
        f"CPU of one reconnect: {accounts} accounts whose connections are reset at once, {rounds} times",
        ["", "median", "least and most", "ratio"],
        rows,
        [
            Target(
                "CPU of a reconnect, until the link is proven",
                ratio(mine.median, theirs.median),
                most=MOST_TIMES_BARE,
                against="bare Telethon",
                headline=True,
            )
        ],
    )


def main() -> int:
    """Print the table; return 0 if the target is met, 1 if not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.prog = "python -m tests.bench.reconnect"
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--json", action="store_true", help="CPU seconds of a reconnect in each round")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    add_option(parser)
    options = parser.parse_args()
    if options.contender:
        logging.getLogger("telethon").setLevel(logging.CRITICAL)  # what it says of each reset
        given = json.loads(sys.stdin.readline())
        at = given["datacenter"]
        Datacenter(at["id"], at["host"], at["port"], at["public_key"]).trust()
        anyio.run(contend, options.contender, given, backend_options={"use_uvloop": find_spec("uvloop") is not None})
        return 0
    found = anyio.run(measure, options.accounts, options.rounds)
    result = table(options.accounts, found)
    hand_over(options.results, result.targets)
    print(json.dumps(found) if options.json else "\n".join(result.lines()))
    return 0 if all(target.kept for target in result.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
