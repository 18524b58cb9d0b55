"""``python -m tests.soak.crash [KILLS] [SEED]``: kill an engine, and a program that writes, so many times (200)."""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import anyio

from tests.soak import running, storage


def main(kills: int = 200, seed: int | None = None) -> None:
    """Do it, and say what came of it; ends with an exception if anything was lost."""
    seed = time.time_ns() % 2**32 if seed is None else seed
    print(f"{kills} kills each, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        durable = storage.kill_again_and_again(Path(directory), kills, seed)
        keys = sum(map(len, durable.keys.values()))
        print(
            f"storage: {len(durable.records)} records, {len(durable.entities)} entities and {keys} keys were durable; "
            f"none is lost, no file damaged, also in {2 * kills} copies made at the moment of the kill",
            flush=True,
        )
    with tempfile.TemporaryDirectory() as directory:
        records = anyio.run(partial(running.kill_again_and_again, Path(directory), kills, seed))
        print(f"engine: {records} records in {kills + 1} lives, none lost, no file damaged, every life replays")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
