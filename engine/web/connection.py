"""``BoundedConnection``: uvicorn's HTTP connection with limits on what a client can cost.

uvicorn itself waits for ever for the first byte of a request, for the rest of its head, and for a client that does not
read its answer. Here a request must arrive in time, and its answer must be fetched in time. There are so many places;
when they are taken, the client that has asked for nothing for the longest time loses its place.
"""

import asyncio
import logging
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

MAX_CLIENTS: Final = 64
MAX_HEAD_BYTES: Final = 16_384
"""Bytes of a request's line and headers."""
READ_SECONDS: Final = 10.0
"""For a request, from the connection or from its first byte."""
ANSWER_SECONDS: Final = 30.0
"""For the answer, until the client has fetched it."""
KEEP_SECONDS: Final = 5
"""For which a connection is kept after an answer, for another request."""

_SILENT: Final = logging.Logger("holdfast's connections", logging.CRITICAL + 1)
"""What uvicorn says of a client's mistakes is of no use to an operator, and its own loggers may be the program's."""


class BoundedConnection(H11Protocol):
    """One client's connection."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger, self.access_log = _SILENT, False
        self.since = self.loop.time()
        """When this client last got a place or an answer."""
        self._limit: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the client a place, if need be that of another one."""
        super().connection_made(transport)
        self._within(READ_SECONDS)
        if len(self.connections) > MAX_CLIENTS:
            others = [each for each in self.connections if isinstance(each, BoundedConnection) and each.idle]
            min(others, key=lambda each: each.since).drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place."""
        self._end_limit()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        if self.transport.is_closing():
            return
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before and not self.idle:
            self._within(ANSWER_SECONDS)
        elif self.idle and self._limit is None:
            self._within(READ_SECONDS)

    def on_response_complete(self) -> None:
        """Wait for another request."""
        self.since = self.loop.time()
        if self.transport.get_write_buffer_size():  # the answer is written, and the client has not fetched it
            self._within(ANSWER_SECONDS)
        else:
            self._end_limit()
        before = self.cycle
        super().on_response_complete()
        if self.cycle is not before and not self.idle:  # the next request was there already
            self._within(ANSWER_SECONDS)

    def drop(self) -> None:
        """Close the connection at once."""
        self.connections.discard(self)  # the place is free from now on
        self.transport.abort()

    def _within(self, seconds: float) -> None:
        """Drop the connection unless something happens within so many seconds."""
        self._end_limit()
        self._limit = self.loop.call_later(seconds, self.drop)

    def _end_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
