"""The program's side: a connection to the engine that is made anew whenever it was lost."""

import asyncio
import contextlib
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from engine import paths
from engine.control.protocol import RefusalReason, Request, Verb, encode_request, short_address
from engine.remote.errors import EngineElsewhere, EngineUnreachable, NoAnswer, OutcomeUnknown, RequestRefused
from engine.remote.frames import (
    DATACENTER,
    HEAD,
    MAX_BODY_BYTES,
    MAX_REQUEST_BODY_BYTES,
    BadFrame,
    FrameKind,
    decode_head,
    decode_object,
    encode_frame,
)

CONNECT_TIMEOUT: Final = 10.0
"""Seconds that the engine has to take the connection, and to answer its first line."""
FIRST_CONNECT: Final = 5.0
"""Seconds that the first connection may take: an engine that is started at the same time may not listen yet."""
WAIT_FOR_ENGINE: Final = 60.0
"""Seconds that a request waits for an engine that is away."""
ANSWER_TIMEOUT: Final = 300.0
"""Seconds that an engine may take to answer a request: more than it takes itself."""
MAX_LINE: Final = 65_536
MAX_PLACES: Final = 40
"""Data directories in which an engine is looked for at a time."""
FIRST_PAUSE: Final = 0.1
MAX_PAUSE: Final = 10.0
"""Seconds between two attempts to reach an engine that is away: each time twice as many, up to this."""

OnFrame = Callable[[FrameKind, int, bytes], None]


@define(eq=False)
class _Connection:
    """One connection, from the engine's welcome to its end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    welcome: dict[str, Any]
    slots: asyncio.Semaphore
    waiting: "dict[int, asyncio.Future[tuple[FrameKind, bytes]]]" = field(factory=dict)

    def send(self, kind: FrameKind, number: int, body: bytes = b"") -> None:
        """Send a frame; one to a connection that is lost is dropped."""
        if not self.writer.is_closing():
            self.writer.write(encode_frame(kind, number, body))

    def close(self) -> None:
        """Close it; whoever waits for an answer is told that it will not come."""
        self.writer.close()
        for answer in self.waiting.values():
            if not answer.done():
                answer.set_exception(OutcomeUnknown("the engine was lost with the request in flight"))
                answer.exception()  # retrieved, also if nobody waits any more
        self.waiting.clear()


@define(eq=False)
class EngineLink:
    """Connects a program to the engine on some data, for one account, again and again until it is closed."""

    directory: Path
    account: str
    program: str
    layer: int
    on_frame: OnFrame = lambda kind, number, body: None
    """Called with what the engine sends by itself. May raise ``BadFrame``; ``RequestRefused`` ends the link."""
    on_connected: Callable[[], None] = lambda: None
    """Called with each new connection."""
    on_lost: Callable[[Exception], None] = lambda exc: None
    """Called with why a connection was lost; another one is made."""
    welcome: dict[str, Any] = field(factory=dict, init=False)
    """What the engine said when it let the program in."""
    error: Exception | None = field(default=None, init=False)
    """Why the engine does not let the program in any more."""
    _at: Path | None = field(default=None, init=False)
    """Where the engine is that had the account last; None: where the program was told to look."""
    _peers: list[Path] = field(factory=list, init=False)
    """Where other engines are that may have the account, as one of them said."""
    _connection: _Connection | None = field(default=None, init=False)
    _changed: asyncio.Event = field(factory=asyncio.Event, init=False)
    _numbers: "itertools.count[int]" = field(factory=lambda: itertools.count(1), init=False)
    _keeper: "asyncio.Task[None] | None" = field(default=None, init=False)
    _over: "asyncio.Future[None] | None" = field(default=None, init=False)

    @property
    def is_open(self) -> bool:
        """Whether it is connected, or connects by itself."""
        return self._keeper is not None and not self._keeper.done()

    @property
    def over(self) -> "asyncio.Future[None]":
        """Done when it is closed, or when the engine does not let the program in any more."""
        if self._over is None:
            self._over = asyncio.get_running_loop().create_future()
        return self._over

    async def open(self) -> None:
        """Connect, and go on connecting from now on. Raises ``EngineUnreachable`` and ``RequestRefused``."""
        if self.is_open:
            return
        first = await self._connect_first()
        self.error, self._over = None, None
        self._use(first)
        self._keeper = asyncio.create_task(self._keep(first))

    async def close(self) -> None:
        """Close the connection, and make no other."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        self._end()

    def send(self, kind: FrameKind, number: int = 0) -> None:
        """Send a frame without a body, if there is a connection."""
        if self._connection is not None:
            self._connection.send(kind, number)

    async def request(self, datacenter: int, request: bytes) -> tuple[FrameKind, bytes]:
        """Send a request; return the frame that answers it.

        Raises ``EngineUnreachable`` if there is no engine for a while, and ``OutcomeUnknown`` if it is lost meanwhile.
        """
        if len(request) + DATACENTER.size > MAX_REQUEST_BODY_BYTES:
            raise RequestRefused(f"a request has at most {MAX_REQUEST_BODY_BYTES:,} bytes; nothing was sent")
        connection = await self._connected()
        async with connection.slots:
            number = next(self._numbers)
            answer: asyncio.Future[tuple[FrameKind, bytes]] = asyncio.get_running_loop().create_future()
            connection.waiting[number] = answer
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT) as deadline:
                    connection.send(FrameKind.REQUEST, number, DATACENTER.pack(datacenter) + request)
                    with contextlib.suppress(OSError):  # the reader notices, too
                        await connection.writer.drain()
                    if connection is not self._connection:
                        raise OutcomeUnknown("the engine was lost with the request in flight")
                    return await answer
            except TimeoutError as exc:
                if not deadline.expired():
                    raise
                raise NoAnswer(f"the engine has not answered within {ANSWER_TIMEOUT:g} s") from exc
            finally:
                if connection.waiting.pop(number, None) is not None and not (answer.done() and not answer.cancelled()):
                    connection.send(FrameKind.CANCEL, number)

    async def _connected(self) -> _Connection:
        """Return the connection; wait for one that is being made."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_FOR_ENGINE):
                while self._connection is None:
                    if not self.is_open:
                        raise self.error or EngineUnreachable("the client is not connected; call connect() first")
                    changed = self._changed
                    await changed.wait()
        if self._connection is None:
            raise EngineUnreachable(f"no engine has answered for {WAIT_FOR_ENGINE:g} s; nothing was sent")
        return self._connection

    def _use(self, connection: _Connection | None) -> None:
        self._connection = connection
        self._changed.set()
        self._changed = asyncio.Event()
        if connection is not None:
            self.welcome = connection.welcome
            self.on_connected()

    def _end(self) -> None:
        self._changed.set()
        if not self.over.done():
            self.over.set_result(None)

    async def _keep(self, connection: _Connection) -> None:
        """Read what comes; connect again whenever the connection was lost."""
        try:
            while True:
                try:
                    await self._read(connection)
                except RequestRefused:
                    raise
                except (BadFrame, asyncio.IncompleteReadError, OSError) as exc:
                    self.on_lost(exc)
                finally:
                    self._use(None)
                    connection.close()
                connection = await self._connect_again()
                self._use(connection)
        except RequestRefused as exc:
            self.error = exc
        finally:
            self._end()

    async def _connect_first(self) -> _Connection:
        until = asyncio.get_running_loop().time() + FIRST_CONNECT
        while True:
            try:
                return await self._connect()
            except EngineUnreachable:
                if asyncio.get_running_loop().time() >= until:
                    raise
            await asyncio.sleep(FIRST_PAUSE)

    async def _connect_again(self) -> _Connection:
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(MAX_PAUSE, pause * 2)
            with contextlib.suppress(EngineUnreachable):
                return await self._connect()

    async def _read(self, connection: _Connection) -> None:
        reader = connection.reader
        while True:
            head = await reader.readexactly(HEAD.size)
            kind, number, length = decode_head(head, max_body=MAX_BODY_BYTES)
            body = await reader.readexactly(length) if length else b""
            if number and kind in (FrameKind.ANSWER, FrameKind.FAILURE):
                if (answer := connection.waiting.get(number)) is not None and not answer.done():
                    answer.set_result((kind, body))
            else:
                self.on_frame(kind, number, body)

    async def _connect(self) -> _Connection:
        """Connect once to the engine that has the account, wherever one of them says that it is.

        Raises ``EngineUnreachable``, and ``RequestRefused`` if trying again does not help.
        """
        error: EngineUnreachable | None = None
        waiting, tried = [self._at or self.directory, self.directory, *self._peers], set[Path]()
        while waiting and len(tried) < MAX_PLACES:
            directory = waiting.pop(0)
            if directory in tried:
                continue
            tried.add(directory)
            try:
                connection = await self._connect_to(directory)
            except EngineElsewhere as exc:
                error = exc
                if exc.directory is not None:
                    waiting.insert(0, Path(exc.directory))
            except EngineUnreachable as exc:
                error = error or exc
            else:
                self._at = directory
                self._peers = [Path(each) for each in connection.welcome.get("peers") or () if isinstance(each, str)]
                return connection
        assert error is not None, "one place is tried"
        raise error

    async def _connect_to(self, directory: Path) -> _Connection:
        path = directory / paths.SOCKET
        writer = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                with short_address(path) as address:
                    reader, writer = await asyncio.open_unix_connection(address, limit=MAX_LINE)
                asked = Request(Verb.REQUEST, self.account, program=self.program, layer=self.layer)
                writer.write(encode_request(asked))
                line = await reader.readline()
            welcome = decode_object(line)
            self._check(welcome)
        except (OSError, TimeoutError, ValueError, BadFrame) as exc:
            if writer is not None:
                writer.close()
            if isinstance(exc, RequestRefused | EngineUnreachable):
                raise
            why = getattr(exc, "strerror", None) or "it does not answer"
            raise EngineUnreachable(
                f"{path}: no engine can be reached ({why.lower()}); start it with `python -m engine run CONFIG`"
            ) from exc
        except BaseException:
            if writer is not None:
                writer.close()
            raise
        in_flight = welcome.get("in_flight")
        room = in_flight if isinstance(in_flight, int) and in_flight > 0 else 1
        return _Connection(reader, writer, welcome, asyncio.Semaphore(room))

    def _check(self, welcome: dict[str, Any]) -> None:
        """Raise what the engine's answer to the first line means, unless the program is let in."""
        if welcome.get("ok") is True:
            return
        sentence = str(welcome.get("error") or json.dumps(welcome)[:200])
        if welcome.get("kind") == RefusalReason.ELSEWHERE:
            there = welcome.get("directory")
            raise EngineElsewhere(sentence, there if isinstance(there, str) and Path(there).is_absolute() else None)
        if welcome.get("kind") == RefusalReason.BUSY:
            raise EngineUnreachable(sentence)
        raise RequestRefused(sentence)
