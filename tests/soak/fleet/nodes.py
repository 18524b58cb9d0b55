"""Nodes as processes, started again when they end, as a service manager does."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio
from attrs import define, field

from tests.engine.harness import STRICT, EngineHarness
from tests.soak.fleet.clock import SetClock
from tests.soak.fleet.wires import Wire

POLL_SECONDS: Final = 0.1
AGAIN_SECONDS: Final = 1.0
"""After which a process that ended by itself is started again."""
TAIL_BYTES: Final = 20_000


@define(eq=False)
class FleetNode:
    """A node: its directory, its ways out, and the process that it is at the moment."""

    name: str
    lives: list[str]
    """What it, or each of its workers, is called in the store."""
    harness: EngineHarness
    telegram: Wire
    store: list[Wire]
    """The ways to the store's servers, of which one is the primary."""
    clock: SetClock | None = field(default=None, init=False)
    """Its time of day, where that can be set."""
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    doomed: str | None = field(default=None, init=False)
    """Why the present process is to end, if it is; its exit code then says nothing."""
    starts: int = field(default=0, init=False)
    ends: list[str] = field(factory=list, init=False)
    """How processes have ended that nobody had told to."""
    odd: list[str] = field(factory=list, init=False)
    """Those of them that no node should have had."""
    _start_at: float = field(default=0.0, init=False)
    """When it is to be started next, by the loop's clock."""
    _log_begin: int = field(default=0, init=False)
    """Where in the log the present process begins."""

    @property
    def log(self) -> Path:
        """The file with all that its processes wrote."""
        return self.harness.directory / "log"

    @property
    def text(self) -> str:
        """What its processes wrote."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    @property
    def tail(self) -> str:
        """The last of it."""
        return self.text[-TAIL_BYTES:]

    def start(self) -> None:
        """Start a process, which ends with this one, however that does."""
        setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
        bound = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        command = [*bound, sys.executable, *STRICT, "-m", "engine", "run", str(self.harness.config)]
        environment = {**self.harness.environment, **(self.clock.environment if self.clock is not None else {})}
        self._log_begin = len(self.text)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.harness.directory,
                env=environment, start_new_session=True,
            )  # fmt: skip
        self.starts += 1
        self.doomed = None

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; return whether there was a process."""
        if self.process is None or self.process.poll() is not None:
            return False
        os.kill(self.process.pid, number)
        return True

    def workers(self) -> list[int]:
        """Return the processes of its workers."""
        found = list[int]()
        if self.process is not None:
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text("ascii")
                found += map(int, children.split())
        return found

    def send_all(self, number: signal.Signals) -> None:
        """Send a signal to the process and its workers, as to all that a machine has."""
        for worker in self.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, number)
        self.send(number)

    def end(self, number: signal.Signals, why: str, again_after: float) -> bool:
        """End the process, and have another one started after so many seconds; return whether there was one."""
        if not self.send(number):
            return False
        self.doomed, self._start_at = why, anyio.current_time() + again_after
        return True

    async def supervise(self) -> None:
        """Start the process whenever there is none, until cancelled."""
        while True:
            if self.process is None:
                await anyio.sleep(max(0.0, self._start_at - anyio.current_time()))
                self.start()
            await anyio.sleep(POLL_SECONDS)
            self.look()

    def look(self) -> None:
        """Notice that the process has ended."""
        if self.process is None or (code := self.process.poll()) is None:
            return
        self.process = None
        now = anyio.current_time()
        if self.doomed is None:
            # What the store says at a start ends that in a sentence; nothing but the kernel ends a node that runs.
            own = self.text[self._log_begin :]
            refused = code == 1 and "❌ postgresql://" in own and "has a lease" not in own
            how = "its deadline's timer" if code == -signal.SIGKILL else "no store at the start" if refused else "?"
            self.ends.append(how)
            if how == "?":
                self.odd.append(f"{self.name} ended by itself with {code}:\n{self.tail[-3000:]}")
            self._start_at = now + AGAIN_SECONDS
        elif self.doomed == "SIGTERM" and code != 0 and self.text[self._log_begin :]:  # otherwise it had not begun
            self.odd.append(f"{self.name} ended with {code} after SIGTERM:\n{self.tail[-3000:]}")

    async def finish(self, seconds: float) -> int | None:
        """End it by SIGTERM; return its exit code, None if it does not end in time, or does not run."""
        if not self.send(signal.SIGTERM):
            return None
        assert self.process is not None
        with anyio.move_on_after(seconds):
            while (code := self.process.poll()) is None:
                await anyio.sleep(POLL_SECONDS)
            return code
        return None

    def kill(self) -> None:
        """End it at once, in whatever state it is."""
        if self.process is not None:
            self.send_all(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def memory(self) -> int:
        """Return the resident memory of the process and its workers, in bytes; 0 if there is none."""
        total = 0
        for process in self._processes():
            with contextlib.suppress(OSError, IndexError):
                total += int(Path(f"/proc/{process}/statm").read_text("ascii").split()[1])
        return total * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> list[str]:
        """Return what the open file descriptors of the process and its workers lead to."""
        found = []
        for process in self._processes():
            with contextlib.suppress(OSError):
                for each in Path(f"/proc/{process}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        found.append(str(each.readlink()))
        return found

    def _processes(self) -> list[int]:
        return [] if self.process is None else [self.process.pid, *self.workers()]
