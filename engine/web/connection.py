"""``BoundedConnection``: uvicorn's HTTP connection with limits on what a client can cost.

uvicorn itself waits for ever for the first byte of a request, for the rest of its head, and for a client that does not
read its answer. Here a request must arrive in time, and its answer must be fetched in time. There are so many places;
when they are taken, a client that keeps the engine waiting loses its place, those that had an answer first.

An answer that goes on for as long as a page is open is a *stream*, which has bounds of its own. A route asks for one
before it sends anything, and refuses the client if there are too many::

    async def events(request: Request) -> Response:
        if not begin_stream(request.scope):
            return PlainTextResponse("Too many pages are open", status_code=503)
        return StreamingResponse(parts(), media_type="text/event-stream")

From then on ``ANSWER_SECONDS`` does not hold. ``await send(...)`` (what ``StreamingResponse`` does with each part)
returns at once while the client keeps up, and otherwise waits until the client has fetched the part before, so nothing
piles up here: a route makes its next part when it is wanted, from what is true then. A client that has not fetched a
part after ``SEND_SECONDS`` is dropped. A stream is cancelled (``CancelledError`` in the route's generator) when its
client is gone, when the server stops, and after ``STREAM_SECONDS``; a browser's ``EventSource`` connects again by
itself. A stream that has nothing to say sends a comment from time to time, or it never notices that its client is gone.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import anyio
import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

MAX_CLIENTS: Final = 64
"""Places. A client more takes that of one which keeps the engine waiting."""
MOST_CLIENTS: Final = 2 * MAX_CLIENTS
"""Clients, while all that have a place have a request under way."""
MAX_WAITING_BYTES: Final = 32 * 1024 * 1024
"""Bytes of answers that wait to be fetched, of all clients; beyond that, those that have waited longest are dropped."""
MAX_HEAD_BYTES: Final = 16_384
"""Bytes of a request's line and headers."""
READ_SECONDS: Final = 10.0
"""For a request, from the connection or from its first byte."""
ANSWER_SECONDS: Final = 30.0
"""For the answer, until the client has fetched it."""
KEEP_SECONDS: Final = 5
"""For which a connection is kept after an answer, for another request."""
MAX_STREAMS: Final = 32
"""How many of the clients may have a stream. They keep their places, so there must be others."""
STREAM_SECONDS: Final = 3600.0
"""For a stream, after which its client has to ask again."""
SEND_SECONDS: Final = 10.0
"""For a part of a stream, until the client has fetched it."""

HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""The headers of every answer, whatever it is: no page of elsewhere shows, reads or runs what is served here."""

_STREAM: Final = "holdfast.stream"
"""What the way to a stream is called among the extensions of an ASGI scope."""
_STREAM_BUFFER: Final = 65_536
"""Bytes of a stream that the system keeps for a client that does not fetch them; it may take twice as many."""
_SILENT: Final = logging.Logger("holdfast's connections", logging.CRITICAL + 1)
"""What uvicorn says of a client's mistakes is of no use to an operator, and its own loggers may be the program's."""


def begin_stream(scope: MutableMapping[str, Any]) -> bool:
    """Make the answer to a request a stream, see above; return whether there is room for one more."""
    begin: Callable[[], bool] | None = scope.get("extensions", {}).get(_STREAM)
    return begin is None or begin()  # another server, as in a test, has bounds of its own


class BoundedConnection(H11Protocol):
    """One client's connection."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger, self.access_log = _SILENT, False
        self.since = self.loop.time()
        """When this client last got a place or an answer."""
        self._limit: asyncio.TimerHandle | None = None
        self._application, self.app = self.app, self._answer
        self._stream: anyio.CancelScope | None = None
        """What ends the stream that is sent, if one is."""
        self._stream_ends = 0.0

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def waits(self) -> bool:
        """Whether it is the client's turn: to ask, to send the rest of a request, or to fetch the answer before.

        A client that asks for more than it fetches must not hold its place by that.
        """
        return self.idle or (not self.streams and (self.flow.write_paused or self.cycle.more_body))

    @property
    def streams(self) -> bool:
        """Whether a stream is sent."""
        return self._stream is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the client a place, if need be that of another one."""
        super().connection_made(transport)
        self._within(READ_SECONDS)
        if len(self.connections) > MAX_CLIENTS:
            others = [each for each in self.connections if isinstance(each, BoundedConnection) and each is not self]
            waiting = [each for each in others if each.waits]
            if waiting:
                # Those that had an answer first: whoever gets many is always the last that got one.
                min(waiting, key=lambda each: (each.cycle is None, each.since)).drop()
            elif len(self.connections) > MOST_CLIENTS:
                self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place."""
        self._end_limit()
        super().connection_lost(exc)
        if self._stream is not None:  # a part that is sent to nobody is no error to uvicorn
            self._stream.cancel()
            self._stream = None

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

    def pause_writing(self) -> None:
        """Let a client of a stream fetch what it has been sent."""
        super().pause_writing()
        if self._stream is not None:
            self._within(SEND_SECONDS)

    def resume_writing(self) -> None:
        """Go on with a stream."""
        super().resume_writing()
        if self._stream is not None:
            self._within_stream()

    def shutdown(self) -> None:
        """Close the connection after the answer that is under way; a stream ends at once."""
        if self._stream is not None:
            self.drop()
        else:
            super().shutdown()

    def on_response_complete(self) -> None:
        """Wait for another request."""
        self.since = self.loop.time()
        if self._stream is not None:
            self._stream = None
            self.transport.set_write_buffer_limits()
        if self.transport.get_write_buffer_size():  # the answer is written, and the client has not fetched it
            self._within(ANSWER_SECONDS)
            self._make_room()
        else:
            self._end_limit()
        before = self.cycle
        super().on_response_complete()
        if self.cycle is not before and not self.idle:  # the next request was there already
            self._within(ANSWER_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, with the headers of every answer."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # in the middle of an answer
            self.drop()
            return
        close = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=[*HEADERS, *close], reason=b"Bad Request"),
            h11.Data(data=msg.encode("ascii", "replace")),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _make_room(self) -> None:
        """Drop clients that do not fetch their answers, if too much waits for them."""
        sizes = [(each, each.transport.get_write_buffer_size()) for each in self.connections if each is not self]
        total = self.transport.get_write_buffer_size() + sum(size for _, size in sizes)
        waiting = [(each, size) for each, size in sizes if size and isinstance(each, BoundedConnection)]
        for each, size in sorted(waiting, key=lambda pair: pair[0].since):
            if total <= MAX_WAITING_BYTES:
                break
            each.drop()
            total -= size

    def drop(self) -> None:
        """Close the connection at once."""
        self.connections.discard(self)  # the place is free from now on
        self.transport.abort()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the application for one request, for as long as its client has a place."""
        with anyio.CancelScope(deadline=self.loop.time() + ANSWER_SECONDS) as work:
            scope["extensions"] = {_STREAM: partial(self._begin_stream, work)}
            await self._application(scope, receive, send)

    def _begin_stream(self, work: anyio.CancelScope) -> bool:
        """Make the answer that ``work`` makes a stream, if there is room for one more."""
        if sum(isinstance(each, BoundedConnection) and each.streams for each in self.connections) >= MAX_STREAMS:
            return False
        self._stream, self._stream_ends = work, self.loop.time() + STREAM_SECONDS
        work.deadline = self._stream_ends
        self.transport.set_write_buffer_limits(0)  # a part is sent when the one before it is gone
        with suppress(OSError):  # the client is gone already
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _STREAM_BUFFER)
        self._within_stream()
        return True

    def _within_stream(self) -> None:
        """Drop the connection soon after its stream has had its time: the stream ends by itself then."""
        self._within(self._stream_ends - self.loop.time() + SEND_SECONDS)

    def _within(self, seconds: float) -> None:
        """Drop the connection unless something happens within so many seconds."""
        self._end_limit()
        self._limit = self.loop.call_later(seconds, self.drop)

    def _end_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
