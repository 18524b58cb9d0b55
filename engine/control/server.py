"""The side of the engine: listens at a private socket, and lets no client cost it more than a moment."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import structlog
from anyio.abc import SocketStream, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import asdict, define, field

from engine.console.format import matching, nearest
from engine.control.protocol import (
    MAX_REQUEST_BYTES,
    BadRequest,
    CommandOutcome,
    RefusalReason,
    Verb,
    line_of,
    no,
    parse,
    reachable,
)

MAX_CLIENTS: Final = 16
READ_TIMEOUT: Final = 10.0
"""Seconds that a client gets to say what it wants."""
WRITE_TIMEOUT: Final = 5.0
ACCEPT_PAUSE: Final = 1.0
"""Seconds before listening again when the system has no room for a client."""

log = structlog.get_logger()


class Commands(Protocol):
    """What the server can ask of the engine. Nothing of it waits for longer than ``timeout``."""

    @property
    def timeout(self) -> float:
        """Seconds that any of it may take."""

    @property
    def names(self) -> Sequence[str]:
        """The accounts there are."""

    @property
    def jobs_changed(self) -> Callable[[], None]:
        """To be called when jobs in the file were changed."""

    def info(self) -> dict[str, Any]:
        """Say which engine this is."""

    async def pause(self, account: str) -> CommandOutcome:
        """End the account's life, and begin no other."""

    async def resume(self, account: str) -> CommandOutcome:
        """Begin the next life of an account that is paused."""

    async def retry(self, account: str) -> CommandOutcome:
        """Ask for an attempt now."""


@define(eq=False)
class ControlServer:
    """Answers requests at the socket ``path``, which is its owner's alone and goes away at the end.

    A socket that is there already is of an engine that died, for the caller holds the engine's lock: it is replaced.
    """

    path: Path
    commands: Commands
    _clients: int = field(default=0, init=False)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once it listens. An engine that cannot listen says so, and runs on."""
        try:
            with reachable(self.path) as address:
                listener = await anyio.create_unix_listener(address, mode=0o600)
        except OSError as exc:
            why = (exc.strerror or str(exc)).lower()
            log.error(
                f"{self.path}: pause, resume and retry cannot reach this engine ({why}); give storage.directory a "
                "place where sockets can be made, then restart",
                icon="❌",
            )
            return
        try:
            async with listener, anyio.create_task_group() as clients:
                task_status.started()
                while True:
                    try:
                        await listener.serve(self._meet, clients)
                    except OSError as exc:  # no descriptors are left, say, and that is not the fleet's fault
                        log.warning(f"A command could not be heard: {exc.strerror or exc}", icon="⚠️")
                    await anyio.sleep(ACCEPT_PAUSE)
        finally:
            self.path.unlink(missing_ok=True)

    async def _meet(self, stream: SocketStream) -> None:
        async with stream:
            if self._clients >= MAX_CLIENTS:
                await _send(
                    stream, no(RefusalReason.BUSY, f"{MAX_CLIENTS} commands are under way; wait until one is done")
                )
                return
            self._clients += 1
            try:
                await self._converse(stream)
            except Exception:  # a mistake of ours in one command is not the end of the engine
                log.exception("An error in the engine itself ended a command", icon="❌")
            finally:
                self._clients -= 1

    async def _converse(self, stream: SocketStream) -> None:
        lines = BufferedByteReceiveStream(stream)
        while True:
            try:
                with anyio.fail_after(READ_TIMEOUT):
                    line = await lines.receive_until(b"\n", MAX_REQUEST_BYTES)
            except anyio.DelimiterNotFound:
                await _send(stream, no(RefusalReason.BAD_REQUEST, f"a request has at most {MAX_REQUEST_BYTES} bytes"))
                return
            except (TimeoutError, OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                return
            if not await _send(stream, await self.answer(line)):
                return

    async def answer(self, line: bytes) -> dict[str, Any]:
        """Return the answer to one line."""
        try:
            request = parse(line)
        except BadRequest as exc:
            return no(RefusalReason.BAD_REQUEST, str(exc))
        if request.do is Verb.INFO:
            return {"ok": True, **self.commands.info()}
        if request.do is Verb.JOBS:
            self.commands.jobs_changed()
            return {"ok": True}
        accounts = matching(self.commands.names, request.account)
        if not accounts:
            hint = nearest(request.account, self.commands.names)
            return no(
                RefusalReason.UNKNOWN_ACCOUNT, f"the running engine has no account like {request.account!r}; {hint}"
            )
        outcomes: dict[str, CommandOutcome] = {}

        async def perform(account: str) -> None:
            match request.do:
                case Verb.PAUSE:
                    outcomes[account] = await self.commands.pause(account)
                case Verb.RESUME:
                    outcomes[account] = await self.commands.resume(account)
                case _:
                    outcomes[account] = await self.commands.retry(account)

        with anyio.move_on_after(self.commands.timeout):
            async with anyio.create_task_group() as tasks:
                for account in accounts:
                    tasks.start_soon(perform, account)
        late = f"the {request.do} was asked for, but nothing came of it in time; see its status"
        return {
            "ok": True,
            "accounts": [
                asdict(outcomes.get(name) or CommandOutcome(name, False, f"{name}: {late}")) for name in accounts
            ],
        }


async def _send(stream: SocketStream, answer: dict[str, Any]) -> bool:
    """Say something; False if nobody reads it."""
    try:
        with anyio.fail_after(WRITE_TIMEOUT):
            await stream.send(line_of(answer))
    except (TimeoutError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return False
    return True
