"""How many checkpoints of jobs a second each store takes, durably: of one job alone, and of sixteen at once.

    python -m tests.bench.checkpoints_stores [--seconds 2] [--rounds 3]

A checkpoint is a job's state with the messages that it has read since, in one transaction, and the next one begins when
it is durable. PostgreSQL runs here with ``fsync``, as SQLite does, and checks the life of the node in each transaction.
The contenders take turns, so that all meet the same machine; the median of the ratios of each round counts.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import attrs

from adapters.sqlite.jobs import NewJob
from adapters.sqlite.messages import Message
from states.jobs import Begun, Job, Saved, decide
from tests.bench.table import Table, Target, add_option, hand_over, middle, number, ratio
from tests.postgres.server import PostgresServer, private_server
from tests.storage.job_stores import JobsUnderTest, sqlite_jobs
from tests.storage.postgres_jobs import postgres_jobs

GROUP: Final = 16
MESSAGES: Final = (1, 100)
SQLITE, POSTGRES = "SQLite", "PostgreSQL"
TEXT: Final = "A message of the length that messages in busy groups have, more or less; see you tomorrow at ten. " * 2

Rates = dict[tuple[str, int, int], list[float]]
"""Checkpoints a second, a figure for each round, by store, messages of a checkpoint, and jobs at once."""


async def keep(engine: Any, job: Job, messages: int, until: float) -> int:
    """Store checkpoints of a job, one after the other, until then (monotonic seconds); return how many."""
    count = 0
    while time.monotonic() < until:
        first = count * messages + 1
        found = [
            Message(chat=-job.id, id=first + each, at=float(first), text=TEXT, sender=7, version=first + each)
            for each in range(messages)
        ]
        job = decide(job, Saved(checkpoint={"last": first + messages}, done=float(count)), now=time.time())
        await engine.keep(job, found)
        await engine.flush()
        count += 1
    return count


async def rate(store: JobsUnderTest, messages: int, at_once: int, seconds: float) -> float:
    """Return how many checkpoints a second so many jobs make."""
    counts: list[int] = []
    async with store.engine() as engine:
        await engine.add(NewJob(kind="collect", data={}) for _ in range(at_once))
        jobs = [decide(job, Begun("A"), now=time.time()) for job in await engine.ready("collect", None, at_once)]
        began = time.monotonic()

        async def work(job: Job) -> None:
            counts.append(await keep(engine, attrs.evolve(job), messages, began + seconds))

        async with anyio.create_task_group() as tasks:
            for job in jobs:
                tasks.start_soon(work, job)
        took = time.monotonic() - began
    with store.reader() as reader:
        stored = sum(reader.job(job.id).done + 1 for job in jobs)
    assert stored == sum(counts), "a checkpoint that was durable is not there"
    return sum(counts) / took


@contextmanager
def fresh(name: str, server: PostgresServer) -> Iterator[JobsUnderTest]:
    """Make an empty store for the block."""
    if name == POSTGRES:
        with postgres_jobs(server) as database:
            yield database
    else:
        with tempfile.TemporaryDirectory() as directory, sqlite_jobs(Path(directory)) as file:
            yield file


def measure(seconds: float, rounds: int) -> Rates:
    """Return what each contender reaches."""
    rates: Rates = {(name, some, jobs): [] for some in MESSAGES for jobs in (1, GROUP) for name in (SQLITE, POSTGRES)}
    settings = {"shared_buffers": "128MB", "max_wal_size": "2GB", "autovacuum": "on"}
    with private_server(durable=True, settings=settings) as server:
        for _ in range(rounds):
            for (name, some, jobs), found in rates.items():
                with fresh(name, server) as store:
                    found.append(asyncio.run(rate(store, some, jobs, seconds)))
    return rates


def table(rates: Rates) -> Table:
    """Return what was measured, and the targets."""

    def compared(key: tuple[str, int, int], with_: tuple[str, int, int]) -> float:
        return middle([ratio(one, other) for one, other in zip(rates[key], rates[with_], strict=True)])

    rows, targets = [], []
    for some in MESSAGES:
        for jobs in (1, GROUP):
            mine, file = (POSTGRES, some, jobs), (SQLITE, some, jobs)
            rows.append(
                [
                    f"{some} message{'s' * (some > 1)}, {jobs} job{'s' * (jobs > 1)}",
                    number(middle(rates[file])), number(middle(rates[mine])), f"{compared(mine, file):.2f}",
                    f"{compared(mine, (POSTGRES, some, 1)):.2f}",
                ]
            )  # fmt: skip
        group, alone = (POSTGRES, some, GROUP), (POSTGRES, some, 1)
        words = f"checkpoints of {some} message{'s' * (some > 1)}, {GROUP} jobs at once"
        targets.append(Target(words, compared(group, alone), least=2.0, against="one job alone"))
        targets.append(Target(words, compared(group, (SQLITE, some, GROUP)), against=f"{SQLITE} likewise"))
        targets.append(Target(words, compared(group, (SQLITE, some, 1)), against=f"{SQLITE}, one job alone"))
    head = ["", f"{SQLITE}, a second", f"{POSTGRES}, a second", f"against {SQLITE}", "against one job"]
    return Table("Checkpoints that became durable", head, rows, targets)


def main() -> int:
    """Print the table, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.checkpoints_stores", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each contender in each round")
    parser.add_argument("--rounds", type=int, default=3)
    add_option(parser)
    options = parser.parse_args()
    shown = table(measure(options.seconds, options.rounds))
    hand_over(options.results, shown.targets)
    print("\n".join(shown.lines()))
    return 0 if all(target.kept for target in shown.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
