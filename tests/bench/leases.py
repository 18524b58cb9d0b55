"""What leases cost a PostgreSQL store: beats, claims, and the same by one renewal for each account.

    uv run python -m tests.bench.leases [--accounts N] [--claimed N] [--rounds N]

A real server on this machine, which writes durably (fsync), serves four nodes that own ``--accounts`` accounts each.
For the time of one beat each node either beats once, as the engine does, or renews every account of its own, which is
what a lease for each account would take: as single statements that are sent without waiting for answers, and, as the
cheapest form that there is, all in one statement. Then four nodes claim ``--claimed`` free accounts at once, each its
share in one statement. Times are medians of rounds that take turns.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import quantiles
from typing import Any, Final

from attrs import define, frozen

from adapters.postgres.accounts import AccountRows
from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StoreConnection, StoreTimeouts
from adapters.postgres.migrate import migrate
from adapters.postgres.nodes import NodeRows
from adapters.stores.nodes import NodeEntry
from tests.bench.table import Table, Target, add_option, hand_over, middle, number, ratio
from tests.postgres.server import private_server

NODES: Final = 4
BEATS: Final = 50
"""Beats of each round."""
TIMEOUTS: Final = StoreTimeouts(connect=60, query=600, idle=600, turn=600)


@define
class Cost:
    """What one kind of renewal took for one node, in each round."""

    name: str
    seconds: list[float]
    wal: list[float]
    """Bytes of the log that the server wrote, which go to each standby, too."""
    statements: int
    rows: int


@frozen
class Found:
    """All figures of a run."""

    costs: tuple[Cost, Cost, Cost]
    late_beat: float
    """Seconds of the slowest of a hundred beats."""
    claims: list[float]
    """Seconds until four nodes had claimed all, in each round."""
    shares: list[int]
    """How many accounts each had in the last one."""


@frozen
class Claimer:
    """A node of the benchmark, with a connection of its own."""

    life: int
    connection: StoreConnection

    @property
    def nodes(self) -> NodeRows:
        """Return the rows of nodes."""
        return NodeRows(self.connection)

    @property
    def accounts(self) -> AccountRows:
        """Return the rows of accounts."""
        return AccountRows(self.connection)

    async def claim(self, number: int) -> int:
        """Claim up to so many, and return how many it got."""
        answer = await self.nodes.beat(self.life)
        assert answer is not None
        return len(await self.accounts.claim(self.life, answer.server, {"*": number}))


async def _nodes(url: str) -> list[Claimer]:
    claimers = []
    for life in range(1, NODES + 1):
        connection = await StoreConnection.open(StoreAddress.parse(url), application=f"node {life}", timeouts=TIMEOUTS)
        if life == 1:
            await migrate(connection)
        it = Claimer(life, connection)
        await it.nodes.begin(life, NodeEntry(name=f"node {life}", host="bench", lease=15))
        claimers.append(it)
    return claimers


async def _timed(connection: StoreConnection, act: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """Return the seconds that it took, and the bytes of log that the server wrote meanwhile."""
    [[before]] = await connection.execute("SELECT pg_current_wal_insert_lsn()")
    began = time.perf_counter()
    await act()
    took = time.perf_counter() - began
    [[wal]] = await connection.execute("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", (before,))
    return took, float(wal)


async def _renewals(node: Claimer, accounts: int, rounds: int) -> tuple[tuple[Cost, Cost, Cost], float]:
    """Measure what keeps the accounts of one node, while the others have theirs."""
    link = node.connection
    await link.execute(
        "CREATE TABLE renewals (account bigint PRIMARY KEY, owner bigint NOT NULL, until double precision NOT NULL)"
        " WITH (fillfactor = 50)"
    )
    await link.execute("INSERT INTO renewals SELECT id, owner, 0 FROM accounts")
    await link.execute("CREATE INDEX ON renewals (owner)")
    await link.execute("VACUUM ANALYZE")
    own = [row[0] for row in await link.execute("SELECT id FROM accounts WHERE owner = %s", (node.life,))]
    beat = Cost("one beat of the node", [], [], 1, 1)
    each = Cost("a renewal for each account", [], [], accounts, accounts)
    batch = Cost("all renewals in one statement", [], [], 1, accounts)
    times: list[float] = []

    async def beats() -> None:
        for _ in range(BEATS):
            began = time.perf_counter()
            answer = await node.nodes.beat(node.life)
            times.append(time.perf_counter() - began)
            assert answer is not None
            assert answer.accounts == accounts

    renew = "UPDATE renewals SET until = %s WHERE account = %s AND owner = %s"
    for turn in range(rounds):
        rows = [(turn, account, node.life) for account in own]
        for cost, act, parts in (
            (beat, beats, BEATS),
            (each, lambda rows=rows: link.execute_many(renew, rows), 1),
            (
                batch,
                lambda turn=turn: link.execute("UPDATE renewals SET until = %s WHERE owner = %s", (turn, node.life)),
                1,
            ),
        ):
            await link.execute("CHECKPOINT")  # or a round would pay for the pages that the one before it touched
            seconds, wal = await _timed(link, act)
            cost.seconds.append(seconds / parts)
            cost.wal.append(wal / parts)
            await link.execute("VACUUM renewals")
    return (beat, each, batch), quantiles(times, n=100)[-1]


async def _claims(claimers: list[Claimer], accounts: int, rounds: int) -> tuple[list[float], list[int]]:
    """Measure how soon free accounts have owners."""
    link, seconds, got = claimers[0].connection, [], []
    share = -(-accounts // NODES)
    for _ in range(rounds):
        await link.execute("UPDATE accounts SET owner = NULL")
        await link.execute("VACUUM ANALYZE accounts")
        began = time.perf_counter()
        got = await asyncio.gather(*(each.claim(share) for each in claimers))
        seconds.append(time.perf_counter() - began)
        [[owned]] = await link.execute("SELECT count(*) FROM accounts WHERE owner IS NOT NULL")
        assert owned == sum(got) == accounts, (owned, got)
    return seconds, list(got)


async def measure(url: str, accounts: int, claimed: int, rounds: int) -> Found:
    """Measure it all."""
    claimers = await _nodes(url)
    first = claimers[0]
    await first.accounts.set_accounts({f"Account {each}": "*" for each in range(NODES * accounts)})
    for each in claimers:
        await each.claim(accounts)
    costs, late = await _renewals(first, accounts, rounds)
    await first.connection.execute("DELETE FROM accounts")
    await first.accounts.set_accounts({f"Account {each}": "*" for each in range(claimed)})
    claims, shares = await _claims(claimers, claimed, rounds)
    for each in claimers:
        each.connection.close()
    return Found(costs, late, claims, shares)


def tables(found: Found, accounts: int, claimed: int) -> list[Table]:
    """Return the tables, with the targets."""
    beat, each, batch = found.costs
    rows = [
        (
            cost.name,
            number(cost.statements),
            number(cost.rows),
            f"{number(middle(cost.wal) / 1000)} kB",
            f"{number(middle(cost.seconds) * 1000)} ms",
            f"{number(ratio(middle(cost.seconds), middle(beat.seconds)))} ×",
        )
        for cost in found.costs
    ]
    limit = 0.01
    renewals = [
        Target("lease traffic: statements", beat.statements / each.statements, most=limit, against=each.name),
        Target("lease traffic: log", ratio(middle(beat.wal), middle(each.wal)), most=limit, against=each.name),
        Target("lease traffic: time", ratio(middle(beat.seconds), middle(each.seconds)), against=each.name),
        Target("lease traffic: log", ratio(middle(beat.wal), middle(batch.wal)), most=limit, against=batch.name),
        Target("lease traffic: time", ratio(middle(beat.seconds), middle(batch.seconds)), against=batch.name),
        Target(f"a beat that verifies {accounts:,} accounts", middle(beat.seconds) * 1000, unit="ms"),
        Target("the slowest of a hundred", found.late_beat * 1000, unit="ms"),
    ]
    claims = [
        Target(f"{NODES} nodes claim {claimed:,} accounts", middle(found.claims), unit="s"),
        Target("the largest share", ratio(max(found.shares), claimed / NODES), most=1.0, against="an equal one"),
    ]
    return [
        Table(
            f"What keeps {accounts:,} accounts of one node for 1 s",
            ("", "statements", "rows", "log", "time", "ratio"),
            rows,
            renewals,
        ),
        Table(
            f"{claimed:,} free accounts, {NODES} nodes",
            ("round", "seconds"),
            [(str(turn), number(seconds)) for turn, seconds in enumerate(found.claims, start=1)],
            claims,
        ),
    ]


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=25_000, help="of each of four nodes")
    parser.add_argument("--claimed", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    add_option(parser)
    options = parser.parse_args()
    settings = {"shared_buffers": "256MB", "max_wal_size": "2GB", "autovacuum": "on"}
    with private_server(durable=True, settings=settings) as server:
        found = asyncio.run(measure(server.url(), options.accounts, options.claimed, options.rounds))
    shown = tables(found, options.accounts, options.claimed)
    targets = [target for table in shown for target in table.targets]
    hand_over(options.results, targets)
    for table in shown:
        print("\n".join(table.lines()))
    return 0 if all(target.kept for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
