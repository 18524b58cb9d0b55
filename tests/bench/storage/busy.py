"""How fast a writer's thread stores a batch of rows while the event loop computes, and what the loop keeps of its time.

Both threads need the interpreter's lock. SQLite works without it, and ``executemany`` gives it up for each row, one
statement once for up to 256 rows. Whoever gives it up beside a thread that computes gets it back after 5 ms, if a
processor is free on which the other takes it. If none is free, the other does not come to take it, and both ways are as
fast. So which of the two it is depends on the machine from one moment to the next.

Hence many single batches, the contenders in turn, and of each contender's only the quarter that was disturbed least
counts: by how long the kernel let the two threads wait for a processor, whatever their batches took.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from attrs import frozen

from adapters.sqlite import Statement, open_database
from tests.bench.table import Table, Target, middle, number, ratio

BATCH = 500
TASKS = 5
CHUNK_SECONDS = 0.02
"""How long a task computes before it lets another one."""
COUNTED = 4
"""One of so many batches counts."""
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


OURS, THEIRS = "Holdfast: one statement", "executemany"
CONTENDERS: dict[str, Store] = {OURS: one_statement, THEIRS: executemany}


@frozen
class Batch:
    """One batch, from its BEGIN to the end of its COMMIT."""

    seconds: float
    kept: float
    """The part of the time that the kernel gave the loop in which the loop computed."""
    disturbed: float
    """The part of the time in which the two threads waited for a processor, taken together."""


@frozen
class Moment:
    """What the kernel has counted up to a moment, in seconds."""

    at: float
    loop_ran: float
    loop_waited: float
    """For a processor, not for the lock."""
    writer_waited: float

    @classmethod
    def now(cls, loop: int, writer: int) -> "Moment":
        """Read the figures of two threads; all are 0 where the kernel does not count."""
        (ran, waited), (_, writer_waited) = _scheduled(loop), _scheduled(writer)
        return cls(time.perf_counter(), ran, waited, writer_waited)


def _scheduled(thread: int) -> tuple[float, float]:
    """Return for how long a thread of this process ran, and waited for a processor."""
    try:
        with open(f"/proc/self/task/{thread}/schedstat", encoding="ascii") as file:
            ran, waited, _ = file.read().split()
    except OSError:
        return 0.0, 0.0
    return int(ran) / 1e9, int(waited) / 1e9


def stored(database: sqlite3.Connection, store: Store, loop: int) -> Batch:
    """Store one batch beside the thread of the loop."""
    writer = threading.get_native_id()
    before = Moment.now(loop, writer)
    began = time.perf_counter()
    database.execute("begin immediate")
    store(database)
    database.execute("commit")
    seconds = time.perf_counter() - began
    after = Moment.now(loop, writer)
    span, loop_waited = after.at - before.at, after.loop_waited - before.loop_waited
    return Batch(
        seconds,
        kept=min(1.0, ratio(after.loop_ran - before.loop_ran, max(span - loop_waited, 0.0))),
        disturbed=(loop_waited + after.writer_waited - before.writer_waited) / span,
    )


def batches(directory: Path, count: int) -> dict[str, list[Batch]]:
    """Store so many batches of each contender, in turn, while an event loop computes in this thread."""
    found: dict[str, list[Batch]] = {name: [] for name in CONTENDERS}
    loop, ended = threading.get_native_id(), threading.Event()

    def write() -> None:
        with (
            closing(open_database(directory / "busy-one.db")) as one,
            closing(open_database(directory / "busy-many.db")) as many,
        ):
            for database in (one, many):
                database.execute(MAKE)
            for _ in range(count):
                for database, (name, store) in zip((one, many), CONTENDERS.items(), strict=True):
                    found[name].append(stored(database, store, loop))

    def work() -> None:
        try:
            write()
        finally:
            ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    compute_until(ended)
    thread.join()
    return found


def compute_until(ended: threading.Event) -> None:
    """Run an event loop whose tasks compute, ``CHUNK_SECONDS`` at a time."""

    async def compute() -> None:
        while not ended.is_set():
            chunk = time.perf_counter() + CHUNK_SECONDS
            while time.perf_counter() < chunk:
                sum(range(200))
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(compute() for _ in range(TASKS)))

    asyncio.run(main())


def undisturbed(found: Sequence[Batch]) -> list[Batch]:
    """Return the part of the batches that counts."""
    return sorted(found, key=lambda batch: batch.disturbed)[: max(1, len(found) // COUNTED)]


def table(found: dict[str, list[Batch]]) -> Table:
    """Return the table of all batches."""
    counted = {name: undisturbed(each) for name, each in found.items()}
    seconds = {name: middle([batch.seconds for batch in each]) for name, each in counted.items()}
    rows = [
        [
            name,
            number(BATCH / seconds[name]),
            number(ratio(seconds[THEIRS], seconds[name])),
            f"{middle([batch.kept for batch in each]):.0%}",
            f"{middle([batch.disturbed for batch in each]):.0%}",
            f"{middle([batch.disturbed for batch in found[name]]):.0%}",
        ]
        for name, each in counted.items()
    ]
    return Table(
        f"A writer's thread beside a busy event loop, {len(found[OURS])} batches of {BATCH} rows each in turn",
        ["", "rows per second", "ratio", "the loop keeps", "threads waited for a processor", "in all batches"],
        rows,
        [
            Target(
                "rows per second beside a busy loop",
                ratio(seconds[THEIRS], seconds[OURS]),
                least=6,
                against=THEIRS,
                headline=True,
            )
        ],
    )


def run(directory: Path, *, count: int) -> Table:
    """Measure both, in turn, and return the table."""
    return table(batches(directory, count))
