"""The fleet's manners, measured: real clients, real TCP, real session files and a real journal, all on loopback.

    python -m tests.bench.fleet [--clients 500] [--rounds 3] [--limit 32] [--stagger 0] [--outage 30] [--own] [--json]

The sandbox is a process of its own. First as many bare Telethon clients (every setting its default, so they reconnect
by themselves, without a limit and without a proof of health) lose all their connections by reset; then the engine's
accounts do. The yardstick is the time until each bare client has an answer again to a request that was made at once.
Then the port is refused for ``--outage`` seconds and every connection reset. Times count from the reset, or from the
end of the outage, until *all* are back.

What their own schedules would still have waited is worked out from the policy: each account tries at once, then after
waits drawn as ``step`` draws them, and the first try after the end of the outage gets through; the last account counts.
``--own`` measures it, too, by an outage in which nothing watches the network (adds a minute or two).
"""

import argparse
import gc
import importlib.util
import json
import logging
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from attrs import define, field, frozen
from telethon import TelegramClient
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession
from telethon.tl.functions.updates import GetStateRequest

from adapters.sandbox import Fault, FaultKind, SandboxProcess
from adapters.sqlite import JournalWriter
from adapters.system import SystemClock
from adapters.telegram import Datacenter, TelegramConnector
from engine.app.run import COLLECTIONS
from engine.console import logs
from engine.console.messages import narrate
from engine.fleet.connect_limiter import ConnectLimiter
from engine.fleet.network_probe import NetworkProbe
from engine.fleet.outage_detector import OutageDetector
from engine.fleet.runner import Runner
from engine.fleet.supervisor import Supervisor
from states import Policy, State, Step
from states.schedules import Health
from tests.bench.table import Table, Target, add_option, hand_over

API = (12345, "0123456789abcdef0123456789abcdef")
TIMEOUT = 300.0
"""Seconds after which a measurement is given up."""
DESCRIPTORS_PER_CLIENT = 4
"""A socket and a session file with its journal; the sandbox is another process."""
LOOK_EVERY = 0.005
FEW_CLIENTS = 500
MOST_TIMES_CONNECTED, MOST_TIMES_CONNECTED_MANY = 3.0, 4.0
"""Of what bare clients need until each has a connection: with so few clients, and with more."""
MOST_TIMES_THE_YARDSTICK = 10.0
"""Of what they need until each has an answer."""
MOST_OF_OWN_WAITS = 1 / 3


@frozen
class FleetHarness:
    """A running sandbox, and session files that are logged in."""

    directory: Path
    sandbox: SandboxProcess
    clients: int

    async def session(self, kind: int, number: int) -> Path:
        """Make a session file as Telethon writes it; ``kind`` 1 is the engine's, 2 the bare clients'."""
        path = self.directory / f"{kind}-{number}.session"
        session = SQLiteSession(str(path))
        session.set_dc(self.sandbox.dc_id, "127.0.0.1", self.sandbox.port)
        session.auth_key = AuthKey(await self.sandbox.authorize(f"+99966{kind}{number:04}"))
        session.save()
        session.close()
        return path

    async def reset(self) -> None:
        """Reset every connection; what the server saw counts from here."""
        await self.sandbox.reset_counters()
        await self.sandbox.inject(Fault(FaultKind.RESET))

    async def most_handshakes(self) -> int:
        """Return how many connections at once had no answer yet, since the reset."""
        return int((await self.sandbox.stats())["handshakes"]["most"])


async def until(holds: Callable[[], bool], what: str) -> float:
    """Wait until something holds; return the seconds it took."""
    began = time.perf_counter()
    while not holds():
        if time.perf_counter() - began > TIMEOUT:
            raise SystemExit(f"Gave up after {TIMEOUT:.0f} s: {what}")
        await anyio.sleep(LOOK_EVERY)
    return time.perf_counter() - began


# --- the yardstick ---------------------------------------------------------------------------------------------------


async def bare(harness: FleetHarness, rounds: int) -> tuple[list[float], list[float], int]:
    """Return what bare clients need after each mass reset.

    Seconds until all are connected, and until all have an answer to a request that was made then; and the most
    handshakes at once.
    """
    clients = [TelegramClient(str(await harness.session(2, number)), *API) for number in range(harness.clients)]
    slots = anyio.CapacityLimiter(32)

    async def connect(client: Any) -> None:
        async with slots:
            await client.connect()

    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(connect, client)
    took, answered, most = [], [], 0
    for _ in range(rounds):
        await anyio.sleep(2)
        accepted = (await harness.sandbox.stats())["accepted"]
        began = time.perf_counter()  # before the reset, as for the engine: clients are lost while it is carried out
        await harness.reset()
        while (await harness.sandbox.stats())["accepted"] < accepted + harness.clients:
            if time.perf_counter() - began > TIMEOUT:
                raise SystemExit("Gave up on the bare clients: not all came back")
            await anyio.sleep(LOOK_EVERY)
        await until(lambda: not any(client._sender._reconnecting for client in clients), "bare clients reconnect")
        took.append(time.perf_counter() - began)
        most = max(most, await harness.most_handshakes())
        await anyio.sleep(2)
        began = time.perf_counter()
        await harness.reset()
        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(client, GetStateRequest())
        answered.append(time.perf_counter() - began)
    for client in clients:
        await client.disconnect()
    return took, answered, most


# --- the engine ------------------------------------------------------------------------------------------------------


@define(eq=False)
class Engine:
    """The engine's accounts, as ``engine run`` puts them together."""

    harness: FleetHarness
    supervisor: Supervisor
    limiter: ConnectLimiter
    watched: bool = True
    """Whether a network probe runs; without one, every account keeps to its own schedule."""
    connectors: dict[str, TelegramConnector] = field(factory=dict)
    network: OutageDetector = field(init=False)
    probe: NetworkProbe = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.network = OutageDetector(self.limiter, self.supervisor.notify)
        self.probe = NetworkProbe(self.connectors, self.network.datacenter_answers)

    def observe(self, account: str, step: Step) -> None:
        """Look at a decision."""
        narrate(account, step)
        if self.watched:
            self.network.observe(account, step)
            self.probe.observe(account, step)

    def all_healthy(self) -> bool:
        """Say whether every account is."""
        return all(runner.snapshot.state is State.HEALTHY for runner in self.supervisor.runners.values())

    async def settle(self) -> None:
        """Wait until every link is stable."""
        runners = self.supervisor.runners.values()
        await until(lambda: all(runner.snapshot.stable for runner in runners), "every link stable")
        gc.collect()

    async def until_back(self) -> float:
        """Wait until every account has lost its link and is healthy again; return the seconds it took."""
        runners = list(self.supervisor.runners.values())
        links = [runner.snapshot.links for runner in runners]
        return await until(
            lambda: self.all_healthy() and all(map(lambda at, link: at.snapshot.links > link, runners, links)),
            "every account healthy",
        )


@asynccontextmanager
async def engine(harness: FleetHarness, policy: Policy, limit: int, stagger: float) -> AsyncIterator[Engine]:
    """Run the engine's accounts for the length of the block."""
    sandbox = harness.sandbox
    datacenter = Datacenter(sandbox.dc_id, "127.0.0.1", sandbox.port, sandbox.public_key)
    journal = await JournalWriter.open(harness.directory / "engine.db", on_trouble=lambda *_: None)
    supervisor = Supervisor({}, anyio.Event(), policy.shutting_down.grace)
    fleet = Engine(harness, supervisor, ConnectLimiter(limit, stagger))
    for number in range(harness.clients):
        name = f"Account {number}"
        fleet.connectors[name] = TelegramConnector(await harness.session(1, number), *API, datacenter)
        supervisor.runners[name] = Runner(
            account=name,
            connector=fleet.connectors[name],
            limiter=fleet.limiter,
            journal=journal,
            clock=SystemClock(),
            policy=policy,
            observer=fleet.observe,
        )
    gc.collect()
    gc.freeze()  # both as engine run does
    gc.set_threshold(*COLLECTIONS)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run)
        tasks.start_soon(fleet.probe.run)
        await until(fleet.all_healthy, "every account healthy for the first time")
        yield fleet
        supervisor.stop.set()
        await until(lambda: all(runner.ended.is_set() for runner in supervisor.runners.values()), "every life over")
        tasks.cancel_scope.cancel()
    await journal.aclose(10)


async def mass_resets(fleet: Engine, rounds: int) -> tuple[list[float], int]:
    """Return how long the engine needs after each mass reset, and the most handshakes at once."""
    took, most = [], 0
    for _ in range(rounds):
        await fleet.settle()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fleet.harness.reset)
            took.append(await fleet.until_back())
        most = max(most, await fleet.harness.most_handshakes())
    return took, most


async def outage(fleet: Engine, length: float) -> tuple[float, int, int]:
    """Refuse the port and reset all; return the seconds from its end to health, most handshakes, and attempts."""
    await fleet.settle()
    before = sum(runner.snapshot.attempt + runner.snapshot.links for runner in fleet.supervisor.runners.values())
    await fleet.harness.sandbox.inject(Fault(FaultKind.REFUSE))
    await fleet.harness.reset()
    await anyio.sleep(length)
    tries = sum(runner.snapshot.links for runner in fleet.supervisor.runners.values()) - before
    await fleet.harness.sandbox.clear()
    return (
        await until(fleet.all_healthy, "every account healthy after the outage"),
        await fleet.harness.most_handshakes(),
        tries,
    )


def own_waits(policy: Policy, clients: int, length: float, rng: random.Random) -> float:
    """Return how long after the end of an outage the last of ``clients`` tries by its own schedule."""
    last = 0.0
    for _ in range(clients):
        at, nth = 0.0, 0
        while at < length:
            nth += 1
            at += policy.backoff.network.delay(nth, rng.random())
        last = max(last, at - length)
    return last


# --- the table -------------------------------------------------------------------------------------------------------


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything."""
    policy = Policy(healthy=Health(stable_after=options.stable_after))
    rng = random.Random(1)
    own = statistics.median(own_waits(policy, options.clients, options.outage, rng) for _ in range(25))
    with tempfile.TemporaryDirectory(prefix="holdfast-fleet-") as name:
        directory = Path(name)
        with logs.opened(directory / "logs", recent=logs.RecentLines()):
            logging.getLogger("telethon").setLevel(logging.CRITICAL)  # the bare clients' complaints
            async with SandboxProcess.start() as sandbox:
                Datacenter(sandbox.dc_id, "127.0.0.1", sandbox.port, sandbox.public_key).trust()
                harness = FleetHarness(directory, sandbox, options.clients)
                yardstick, answered, bare_most = await bare(harness, options.rounds)
                async with engine(harness, policy, options.limit, options.stagger) as fleet:
                    ours, most = await mass_resets(fleet, options.rounds)
                    healing, outage_most, tries = await outage(fleet, options.outage)
                    measured = None
                    if options.own:
                        fleet.watched = False
                        measured, _, _ = await outage(fleet, options.outage)
    return {
        "clients": options.clients,
        "limit": options.limit,
        "stagger": options.stagger,
        "reset": {
            "bare": statistics.median(yardstick),
            "bare_answered": statistics.median(answered),
            "engine": statistics.median(ours),
            "ratio": statistics.median(ours) / statistics.median(answered),
            "all_bare": yardstick,
            "all_answered": answered,
            "all_engine": ours,
            "most_handshakes": {"bare": bare_most, "engine": most},
        },
        "outage": {
            "length": options.outage,
            "engine": healing,
            "own": own,
            "own_measured": measured,
            "ratio": healing / own,
            "tries": tries,
            "most_handshakes": outage_most,
        },
    }


def show(result: dict[str, Any]) -> Table:
    """Return the results as a table, with the targets."""
    reset, dark, limit, clients = result["reset"], result["outage"], result["limit"], result["clients"]
    most = reset["most_handshakes"]
    connected = reset["engine"] / reset["bare"]
    measured = f", measured {dark['own_measured']:.1f} s" if dark["own_measured"] else ""
    rows = [
        [
            "mass reset",
            f"{reset['engine']:.2f} s",
            f"{reset['bare']:.2f} s: bare Telethon, until each had a connection",
            f"{connected:.1f}",
            f"{most['engine']} (bare: {most['bare']})",
        ],
        [
            "",
            "",
            f"{reset['bare_answered']:.2f} s: bare Telethon, until each had a request answered",
            f"{reset['ratio']:.1f}",
            "",
        ],
        [
            f"outage of {dark['length']:g} s, with {dark['tries']} attempts in it",
            f"{dark['engine']:.2f} s",
            f"{dark['own']:.1f} s: what their own schedules would still have waited{measured}",
            f"{dark['ratio']:.2f}",
            f"{dark['most_handshakes']}",
        ],
    ]
    bound = MOST_TIMES_CONNECTED if clients <= FEW_CLIENTS else MOST_TIMES_CONNECTED_MANY
    targets = [
        Target(
            f"mass reset of {clients:,}, until all are healthy",
            connected,
            most=bound,
            against="bare Telethon, each connected",
            headline=True,
        ),
        Target(
            f"mass reset of {clients:,}, until all are healthy",
            reset["ratio"],
            most=MOST_TIMES_THE_YARDSTICK,
            against="bare Telethon, each answered",
        ),
        Target(
            f"after an outage of {dark['length']:g} s, until all are healthy",
            dark["ratio"],
            most=MOST_OF_OWN_WAITS,
            against="their own schedules",
        ),
        Target("most handshakes at once", max(most["engine"], dark["most_handshakes"]), most=limit, unit=""),
    ]
    head = ["", "all healthy after", "against", "ratio", "most handshakes at once"]
    title = f"{clients:,} accounts, {limit} at a time, {result['stagger'] * 1000:g} ms apart"
    return Table(title, head, rows, targets)


def _uvloop() -> bool:
    """Say whether uvloop is there: the engine and the bare clients run on it then, as ``engine run`` does."""
    return importlib.util.find_spec("uvloop") is not None


def main() -> int:
    """Exit code 0 if every target is met, 1 if not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3, help="mass resets of each kind; the median counts")
    parser.add_argument("--limit", type=int, default=32, help="connects_at_once")
    parser.add_argument("--stagger", type=float, default=0.0, help="seconds between starts (the engine's default: 0.1)")
    parser.add_argument("--outage", type=float, default=30.0, help="seconds")
    parser.add_argument("--stable-after", type=float, default=10.0, help="seconds; shorter than 60 only to save time")
    parser.add_argument("--own", action="store_true", help="measure the accounts' own schedules, too")
    parser.add_argument("--json", action="store_true")
    add_option(parser)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.clients * DESCRIPTORS_PER_CLIENT + 500
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    result = anyio.run(measure, options, backend_options={"use_uvloop": _uvloop()})
    table = show(result)
    hand_over(options.results, table.targets)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print("\n".join(table.lines()))
    return 0 if all(target.kept for target in table.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
