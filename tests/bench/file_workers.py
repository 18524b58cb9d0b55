"""How many records a second four workers write into one ``engine.db``, against one engine that has it for itself.

    python -m tests.bench.file_workers [--rows 40000] [--rounds 3]

Every worker is a process of its own, with a life in the file: each of its transactions begins with the fence. All write
real records through the real journal until all are durable. The contenders take turns, and the median of the ratios
counts; that none starves is the slowest worker's rate over the fastest one's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import anyio

from adapters.sqlite import JournalWriter
from tests.bench.journal_stores import fill
from tests.bench.table import Table, Target, add_option, hand_over, middle, number, ratio
from tests.storage.shared_files import journal_of, register

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 4


async def work(path: Path, name: str, rows: int) -> None:
    """Be one writer: a worker if the file has lives, an engine alone otherwise."""
    if name == "alone":
        journal = await JournalWriter.open(path, on_trouble=lambda *_: None)
        spent = await fill(journal, name, rows)
        await journal.aclose(30)
    else:
        async with journal_of(path, register(path, name), timeouts=None) as shared:
            spent = await fill(shared, name, rows)
    print(json.dumps(spent), flush=True)


def together(path: Path, names: list[str], rows: int) -> list[tuple[float, float]]:
    """Let processes write so many rows each at once; return when each began and ended."""
    command = [sys.executable, "-m", "tests.bench.file_workers", "--be", str(path), "--rows", str(rows)]
    running = [
        subprocess.Popen([*command, "--name", name], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name in names
    ]
    try:
        for each in running:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n", "a writer did not begin"
        for each in running:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        found = [json.loads(each.communicate(timeout=600)[0]) for each in running]
    finally:
        for each in running:
            with suppress(OSError):
                each.kill()
            each.wait()
    return [(began, ended) for began, ended, _ in found]


def run(directory: Path, rows: int, rounds: int) -> Table:
    """Measure both, in turn."""
    alone, shared, fair = list[float](), list[float](), list[float]()
    for turn in range(rounds):
        [(began, ended)] = together(directory / f"alone-{turn}.db", ["alone"], rows)
        alone.append(rows / (ended - began))
        names = [f"worker {each}" for each in range(WORKERS)]
        spans = together(directory / f"shared-{turn}.db", names, rows // WORKERS)
        shared.append(rows / (max(end for _, end in spans) - min(start for start, _ in spans)))
        took = [end - start for start, end in spans]
        fair.append(min(took) / max(took))
    gain = middle([ratio(four, one) for one, four in zip(alone, shared, strict=True)])
    return Table(
        f"{WORKERS} workers that write records into one engine.db, against one engine",
        ["", "records per second", "slowest over fastest"],
        [
            ["one engine", number(middle(alone)), "1.00"],
            ["four workers", number(middle(shared)), f"{middle(fair):.2f}"],
        ],
        [
            Target("records per second, four workers", gain, least=0.7, against="one engine"),
            Target("records, slowest of four workers", middle(fair), least=0.5, against="the fastest"),
        ],
    )


def main() -> None:
    """Print the table, and leave with 1 if a target is missed; or be one of the processes."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.file_workers", description=__doc__)
    parser.add_argument("--rows", type=int, default=40_000, help="records that each contender writes in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--be", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--name", default="alone", help=argparse.SUPPRESS)
    add_option(parser)
    wanted = parser.parse_args()
    if wanted.be is not None:
        anyio.run(work, wanted.be, wanted.name, wanted.rows)
        return
    with tempfile.TemporaryDirectory() as directory:
        made = run(Path(directory), wanted.rows, wanted.rounds)
    print("\n".join(made.lines()), flush=True)
    hand_over(wanted.results, made.targets)
    raise SystemExit(not all(target.kept for target in made.targets))


if __name__ == "__main__":
    main()
