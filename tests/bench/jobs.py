"""``uv run python -m tests.bench.jobs [--rows rate,flat]``: durable jobs, as fast as they go, and among how many.

**rate**: jobs that end at once, through the real dispatcher, store and writer, beside the same work by a worker of the
usual kind: it takes a job by an UPDATE and a commit, does it, and stores its end by another, in a thread. Same file,
same settings, same function, as many at once; rounds take turns.

**flat**: a fresh process opens a file with so many jobs in its queue and does a hundred of them.
"""

import argparse
import gc
import json
import math
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from attrs import define, field

from adapters.sqlite import JournalWriter
from adapters.sqlite.connect import open_database
from adapters.sqlite.jobs import NewJob, add
from adapters.system import SystemClock
from engine.app.run import COLLECTIONS
from engine.console import logs
from engine.work.dispatcher import Dispatcher
from engine.work.kinds import JobKind, JobKinds
from states.jobs import Raised
from states.pace import KindPolicy, WorkPolicy
from tests.bench.storage.memory import ROOT, resident
from tests.bench.table import Table, Target, add_option, hand_over, middle, number, ratio

ACCOUNTS, AT_ONCE = 8, 16
JOBS = 20_000
QUEUES = (1_000, 10_000, 100_000, 1_000_000)
FEW = 100
"""Jobs that are done among so many."""
KIND = "instant"
Contender = Callable[[Path, int], Awaitable[float]]
"""Do all jobs of a file, so many; return the seconds that it took."""


async def instant(job: Any, client: Any) -> int:
    """Be done."""
    return 1


def fill(path: Path, jobs: int) -> None:
    """Make a file with so many jobs that any account may do."""
    add(path, [NewJob(kind=KIND, data={"number": index}) for index in range(jobs)])


@define
class Counting:
    """A kind that notes when the first job began, and tells when the last of so many did; more than these wait."""

    most: int
    first: float = math.inf
    begun: int = 0
    done: anyio.Event = field(factory=anyio.Event)

    async def work(self, job: Any, client: Any) -> int:
        """Be done, as ``instant``."""
        self.first = min(self.first, time.perf_counter())
        self.begun += 1
        if self.begun == self.most:
            self.done.set()
        elif self.begun > self.most:
            await anyio.sleep_forever()
        return await instant(job, client)


def dispatcher(journal: JournalWriter, kind: Counting) -> Dispatcher:
    """Return one that runs as many jobs at once as the other contender."""
    return Dispatcher(
        accounts=[f"Account {index}" for index in range(ACCOUNTS)],
        kinds=JobKinds.of([JobKind(KIND, kind.work)]),
        policy=WorkPolicy(per_account=AT_ONCE, kinds={KIND: KindPolicy(per_account=AT_ONCE)}),
        store=journal.jobs,
        client_of=lambda name: name,
        classify_error=lambda exc, client: Raised(str(exc)),
        clock=SystemClock(),
    )


async def ours(path: Path, jobs: int) -> float:
    """The dispatcher, the store and the group writer; the time ends when the last end is durable."""
    journal, kind = await JournalWriter.open(path, on_trouble=lambda *_: None), Counting(jobs)
    work = dispatcher(journal, kind)
    with logs.opened(path.with_suffix(".logs"), recent=logs.RecentLines()):
        began = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work.run)
            await kind.done.wait()
            tasks.cancel_scope.cancel()  # it stores what has ended, and returns when that is durable
        took = time.perf_counter() - began
    await journal.jobs.aclose()
    await journal.aclose(10)
    return took


TAKE = """UPDATE jobs SET state = 'running', worker = ?, began = ? WHERE id = (SELECT id FROM jobs
    WHERE state = 'queued' AND due IS NULL AND kind = ? AND account = '' ORDER BY priority DESC, id LIMIT 1)
    RETURNING id, data"""
END = "UPDATE jobs SET state = 'done', result = ?, ended = ? WHERE id = ?"


async def a_commit_per_step(path: Path, jobs: int) -> float:
    """Workers who take a job, do it and store its end: a statement and a commit each, in a thread."""
    database = open_database(path)
    turn = anyio.Lock()  # a connection belongs to one at a time

    def step(sql: str, values: tuple[Any, ...]) -> Any:
        return database.execute(sql, values).fetchone()  # autocommit

    async def asked(sql: str, *values: Any) -> Any:
        async with turn:
            return await anyio.to_thread.run_sync(step, sql, values)

    async def worker(name: str) -> None:
        while (row := await asked(TAKE, name, time.time(), KIND)) is not None:
            result = await instant(json.loads(row[1]), name)
            await asked(END, json.dumps(result), time.time(), row[0])

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for index in range(ACCOUNTS):
            for _ in range(AT_ONCE):
                tasks.start_soon(worker, f"Account {index}")
    took = time.perf_counter() - began
    database.close()
    return took


CONTENDERS: dict[str, Contender] = {"Holdfast": ours, "a commit per step": a_commit_per_step}


def check(path: Path, jobs: int) -> None:
    """Raise ``AssertionError`` if not each job is done in the file."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT state, result, count(*) FROM jobs GROUP BY state, result").fetchall()
    assert found == [("done", "1", jobs)], found


def rates(place: Path, *, jobs: int, rounds: int) -> Table:
    """Measure both in turn, and return the table."""
    found: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for turn in range(rounds):
        for index, (name, contender) in enumerate(CONTENDERS.items()):
            path = place / f"rate-{turn}-{index}.db"
            fill(path, jobs)
            found[name].append(jobs / anyio.run(contender, path, jobs))
            check(path, jobs)
            path.unlink()
    mine, plain = found.values()
    gained = middle([ratio(*pair) for pair in zip(mine, plain, strict=True)])
    rows = [[name, number(middle(each)), number(ratio(middle(each), middle(plain)))] for name, each in found.items()]
    return Table(
        f"{jobs:,} jobs that end at once, {ACCOUNTS} accounts × {AT_ONCE}: begin and end durable",
        ["", "jobs per second", "ratio"],
        rows,
        [Target("jobs per second, median of the rounds", gained, least=10, against="a commit per step", headline=True)],
    )


async def few(path: Path) -> dict[str, float]:
    """Open a file, do a few of its jobs, and say how long the first took to begin, all to be done, and the memory."""
    empty, began = resident(), time.perf_counter()
    journal, kind = await JournalWriter.open(path, on_trouble=lambda *_: None), Counting(FEW)
    with logs.opened(path.with_suffix(".logs"), recent=logs.RecentLines()):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatcher(journal, kind).run)
            await kind.done.wait()
            took, held = time.perf_counter() - began, resident()
            tasks.cancel_scope.cancel()
    await journal.jobs.aclose()
    await journal.aclose(10)
    return {"first": kind.first - began, "all": took, "resident": held, "more": held - empty}


def alone(path: Path) -> dict[str, float]:
    """Do that in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.jobs", "--few", str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True, timeout=120)
    return dict(json.loads(done.stdout))


def flatness(place: Path, *, queues: Sequence[int], rounds: int) -> Table:
    """Measure each length of the queue in turn, and return the table."""
    paths = {jobs: place / f"flat-{jobs}.db" for jobs in queues}
    for jobs, path in paths.items():
        fill(path, jobs)
    found = [{jobs: alone(path) for jobs, path in paths.items()} for _ in range(rounds)]
    of = {
        jobs: {what: middle([each[jobs][what] for each in found]) for what in ("first", "all", "resident", "more")}
        for jobs in queues
    }
    least, most = of[queues[0]], of[queues[-1]]
    first, more = ratio(most["first"], least["first"]), ratio(most["more"], least["more"])
    short = f"{queues[0]:,} in it"
    rows = [
        [
            f"{jobs:,}",
            f"{each['first'] * 1000:.1f} ms", number(ratio(each["first"], least["first"])),
            f"{each['all'] * 1000:.1f} ms", number(ratio(each["all"], least["all"])),
            f"{each['resident'] / 1e6:.1f} MB",
            f"{each['more'] / 1e6:.1f} MB", number(ratio(each["more"], least["more"])),
        ]
        for jobs, each in of.items()
    ]  # fmt: skip
    return Table(
        "The length of the queue: a fresh process opens the file, begins its first job, and has done a hundred",
        ["jobs in the queue", "first begins", "ratio", f"{FEW} done", "ratio", "resident", "since it opened", "ratio"],
        rows,
        [
            Target(f"first job begins, {queues[-1]:,} in the queue", first, most=2, against=short),
            Target(f"memory, {queues[-1]:,} jobs in the queue", more, most=1.5, against=short),
        ],
    )


ROWS: dict[str, Callable[..., Table]] = {
    "rate": partial(rates, jobs=JOBS, rounds=3),
    "flat": partial(flatness, queues=QUEUES, rounds=3),
}

QUICK: dict[str, dict[str, Any]] = {
    "rate": {"jobs": 500, "rounds": 1},
    "flat": {"queues": (200, 400), "rounds": 1},
}
"""What is smaller with ``--quick``."""


def main() -> None:
    """Print the tables, and leave with 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.jobs")
    parser.add_argument("--rows", default=",".join(ROWS), help="which tables, with commas between them")
    parser.add_argument("--few", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="to try the benchmark: its figures mean nothing")
    add_option(parser)
    options = parser.parse_args()
    if options.few is not None:
        print(json.dumps(anyio.run(few, options.few)))
        return
    gc.collect()  # for both contenders, as run does
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)
    targets: list[Target] = []
    with tempfile.TemporaryDirectory() as name:
        for row in options.rows.split(","):
            table = ROWS[row](Path(name), **(QUICK[row] if options.quick else {}))
            print("\n".join(table.lines()), flush=True)
            targets += table.targets
    hand_over(options.results, targets)
    raise SystemExit(not all(target.kept for target in targets))


if __name__ == "__main__":
    main()
