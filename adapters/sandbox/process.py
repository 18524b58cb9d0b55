"""The sandbox as a process of its own, seen from the program that started it."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import IO, Any, Final, Self

import anyio
from anyio.abc import Process, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import define, field

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
    TimedAction,
)
from adapters.sandbox.control.login_commands import (
    AcceptToken,
    ExpireBotToken,
    ExpireCodes,
    ExpireTokens,
    MakeBot,
    OpenDatacenter,
    SetNumberStatus,
    SetPassword,
    SetTokenLifetime,
)
from adapters.sandbox.control.media_commands import ExpireFileReferences, SendFile
from adapters.sandbox.errors import SandboxDied, SandboxError
from adapters.sandbox.faults.fault import Fault
from adapters.sandbox.server.media import SandboxFile
from adapters.sandbox.store.channels import ChannelMessage

HOST: Final = "127.0.0.1"
LOG_FILE: Final = "sandbox.log"
READY_TIMEOUT_SECONDS: Final = 30.0
"""An idle machine needs a second, most of it for imports; a busy one far more."""
ANSWER_TIMEOUT_SECONDS: Final = 10.0
EXIT_TIMEOUT_SECONDS: Final = 5.0
"""How long the process may take to end by itself, and again after SIGTERM; then it is killed."""
MAX_LINE_BYTES: Final = 1024 * 1024


@define(eq=False)
class SandboxProcess:
    """A running sandbox and its control connection.

    Every call raises SandboxDied when the process has ended, and SandboxError when the sandbox rejects the command.
    """

    dc_id: int
    port: int
    public_key: str
    control_port: int
    """The port that takes commands, from whoever sends the content of ``token_file`` first."""
    token_file: Path
    _process: Process
    _control: SocketStream
    _log: Path | None
    _lines: BufferedByteReceiveStream = field(init=False)
    _lock: anyio.Lock = field(factory=anyio.Lock)
    _out_of_sync: bool = False
    """An answer was not awaited to its end; the next line read would belong to another command."""

    def __attrs_post_init__(self) -> None:
        self._lines = BufferedByteReceiveStream(self._control)

    @classmethod
    @asynccontextmanager
    async def start(cls, directory: Path | None = None, dc_id: int = 2, port: int = 0) -> AsyncIterator[Self]:
        """Start the process, and end it with the block.

        It has a session of its own, so Ctrl+C in the terminal does not reach it, and it ends when its stdin closes, so
        it does not outlive a parent that was killed. Its log is ``sandbox.log`` in the directory, beside its state;
        without a directory neither is kept.
        """
        async with AsyncExitStack() as stack:
            log_file: Path | None = None
            stderr: int | IO[bytes] = subprocess.DEVNULL
            if directory is not None:
                log_file = directory / LOG_FILE
                stderr = stack.enter_context(_open_log(log_file))
            command = [sys.executable, "-m", "adapters.sandbox", "--until-stdin-closes"]
            command += ["--host", HOST, "--port", str(port), "--dc", str(dc_id)]
            command += ["--state", str(directory)] if directory is not None else []
            with anyio.CancelScope(shield=True):  # half a start could not be undone; a whole one is a moment
                try:
                    process = await anyio.open_process(
                        command,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=stderr,
                        start_new_session=True,
                        env=_environment(),
                    )
                except OSError as error:  # the user's limit of processes, or no memory for another one
                    why = (error.strerror or str(error)).lower()
                    raise SandboxError(f"The sandbox's process cannot be started ({why}); see ulimit -a.") from error
            stack.push_async_callback(_end, process)
            try:
                ready = await _ready(process, log_file)
            except BaseException:
                process.kill()  # it may be busy making its key, and ignore a closed stdin for seconds
                raise
            control = await stack.enter_async_context(await anyio.connect_tcp(HOST, ready["control"]))
            token_file = Path(ready["control_token_file"])
            await control.send(await anyio.Path(token_file).read_bytes())
            access = (ready["control"], token_file)
            yield cls(ready["dc"], ready["port"], ready["public_key"], *access, process, control, log_file)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def listen(self, phone: str) -> int:
        """Return the port of this account alone, as ``Sandbox.listen``."""
        return int((await self._ask(Listen(phone)))["port"])

    async def inject(self, fault: Fault) -> None:
        """Inject a fault, which acts from now on."""
        await self._ask(fault)

    async def clear(self, account: str | None = None) -> None:
        """End the faults of one account, or every fault."""
        await self._ask(Clear(account))

    async def authorize(self, phone: str) -> bytes:
        """Return a new auth key that is logged in as this account, as ``Sandbox.authorize``."""
        return bytes.fromhex((await self._ask(Authorize(phone)))["key"])

    async def reset_counters(self) -> None:
        """Restart the maximum of simultaneous handshakes, as ``Sandbox.reset_counters``."""
        await self._ask(ResetCounters())

    async def stats(self) -> dict[str, Any]:
        """Return what happened since the start, as ``Sandbox.stats``."""
        return dict((await self._ask(GetStats()))["stats"])

    async def push(self, phone: str, text: str, sender: str | None = None) -> int:
        """Send the account a new message, as ``Sandbox.push``; return its id there."""
        return int((await self._ask(Push(phone, text, sender)))["id"])

    async def create_channel(
        self,
        username: str,
        title: str,
        *,
        megagroup: bool = False,
        members: Iterable[str] = (),
        admins: Iterable[str] = (),
    ) -> int:
        """Create a channel or a group, as ``Sandbox.create_channel``; return its id."""
        command = CreateChannel(username, title, megagroup, tuple(members), tuple(admins))
        return int((await self._ask(command))["id"])

    async def post(self, username: str, text: str, sender: str | None = None, reply_to: int | None = None) -> int:
        """Write a message in a channel, as ``Sandbox.post``; return its id there."""
        return int((await self._ask(PostMessage(username, text, sender, reply_to)))["id"])

    async def freeze(self, phone: str, until: float, appeal: str = "") -> None:
        """Freeze an account, as ``Sandbox.freeze``."""
        await self._ask(FreezeAccount(phone, int(until), appeal))

    async def edit(self, chat: str, id_: int, text: str) -> None:
        """Edit a message, as ``Sandbox.edit``."""
        await self._ask(EditPosted(chat, id_, text))

    async def delete(self, chat: str, ids: Iterable[int]) -> int:
        """Delete messages, as ``Sandbox.delete``; return how many of them there were."""
        return int((await self._ask(DeletePosted(chat, tuple(ids))))["deleted"])

    async def fill(self, username: str, upto: int) -> int:
        """Fill a channel with history, as ``Sandbox.fill``; return how many messages were written."""
        return int((await self._ask(Fill(username, upto)))["written"])

    async def channel_messages(self, username: str, after: int = 0) -> list[ChannelMessage]:
        """Return the messages of a channel, as ``Sandbox.channel_messages``, fetched in as many answers as it takes."""
        messages: list[ChannelMessage] = []
        more = True
        while more:
            answer = await self._ask(GetHistory(username, messages[-1].id if messages else after))
            messages += [ChannelMessage(**record) for record in answer["messages"]]
            more = answer["more"]
        return messages

    async def set_number_status(self, phone: str, status: str) -> None:
        """Set the status of a number, as ``Sandbox.set_number_status``."""
        await self._ask(SetNumberStatus(phone, str(status)))

    async def set_password(self, phone: str, password: str | None, hint: str = "") -> None:
        """Set the password of an account, as ``Sandbox.set_password``."""
        await self._ask(SetPassword(phone, password, hint or None))

    async def expire_codes(self, phone: str | None = None) -> int:
        """Expire login codes, as ``Sandbox.expire_codes``; return how many there were."""
        return int((await self._ask(ExpireCodes(phone)))["expired"])

    async def accept_token(self, phone: str, token: bytes | str) -> None:
        """Accept a QR code as this account, as ``Sandbox.accept_token``."""
        text = token if isinstance(token, str) else base64.urlsafe_b64encode(token).decode()
        await self._ask(AcceptToken(phone, text))

    async def expire_tokens(self) -> int:
        """Expire the QR codes that are not accepted yet, as ``Sandbox.expire_tokens``; return how many there were."""
        return int((await self._ask(ExpireTokens()))["expired"])

    async def set_token_lifetime(self, seconds: float) -> None:
        """Set how long QR codes are valid, as ``Sandbox.set_token_lifetime``."""
        await self._ask(SetTokenLifetime(seconds))

    async def open_dc(self, dc_id: int, port: int = 0) -> int:
        """Open another datacenter, as ``Sandbox.open_dc``; return its port."""
        return int((await self._ask(OpenDatacenter(dc_id, port)))["port"])

    async def send_file(self, chat: str, file: SandboxFile, caption: str = "", sender: str | None = None) -> int:
        """Send a file whose content is computed, as ``Sandbox.send_file``; return the id of its message."""
        if file.content is not None:
            raise SandboxError("A sandbox in another process computes its files; give a size and a seed.")
        given = (file.size, file.name or None, file.mime, file.photo, file.dc, file.seed)
        return int((await self._ask(SendFile(chat, *given, caption or None, sender)))["id"])

    async def expire_file_references(self) -> None:
        """Let the references of all files expire, as ``Sandbox.expire_file_references``."""
        await self._ask(ExpireFileReferences())

    async def make_bot(self, token: str, dc_id: int | None = None) -> int:
        """Make a bot, as ``Sandbox.make_bot``; return its id."""
        return int((await self._ask(MakeBot(token, dc_id)))["id"])

    async def expire_bot_token(self, token: str) -> None:
        """Expire the token of a bot, as ``Sandbox.expire_bot_token``."""
        await self._ask(ExpireBotToken(token))

    async def scenario(self, steps: Sequence[TimedAction]) -> None:
        """Start a scenario and return at once."""
        await self._ask(commands.scenario(steps))

    async def wait(self) -> int:
        """Wait until the process ends, for whatever reason, and return its exit code."""
        return await self._process.wait()

    async def _ask(self, command: Command) -> dict[str, Any]:
        async with self._lock:
            if self._process.returncode is not None or self._out_of_sync:
                raise await self._death()
            try:
                with anyio.fail_after(ANSWER_TIMEOUT_SECONDS):
                    self._out_of_sync = True
                    await self._control.send(json.dumps(commands.encode(command)).encode() + b"\n")
                    reply = json.loads(await self._lines.receive_until(b"\n", MAX_LINE_BYTES))
                    self._out_of_sync = False
            except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead, TimeoutError) as error:
                raise await self._death() from error
        if not reply.pop("ok"):
            raise SandboxError(reply["error"])
        return dict(reply)

    async def _death(self) -> SandboxDied:
        with anyio.move_on_after(1):
            await self._process.wait()
        return SandboxDied(_death_message(self._process, self._log))


def _open_log(file: Path) -> IO[bytes]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("ab")
    except OSError as error:
        raise SandboxError(f"The sandbox cannot write to {file} ({error.strerror}); check the directory.") from error


def _environment() -> dict[str, str]:
    """Return our own environment, with the folder of the package where the new interpreter looks for it."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


async def _ready(process: Process, log_file: Path | None) -> dict[str, Any]:
    """Return the line in which the sandbox says where it listens. Raises SandboxDied when it does not come in time."""
    assert process.stdout is not None
    try:
        with anyio.fail_after(READY_TIMEOUT_SECONDS):
            line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", MAX_LINE_BYTES)
    except TimeoutError as error:
        raise SandboxDied(
            f"The sandbox was not ready after {READY_TIMEOUT_SECONDS:.0f} s; {_log_hint(log_file)}."
        ) from error
    except (anyio.EndOfStream, anyio.IncompleteRead) as error:
        with anyio.move_on_after(EXIT_TIMEOUT_SECONDS):
            await process.wait()
        raise SandboxDied(_death_message(process, log_file)) from error
    return dict(json.loads(line))


def _death_message(process: Process, log_file: Path | None) -> str:
    if process.returncode is None:
        return f"The sandbox (process {process.pid}) no longer answers; {_log_hint(log_file)} and start it again."
    how = f"exit code {process.returncode}" if process.returncode >= 0 else f"signal {-process.returncode}"
    return f"The sandbox (process {process.pid}) ended by itself with {how}; {_log_hint(log_file)} and start it again."


def _log_hint(log_file: Path | None) -> str:
    return f"look into {log_file}" if log_file is not None else "give it a directory to see its log there"


async def _end(process: Process) -> None:
    """Close stdin and wait; then ask; then kill. Bounded, and not to be interrupted."""
    with anyio.CancelScope(shield=True):
        assert process.stdin is not None
        await process.stdin.aclose()
        for hurry in (None, process.terminate, process.kill):
            if hurry is not None and process.returncode is None:
                try:
                    hurry()
                except ProcessLookupError:
                    break  # it has ended, and code in this process has taken its end, or ignores SIGCHLD
            with anyio.move_on_after(EXIT_TIMEOUT_SECONDS):
                await process.wait()
                break
        if process.returncode is not None:
            await process.aclose()
            return
        for stream in (process.stdout, process.stderr):  # ``aclose`` would wait for an end that nobody hears of
            if stream is not None:
                await stream.aclose()
