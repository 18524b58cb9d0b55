"""A relay on loopback that can make connections half-open: they stay, and nothing comes through them any more."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketAttribute, SocketStream
from attrs import define, field

CHUNK_BYTES = 65536


@define(eq=False)
class Relay:
    """Passes bytes on to a port of loopback, both ways, for the length of ``async with relay.listening()``."""

    target: int
    port: int = field(default=0, init=False)
    _frozen: set[SocketStream] = field(factory=set, init=False)
    _open: set[SocketStream] = field(factory=set, init=False)

    def freeze(self) -> None:
        """Let nothing through the connections that exist, for ever; new ones work."""
        self._frozen |= self._open

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Relay"]:
        """Listen; at the end every connection is closed."""
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as tasks,
        ):
            self.port = listener.extra(SocketAttribute.local_port)
            tasks.start_soon(listener.serve, self._serve)
            yield self
            tasks.cancel_scope.cancel()

    async def _serve(self, client: SocketStream) -> None:
        async with client, await anyio.connect_tcp("127.0.0.1", self.target) as server:
            self._open.add(client)
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._pass_on, client, server, client, tasks.cancel_scope)
                    tasks.start_soon(self._pass_on, server, client, client, tasks.cancel_scope)
            finally:
                self._open.discard(client)
                self._frozen.discard(client)

    async def _pass_on(
        self, source: SocketStream, sink: SocketStream, client: SocketStream, both: anyio.CancelScope
    ) -> None:
        try:
            while True:
                chunk = await source.receive(CHUNK_BYTES)
                if client not in self._frozen:
                    await sink.send(chunk)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            if client not in self._frozen or source is client:
                both.cancel()
