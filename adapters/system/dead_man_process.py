"""The dead-man timer where the kernel has none that kills (macOS): a small process ends this one at the deadline.

It is a child, not a parent, so that a program which uses the library has one too, and signals, exit code and the
service manager see the engine itself. It has nothing of the engine but one socket, ends with it, and leaves alone
whoever gets its parent's number later. Weaker than a timer of the kernel: it can be killed or stopped on its own, which
is noticed at the next ``arm``, and after the machine has slept it may be late by the moment that it needs to wake up.
"""

import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from attrs import define, field

from adapters.system import dead_man_watcher, forks
from adapters.system.errors import DeadManUnusable

START_TIMEOUT: Final = 30.0
"""Seconds within which the process must have started."""
ANSWER_TIMEOUT: Final = 2.0
"""Seconds after which an unconfirmed deadline means that the process does not do its work."""
_MAX_ANSWERS: Final = 4096


@define(eq=False)
class ProcessDeadMan:
    """A process that ends this one. Times are those of ``ContinuousClock``."""

    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _socket: socket.socket | None = field(default=None, init=False)
    _unconfirmed: int = field(default=0, init=False)
    """How many deadlines the process has not confirmed."""
    _asked: float = field(default=0.0, init=False)
    """When the first of them was sent, by a clock that stands still while the machine sleeps, as the process does."""

    @classmethod
    def start(cls) -> Self:
        """Start the process, which waits for a deadline. Blocks for a moment. Raises ``DeadManUnusable``."""
        made = cls()
        made._begin()
        return made

    def arm(self, at: float) -> None:
        """End this process at ``at``, and no longer when it was to end before. A time that has passed ends it now.

        A process that has gone is replaced, which blocks for a moment. Raises ``DeadManUnusable``.
        """
        if not self._tell(at):
            self._end()
            self._begin()
            if not self._tell(at):
                raise DeadManUnusable("the process that keeps the deadline does not stay")

    def disarm(self) -> None:
        """Let this process live, until it is armed again."""
        if self._socket is not None and not self._tell(dead_man_watcher.NEVER):
            self._end()  # what has no process is not armed

    def close(self) -> None:
        """Disarm, and end the process. A second call does nothing."""
        self._end()

    def _begin(self) -> None:
        ours, its = socket.socketpair()
        try:
            with its:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", str(Path(dead_man_watcher.__file__))],
                    stdin=its.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # the terminal's signals are for the engine
                )
            ours.settimeout(START_TIMEOUT)
            if not ours.recv(1):
                raise OSError("it ended at once")
            ours.setblocking(False)
        except OSError as exc:
            ours.close()
            self._end()
            raise DeadManUnusable(f"the process that would keep the deadline cannot be started: {exc}") from exc
        forks.withhold(ours.fileno())
        self._socket, self._unconfirmed = ours, 0

    def _tell(self, at: float) -> bool:
        """Send a deadline; return whether there is a process that takes it and has confirmed those before."""
        if self._socket is None:
            return False
        try:
            self._read_answers(self._socket)
            if self._unconfirmed and time.monotonic() - self._asked > ANSWER_TIMEOUT:
                return False
            self._socket.send(struct.pack(dead_man_watcher.FORMAT, at))
        except OSError:
            return False
        if not self._unconfirmed:
            self._asked = time.monotonic()
        self._unconfirmed += 1
        return True

    def _read_answers(self, answers: socket.socket) -> None:
        """Count what was confirmed. Raises ``OSError`` if the process has gone."""
        with suppress(BlockingIOError):
            if not (found := answers.recv(_MAX_ANSWERS)):
                raise ConnectionResetError
            self._unconfirmed = max(self._unconfirmed - len(found), 0)

    def _end(self) -> None:
        """End the process: what is armed is forgotten."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._socket is not None:
            forks.close(self._socket.detach())
            self._socket = None
