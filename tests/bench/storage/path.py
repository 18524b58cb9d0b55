"""The whole path of an event: decided, durable, logged; a hundred accounts, each waits for its own.

Each program stores each event. The engine logs what its operator wants to know, three lines for five of these events;
the naive program logs one line for each.

Holdfast is measured as the command ``run`` lets it run: on uvloop, and with that command's settings of the garbage
collector. The naive program has what Python comes with; one row is Holdfast with that.
"""

import asyncio
import gc
import importlib.util
import itertools
import json
import logging
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
from attrs import frozen
from transitions import Machine

from adapters.sqlite import JournalWriter
from adapters.sqlite.codec import encode_body, encode_snapshot
from engine.console import logs
from engine.console.messages import narrate
from states import Event, Policy, State, begin, step
from states.events import Connected, Elapsed, NetworkLost, OfVisit, Stable, Started, TurnGranted
from tests.bench.storage.producers import GUIDE
from tests.bench.table import Table, Target, middle, number, ratio

ACCOUNTS = 100
Path_ = Callable[[str, Event], Awaitable[None]]
"""Take an event of an account; returns when the decision is durable and logged."""
Contender = Callable[[Path], AbstractAsyncContextManager[Path_]]
MAKE = "create table if not exists log (account text, at real, source text, event text, target text, body text)"
INSERT = "insert into log values (?, ?, ?, ?, ?, ?)"
SAVE = "insert or replace into latest values (?, ?)"


def life() -> Iterator[Event]:
    """Yield what happens to an account, for ever: it connects, holds, loses the network, waits."""
    yield Started(credentials="key")
    for link in itertools.count(1):
        yield TurnGranted(generation=0)
        yield Connected(link=link)
        yield Stable(generation=0)
        yield NetworkLost(link=link, detail="connection reset", chain=("ConnectionResetError: reset",))
        if link == 1:
            continue  # a stable link is lost: the next attempt comes at once
        yield Elapsed(generation=0)


def decided(accounts: dict[str, list[object]], account: str, event: Event) -> object:
    """Decide an event as the runner does, and return the step."""
    memory = accounts.get(account)
    if memory is None:
        memory = accounts[account] = [begin(None, now=time.time()), random.Random(1)]
    snapshot, rng = memory
    if isinstance(event, OfVisit):
        event = type(event)(generation=snapshot.generation)
    decision = step(snapshot, event, now=time.time(), rng=rng, policy=POLICY)  # type: ignore[arg-type]
    memory[0] = decision.snapshot
    return decision


POLICY = Policy()


@asynccontextmanager
async def ours(directory: Path) -> AsyncIterator[Path_]:
    """``step``, the journal, the engine's own log."""
    accounts: dict[str, list[object]] = {}
    journal = await JournalWriter.open(directory / "ours.db", on_trouble=lambda *_: None)
    with logs.opened(directory / "logs", recent=logs.RecentLines()):

        async def take(account: str, event: Event) -> None:
            decision = decided(accounts, account, event)
            await journal.write(account, decision.record, decision.snapshot)  # type: ignore[attr-defined]
            narrate(account, decision)  # type: ignore[arg-type]
            await journal.flush()

        yield take
    await journal.aclose(10)


@asynccontextmanager
async def with_aiosqlite(directory: Path) -> AsyncIterator[Path_]:
    """The same, with aiosqlite and the guide's settings in the journal's place."""
    import aiosqlite  # of the group ``bench``: the tests run without it

    accounts: dict[str, list[object]] = {}
    async with aiosqlite.connect(directory / "aiosqlite.db", timeout=30.0, isolation_level=None) as database:
        for pragma in (*GUIDE, MAKE, "create table latest (account text primary key, snapshot text)"):
            await database.execute(pragma)
        with logs.opened(directory / "logs", recent=logs.RecentLines()):
            turn = asyncio.Lock()  # a transaction of one connection belongs to one task

            async def take(account: str, event: Event) -> None:
                decision = decided(accounts, account, event)
                record = decision.record  # type: ignore[attr-defined]
                row = (account, record.at, record.source, record.event, record.target, encode_body(record))
                async with turn:
                    await database.execute("begin immediate")
                    await database.execute(INSERT, row)
                    await database.execute(SAVE, (account, encode_snapshot(decision.snapshot)))  # type: ignore[attr-defined]
                    await database.execute("commit")
                narrate(account, decision)  # type: ignore[arg-type]

            yield take


TRANSITIONS = [
    {"trigger": "Started", "source": "connecting", "dest": None},
    {"trigger": "TurnGranted", "source": ["connecting", "reconnecting"], "dest": None},
    {"trigger": "Connected", "source": ["connecting", "reconnecting"], "dest": "healthy"},
    {"trigger": "Stable", "source": "healthy", "dest": None},
    {"trigger": "NetworkLost", "source": "healthy", "dest": "reconnecting"},
    {"trigger": "Elapsed", "source": ["backoff", "reconnecting"], "dest": "reconnecting"},
]


@asynccontextmanager
async def naive(directory: Path) -> AsyncIterator[Path_]:
    """A ``Machine`` per account, ``sqlite3`` as it comes on the loop, the standard library's log."""
    machines: dict[str, Machine] = {}
    log = logging.getLogger("naive")
    log.propagate = False
    log.setLevel(logging.INFO)
    handler = logging.FileHandler(directory / "naive.log")
    handler.setFormatter(logging.Formatter("%(asctime)s - %(levelname)s - %(message)s", logs.DATES))
    log.addHandler(handler)
    with closing(sqlite3.connect(directory / "naive.db")) as database:
        database.execute(MAKE)
        database.execute("create table latest (account text primary key, snapshot text)")

        async def take(account: str, event: Event) -> None:
            machine = machines.get(account)
            if machine is None:
                states = [state.value for state in State]
                machine = machines[account] = Machine(states=states, transitions=TRANSITIONS, initial="connecting")
            source, name = machine.state, type(event).__name__
            machine.trigger(name)
            row = (account, time.time(), source, name, machine.state, json.dumps({"event": name}))
            database.execute(INSERT, row)
            database.execute(SAVE, (account, json.dumps({"state": machine.state})))
            database.commit()
            log.info("%s: %s -> %s by %s", account, source, machine.state, name)
            await anyio.lowlevel.checkpoint()

        yield take
    log.removeHandler(handler)
    handler.close()


CONTENDERS: dict[str, Contender] = {
    "Holdfast": ours,
    "a Machine per account, `sqlite3` as it comes, stdlib logging": naive,
    "Holdfast with aiosqlite": with_aiosqlite,
}


COLLECTIONS = (20_000, 5, 400)
"""Thresholds of the garbage collector in ``run``; not imported from there, because Telethon would come with it."""


@contextmanager
def set_up_as_run() -> Iterator[dict[str, bool]]:
    """Set the process up as ``run`` does, and yield which loop to use."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)
    try:
        yield {"use_uvloop": importlib.util.find_spec("uvloop") is not None}
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def set_up_by_python() -> Iterator[dict[str, bool]]:
    """Leave the process as Python sets it up, and yield which loop to use."""
    gc.collect()  # what the program before has left
    yield {"use_uvloop": False}


@frozen
class Rate:
    """What a contender did: events per second, and CPU microseconds per event, in all and on the loop's thread."""

    events: float
    cpu: float
    loop: float


async def rate(contender: Contender, directory: Path, seconds: float) -> Rate:
    """Return what a contender does in so many seconds."""
    directory.mkdir()
    done = 0
    async with contender(directory) as take:
        began, cpu, loop = time.perf_counter(), time.process_time(), time.thread_time()
        end = began + seconds

        async def live(account: str) -> None:
            nonlocal done
            for event in life():
                if time.perf_counter() >= end:
                    break
                await take(account, event)
                done += 1

        async with anyio.create_task_group() as tasks:
            for index in range(ACCOUNTS):
                tasks.start_soon(live, f"Account {index}")
        took, cpu, loop = time.perf_counter() - began, time.process_time() - cpu, time.thread_time() - loop
    return Rate(done / took, cpu / done * 1e6, loop / done * 1e6)


def run(directory: Path, *, seconds: float, rounds: int) -> Table:
    """Measure all contenders, in turn, and return the table."""
    mine, plain, threaded = CONTENDERS
    ways = {
        mine: (ours, set_up_as_run),
        "Holdfast, with asyncio's loop and Python's settings of the collector": (ours, set_up_by_python),
        plain: (naive, set_up_by_python),
        threaded: (with_aiosqlite, set_up_as_run),
    }
    found: dict[str, list[Rate]] = {name: [] for name in ways}
    for turn in range(rounds):
        for index, (name, (contender, set_up)) in enumerate(ways.items()):
            with set_up() as loop_options:
                where = directory / f"path-{turn}-{index}"
                found[name].append(anyio.run(rate, contender, where, seconds, backend_options=loop_options))
    events, cpu, loop = (
        {name: middle([getattr(each, what) for each in rates]) for name, rates in found.items()}
        for what in ("events", "cpu", "loop")
    )
    return Table(
        f"An event's whole path, {ACCOUNTS} accounts: decided, durable, logged",
        ["", "events per second", "ratio", "CPU µs per event", "of them on the loop's thread"],
        [
            [
                name,
                number(events[name]),
                number(ratio(events[name], events[plain])),
                number(cpu[name]),
                number(loop[name]),
            ]
            for name in ways
        ],
        [
            Target(
                "events, decided, durable and logged",
                ratio(events[mine], events[plain]),
                least=30,
                against="a naive program",
                headline=True,
            ),
            Target(
                "events, decided, durable and logged",
                ratio(events[mine], events[threaded]),
                least=10,
                against="aiosqlite",
                headline=True,
            ),
            Target("CPU per event", cpu[mine], most=40, unit="µs", headline=True),
            Target("CPU per event on the loop's thread", loop[mine], most=25, unit="µs", headline=True),
        ],
    )
