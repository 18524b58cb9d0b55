"""The product's threads under random programs: what must hold of them holds in each order in which they run."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from adapters.sqlite import GroupWriter, Statement, WriterClosed, WriterTimeouts, open_database
from tests.simulation.thread_programs import run_loop
from tests.simulation.thread_support import directory, drawn

ROW: Final = Statement("row", "INSERT INTO rows (name, number) SELECT column1, column2 FROM rows", width=2)
LATEST: Final = Statement(
    "latest",
    """INSERT INTO latest (name, number) SELECT column1, column2 FROM rows WHERE true
    ON CONFLICT (name) DO UPDATE SET number = excluded.number""",
    width=2,
    order=1,
    latest=True,
)


def stored(path: Path, table: str) -> list[tuple[str, int]]:
    """Return what another connection sees."""
    with closing(sqlite3.connect(path)) as other:
        found: list[tuple[str, int]] = other.execute(f"SELECT name, number FROM {table} ORDER BY rowid").fetchall()
    return found


class JournalStory:
    """A writer with a file of its own, and what was written to it."""

    def __init__(self, path: Path) -> None:
        self.draw = drawn()
        self.path = path
        self.told: list[Any] = []
        self.written: dict[str, list[int]] = {}
        self.latest: dict[str, int] = {}
        connection = open_database(path)
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT, number INTEGER)")
        connection.execute("CREATE TABLE latest (name TEXT PRIMARY KEY, number INTEGER)")
        self.writer = GroupWriter(
            path=str(path),
            connection=connection,
            on_trouble=lambda failure, waiting: self.told.append((failure, waiting)),
            max_waiting=self.draw.choice([1, 2, 5, 100]),
            timeouts=WriterTimeouts(busy=0.1, slice=0.05, retry=0.05),
        )

    async def run(self) -> object:
        """Run the program; return what was stored."""
        tasks = [asyncio.create_task(self.produce(name)) for name in "abc"[: self.draw.randrange(1, 4)]]
        if self.draw.random() < 0.3:
            tasks.append(asyncio.create_task(self.disturb()))
        if self.draw.random() < 0.7:
            await asyncio.gather(*tasks)
        else:
            await asyncio.sleep(self.draw.random())
        left = await self.writer.aclose(5)
        await asyncio.gather(*tasks)
        assert left == 0 == self.writer.waiting, (left, self.told, self.writer._queue._writes)
        assert not self.writer._thread.is_alive()
        found = stored(self.path, "rows")
        for name, numbers in self.written.items():
            assert [number for who, number in found if who == name] == numbers, (name, numbers, found)
        assert dict(stored(self.path, "latest")) == self.latest
        troubled = [failure is not None for failure, _ in self.told]
        assert not troubled or not troubled[-1], self.told
        return [found, len(self.told)]

    async def produce(self, name: str) -> None:
        """Write, wait and flush, in an order of its own, until the writer is closed."""
        mine = self.written.setdefault(name, [])
        with suppress(WriterClosed):
            for number in range(self.draw.randrange(8)):
                match self.draw.randrange(8):
                    case 0:
                        await asyncio.sleep(self.draw.random() * self.draw.choice([0.001, 0.1, 3]))
                    case 1:
                        before = list(mine)
                        await self.writer.flush()
                        assert [n for who, n in stored(self.path, "rows") if who == name][: len(before)] == before
                    case 2:
                        key, value = self.draw.choice("xy"), self.draw.randrange(1000)
                        await self.writer.write(LATEST, (f"{name}{key}", value))
                        self.latest[f"{name}{key}"] = value
                    case 3:
                        await self.writer.look()
                    case 4:
                        key, value = f"{name}{self.draw.choice('xy')}", self.draw.randrange(1000)
                        await self.writer.write_together([(ROW, (name, number)), (LATEST, (key, value))])
                        mine.append(number)
                        self.latest[key] = value
                    case _:
                        await self.writer.write(ROW, (name, number))
                        mine.append(number)

    async def disturb(self) -> None:
        """Keep the file locked for a while, as another program does."""
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=5)) as other:
            await asyncio.sleep(self.draw.random())
            other.execute("BEGIN IMMEDIATE")
            await asyncio.sleep(self.draw.random() * 0.5)
            other.execute("ROLLBACK")


def journal_writer() -> object:
    """Rows are stored once and in order, a flush is durable, the latest of a slot wins, closing saves all."""

    async def main(path: Path) -> object:
        return await JournalStory(path).run()

    with directory() as place:
        return run_loop(main(place / "rows.db"))


PROGRAMS: Final[dict[str, Callable[[], object]]] = {each.__name__: each for each in (journal_writer,)}
