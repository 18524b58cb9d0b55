"""What the programs of threads share."""

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.simulation.threads import scheduler_now


def drawn() -> random.Random:
    """Return what the program of this seed is drawn from."""
    return random.Random(f"story {scheduler_now().seed}")


@contextmanager
def directory() -> Iterator[Path]:
    """Make a directory in memory, if the system has such."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="holdfast-threads-", dir=memory if memory.is_dir() else None) as path:
        yield Path(path)
