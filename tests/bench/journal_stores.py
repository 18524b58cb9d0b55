"""How many records a second each store of the journal takes, durably, and four writers at once.

    python -m tests.bench.journal_stores [--rows 100000] [--rounds 3] [--quick]

Every writer is a process of its own, with accounts of its own, that writes real records through the real journal and
waits until all are durable; its garbage collector is set as an engine's. The contenders take turns, so that all meet
the same machine; PostgreSQL runs here with ``fsync``, as SQLite does. The figures of one run are compared, and the
median of the ratios counts. A round is long enough for the checkpoints of SQLite and for the first plans and pages of
PostgreSQL: a burst of a few thousand records ends before the ones and begins with the others. On a machine that is
busy, whoever needs more processors is slower: the processor time that
a record costs the writers' processes (without PostgreSQL's own) stands beside.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import attrs

from adapters.sqlite import JournalWriter
from engine.app.run import COLLECTIONS
from engine.journal.ports import JournalStore
from states import Policy, begin
from states.events import NetworkLost
from tests.bench.table import Table, Target, add_option, hand_over, middle, number, ratio
from tests.states.harness import AccountDriver

ROOT = Path(__file__).resolve().parents[2]
ACCOUNTS = 100
NOW = 1_800_000_000.0
CHAIN = ("ConnectionResetError: [Errno 104] Connection reset by peer",)
SQLITE, ONE, FOUR = "SQLite, one writer", "PostgreSQL, one writer", "PostgreSQL, four writers"
WRITERS = {SQLITE: 1, ONE: 1, FOUR: 4}


async def fill(journal: JournalStore, name: str, rows: int) -> tuple[float, float, float]:
    """Write rows of a writer's accounts; return when that began and ended (Unix seconds), and the processor's time."""
    driver = AccountDriver(Policy()).connect()
    made = driver.take(NetworkLost(detail="connection reset", chain=CHAIN))
    record = attrs.evolve(made.record, at=NOW)
    accounts = [f"{name} {each}" for each in range(ACCOUNTS)]
    for account in accounts:
        await journal.begin_life(account, NOW, Policy(), begin(None, now=NOW))
    await journal.flush()
    print("ready", flush=True)
    await anyio.to_thread.run_sync(sys.stdin.readline)
    began, used = time.time(), time.process_time()
    for each in range(rows):
        await journal.write(accounts[each % ACCOUNTS], record, made.snapshot)
        if each % 50 == 49:  # a fleet's loop does other things, too
            await anyio.lowlevel.checkpoint()
    await journal.flush()
    return began, time.time(), time.process_time() - used


async def work(place: str, name: str, rows: int) -> None:
    """Be one writer, as an engine is one, and print when it wrote."""
    gc.set_threshold(*COLLECTIONS)
    journal: JournalStore
    if place.startswith("postgresql:"):
        journal = await _postgres(place, name)
    else:
        journal = await JournalWriter.open(Path(place), on_trouble=lambda *_: None)
    spent = await fill(journal, name, rows)
    await journal.aclose(30)
    print(json.dumps(spent), flush=True)


async def _postgres(url: str, name: str) -> JournalStore:
    from adapters.postgres.address import StoreAddress
    from adapters.postgres.connect import StoreConnection
    from adapters.postgres.journal import StoreJournal

    address = StoreAddress.parse(url)
    connection = await StoreConnection.open(address, application="bench")
    [(life,)] = await connection.execute(
        "INSERT INTO nodes (id, name, host, epoch, lease) VALUES (%s, %s, 'here', 1, 15) RETURNING id",
        (os.getpid(), name),
    )
    connection.close()
    return await StoreJournal.open(address, life, on_trouble=lambda *_: None)


def together(place: str, writers: int, rows: int) -> tuple[float, float]:
    """Let processes write so many rows in all at once; return rows a second, and µs of processor for each."""
    command = [sys.executable, "-m", "tests.bench.journal_stores", "--be", place]
    running = [
        subprocess.Popen([*command, "--name", f"writer {each}", "--rows", str(rows // writers)], cwd=ROOT, text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for each in range(writers)
    ]  # fmt: skip
    try:
        for each in running:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n", "a writer did not begin"
        for each in running:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        spans = [json.loads(each.communicate(timeout=600)[0]) for each in running]
    finally:
        for each in running:
            with suppress(OSError):
                each.kill()
            each.wait()
    written = rows // writers * writers
    seconds = max(end for _, end, _ in spans) - min(start for start, *_ in spans)
    return written / seconds, sum(used for *_, used in spans) / written * 1e6


Rates = dict[str, list[tuple[float, float]]]


def measure(rows: int, rounds: int) -> Rates:
    """Return what ``together`` says of each contender, for each round."""
    from tests.postgres.server import private_server
    from tests.postgres.template import template_of

    rates: Rates = {name: [] for name in WRITERS}
    settings = {"shared_buffers": "128MB", "max_wal_size": "2GB"}
    with private_server(durable=True, settings=settings) as server, tempfile.TemporaryDirectory() as directory:
        for turn in range(rounds):
            for name, writers in WRITERS.items():
                if name == SQLITE:
                    rates[name].append(together(f"{directory}/{turn}.db", writers, rows))
                    continue
                database = server.clone(template_of(server))
                rates[name].append(together(server.url(database), writers, rows))
                server.drop(database)
    return rates


def table(rates: Rates) -> Table:
    """Return what was measured, and the targets."""
    ratios: dict[str, float] = {
        name: middle([ratio(rate, of) for (rate, _), (of, _) in zip(rates[name], rates[SQLITE], strict=True)])
        for name in rates
    }
    rows: Sequence[Sequence[str]] = [
        [
            name,
            number(middle([rate for rate, _ in found])),
            f"{ratios[name]:.2f}",
            number(middle([used for _, used in found])),
        ]
        for name, found in rates.items()
    ]
    targets = [
        Target(f"records a second, {ONE}", ratios[ONE], least=1.0, against=SQLITE),
        Target(f"records a second, {FOUR}", ratios[FOUR], least=1.5, against=SQLITE),
    ]
    return Table(
        "Records of the journal that became durable",
        ["store", "records/s", "ratio", "µs of a writer's processor"],
        rows,
        targets,
    )


def main() -> None:
    """Print the table, and leave with 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.journal_stores", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="records that each contender writes in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="to try the benchmark: its figures mean nothing")
    parser.add_argument("--be", default="", help=argparse.SUPPRESS)
    parser.add_argument("--name", default="", help=argparse.SUPPRESS)
    add_option(parser)
    wanted = parser.parse_args()
    if wanted.be:
        anyio.run(work, wanted.be, wanted.name, wanted.rows)
        return
    rates = measure(*((400, 1) if wanted.quick else (wanted.rows, wanted.rounds)))
    made = table(rates)
    print("\n".join(made.lines()), flush=True)
    hand_over(wanted.results, made.targets)
    raise SystemExit(not (wanted.quick or all(target.kept for target in made.targets)))


if __name__ == "__main__":
    main()
