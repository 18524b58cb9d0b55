"""One program that is connected: its requests are carried out side by side, and its updates follow its cursor.

Whatever the program does, or does not do, costs the engine no more than the bounds here: what it sends is read only
while its requests have room, and an answer that it does not take in time ends the connection.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

import anyio
import structlog
from anyio.abc import ByteSendStream, TaskGroup
from attrs import define, field

from engine.fleet.watchers import describe
from engine.remote.frames import (
    DATACENTER,
    FROM_PROGRAM,
    HEAD,
    MAX_BODY_BYTES,
    MAX_REQUEST_BODY_BYTES,
    BadFrame,
    FailureKind,
    FrameKind,
    RemoteFailure,
    decode_head,
    encode_frame,
)
from engine.remote.ports import Accounts, Calls, NotCarriedOut
from engine.remote.programs import Programs, Seat

BODY_TIMEOUT: Final = 30.0
"""Seconds that a program has for the rest of a frame that it has begun."""
WRITE_TIMEOUT: Final = 30.0
"""Seconds that it has to take what the engine sends."""
READY_TIMEOUT: Final = 60.0
"""Seconds that a request waits for its account's connection."""
REQUEST_TIMEOUT: Final = 240.0
"""Seconds that a request may take in all, with the flood waits that the engine sits out."""

log = structlog.get_logger("holdfast.remote")


class FrameReader(Protocol):
    """What frames are read from."""

    async def receive_exactly(self, nbytes: int, /) -> bytes:
        """Return so many bytes."""


@define(eq=False)
class ProgramConnection:
    """A program that was let in, until it closes the connection or breaks the protocol."""

    seat: Seat
    account: str
    programs: Programs
    accounts: Accounts
    calls: Calls
    source: FrameReader
    stream: ByteSendStream
    subscribe: Callable[[TaskGroup], None] | None = field(default=None, init=False)
    """Begins to send updates."""
    requests: int = field(default=0, init=False)
    """How many requests it has sent."""
    acknowledge: Callable[[int], None] = field(default=lambda number: None, init=False)
    _writing: anyio.Lock = field(factory=anyio.Lock, init=False)
    _in_flight: dict[int, anyio.CancelScope] = field(factory=dict, init=False)
    _scope: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)
    _refused: bool = field(default=False, init=False)
    why: str = field(default="it closed the connection", init=False)
    """Why the connection ended."""

    async def run(self) -> None:
        """Serve the program until its connection is over."""
        with self._scope:
            async with anyio.create_task_group() as tasks:
                try:
                    await self._read_frames(tasks)
                except BadFrame as exc:
                    self.why = str(exc)
                except TimeoutError:
                    self.why = "it did not send the rest of a frame in time"
                except (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                    pass
                tasks.cancel_scope.cancel()

    def end(self, why: str) -> None:
        """Close the connection."""
        self.why = why
        self._scope.cancel()

    @property
    def is_over(self) -> bool:
        """Whether it is being closed."""
        return self._scope.cancel_called

    async def _read_frames(self, tasks: TaskGroup) -> None:
        while True:
            head = await self.source.receive_exactly(HEAD.size)
            kind, number, length = decode_head(head, max_body=MAX_REQUEST_BODY_BYTES)
            if kind not in FROM_PROGRAM:
                raise BadFrame(f"a program sends no frame of kind {kind.name}")
            body = b""
            if length:
                with anyio.fail_after(BODY_TIMEOUT):
                    body = await self.source.receive_exactly(length)
            match kind:
                case FrameKind.REQUEST:
                    await self._take_request(number, body, tasks)
                case FrameKind.CANCEL:
                    if (scope := self._in_flight.get(number)) is not None:
                        scope.cancel()
                case FrameKind.SUBSCRIBE if self.subscribe is not None:
                    self.subscribe(tasks)
                case FrameKind.ACKNOWLEDGE:
                    self.acknowledge(number)

    async def _take_request(self, number: int, body: bytes, tasks: TaskGroup) -> None:
        if not number or number in self._in_flight:
            raise BadFrame(f"request {number} is under way already, or has no number")
        await self.seat.slots.acquire()
        self.requests += 1
        scope = self._in_flight[number] = anyio.CancelScope()
        tasks.start_soon(self._answer, number, body, scope)

    async def _answer(self, number: int, body: bytes, scope: anyio.CancelScope) -> None:
        try:
            reply: bytes | None = None
            with scope:
                reply = await self._carry_out(number, body)
            del self._in_flight[number]
            if reply is not None:
                await self.write(reply)
        finally:
            self.seat.slots.release()

    async def _carry_out(self, number: int, body: bytes) -> bytes:
        """Return the frame that answers a request."""
        try:
            with anyio.fail_after(REQUEST_TIMEOUT) as deadline:
                answer = await self._send(body)
        except NotCarriedOut as exc:
            self.note_refusal(exc.failure)
            failure = exc.failure
        except Exception as exc:
            if isinstance(exc, TimeoutError) and deadline.cancelled_caught:
                failure = RemoteFailure(FailureKind.UNANSWERED, f"no answer came within {REQUEST_TIMEOUT:g} s")
            else:
                kind, code, text = self.calls.failure_of(exc)
                failure = RemoteFailure(FailureKind(kind), text, code)
        else:
            if len(answer) <= MAX_BODY_BYTES:
                return encode_frame(FrameKind.ANSWER, number, answer)
            failure = RemoteFailure(FailureKind.FAILED, f"the answer has {len(answer):,} bytes; ask for less at a time")
        return encode_frame(FrameKind.FAILURE, number, failure.encode())

    async def _send(self, body: bytes) -> bytes:
        if len(body) < DATACENTER.size:
            raise NotCarriedOut(FailureKind.REFUSED, "a request has the number of a datacenter, and itself in TL")
        (datacenter,) = DATACENTER.unpack_from(body)
        try:
            call = self.calls.read(body[DATACENTER.size :])
        except ValueError as exc:
            raise NotCarriedOut(FailureKind.REFUSED, str(exc)) from None
        self.programs.check(self.seat.name, self.account, self.accounts.names, call.methods)
        client = None
        with anyio.move_on_after(READY_TIMEOUT):
            client = await self.accounts.client(self.account)
        if client is None:
            text = f"{self.account} was not connected within {READY_TIMEOUT:g} s; nothing was sent"
            raise NotCarriedOut(FailureKind.NOT_READY, text)
        return await call.send(client, datacenter)

    def note_refusal(self, failure: RemoteFailure) -> None:
        """Log the first refusal of the connection: a program that goes on trying must not fill the log."""
        if failure.kind is FailureKind.REFUSED and not self._refused:
            self._refused = True
            log.warning("remote_refused", program=self.seat.name, account=self.account, detail=failure.text)

    def note_trouble(self, detail: str) -> None:
        """Log that the updates of the program cannot be read now."""
        log.error("remote_updates_wait", program=self.seat.name, account=self.account, detail=detail)

    async def write(self, frame: bytes) -> None:
        """Send a frame; a program that does not take it in time is disconnected."""
        async with self._writing:
            with anyio.move_on_after(WRITE_TIMEOUT) as deadline, suppress(anyio.ClosedResourceError):
                try:
                    await self.stream.send(frame)
                except (OSError, anyio.BrokenResourceError) as exc:
                    self.end(describe(exc) or "it closed the connection")
            if deadline.cancelled_caught:
                self.end("it does not read what it is sent")


def peer_pid(stream: Any) -> int | None:
    """Return the process at the other end of a Unix socket; None where the system does not say."""
    import socket  # noqa: PLC0415
    import struct  # noqa: PLC0415

    from anyio.abc import SocketAttribute  # noqa: PLC0415

    with suppress(Exception):
        raw = stream.extra(SocketAttribute.raw_socket)
        pid: int = struct.unpack("3i", raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return pid
    return None
