"""The engine's side of the socket: a listener that is private to its user and bounds what a client can cost."""

import errno
import os
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import structlog
from anyio.abc import SocketAttribute, SocketListener, SocketStream, TaskGroup, TaskStatus, UNIXSocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import asdict, astuple, define, field

from engine.console.format import nearest
from engine.console.names import matching
from engine.control.protocol import (
    MAX_REQUEST_BYTES,
    WITHOUT_ACCOUNT,
    BadRequest,
    CommandOutcome,
    RefusalReason,
    Request,
    Unwritten,
    Verb,
    encode_line,
    parse_request,
    refuse,
    short_address,
)
from engine.fleet.watchers import describe, pause_after
from states.waits import RequestWait

MAX_CLIENTS: Final = 16
READ_TIMEOUT: Final = 10.0
"""Seconds that a client has to send a request."""
WRITE_TIMEOUT: Final = 5.0
ACCEPT_PAUSE: Final = 1.0
"""Seconds before the server listens again after the system refused a client, for lack of descriptors for example."""
SPARES: Final = 3
"""Descriptors kept for commands: a writer's thread may take one in the moment in which it is freed."""
CHECK_EVERY: Final = 5.0
"""Seconds between two looks whether the socket's file is still there."""

log = structlog.get_logger("holdfast.control")


class Commands(Protocol):
    """What the server needs from the engine. No method waits longer than ``timeout``."""

    @property
    def timeout(self) -> float:
        """Seconds that any command may take."""

    @property
    def names(self) -> Sequence[str]:
        """The names of all accounts."""

    @property
    def jobs_changed(self) -> Callable[[], None]:
        """A function to call when another process has changed the jobs in the file."""

    def info(self) -> dict[str, Any]:
        """Describe this engine."""

    def memory(self) -> dict[str, Any]:
        """Return what each account has in memory, by its name."""

    @property
    def unwritten(self) -> Unwritten | None:
        """What is not in the database yet because it cannot be written; None if it can."""

    def waits(self) -> Mapping[str, Sequence[RequestWait]]:
        """Return the requests that wait in place until a hold is over, by account."""

    async def look(self) -> None:
        """Return when the engine has seen whether its database is still the file that others find."""

    async def pause(self, account: str) -> CommandOutcome:
        """End the account's life, and do not begin another."""

    async def hold(self, account: str) -> CommandOutcome:
        """Pause an account until it is released, resumed, or paused by a person."""

    async def release(self, account: str) -> None:
        """Resume an account if it is paused by a hold alone."""

    async def resume(self, account: str) -> CommandOutcome:
        """Begin the next life of a paused account."""

    async def retry(self, account: str) -> CommandOutcome:
        """Request an attempt now."""

    async def reload(self, config: str, *, dry_run: bool) -> dict[str, Any]:
        """Apply the config as it is now, or only say what that would do; return the answer."""


async def perform(commands: Commands, verb: Verb, account: str) -> CommandOutcome:
    """Carry out a command to one account, whichever way it came. Raises ``ValueError`` for one that is none."""
    match verb:
        case Verb.PAUSE:
            return await commands.pause(account)
        case Verb.HOLD:
            return await commands.hold(account)
        case Verb.RESUME:
            return await commands.resume(account)
        case Verb.RETRY:
            return await commands.retry(account)
        case _:
            raise ValueError(f"'{verb}' is no command to an account")


class ProgramDoor(Protocol):
    """Serves programs that want to send requests through the engine."""

    async def take(
        self,
        request: Request,
        stream: SocketStream,
        source: BufferedByteReceiveStream,
        answer: Callable[[dict[str, Any]], Awaitable[bool]],
    ) -> None:
        """Answer a program's first line, and serve the program if it is let in, until it is gone."""


@define(eq=False)
class ControlServer:
    """Answers requests at the socket ``path``, which only its owner may use and which is removed at the end.

    A socket that exists already was left by an engine that died, because the caller holds the engine's lock: it is
    replaced.
    """

    path: Path
    commands: Commands
    forward: Callable[[Request], Awaitable[dict[str, Any] | None]] | None = None
    """Answers requests as a whole, before anything else does, or None: for commands that other processes carry out."""
    door: ProgramDoor | None = None
    """Serves other programs; None serves none."""
    _clients: int = field(default=0, init=False)
    _spares: list[int] = field(factory=list, init=False)
    """Descriptors that are given up for a command when the process has no other left: ``pause`` makes room."""

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once it listens.

        Nothing that happens to the socket ends it: it listens again after a pause, and says once why commands wait.
        """
        self._keep_spares()  # before the accounts take them all
        try:
            await self._serve(task_status)
        finally:
            while self._spares:
                os.close(self._spares.pop())

    async def _serve(self, task_status: TaskStatus[None]) -> None:
        failures, begun, process = 0, False, os.getpid()
        async with anyio.create_task_group() as clients:
            while True:
                try:
                    listener = await self._listen()
                except (OSError, ValueError) as exc:
                    failures += 1
                    if failures == 1:
                        log.error("control_unreachable", path=str(self.path), detail=self._why(exc))
                    await anyio.sleep(pause_after(failures))
                    continue
                if failures or begun:
                    log.info("control_reachable", path=str(self.path))
                if not begun:
                    begun = True
                    task_status.started()
                failures = 0
                async with listener:
                    mine = _identity(self.path)
                    try:
                        await self._accept(listener, clients, mine)
                    finally:
                        with suppress(OSError):
                            if mine is not None and _identity(self.path) == mine and os.getpid() == process:
                                self.path.unlink()

    async def _listen(self) -> SocketListener:
        """Return a listener at the path. Raises ``OSError``, also for anything else than a socket that is there."""
        for missing in reversed([each for each in self.path.parents if not each.exists()]):  # deleted meanwhile
            missing.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(self.path).st_mode):
                raise OSError(errno.EEXIST, "something else than a socket is there; move it away")
        with short_address(self.path) as address:
            return await anyio.create_unix_listener(address, mode=0o600)

    def _why(self, exc: Exception) -> str:
        return (getattr(exc, "strerror", None) or str(exc)).lower()

    async def _accept(self, listener: SocketListener, clients: TaskGroup, mine: tuple[int, int] | None) -> None:
        """Serve clients until the socket's file is gone: nobody would find this listener any more."""
        failures = 0
        while True:
            stream = None
            self._keep_spares()
            with anyio.move_on_after(CHECK_EVERY):
                try:
                    stream = await listener.accept()
                except (OSError, anyio.BrokenResourceError) as exc:  # no descriptors are left, for example
                    failures += 1
                    if failures == 1:
                        log.warning("command_not_heard", detail=describe(exc))
                    stream = await self._accept_with_spare(listener)
            if stream is not None:
                failures = 0
                clients.start_soon(self._serve_client, stream)
            elif failures:
                await anyio.sleep(ACCEPT_PAUSE)
            elif mine is not None and _identity(self.path) is None:
                log.error("control_unreachable", path=str(self.path), detail="the socket's file is gone")
                return

    def _keep_spares(self) -> None:
        with suppress(OSError):
            while len(self._spares) < SPARES:
                self._spares.append(os.open(os.devnull, os.O_RDONLY))

    async def _accept_with_spare(self, listener: SocketListener) -> SocketStream | None:
        """Return a client that takes a spare descriptor, before any other task can; None if nobody waits."""
        while self._spares:
            os.close(self._spares.pop())
            try:
                client, _ = listener.extra(SocketAttribute.raw_socket).accept()
            except BlockingIOError:
                break
            except OSError:  # a thread was faster: give it another
                continue
            return await UNIXSocketStream.from_socket(client)
        self._keep_spares()
        return None

    async def _serve_client(self, stream: SocketStream) -> None:
        self._clients += 1
        try:
            async with stream:
                if self._clients > MAX_CLIENTS:
                    sentence = f"{MAX_CLIENTS} commands are under way; wait until one is done"
                    await _send(stream, refuse(RefusalReason.BUSY, sentence))
                else:
                    await self._answer_requests(stream)
        except Exception:  # a bug in one command must not end the engine
            log.exception("command_failed")
        finally:
            self._clients -= 1
            self._keep_spares()  # at once: what this client has left goes to the next command, not to an account

    async def _answer_requests(self, stream: SocketStream) -> None:
        lines = BufferedByteReceiveStream(stream)
        while True:
            try:
                with anyio.fail_after(READ_TIMEOUT):
                    line = await lines.receive_until(b"\n", MAX_REQUEST_BYTES)
            except anyio.DelimiterNotFound:
                sentence = f"a request has at most {MAX_REQUEST_BYTES} bytes"
                await _send(stream, refuse(RefusalReason.BAD_REQUEST, sentence))
                return
            except (TimeoutError, OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                return
            if (program := _program_of(line)) is not None and self.door is not None:
                self._clients -= 1  # a program stays; what it may cost is bounded by the door
                try:
                    await self.door.take(program, stream, lines, partial(_send, stream))
                finally:
                    self._clients += 1
                return
            answer = await self.answer(line)
            sent = await _send(stream, answer)
            if _holds(line) and answer["ok"]:
                if sent:
                    await _until_closed(stream)
                for each in answer["accounts"]:
                    if each["done"]:  # otherwise another connection may hold it
                        await self.commands.release(each["account"])
                return
            if not sent:
                return

    async def answer(self, line: bytes) -> dict[str, Any]:
        """Return the answer to one line."""
        try:
            request = parse_request(line)
        except BadRequest as exc:
            return refuse(RefusalReason.BAD_REQUEST, str(exc))
        if self.forward is not None and (answer := await self.forward(request)) is not None:
            return answer
        if request.do is Verb.REQUEST:
            return refuse(RefusalReason.REFUSED, "this engine serves no other programs")
        if request.do in (Verb.REPORT, Verb.METRICS):
            return refuse(RefusalReason.REFUSED, "this engine is no worker, and has no parent that asks")
        if request.do is Verb.MEMORY:
            return {"ok": True, "memory": self.commands.memory()}
        if request.do in WITHOUT_ACCOUNT:  # the command reads or writes the database itself, before or after this
            await self.commands.look()
        if request.do is Verb.INFO:
            return {"ok": True, **self.commands.info()}
        if request.do is Verb.JOBS:
            self.commands.jobs_changed()
            unwritten = self.commands.unwritten
            waits = {name: [astuple(each) for each in found] for name, found in self.commands.waits().items()}
            more = {"unwritten": asdict(unwritten)} if unwritten is not None else {}
            return {"ok": True, **more, **({"waits": waits} if waits else {})}
        if request.do is Verb.RELOAD:
            return await self.commands.reload(request.config, dry_run=request.dry_run)
        accounts = matching(self.commands.names, request.account)
        if not accounts:
            hint = nearest(request.account, self.commands.names)
            sentence = f"the running engine has no account like {request.account!r}; {hint}"
            return refuse(RefusalReason.UNKNOWN_ACCOUNT, sentence)
        outcomes: dict[str, CommandOutcome] = {}

        async def carry_out(account: str) -> None:
            outcomes[account] = await perform(self.commands, request.do, account)

        with anyio.move_on_after(self.commands.timeout):
            async with anyio.create_task_group() as tasks:
                for account in accounts:
                    tasks.start_soon(carry_out, account)
        late = f"the {request.do} was asked for, but nothing came of it in time; see its status"
        return {
            "ok": True,
            "accounts": [
                asdict(outcomes.get(name) or CommandOutcome(name, False, f"{name}: {late}")) for name in accounts
            ],
        }


def _holds(line: bytes) -> bool:
    try:
        return parse_request(line).do is Verb.HOLD
    except BadRequest:
        return False


def _program_of(line: bytes) -> Request | None:
    """Return the request of a program to be let in; None for any other line."""
    with suppress(BadRequest):
        request = parse_request(line)
        return request if request.do is Verb.REQUEST else None
    return None


async def _until_closed(stream: SocketStream) -> None:
    """Wait until the client has closed the connection, by its end if not before."""
    with suppress(OSError, anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            await stream.receive()


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file is at a path now; None if there is none."""
    with suppress(OSError):
        found = os.lstat(path)
        return found.st_dev, found.st_ino
    return None


async def _send(stream: SocketStream, answer: dict[str, Any]) -> bool:
    """Send an answer; return False if the client does not read it."""
    try:
        with anyio.fail_after(WRITE_TIMEOUT):
            await stream.send(encode_line(answer))
    except (TimeoutError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return False
    return True
