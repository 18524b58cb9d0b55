"""``uv run --group bench python -m tests.bench.storage [--rows producers,path,busy,processes,lag,memory]``."""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench.machine import fsync_seconds
from tests.bench.storage import busy, lag, memory, path, processes, producers
from tests.bench.table import Table, Target, add_option, hand_over

ROWS: dict[str, Callable[..., Table]] = {
    "producers": partial(producers.run, counts=(1, 10, 100, 1000), seconds=1.0, rounds=3),
    "path": partial(path.run, seconds=2.0, rounds=3),
    "busy": partial(busy.run, count=60),
    "processes": partial(processes.run, writers=8, seconds=3.0, rounds=3),
    "lag": partial(lag.run, seconds=10.0),
    "memory": partial(memory.run, accounts=400),
}
QUICK: dict[str, dict[str, float]] = {
    "producers": {"seconds": 0.1, "rounds": 1},
    "path": {"seconds": 0.1, "rounds": 1},
    "busy": {"count": 4},
    "processes": {"seconds": 0.2, "rounds": 1},
    "lag": {"seconds": 0.5},
    "memory": {"accounts": 150},
}
"""What is smaller with ``--quick``."""


def main() -> None:
    """Print the tables, and leave with 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.storage")
    parser.add_argument("--rows", default=",".join(ROWS), help="which tables, with commas between them")
    parser.add_argument("--directory", type=Path, default=None, help="on the disk that is to be measured")
    parser.add_argument("--quick", action="store_true", help="to try the benchmark: its figures mean nothing")
    add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        took = fsync_seconds(directory) * 1000
        print(f"One fsync takes {took:.2f} ms here; synchronous is FULL everywhere.\n", flush=True)
        targets: list[Target] = []
        for row in options.rows.split(","):
            table = ROWS[row](directory, **(QUICK[row] if options.quick else {}))
            print("\n".join(table.lines()), flush=True)
            targets += table.targets
    hand_over(options.results, targets)
    raise SystemExit(not all(target.kept for target in targets))


if __name__ == "__main__":
    main()
