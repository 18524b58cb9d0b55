"""A harness that runs a command at a real pseudo-terminal and types on it."""

import errno
import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from attrs import define, field

from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT

COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@define(eq=False)
class Terminal:
    """The user's side of the terminal."""

    process: "subprocess.Popen[bytes]"
    screen: int
    """Descriptor of what the terminal shows and takes."""
    _shown: bytearray = field(factory=bytearray)
    _heard: int = 0

    @property
    def text(self) -> str:
        """What the terminal has shown so far, without colours."""
        return COLOURS.sub("", self._shown.decode(errors="replace")).replace("\r\n", "\n")

    async def expect(self, words: str) -> None:
        """Wait until the terminal shows these words, after those that were expected last."""
        try:
            with anyio.fail_after(TIMEOUT):
                while (found := self.text.find(words, self._heard)) < 0:
                    assert await self._read(), f"it ended without {words!r}:\n{self.text}"
        except TimeoutError:
            raise AssertionError(f"{words!r} did not come:\n{self.text}") from None
        self._heard = found + len(words)

    def type(self, line: str) -> None:
        """Type a line and Enter."""
        os.write(self.screen, f"{line}\n".encode())

    def press(self, key: bytes) -> None:
        """Press a key, such as Ctrl+C."""
        os.write(self.screen, key)

    async def end(self) -> int:
        """Wait for the end; return the exit code."""
        with anyio.fail_after(TIMEOUT):
            while await self._read():
                pass
            while self.process.poll() is None:
                await anyio.sleep(0.01)
        return self.process.returncode

    async def _read(self) -> bool:
        await anyio.wait_readable(self.screen)
        try:
            chunk = os.read(self.screen, 65536)
        except OSError as exc:
            if exc.errno != errno.EIO:  # how Linux says that no process has the terminal open any more
                raise
            return False
        self._shown += chunk
        return bool(chunk)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl+C is a signal


@asynccontextmanager
async def at_terminal(harness: EngineHarness, *words: str) -> AsyncIterator[Terminal]:
    """Run a command of the engine at a terminal of its own; killed if the test leaves it running."""
    screen, line = pty.openpty()
    process = subprocess.Popen(  # noqa: ASYNC220  # it only starts it; nothing else makes a terminal its own
        [sys.executable, "-W", "error", "-m", "engine", *words],
        stdin=line,
        stdout=line,
        stderr=line,
        cwd=harness.directory,
        env=harness.environment,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509  # no other way makes a terminal a process's own
    )
    os.close(line)
    try:
        yield Terminal(process, screen)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(screen)
