"""Rows per second of a writer's thread while the event loop computes, and what the loop keeps of its own speed."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from adapters.sqlite import Statement, open_database
from tests.bench.table import Table, Target, middle, number, ratio

BATCH = 500
TASKS = 5
CHUNK_SECONDS = 0.02
"""How long a task computes before it lets another one."""
START_SECONDS = 60.0
"""How long the first batch may take on a busy machine."""
Store = Callable[[sqlite3.Connection], None]
"""Put a batch into the open transaction."""


COLUMNS = ("id", "hash", "username", "phone", "name", "date")
MAKE = f"create table if not exists people ({', '.join(COLUMNS)})"
ROWS = [(number, number * 7, f"user{number}", 9996620001, f"Somebody {number}", 1760000000) for number in range(BATCH)]
ONE = Statement("person", "insert into people select * from rows", width=len(COLUMNS))
MANY = "insert into people values (?, ?, ?, ?, ?, ?)"


def one_statement(database: sqlite3.Connection) -> None:
    """As the group writer does: one statement for up to 256 rows."""
    ONE.execute(database, ROWS)


def executemany(database: sqlite3.Connection) -> None:
    """As most programs do."""
    database.executemany(MANY, ROWS)


CONTENDERS: dict[str, Store] = {"Holdfast: one statement": one_statement, "executemany": executemany}


def turns(seconds: float) -> int:
    """Run an event loop whose tasks compute, ``CHUNK_SECONDS`` at a time; return how much they got done."""
    done = 0

    async def compute(end: float) -> None:
        nonlocal done
        while time.perf_counter() < end:
            chunk = time.perf_counter() + CHUNK_SECONDS
            while time.perf_counter() < chunk:
                done += sum(range(200)) > 0
            await asyncio.sleep(0)

    async def main() -> None:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(compute(end) for _ in range(TASKS)))

    asyncio.run(main())
    return done


def rate(store: Store, path: Path, seconds: float) -> tuple[float, float]:
    """Return rows per second beside a thread that computes, and how often that one got round in a second.

    It is measured from the first batch on: opening the database is not what is compared.
    """
    written, begun, stop = 0, threading.Event(), threading.Event()

    def work() -> None:
        nonlocal written
        with closing(open_database(path)) as database:
            database.execute(MAKE)
            while not stop.is_set():
                database.execute("begin immediate")
                store(database)
                database.execute("commit")
                written += BATCH
                begun.set()

    thread = threading.Thread(target=work)
    thread.start()
    if not begun.wait(START_SECONDS):
        raise TimeoutError(f"no batch was written within {START_SECONDS:g} s")
    before = written
    done = turns(seconds)
    rows = written - before
    stop.set()
    thread.join()
    return rows / seconds, done / seconds


def run(directory: Path, *, seconds: float, rounds: int) -> Table:
    """Measure both, in turn, and return the table."""
    rows: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    kept: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for turn in range(rounds):
        alone = turns(seconds) / seconds
        for name, store in CONTENDERS.items():
            stored, done = rate(store, directory / f"busy-{turn}-{store.__name__}.db", seconds)
            rows[name].append(stored)
            kept[name].append(done / alone)
    plain = middle(rows["executemany"])
    lines = [
        [name, number(middle(rows[name])), number(ratio(middle(rows[name]), plain)), f"{middle(kept[name]):.0%}"]
        for name in CONTENDERS
    ]
    gained = ratio(middle(rows["Holdfast: one statement"]), plain)
    return Table(
        f"A writer's thread beside a busy event loop, batches of {BATCH} rows",
        ["", "rows per second", "ratio", "the loop keeps"],
        lines,
        [Target("rows per second beside a busy loop", gained, least=6, against="executemany", headline=True)],
    )
