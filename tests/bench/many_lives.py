"""What a fleet of many nodes costs its PostgreSQL server: beats of hundreds of lives, records, and routine snapshots.

    uv run python -m tests.bench.many_lives [--lives 400] [--accounts 2500] [--rows 20000]

A real server on this machine, which writes durably (fsync). Each life owns ``--accounts`` accounts, and all beat as
fast as the server answers, over sixteen connections; then as many records and as many routine snapshots are written
through the real journal. *Server* is the processor time of the server's processes that answer. ``engine simulate
--nodes`` reckons with these figures (``engine/simulate/nodes/costs.py``).
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import attrs
from attrs import frozen

from adapters.postgres.accounts import AccountRows
from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreConnection, StoreTimeouts
from adapters.postgres.journal import StoreJournal
from adapters.postgres.migrate import migrate
from adapters.postgres.nodes import NodeRows
from adapters.stores.nodes import NodeEntry
from states import Policy, begin
from states.events import NetworkLost
from tests.bench.table import Table, Target, add_option, hand_over, number
from tests.postgres.server import private_server
from tests.states.harness import AccountDriver

LINES: Final = 16
"""Connections that beat."""
ROUNDS: Final = 3
"""How often each life beats."""
LOOKS: Final = 5
TIMEOUTS: Final = StoreTimeouts(connect=60, query=600, idle=600, turn=600)
NOW: Final = 1_800_000_000.0
CHAIN: Final = ("ConnectionResetError: [Errno 104] Connection reset by peer",)
TICK: Final = os.sysconf("SC_CLK_TCK")


@frozen
class Spent:
    """What something took, all of it."""

    name: str
    count: int
    seconds: float
    server: float
    """Seconds of processor time of the server's processes that answered."""
    wal: float
    """Bytes of the log."""
    disk: float = 0.0
    """Bytes that the tables and indexes have grown by."""
    slow: float = 0.0
    """Seconds of the slowest of a hundred."""


def processor(pids: list[int]) -> float:
    """Return the seconds of processor time that processes have had."""
    found = 0.0
    for pid in pids:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        found += (int(text[11]) + int(text[12])) / TICK
    return found


async def measured(
    link: StoreConnection, name: str, count: int, act: Callable[[], Awaitable[Any]], tables: str = ""
) -> Spent:
    """Measure what is done by all other connections to this database; ``tables`` are those that grow."""
    await link.execute("CHECKPOINT")  # or it would pay for the pages that were touched before

    async def state() -> tuple[list[int], float, int]:
        rows = await link.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        size = "+".join([f"pg_total_relation_size('{table}')" for table in tables.split()] or ["0"])
        [[wal, bytes_]] = await link.execute(f"SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn, {size}")
        return [pid for (pid,) in rows], float(wal), int(bytes_)

    pids, wal, size = await state()
    used, began = processor(pids), time.perf_counter()
    times = await act() or [0.0, 0.0]
    took, used = time.perf_counter() - began, processor(pids) - used
    _, wal_after, size_after = await state()
    return Spent(name, count, took, used, wal_after - wal, size_after - size, quantiles(times, n=100)[-1])


async def fill(link: StoreConnection, lives: int, accounts: int) -> None:
    """Let each life own so many accounts."""
    await migrate(link)
    for life in range(1, lives + 1):
        await NodeRows(link).begin(life, NodeEntry(name=f"node {life}", host=f"host {life}", lease=15))
    await link.execute(
        f"""INSERT INTO accounts (name, owner, epoch)
            SELECT 'Account ' || n, n % {lives} + 1, 1 FROM generate_series(0, {lives * accounts - 1}) AS n"""
    )
    await link.execute("VACUUM ANALYZE")


async def beats(url: str, link: StoreConnection, lives: int, accounts: int) -> Spent:
    """Let all lives beat in turn."""
    address = StoreAddress.parse(url)
    lines = [await StoreConnection.open(address, application="beats", timeouts=TIMEOUTS) for _ in range(LINES)]
    times: list[float] = []

    async def beat(line: int, rounds: int) -> None:
        rows = NodeRows(lines[line])
        for _ in range(rounds):
            for life in range(line + 1, lives + 1, LINES):
                began = time.perf_counter()
                answer = await rows.beat(life)
                times.append(time.perf_counter() - began)
                assert answer is not None
                assert answer.accounts == accounts
                assert len(answer.others) == lives - 1

    async def all_beat(rounds: int = ROUNDS) -> list[float]:
        times.clear()
        await asyncio.gather(*(beat(line, rounds) for line in range(LINES)))
        return times

    await all_beat(1)  # plans and caches
    name = f"beats of {lives} lives with {accounts:,} accounts each"
    found = await measured(link, name, lives * ROUNDS, all_beat)
    for each in lines:
        each.close()
    return found


async def looks(url: str, accounts: int) -> Spent:
    """Let one node look at the balance, as all do."""
    address = StoreAddress.parse(url)
    line = await StoreConnection.open(address, application="looks", timeouts=TIMEOUTS)
    link = await StoreConnection.open(address, application="bench", timeouts=TIMEOUTS)

    async def look(count: int = LOOKS) -> list[float]:
        times = []
        for _ in range(count):
            began = time.perf_counter()
            await NodeRows(line).living()
            groups = await AccountRows(line).groups()
            times.append(time.perf_counter() - began)
            assert sum(each.total for each in groups) == accounts
        return times

    await look(1)
    found = await measured(link, f"looks at the balance of {accounts:,} accounts", LOOKS, look)
    line.close()
    link.close()
    return found


async def rows(url: str, link: StoreConnection, count: int) -> tuple[Spent, Spent]:
    """Write records, and routine snapshots, of accounts that have a life."""
    made = AccountDriver(Policy()).connect().take(NetworkLost(detail="connection reset", chain=CHAIN))
    record = attrs.evolve(made.record, at=NOW)
    journal = await StoreJournal.open(StoreAddress.parse(url), 1, on_trouble=lambda *_: None, engine="bench")
    names = [f"Account {each}" for each in range(max(1, count // 10))]
    for name in names:
        await journal.begin_life(name, NOW, Policy(), begin(None, now=NOW))
    await journal.flush()

    async def records() -> None:
        for each in range(count):
            await journal.write(names[each % len(names)], record, made.snapshot)
        await journal.flush()

    async def routine() -> None:
        for turn in range(-(-count // len(names))):
            at = attrs.evolve(made.snapshot, last_success=NOW + turn)
            for name in names:
                await journal.save(name, at)
            await journal.flush()

    first = await measured(link, "records", count, records, "journal")
    saved = -(-count // len(names)) * len(names)
    second = await measured(link, "routine snapshots", saved, routine, "snapshots")
    await journal.aclose(30)
    return first, second


async def measure(url: str, lives: int, accounts: int, count: int) -> list[Spent]:
    """Measure it all."""
    link = await StoreConnection.open(StoreAddress.parse(url), application="bench", timeouts=TIMEOUTS)
    try:
        await fill(link, lives, accounts)
        first = await beats(url, link, lives, accounts)
        return [first, await looks(url, lives * accounts), *await rows(url, link, count)]
    finally:
        link.close()


def table(found: list[Spent]) -> Table:
    """Return what was found, of one each."""
    lines = [
        (
            each.name,
            number(each.count / each.seconds),
            f"{number(each.server / each.count * 1e6)} µs",
            f"{number(each.wal / each.count)} B",
            f"{number(each.disk / each.count)} B",
        )
        for each in found
    ]
    return Table(
        "What a fleet costs its server",
        ("", "a second", "server", "log", "disk"),
        lines,
        [Target("the slowest of a hundred beats", found[0].slow * 1000, unit="ms")],
    )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lives", type=int, default=400)
    parser.add_argument("--accounts", type=int, default=2500, help="of each life")
    parser.add_argument("--rows", type=int, default=20_000)
    add_option(parser)
    options = parser.parse_args()
    settings = {"shared_buffers": "256MB", "max_wal_size": "4GB", "autovacuum": "on"}
    with private_server(durable=True, settings=settings) as server:
        found = asyncio.run(measure(server.url(), options.lives, options.accounts, options.rows))
    shown = table(found)
    hand_over(options.results, shown.targets)
    print("\n".join(shown.lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
