"""``ExecChannel``: messages to a command, as JSON on its standard input."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
from attrs import define, field

from adapters.alerts.errors import AlertNotSent, without_secrets

MAX_OUTPUT: Final = 4_096
"""Bytes of a command's output that are kept, for the reason of a failure; the others are read and dropped."""
_PIECE: Final = 16_384
_LAST_WORDS: Final = 0.5
"""Seconds that the output of a command that has ended may take to arrive: a child of its own may keep the pipe."""
_REAPED_WITHIN: Final = 2.0
_NOT_READ: Final = (BrokenPipeError, ConnectionResetError, RuntimeError)
"""What writing to a command says that has closed its standard input: the last is of uvloop."""
VARIABLES: Final = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS", "DISPLAY",
)  # fmt: skip
"""What a command finds in its environment: the engine's own has the secrets of the config."""


@define(eq=False)
class ExecChannel:
    """Runs a command for each message, in a process group of its own, which ends with the deadline."""

    command: tuple[str, ...] = field(repr=False)
    directory: Path
    """Where it runs."""

    async def send(self, *, key: str, subject: str, body: str, tone: str, data: bytes, timeout: float) -> None:
        """Give ``data`` to the command, which has ``timeout`` seconds. Raises ``AlertNotSent``; the rest is unused."""
        ends = anyio.current_time() + timeout
        process = await self._start(timeout)
        output = bytearray()
        try:
            with anyio.fail_after(ends - anyio.current_time()):
                await _talk(process, data, output)
        except TimeoutError:
            if process.returncode is None:  # else it has ended, and a child of its own keeps the pipe
                raise AlertNotSent(f"the command did not end within {timeout:g} s, and was killed") from None
        finally:
            await _end(process)
        if process.returncode:
            said = without_secrets(bytes(output).decode("utf-8", "replace"), self.command[1:])
            how = f"with exit code {process.returncode}" if process.returncode > 0 else "by a signal"
            raise AlertNotSent(f"the command ended {how}{f': {said}' if said else ''}")

    async def _start(self, timeout: float) -> asyncio.subprocess.Process:
        """Start the command. Raises ``AlertNotSent``.

        A cancellation waits until it has begun: asyncio would kill it, and not wait for its end.
        """
        try:
            with anyio.fail_after(timeout, shield=True):
                return await asyncio.create_subprocess_exec(
                    *self.command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    cwd=self.directory,
                    env={name: os.environ[name] for name in VARIABLES if name in os.environ},
                    start_new_session=True,
                )
        except TimeoutError:
            raise AlertNotSent(f"the command did not start within {timeout:g} s") from None
        except OSError as exc:
            raise AlertNotSent(f"the command cannot be started ({(exc.strerror or str(exc)).lower()})") from None


async def _talk(process: asyncio.subprocess.Process, data: bytes, output: bytearray) -> None:
    """Give the data to a process and wait until it ends."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_write, process, data)
        tasks.start_soon(_read, process, output)
        await process.wait()
        tasks.cancel_scope.deadline = anyio.current_time() + _LAST_WORDS


async def _write(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    with suppress(*_NOT_READ):  # it need not
        process.stdin.write(data)
        await process.stdin.drain()
    with suppress(*_NOT_READ):
        process.stdin.close()


async def _read(process: asyncio.subprocess.Process, output: bytearray) -> None:
    assert process.stdout is not None
    while piece := await process.stdout.read(_PIECE):
        output += piece[: MAX_OUTPUT - len(output)]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of a process and of its group, if it did not end by itself; close its pipes."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.move_on_after(_REAPED_WITHIN, shield=True):
            await process.wait()
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()
