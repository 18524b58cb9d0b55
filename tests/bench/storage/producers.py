"""Durable operations per second, when so many tasks each wait for their own before the next."""

import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import anyio
import anyio.lowlevel

from adapters.sqlite import GroupWriter, Statement, open_database
from tests.bench.table import Table, Target, middle, number, ratio

Put = Callable[[int], Awaitable[None]]
"""Store a number; returns when it is durable."""
Contender = Callable[[Path], AbstractAsyncContextManager[Put]]

MAKE = "create table if not exists numbers (value integer)"
INSERT = "insert into numbers values (?)"
STATEMENT = Statement("row", "insert into numbers select column1 from rows", width=1)
GUIDE = ("pragma journal_mode = wal", "pragma busy_timeout = 30000", "pragma cache_size = -64000")


@asynccontextmanager
async def as_it_comes(path: Path) -> AsyncIterator[Put]:
    """``sqlite3.connect(db)`` on the event loop, a commit for each insert."""
    with closing(sqlite3.connect(path)) as database:
        database.execute(MAKE)

        async def put(value: int) -> None:
            database.execute(INSERT, (value,))
            database.commit()
            await anyio.lowlevel.checkpoint()

        yield put


@asynccontextmanager
async def guide(path: Path) -> AsyncIterator[Put]:
    """The guide's settings on the event loop: WAL, 30 s, autocommit, a larger cache."""
    with closing(sqlite3.connect(path, timeout=30.0, isolation_level=None)) as database:
        for pragma in GUIDE:
            database.execute(pragma)
        database.execute(MAKE)

        async def put(value: int) -> None:
            database.execute(INSERT, (value,))
            await anyio.lowlevel.checkpoint()

        yield put


@asynccontextmanager
async def in_a_thread(path: Path) -> AsyncIterator[Put]:
    """aiosqlite, with the guide's settings."""
    import aiosqlite  # of the group ``bench``: the tests run without it

    async with aiosqlite.connect(path, timeout=30.0, isolation_level=None) as database:
        for pragma in GUIDE:
            await database.execute(pragma)
        await database.execute(MAKE)

        async def put(value: int) -> None:
            await database.execute(INSERT, (value,))

        yield put


@asynccontextmanager
async def ours(path: Path) -> AsyncIterator[Put]:
    """The group writer, WAL and ``synchronous=FULL``."""
    database = open_database(path)
    database.execute(MAKE)
    writer = GroupWriter(path=str(path), connection=database, on_trouble=lambda *_: None)

    async def put(value: int) -> None:
        await writer.write(STATEMENT, (value,))
        await writer.flush()

    try:
        yield put
    finally:
        await writer.aclose(10)


CONTENDERS: dict[str, Contender] = {
    "Holdfast": ours,
    "`sqlite3.connect(db)` as it comes": as_it_comes,
    "the guide's settings": guide,
    "aiosqlite": in_a_thread,
}
OURS, PLAIN = "Holdfast", "`sqlite3.connect(db)` as it comes"


async def rate(contender: Contender, path: Path, producers: int, seconds: float) -> float:
    """Return operations per second; raises ``AssertionError`` if one that was called durable is not there."""
    done = 0
    async with contender(path) as put:
        began = time.perf_counter()
        end = began + seconds

        async def produce(number: int) -> None:
            nonlocal done
            while time.perf_counter() < end:
                await put(number)
                done += 1

        async with anyio.create_task_group() as tasks:
            for number in range(producers):
                tasks.start_soon(produce, number)
        took = time.perf_counter() - began
    with closing(sqlite3.connect(path)) as database:
        ((stored,),) = database.execute("select count(*) from numbers").fetchall()
    assert stored == done, f"{done} were durable, {stored} are there"
    return done / took


def run(directory: Path, *, counts: tuple[int, ...], seconds: float, rounds: int) -> Table:
    """Measure all contenders, in turn, and return the table."""
    found: dict[tuple[str, int], list[float]] = {}
    for turn in range(rounds):
        for count in counts:
            for index, (name, contender) in enumerate(CONTENDERS.items()):
                path = directory / f"producers-{turn}-{count}-{index}.db"
                found.setdefault((name, count), []).append(anyio.run(rate, contender, path, count, seconds))
    rows = []
    for name in CONTENDERS:
        cells = []
        for count in counts:
            value, plain = middle(found[name, count]), middle(found[PLAIN, count])
            cells += [number(value), number(ratio(value, plain))]
        rows.append([name, *cells])
    head = ["durable operations per second", *(f"{text}{count}" for count in counts for text in ("", "ratio at "))]
    targets = []
    if 100 in counts:
        gained = ratio(middle(found[OURS, 100]), middle(found[PLAIN, 100]))
        targets.append(
            Target("durable operations, 100 producers", gained, least=40, against="sqlite3 as it comes", headline=True)
        )
    return Table("Durable operations, by the number of tasks that wait for one each", head, rows, targets)
