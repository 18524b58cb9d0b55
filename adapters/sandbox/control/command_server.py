"""The control connection: the token, then JSON lines over TCP, one command a line, one answer a line."""

import contextlib
import json
import logging
import secrets
from collections.abc import Callable
from hmac import compare_digest
from typing import Any, Final

import anyio
from anyio.abc import AnyByteStream, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import asdict, define, field

from adapters.sandbox.control import commands
from adapters.sandbox.control.commands import (
    Authorize,
    Clear,
    Command,
    CreateChannel,
    DeletePosted,
    EditPosted,
    Fill,
    FreezeAccount,
    GetHistory,
    GetStats,
    Listen,
    PostMessage,
    Push,
    ResetCounters,
    Scenario,
)
from adapters.sandbox.control.lines import read_line
from adapters.sandbox.control.login_commands import (
    AcceptToken,
    ExpireBotToken,
    ExpireCodes,
    ExpireTokens,
    LoginCommand,
    MakeBot,
    OpenDatacenter,
    SetNumberStatus,
    SetPassword,
    SetTokenLifetime,
)
from adapters.sandbox.control.media_commands import ExpireFileReferences, MediaCommand, SendFile
from adapters.sandbox.errors import SandboxError
from adapters.sandbox.faults.fault import Fault
from adapters.sandbox.server.media import ANY_MIME, SandboxFile
from adapters.sandbox.server.sandbox import Sandbox
from adapters.sandbox.store.channels import ChannelMessage

log = logging.getLogger(__name__)

MAX_LINE_BYTES: Final = 256 * 1024
MAX_PAGE_BYTES: Final = 512 * 1024
MAX_PAGE_MESSAGES: Final = 2000
MAX_SCENARIOS: Final = 16
MAX_ERROR: Final = 500
"""Characters of an answer that says what is wrong; it may quote a value of any length."""
ANSWER_TIMEOUT_SECONDS: Final = 10.0
TOKEN_TIMEOUT_SECONDS: Final = 10.0
MAX_CONNECTIONS: Final = 64
MAX_STRANGERS: Final = 32
"""Connections that have not sent the token yet."""


@define
class CommandServer:
    """Performs commands on a sandbox and runs its scenarios."""

    _sandbox: Sandbox
    _tasks: TaskGroup
    _token: str = field(factory=lambda: secrets.token_hex(16), repr=False)
    """The first line of every connection."""
    _clock: Callable[[], float] = anyio.current_time
    _running: int = 0
    _strangers: list[anyio.CancelScope] = field(factory=list)
    """Those who have not sent the token yet, the oldest first."""
    _connections: int = 0

    async def serve(self, stream: AnyByteStream) -> None:
        """Serve one control connection until its other end closes it. No input makes this raise."""
        async with stream:
            try:
                lines = BufferedByteReceiveStream(stream)
                if self._connections >= MAX_CONNECTIONS:
                    await self._reply(stream, _error_reply("Too many control connections; close some."))
                elif await self._knows_token(stream, lines):
                    self._connections += 1
                    try:
                        await self._serve_commands(stream, lines)
                    finally:
                        self._connections -= 1
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return
            except Exception:
                log.exception("a control connection ended by a mistake of the sandbox")

    async def _knows_token(self, stream: AnyByteStream, lines: BufferedByteReceiveStream) -> bool:
        """Return whether the first line is the token; say so if it is not."""
        line = b""
        if len(self._strangers) >= MAX_STRANGERS:  # whoever knows the token sends it at once, so the oldest does not
            self._strangers.pop(0).cancel()
        with anyio.move_on_after(TOKEN_TIMEOUT_SECONDS) as scope:
            self._strangers.append(scope)
            with contextlib.suppress(anyio.DelimiterNotFound):
                line = await lines.receive_until(b"\n", 2 * len(self._token))
        if scope in self._strangers:
            self._strangers.remove(scope)
        if compare_digest(line.strip(), self._token.encode()):
            return True
        sentence = "The first line is the token: send the file control.token of this sandbox before the command."
        await self._reply(stream, _error_reply(sentence))
        return False

    async def _serve_commands(self, stream: AnyByteStream, lines: BufferedByteReceiveStream) -> None:
        while True:
            try:
                line = await lines.receive_until(b"\n", MAX_LINE_BYTES)
            except anyio.DelimiterNotFound:
                await self._reply(stream, _error_reply(f"A command is a line of at most {MAX_LINE_BYTES} bytes."))
                return
            if not await self._reply(stream, await self.answer(line)):
                return

    async def answer(self, line: bytes) -> dict[str, Any]:
        """Return the answer to one line. No line makes this raise."""
        try:
            return {"ok": True, **await self.perform(commands.parse(read_line(line)))}
        except SandboxError as error:
            return _error_reply(str(error))
        except Exception:
            log.exception("a command failed")
            return _error_reply("The sandbox made a mistake with this command; its log says which.")

    async def perform(self, command: Command) -> dict[str, Any]:
        """Perform a command; return what the answer holds besides ``ok``. Raises SandboxError."""
        match command:
            case Fault():
                await self._sandbox.inject(command)
            case Clear():
                await self._sandbox.clear(command.account)
            case Push():
                return {"id": await self._sandbox.push(command.account, command.text, command.sender)}
            case CreateChannel():
                members, admins = command.members, command.admins
                made = self._sandbox.create_channel(
                    command.username, command.title, megagroup=command.megagroup, members=members, admins=admins
                )
                return {"id": await made}
            case PostMessage():
                posted = self._sandbox.post(command.username, command.text, command.sender, command.reply_to)
                return {"id": await posted}
            case FreezeAccount():
                await self._sandbox.freeze(command.account, command.until, command.appeal or "")
            case EditPosted():
                await self._sandbox.edit(command.chat, command.id, command.text)
            case DeletePosted():
                return {"deleted": await self._sandbox.delete(command.chat, command.ids)}
            case Fill():
                return {"written": await self._sandbox.fill(command.username, command.upto)}
            case GetHistory():
                return _page(self._sandbox.channel_messages(command.username, command.after, MAX_PAGE_MESSAGES + 1))
            case Listen():
                return {"port": await self._sandbox.listen(command.account)}
            case Authorize():
                return {"key": self._sandbox.authorize(command.account).hex()}
            case MediaCommand():
                return await self._perform_media(command)
            case LoginCommand():
                return await self._perform_login(command)
            case ResetCounters():
                self._sandbox.reset_counters()
            case GetStats():
                return {"stats": self._sandbox.stats()}
            case Scenario():
                if self._running >= MAX_SCENARIOS:
                    raise SandboxError(f"{MAX_SCENARIOS} scenarios are running already; wait until one is over.")
                self._running += 1
                self._tasks.start_soon(self._run, command, self._clock())
        return {}

    async def _perform_media(self, command: MediaCommand) -> dict[str, Any]:
        match command:
            case SendFile():
                file = SandboxFile(
                    size=command.size,
                    name=command.name or "",
                    mime=command.mime or ANY_MIME,
                    photo=command.photo,
                    dc=command.dc,
                    seed=command.seed or 0,
                )
                sent = self._sandbox.send_file(command.chat, file, command.caption or "", command.sender)
                return {"id": await sent}
            case ExpireFileReferences():
                self._sandbox.expire_file_references()
        return {}

    async def _perform_login(self, command: LoginCommand) -> dict[str, Any]:
        match command:
            case SetNumberStatus():
                self._sandbox.set_number_status(command.account, command.status)
            case SetPassword():
                await self._sandbox.set_password(command.account, command.password, command.hint or "")
            case ExpireCodes():
                return {"expired": self._sandbox.expire_codes(command.account)}
            case AcceptToken():
                self._sandbox.accept_token(command.account, command.token)
            case ExpireTokens():
                return {"expired": self._sandbox.expire_tokens()}
            case SetTokenLifetime():
                self._sandbox.set_token_lifetime(command.seconds)
            case MakeBot():
                return {"id": self._sandbox.make_bot(command.token, command.dc)}
            case OpenDatacenter():
                return {"port": await self._sandbox.open_dc(command.dc, command.port)}
            case ExpireBotToken():
                self._sandbox.expire_bot_token(command.token)
        return {}

    async def _run(self, scenario: Scenario, start: float) -> None:
        try:
            for step in scenario.steps:
                await anyio.sleep_until(start + step.at)
                try:
                    await self.perform(step.action)
                except SandboxError as error:
                    log.warning("a step of the scenario failed: %s", error)
                except Exception:  # the others go on, and so does the sandbox
                    log.exception("a step of the scenario failed")
        finally:
            self._running -= 1

    @staticmethod
    async def _reply(stream: AnyByteStream, reply: dict[str, Any]) -> bool:
        """Send a reply; return False when the other end does not read."""
        try:
            with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
                await stream.send(json.dumps(reply).encode() + b"\n")
        except (TimeoutError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return False
        return True


def _page(messages: list[ChannelMessage]) -> dict[str, Any]:
    """Return as many of the messages as one answer may hold, at least one, and whether there are more."""
    page: list[dict[str, Any]] = []
    size = 0
    for message in messages[:MAX_PAGE_MESSAGES]:
        record = asdict(message)
        size += len(json.dumps(record))
        if page and size > MAX_PAGE_BYTES:
            break
        page.append(record)
    return {"messages": page, "more": len(page) < len(messages)}


def _error_reply(sentence: str) -> dict[str, Any]:
    return {"ok": False, "error": sentence if len(sentence) <= MAX_ERROR else f"{sentence[:MAX_ERROR]}…"}
