"""How long accounts are without a node: one that is killed, and a database that crashes or is switched over.

    uv run python -m tests.bench.takeover [--accounts N] [--lease S] [--repeats N]

Real processes: two nodes (``run``), one datacenter for both, and PostgreSQL as a cluster of three under Patroni. The
first node is killed (kill -9) again and again; the time runs from the kill until the last of its accounts is another
node's in the database, and until that node opens the first of its connections. Then the primary crashes, and is
switched over, under both nodes: what is counted is which connections to the datacenter were opened anew.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import anyio
import anyio.to_thread
import psycopg
from attrs import define, field, frozen

from adapters.sandbox import Sandbox
from states.lease import LeaseTimes
from tests.bench.table import Table, Target, add_option, hand_over, number
from tests.engine.harness import EngineHarness
from tests.engine.nodes import PATIENT, Nodes
from tests.postgres.patroni import PatroniCluster
from tests.postgres.template import template_of
from tests.timeouts import TIMEOUT

ALLOWED: Final = 2.0
"""Seconds beyond the lease in which another node is to have the accounts."""


@frozen
class Failures:
    """Connections to the datacenter that were opened anew, and logins that it destroyed."""

    crash: int
    switchover: int
    destroyed: int


@define
class Takeovers:
    """The times of all repeats, in seconds from the kill."""

    owned: list[float] = field(factory=list)
    connecting: list[float] = field(factory=list)


async def all_connected(nodes: Nodes, node: str, *said: EngineHarness) -> None:
    """Wait until all accounts have a connection and are healthy, some of them at this node.

    The database has the states of earlier lives, too; the datacenter is asked on its own loop.
    """
    with anyio.fail_after(TIMEOUT):
        while True:
            await nodes.until(lambda: node in nodes.owners().values() and nodes.all_healthy(), *said)
            if nodes.dc.stats()["connections"] == len(nodes.phones):
                return
            await asyncio.sleep(0.1)


async def killed(nodes: Nodes, one: EngineHarness, pause: float, found: Takeovers) -> None:
    """Let a node have accounts, kill it after a pause, and time what follows; another one runs."""
    async with one.running() as process:
        await all_connected(nodes, "one", one)
        mine = [account for account, owner in nodes.owners().items() if owner == "one"]
        accepted = nodes.dc.stats()["accepted"]
        await asyncio.sleep(pause)  # it may be killed at any time between two beats
        process.kill()
        began = time.monotonic()
        connecting = asyncio.create_task(_first(lambda: nodes.dc.stats()["accepted"] > accepted, began))
        owned = asyncio.create_task(_owned(nodes, mine, began))
        found.owned.append(await owned)
        found.connecting.append(await connecting)


async def _first(holds: Callable[[], bool], began: float) -> float:
    with anyio.fail_after(TIMEOUT):
        while not holds():
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def _owned(nodes: Nodes, names: list[str], began: float) -> float:
    question = """SELECT count(*) FROM accounts a JOIN nodes n ON n.id = a.owner
        WHERE n.state <> 'dead' AND n.name = 'two' AND a.name = ANY(%s)"""
    async with await psycopg.AsyncConnection.connect(nodes.url, autocommit=True) as connection:
        with anyio.fail_after(TIMEOUT):
            while True:
                [row] = await (await connection.execute(question, (names,))).fetchall()
                if row[0] == len(names):
                    return time.monotonic() - began
                await asyncio.sleep(0.02)


async def reopened(nodes: Nodes, hurt: Callable[[], object]) -> int:
    """Hurt the database, and return how many connections to the datacenter were opened anew until nodes beat again."""
    accepted = nodes.dc.stats()["accepted"]
    await anyio.to_thread.run_sync(hurt)
    beats = dict(await anyio.to_thread.run_sync(_beats, nodes))
    await nodes.until(lambda: all(beat >= beats.get(name, 0) + 3 for name, beat in _beats(nodes)))
    return int(nodes.dc.stats()["accepted"]) - int(accepted)


def _beats(nodes: Nodes) -> list[tuple[str, int]]:
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            rows = nodes.rows("SELECT name, beat FROM nodes WHERE state <> 'dead'")
            return [(str(name), int(str(beat))) for name, beat in rows]
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


async def measure(
    cluster: PatroniCluster, directory: Path, accounts: int, lease: float, repeats: int
) -> tuple[Takeovers, Failures]:
    """Measure it all."""
    name = await anyio.to_thread.run_sync(lambda: cluster.clone(template_of(cluster)))
    phones = tuple(f"+99966{20_000 + number}" for number in range(accounts))
    found = Takeovers()
    async with Sandbox() as dc:
        nodes = Nodes(directory, cluster.url(name), dc, phones)
        one, two = [await nodes.node(each, lease=f"{lease:g}s", states=PATIENT) for each in ("one", "two")]
        for repeat in range(repeats):
            nodes.settle()
            async with two.running() as other:
                # Both begin with half of the accounts: they join within the same three seconds.
                await killed(nodes, one, LeaseTimes.of(lease).beat_every * repeat / repeats, found)
                other.kill()
                await other.wait()
            nodes.execute("UPDATE nodes SET state = 'dead', ended_at = now(), ended_why = 'the benchmark'")
        nodes.settle()
        async with one.running(), two.running():
            await all_connected(nodes, "one", one, two)
            crash = await reopened(nodes, cluster.crash)
            await anyio.to_thread.run_sync(cluster.heal)
            switchover = await reopened(nodes, cluster.switchover)
        return found, Failures(crash, switchover, int(dc.stats()["logins_destroyed"]))


def tables(found: Takeovers, failures: Failures, lease: float) -> list[Table]:
    """Return the tables, with the targets."""
    kills = [
        Target("owned by another node, at worst", max(found.owned), most=lease + ALLOWED, unit="s"),
        Target("owned by another node, in the median", median(found.owned), unit="s"),
        Target("the first connection begins, at worst", max(found.connecting), unit="s"),
    ]
    reopened = [
        Target("opened anew after a crash of the primary", failures.crash, most=0, unit=""),
        Target("opened anew after a switchover", failures.switchover, most=0, unit=""),
        Target("logins destroyed", failures.destroyed, most=0, unit=""),
    ]
    rows = [
        (str(turn), number(owned), number(connecting))
        for turn, (owned, connecting) in enumerate(zip(found.owned, found.connecting, strict=True), start=1)
    ]
    return [
        Table(
            f"A node is killed (kill -9), lease {lease:g} s",
            ("kill", "s until its accounts are another one's", "s until the first connection"),
            rows,
            kills,
        ),
        Table(
            "The database fails beneath both nodes",
            ("", "connections opened anew"),
            [("crash of the primary", str(failures.crash)), ("switchover", str(failures.switchover))],
            reopened,
        ),
    ]


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=20)
    parser.add_argument("--lease", type=float, default=15.0, help="seconds (default: %(default)g)")
    parser.add_argument("--repeats", type=int, default=5)
    add_option(parser)
    options = parser.parse_args()
    cluster = PatroniCluster()
    try:
        cluster.start()
        with tempfile.TemporaryDirectory(prefix="holdfast-takeover-") as directory:
            work = measure(cluster, Path(directory), options.accounts, options.lease, options.repeats)
            shown = tables(*asyncio.run(work), options.lease)
    finally:
        cluster.remove()
    targets = [target for table in shown for target in table.targets]
    hand_over(options.results, targets)
    for table in shown:
        print("\n".join(table.lines()))
    return 0 if all(target.kept for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
