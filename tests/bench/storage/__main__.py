"""``uv run --group bench python -m tests.bench.storage [--rows producers,path,busy,processes,lag,memory]``."""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.storage import busy, lag, memory, path, processes, producers
from tests.bench.table import Table, Target, add_option, hand_over

ROWS: dict[str, Callable[[Path], Table]] = {
    "producers": lambda directory: producers.run(directory, counts=(1, 10, 100, 1000), seconds=1.0, rounds=3),
    "path": lambda directory: path.run(directory, seconds=2.0, rounds=3),
    "busy": lambda directory: busy.run(directory, seconds=2.0, rounds=3),
    "processes": lambda directory: processes.run(directory, writers=8, seconds=3.0, rounds=3),
    "lag": lambda directory: lag.run(directory, seconds=10.0),
    "memory": lambda directory: memory.run(directory, accounts=400),
}


def fsync_seconds(directory: Path) -> float:
    """Return what it takes to make a small write durable on this disk."""
    with (directory / "fsync").open("wb") as file:
        began = time.perf_counter()
        for _ in range(100):
            file.seek(0)
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        return (time.perf_counter() - began) / 100


def main() -> None:
    """Print the tables, and leave with 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.storage")
    parser.add_argument("--rows", default=",".join(ROWS), help="which tables, with commas between them")
    parser.add_argument("--directory", type=Path, default=None, help="on the disk that is to be measured")
    add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        took = fsync_seconds(directory) * 1000
        print(f"One fsync takes {took:.2f} ms here; synchronous is FULL everywhere.\n", flush=True)
        targets: list[Target] = []
        for row in options.rows.split(","):
            table = ROWS[row](directory)
            print("\n".join(table.lines()), flush=True)
            targets += table.targets
    hand_over(options.results, targets)
    raise SystemExit(not all(target.kept for target in targets))


if __name__ == "__main__":
    main()
