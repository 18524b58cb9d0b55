"""A wire between a client and a PostgreSQL server that a test can cut, or turn into a black hole."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from tests.timeouts import TIMEOUT


class Relay:
    """Passes bytes between TCP connections to ``address`` and the socket of a server."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._open = asyncio.Event()
        self._open.set()
        self._answers = asyncio.Event()
        self._answers.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.connections = 0
        self.bytes_in = 0

    @property
    def address(self) -> str:
        """Return host and port at which it listens."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def swallow(self) -> None:
        """Pass nothing on from now on, in either direction, and close nothing: a black hole."""
        self._open.clear()
        self._answers.clear()

    def swallow_answers(self) -> None:
        """Pass on what clients say, and nothing of what the server answers."""
        self._answers.clear()

    def restore(self) -> None:
        """Pass everything on again, beginning with what was held back."""
        self._open.set()
        self._answers.set()

    def cut(self) -> None:
        """Break all connections that there are."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        other: asyncio.StreamWriter | None = None
        try:
            with contextlib.suppress(OSError):
                await self._open.wait()
                answers, other = await asyncio.open_unix_connection(self._socket)
                self._writers.add(other)
                for source, target, gate in ((reader, other, self._open), (answers, writer, self._answers)):
                    task = asyncio.create_task(self._pass(source, target, gate))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
        finally:
            if other is None:
                writer.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        try:
            with contextlib.suppress(OSError):
                while chunk := await source.read(65536):
                    await gate.wait()
                    self.bytes_in += len(chunk)
                    target.write(chunk)
                    await target.drain()
                await gate.wait()
        finally:
            target.close()


@contextlib.asynccontextmanager
async def relay(socket: Path) -> AsyncIterator[Relay]:
    """Run a relay to the socket of a server for the length of the block."""
    it = Relay(socket)
    it._server = await asyncio.start_server(it._serve, "127.0.0.1", 0)
    try:
        yield it
    finally:
        it._server.close()
        it.restore()
        it.cut()
        if it._tasks:
            await asyncio.wait(it._tasks, timeout=TIMEOUT)
