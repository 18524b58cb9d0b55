"""A wire between a node and a server that can be cut, slow, or a black hole.

It loses what a network loses. What a process has sent and was not passed on is dropped when its connection ends, as the
kernel drops it with the process: a proxy that delivers such bytes later would act for a node that is dead.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from attrs import define, field

CHUNK: Final = 65536

Target = Callable[[], Path | int]
"""Returns the socket file, or the port of 127.0.0.1, that a new connection leads to."""


@define(eq=False)
class _Way:
    """One direction of a connection."""

    wire: "Wire"
    source: asyncio.StreamReader
    target: asyncio.StreamWriter
    held: deque[tuple[float, bytes]] = field(factory=deque)
    """What was read and not passed on, with the time by which it may be."""
    filled: asyncio.Event = field(factory=asyncio.Event)
    over: bool = False

    async def read(self) -> bool:
        """Take what comes until the end; return whether that came in order. When it breaks, what is held is lost."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while chunk := await self.source.read(CHUNK):
                self.held.append((loop.time() + self.wire.late, chunk))
                self.filled.set()
            if self.wire.is_hole:
                self.held.clear()
            self.over = True
            self.filled.set()
            await asyncio.Event().wait()  # the other task goes on with what is held
        return False

    async def write(self) -> bool:
        """Pass on what is due; return whether all of it could be."""
        with contextlib.suppress(OSError):
            await self._write_all()
            return True
        return False

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self.filled.wait()
            self.filled.clear()
            while self.held:
                due = self.held[0][0]
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                await self.wire.passes.wait()
                if not self.held:
                    break
                self.target.write(self.held.popleft()[1])
                await self.target.drain()
            if self.over:
                return


@define(eq=False)
class Wire:
    """Passes bytes between its port and a server."""

    target: Target
    late: float = field(default=0.0, init=False)
    """By how many seconds each packet is late."""
    passes: asyncio.Event = field(factory=asyncio.Event, init=False)
    connections: int = field(default=0, init=False)
    """How many there have been."""
    _open: dict[asyncio.Task[None], asyncio.StreamWriter] = field(factory=dict, init=False)
    _server: asyncio.Server = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.passes.set()

    @property
    def port(self) -> int:
        """Return the port of 127.0.0.1 at which it listens."""
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def is_hole(self) -> bool:
        """Whether nothing passes now, and nobody is told."""
        return not self.passes.is_set()

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._open)

    def swallow(self) -> None:
        """Be a black hole from now on."""
        self.passes.clear()

    def restore(self) -> None:
        """Pass everything on again, at once, beginning with what was held back on connections that are still open."""
        self.late = 0.0
        self.passes.set()

    def cut(self) -> None:
        """Break all connections that there are."""
        for task in self._open:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections += 1
        self._open[task] = writer
        ends, tasks, in_order = [writer], list[asyncio.Task[bool]](), False
        try:
            with contextlib.suppress(OSError):
                await self.passes.wait()
                where = self.target()
                answers, other = await (
                    asyncio.open_unix_connection(where)
                    if isinstance(where, Path)
                    else asyncio.open_connection("127.0.0.1", where)
                )
                ends.append(other)
                for way in (_Way(self, reader, other), _Way(self, answers, writer)):
                    tasks += [asyncio.create_task(way.read()), asyncio.create_task(way.write())]
                in_order = await _until_over(tasks)
        except asyncio.CancelledError:
            pass  # it was cut
        finally:
            for each in tasks:
                each.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.passes.wait()  # through a black hole, not even the end of a connection is heard
            for end in ends:
                if in_order:
                    end.close()
                else:
                    end.transport.abort()
            del self._open[task]

    async def close(self) -> None:
        """Listen no more, and break all connections."""
        self._server.close()
        tasks = list(self._open)
        self.cut()
        if tasks:
            await asyncio.wait(tasks, timeout=5)


async def _until_over(tasks: list[asyncio.Task[bool]]) -> bool:
    """Return when either direction is over: whether in order."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return all(each.result() for each in done)


@contextlib.asynccontextmanager
async def wire(target: Target) -> AsyncIterator[Wire]:
    """Have a wire for the length of the block."""
    it = Wire(target)
    it._server = await asyncio.start_server(it._serve, "127.0.0.1", 0, backlog=1024)
    try:
        yield it
    finally:
        await it.close()
