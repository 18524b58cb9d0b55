"""The threads that write sessions, under random programs."""

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import anyio.to_thread
from attrs import define, field
from telethon.crypto import AuthKey
from telethon.tl.types import User
from telethon.tl.types.updates import State

from adapters.session import HoldfastSession, live, writer
from adapters.session import file as files
from adapters.session.contents import Contents
from adapters.session.failures import LiveFileTimeouts
from adapters.session.live import LiveFile
from adapters.session.writer import WriteBehind
from tests.simulation.thread_programs import run_loop
from tests.simulation.thread_support import directory, drawn
from tests.simulation.threads import scheduler_now

KEYS: Final = tuple(bytes([number]) * 256 for number in range(1, 5))


@define(eq=False)
class VisitedFile:
    """A file of the write-behind queue: each wake wants one more row to be written."""

    draw: random.Random
    queue: WriteBehind
    name: str
    wanted: int = 0
    written: int = 0
    busy: bool = False
    visits: list[float] = field(factory=list)

    @property
    def unsaved(self) -> bool:
        return self.wanted > self.written

    def want(self, after: float) -> None:
        """Need a visit."""
        self.wanted += 1
        self.queue.wake(self, after)

    def visit(self) -> float | None:
        assert not self.busy, "two threads visit one file"
        self.busy = True
        self.visits.append(time.monotonic())
        try:
            wanted = self.wanted
            scheduler_now().give_way()
            match self.draw.randrange(8):
                case 0:
                    raise LookupError("a bug in a visit")
                case 1:
                    time.sleep(self.draw.random())
                case 2:
                    return self.draw.random()
                case 3:
                    self.want(self.draw.random())
            self.written = wanted
            return 0.0 if self.unsaved else self.draw.choice([None, None, 0.5])
        finally:
            self.busy = False


def write_behind() -> object:
    """Each wake is followed by a visit, one thread at a time visits a file, and idle threads end."""
    draw = drawn()
    queue = WriteBehind(draw.randrange(1, 4))
    visited = [VisitedFile(draw, queue, name) for name in "abc"[: draw.randrange(1, 4)]]
    for _ in range(draw.randrange(1, 12)):
        draw.choice(visited).want(draw.choice([0, 0, 0.01, 1, 12]))
        if draw.random() < 0.3:
            time.sleep(draw.choice([0.01, 1, 9.99, 10, 11]))
    if draw.random() < 0.3:
        assert queue.drain(60) == 0
        assert not any(file.unsaved for file in visited)
    time.sleep(500)
    for file in visited:
        assert file.written == file.wanted, (file.name, file.written, file.wanted)
    assert not queue._files
    assert (queue._running, queue._idle) == (0, 0), (queue._running, queue._idle)
    return [file.visits for file in visited]


class SessionStory:
    """A session of an account, what its program does with it, and what the file must hold."""

    def __init__(self, path: Path, draw: random.Random) -> None:
        self.path, self.draw = path, draw
        self.number = 0
        self.done: list[tuple[float, int]] = []
        """What it did, and when, for who looks for the cause of a failure."""
        self.session: HoldfastSession

    async def open(self) -> None:
        """Make the session in a thread, as the engine does."""
        timeouts = LiveFileTimeouts(
            gather=self.draw.choice([0.0, 0.25]), busy=0.5, retry=0.3, idle=self.draw.choice([0.05, 5.0])
        )
        self.session = await anyio.to_thread.run_sync(lambda: HoldfastSession(self.path, timeouts=timeouts))

    async def run(self) -> None:
        """Do what the program of this seed does, close the session, and compare file and memory."""
        await self.open()
        for _ in range(self.draw.randrange(12)):
            await self.act()
        await self.session.close()
        self.compare_all()
        assert not self.live.owned, "closed, and still owned"

    async def act(self) -> None:
        """Do one thing."""
        session, draw = self.session, self.draw
        self.number += 1
        choice = draw.randrange(12)
        self.done.append((round(scheduler_now().now, 4), choice))
        match choice:
            case 0 | 1:
                session.process_entities([User(id=draw.randrange(1, 4), access_hash=1, first_name=f"{self.number}")])
            case 2 | 3:
                date = time.time()
                session.set_update_state(0, State(self.number, 0, _date(date), 0, 0))
            case 4:
                session.auth_key = AuthKey(draw.choice(KEYS))
                await session.save()
                assert self.stored().identity.key == session.auth_key.key, "a key that was saved is not in the file"
            case 5:
                expected = dict(session._contents.states)
                names = {number: entity[3] for number, entity in session._contents.entities.items()}
                await session.flush()
                found = self.stored()
                if self.live.owned:
                    assert found.states == expected, (found.states, expected)
                    assert {number: entity[3] for number, entity in found.entities.items()} == names
            case 6:
                await session.close()
                self.compare_all()
            case 7:
                receipt = session.close()
                if draw.random() < 0.5:
                    await asyncio.sleep(draw.random() * 0.1)
                session.set_update_state(0, State(self.number, 0, _date(time.time()), 0, 0))
                with suppress(Exception):
                    await receipt
            case 8:
                await anyio.to_thread.run_sync(session.reopen)
            case 9:
                await self.lock_file(draw.random())
            case _:
                await asyncio.sleep(draw.random() * draw.choice([0.01, 0.3, 12]))

    async def lock_file(self, seconds: float) -> None:
        """Be another program that writes to the file."""
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=10)) as other:
            other.execute("begin immediate")
            await asyncio.sleep(seconds)
            other.execute("rollback")

    @property
    def live(self) -> LiveFile:
        """The session's file."""
        assert self.session._live is not None
        return self.session._live

    def stored(self) -> Contents:
        """Read the file."""
        with closing(files.connect(self.path, mode="ro", timeout=10)) as database:
            return files.load(database)

    def compare_all(self) -> None:
        """The file holds what memory holds, if nothing waits."""
        found, mine = self.stored(), self.session._contents
        assert not mine.dirty.rows, "closed, and something waits"
        assert found.identity == mine.identity
        assert found.states == mine.states, (self.path.name, found.states, mine.states, self.done)
        assert found.files == mine.files
        assert {key: each[:-1] for key, each in found.entities.items()} == {
            key: each[:-1] for key, each in mine.entities.items()
        }


def _date(at: float) -> object:
    import datetime

    return datetime.datetime.fromtimestamp(int(at), tz=datetime.UTC)


def session_writer() -> object:
    """What was flushed is in the file, what was closed is all of it, and no thread or descriptor stays behind."""
    draw = drawn()
    setattr(live, "MAX_OPEN", draw.choice([0, 1, 64]))  # noqa: B010 - final for everybody else
    writer._in_child()  # of threads that an earlier seed has left behind
    live._open = 0

    async def main(place: Path) -> object:
        stories = [SessionStory(place / f"{name}.session", draw) for name in "abc"[: draw.randrange(1, 4)]]
        await asyncio.gather(*(story.run() for story in stories))
        return [story.number for story in stories]

    with directory() as place:
        told = run_loop(main(place))
        time.sleep(500)
        assert not writer.shared._files
        left = (writer.shared._running, writer.shared._idle, live._open)
        assert left == (0, 0, 0), f"{left}\n{scheduler_now().describe()}"
    return told


PROGRAMS: Final[dict[str, Callable[[], object]]] = {each.__name__: each for each in (write_behind, session_writer)}
