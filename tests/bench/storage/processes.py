"""Several processes that write to one database at once, a row for each commit: who waits, and for how long."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from attrs import frozen

from adapters.sqlite.connect import open_database
from adapters.sqlite.process_queue import ProcessQueue
from tests.bench.storage.producers import GUIDE, INSERT, MAKE
from tests.bench.table import Table, Target, middle, number, ratio

ROOT = Path(__file__).resolve().parents[3]
Commit = Callable[[], None]


def guide(path: Path) -> Commit:
    """The guide's settings, where SQLite's busy handler decides who is next."""
    database = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    for pragma in GUIDE:
        database.execute(pragma)
    return lambda: database.execute(INSERT, (os.getpid(),)) and None


def gated(path: Path) -> Commit:
    """The group writer's transaction: its queue, BEGIN IMMEDIATE, COMMIT."""
    database, queue = open_database(path), ProcessQueue(path)

    def commit() -> None:
        with queue.turn(lambda: False):
            database.execute("begin immediate")
            database.execute(INSERT, (os.getpid(),))
            database.execute("commit")

    return commit


CONTENDERS = {"Holdfast: the queue": gated, "the guide's settings": guide}


@frozen
class Outcome:
    """What one process saw; times in milliseconds."""

    commits: int
    errors: int
    longest: float
    p99: float


def work(commit: Commit, seconds: float) -> Outcome:
    """Commit again and again."""
    took, errors = [], 0
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        try:
            commit()
        except sqlite3.Error:
            errors += 1
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return Outcome(len(took) - errors, errors, took[-1], took[len(took) * 99 // 100])


def together(name: str, path: Path, writers: int, seconds: float) -> list[Outcome]:
    """Run the processes; raises ``AssertionError`` if a row is missing or there twice."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode = wal")
        database.execute(MAKE)
    begin = time.time() + 0.2 * writers + 1
    command = [sys.executable, "-m", "tests.bench.storage.processes", name, str(path), str(seconds), str(begin)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(writers)]
    outcomes = [Outcome(**json.loads(process.communicate()[0])) for process in running]
    with closing(sqlite3.connect(path)) as database:
        ((stored,),) = database.execute("select count(*) from numbers").fetchall()
    committed = sum(outcome.commits for outcome in outcomes)
    assert stored == committed, f"{committed} commits, {stored} rows"
    return outcomes


def run(directory: Path, *, writers: int, seconds: float, rounds: int) -> Table:
    """Measure both, in turn, and return the table."""
    found: dict[str, list[list[Outcome]]] = {name: [] for name in CONTENDERS}
    for turn in range(rounds):
        for index, name in enumerate(CONTENDERS):
            found[name].append(together(name, directory / f"processes-{turn}-{index}.db", writers, seconds))
    rows, fairness, longest = [], {}, {}
    for name, runs in found.items():
        fairness[name] = middle([min(o.commits for o in run) / max(o.commits for o in run) for run in runs])
        longest[name] = middle([max(o.longest for o in run) for run in runs])
        commits = middle([sum(o.commits for o in run) / seconds for run in runs])
        p99 = middle([max(o.p99 for o in run) for run in runs])
        errors = sum(o.errors for run in runs for o in run)
        rows.append(
            [name, number(commits), f"{p99:.1f} ms", f"{longest[name]:,.0f} ms", f"{fairness[name]:.2f}", f"{errors}"]
        )
    mine, theirs = CONTENDERS
    return Table(
        f"{writers} processes that write to one database at once, a row for each commit",
        ["", "commits per second", "p99", "longest wait", "slowest over fastest", "errors"],
        rows,
        [
            Target(f"commits, slowest of {writers} processes", fairness[mine], least=0.8, against="the fastest"),
            Target(
                "longest wait for a commit, times shorter",
                ratio(longest[theirs], longest[mine]),
                least=20,
                against="the usual settings",
                headline=True,
            ),
        ],
    )


def main() -> None:
    """Be one of the processes."""
    name, path, seconds, begin = sys.argv[1:]
    commit = CONTENDERS[name](Path(path))
    time.sleep(max(0.0, float(begin) - time.time()))
    outcome = work(commit, float(seconds))
    print(json.dumps({field: getattr(outcome, field) for field in ("commits", "errors", "longest", "p99")}))


if __name__ == "__main__":
    main()
