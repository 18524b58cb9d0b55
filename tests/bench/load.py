"""A busy machine: other programs that compute and write, as many as there are processors, for a run of benchmarks.

    python -m tests.bench.load [DIRECTORY]

Each of them computes half of the time; the first makes a small write durable after each turn. It ends with its stdin.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.machine import cores

TURN_SECONDS: Final = 0.01
"""How long a program computes, and how long it rests then."""
WRITE: Final = b"x" * 65536
ROOT: Final = Path(__file__).resolve().parents[2]


def work(directory: str | None) -> None:
    """Compute and rest in turn, for ever; with a directory, write into it, too."""
    with tempfile.TemporaryFile(dir=directory) as file:
        while True:
            end = time.perf_counter() + TURN_SECONDS
            while time.perf_counter() < end:
                sum(range(200))
            if directory is not None:
                file.seek(0)
                file.write(WRITE)
                file.flush()
                os.fsync(file.fileno())
            time.sleep(TURN_SECONDS)


@contextmanager
def running(directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Keep the machine busy for the length of the block."""
    command = [sys.executable, "-m", "tests.bench.load", str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


def main() -> None:
    """Run the programs until stdin ends."""
    directory = sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir()
    context = multiprocessing.get_context("spawn")
    programs = [
        context.Process(target=work, args=(directory if number == 0 else None,), daemon=True)
        for number in range(cores())
    ]
    for program in programs:
        program.start()
    sys.stdin.read()
    for program in programs:
        program.kill()
        program.join()


if __name__ == "__main__":
    main()
