"""The benchmarks that ``python -m tests.bench`` runs, each a process of its own with a deadline."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from tests.bench.machine import busy_seconds, cores
from tests.bench.table import Target, received

ROOT: Final = Path(__file__).resolve().parents[2]
MET, MISSED = 0, 1
"""Exit codes of a benchmark that came to its end."""
INTERRUPTED: Final = "It was interrupted."
"""What became of the benchmark that was running upon Ctrl+C; no other one is run."""
END_SECONDS: Final = 10.0
"""How long a benchmark that is told to end may take; then it is killed."""


@frozen
class Benchmark:
    """A module with a command line, and what it is given."""

    name: str
    module: str
    deadline: float
    """Seconds after which it is ended: several times what it takes on a busy machine."""
    options: Sequence[str] = ()
    quick: Sequence[str] = ()
    """More options, for those who change a benchmark: smaller, so that its figures mean nothing."""

    def command(self, quick: bool, results: Path) -> list[str]:
        """Return the command line."""
        more = self.quick if quick else ()
        return [sys.executable, "-m", self.module, *self.options, *more, "--results", str(results)]


def _storage(row: str, deadline: float) -> Benchmark:
    return Benchmark(f"storage-{row}", "tests.bench.storage", deadline, ("--rows", row), ("--quick",))


BENCHMARKS: Final = (
    Benchmark("dispatch", "tests.bench.dispatch", 400, (), ("--events", "400", "--rounds", "1")),
    Benchmark("journal", "tests.bench.journal_rows", 300, ("--rows", "1000000"), ("--rows", "20000")),
    Benchmark("journal-stores", "tests.bench.journal_stores", 600, (), ("--quick",)),
    Benchmark("storage-copy", "tests.bench.storage_copy", 600, (), ("--quick",)),
    Benchmark("recovery", "tests.bench.recovery", 600, (), ("--quick",)),
    Benchmark("stalls", "tests.bench.stalls", 600, (), ("--quick",)),
    Benchmark("reconnect", "tests.bench.reconnect", 300, (), ("--accounts", "20", "--rounds", "2")),
    Benchmark("fleet", "tests.bench.fleet", 600, (), ("--clients", "50", "--rounds", "1", "--outage", "2")),
    Benchmark("hostile", "tests.bench.hostile", 300, (), ("--seconds", "0.5")),
    Benchmark("isolation", "tests.bench.isolation", 300, (), ("--seconds", "0.5", "--rate", "300")),
    Benchmark("entities", "tests.bench.memory_entities", 400, (), ("--entities", "6000")),
    Benchmark("web", "tests.bench.web_load", 300, (), ("--accounts", "5", "--clients", "50", "--seconds", "0.5")),
    Benchmark(
        "capacity",
        "tests.bench.capacity",
        900,
        ("--rows", "engine,bareping", "--minutes", "0.5", "--settle", "40"),
        ("--accounts", "100", "--minutes", "0.05", "--settle", "3"),
    ),
    _storage("producers", 300),
    _storage("path", 200),
    _storage("busy", 200),
    _storage("processes", 200),
    _storage("lag", 120),
    _storage("memory", 400),
    Benchmark("jobs", "tests.bench.jobs", 900, (), ("--quick",)),
    Benchmark("checkpoints", "tests.bench.checkpoints_stores", 400, (), ("--seconds", "0.2", "--rounds", "1")),
    Benchmark("file-workers", "tests.bench.file_workers", 400, (), ("--rows", "400", "--rounds", "1")),
    Benchmark("many-lives", "tests.bench.many_lives", 400, (), ("--lives", "10", "--accounts", "5", "--rows", "100")),
    Benchmark("leases", "tests.bench.leases", 400, (), ("--accounts", "50", "--claimed", "100", "--rounds", "1")),
    Benchmark("takeover", "tests.bench.takeover", 900, (), ("--accounts", "4", "--lease", "5", "--repeats", "1")),
    Benchmark("workers", "tests.bench.workers", 900, (), ("--accounts", "6", "--seconds", "3")),
    Benchmark("media", "tests.bench.media", 400, (), ("--megabytes", "2", "--rounds", "1")),
    Benchmark("commands", "tests.bench.commands", 400, (), ("--rounds", "1", "--accounts", "3", "500")),
)


@frozen
class Outcome:
    """What became of one benchmark."""

    name: str
    seconds: float
    others: float
    """The part of the machine's processors that other programs took meanwhile."""
    targets: tuple[Target, ...] = ()
    failure: str = ""
    """Why there are no targets, in a sentence; empty if there are."""


def run(benchmark: Benchmark, *, quick: bool, directory: Path) -> Outcome:
    """Run a benchmark, which prints its own tables; whatever becomes of it, the next one can be run.

    ``directory`` is for what it hands over, and nothing else of it.
    """
    results = directory / f"{benchmark.name}.json"
    began, busy, own = time.perf_counter(), busy_seconds(), _own_seconds()
    try:
        failure = _ended(benchmark.command(quick, results), benchmark.deadline)
    except OSError as error:
        failure = f"It could not be started: {error.strerror or error}."
    except KeyboardInterrupt:
        failure = INTERRUPTED
    took = time.perf_counter() - began
    others = max(0.0, busy_seconds() - busy - (_own_seconds() - own)) / (took * cores())
    targets: tuple[Target, ...] = ()
    if not failure:
        try:
            targets = tuple(received(results))
        except (OSError, ValueError, TypeError):
            failure = "It ended without having written its results; what it said last is above."
    return Outcome(benchmark.name, took, others, targets, failure)


def _ended(command: Sequence[str], deadline: float) -> str:
    """Run a command to its end; return what went wrong in a sentence, or nothing."""
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        code = process.wait(deadline)
    except subprocess.TimeoutExpired:
        return f"It was ended after {deadline:g} s, its deadline."
    finally:
        _end(process)  # also upon Ctrl+C, which does not reach its session
    return "" if code in (MET, MISSED) else f"It failed with exit code {code}."


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Let no process of its session live on."""
    for number, patience in ((signal.SIGTERM, END_SECONDS), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def _own_seconds() -> float:
    """Return the CPU seconds of this process and of those that it has waited for, and theirs."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
