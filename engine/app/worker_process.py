"""The process of a worker, as its parent has it: how it is started, told something, heard, and seen to end."""

import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import structlog
from attrs import define, field

from engine import paths
from engine.app.offered_config import OFFER, offer_of
from engine.config import Config
from engine.console.log_relay import record_of
from engine.wakeup import Wakeup
from engine.workers.output import PipeLines
from engine.workers.restarts import Restarts

MODULE: Final = "engine.cli.worker"
CHUNK: Final = 65536
SHOWN: Final = 500
"""Characters of a line that a program has printed."""

log = structlog.get_logger("holdfast.workers")


@define(eq=False)
class WorkerProcess:
    """A process of a worker."""

    number: int
    process: "subprocess.Popen[bytes]"
    last_said: str = field(default="", init=False)
    """The last line that it has printed."""
    _to_tell: list[bytes] = field(factory=list, init=False)
    """What it is told next, in this order: nothing may come between the parts of a config."""
    _offered: int = field(default=0, init=False)
    """The number of the config that it was sent last."""
    _news: Wakeup = field(factory=Wakeup, init=False)
    _orders: int = field(kw_only=True)
    _lines: int = field(kw_only=True)
    _output: int = field(kw_only=True)
    _log: PipeLines = field(factory=PipeLines, init=False)
    _printed: PipeLines = field(factory=PipeLines, init=False)

    @classmethod
    def start(cls, config: Config, number: int) -> "WorkerProcess":
        """Start the process, which waits for its config then. Raises ``OSError``."""
        orders, to_worker, from_log, lines, from_output, output = _pipes(3)
        numbers = map(str, (number, os.getpid(), orders, lines))
        words = [*_interpreter(), "-m", MODULE, str(config.path), *numbers]
        try:
            # A session of its own: Ctrl+C in the terminal is for the parent, which then stops all of them.
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(orders, lines),
                start_new_session=True,
            )
        except BaseException:
            for descriptor in (to_worker, from_log, from_output):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (orders, lines, output):
                os.close(descriptor)
        for descriptor in (to_worker, from_log, from_output):
            os.set_blocking(descriptor, False)
        return cls(number, process, orders=to_worker, lines=from_log, output=from_output)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self.process.pid

    def configure(self, config: Config, program: list[str]) -> None:
        """Give it its config, which it reads first."""
        data = pickle.dumps({"config": config, "program": program})
        self._tell(len(data).to_bytes(8) + data)

    def order(self, order: bytes) -> None:
        """Tell it something, after all that it was told before; one that hears nothing is told once."""
        if order + b"\n" not in self._to_tell:
            self._tell(order + b"\n")

    def offer(self, number: int, config: Config) -> None:
        """Send it another config, once, for a reload that names this number."""
        if number == self._offered:
            return
        self._offered = number
        self._to_tell = [each for each in self._to_tell if not each.startswith(OFFER + b" ")]
        self._tell(offer_of(number, config) + b"\n")

    def _tell(self, data: bytes) -> None:
        self._to_tell.append(data)
        self._news.notify()

    async def tell(self) -> None:
        """Tell it all this as it reads, until cancelled: one that does not read is waited for."""
        while True:
            news = self._news.upcoming
            while self._to_tell:
                await self._write(self._to_tell.pop(0))
            await news.wait()

    async def _write(self, data: bytes) -> None:
        view = memoryview(data)
        with suppress(BrokenPipeError):
            while view:
                try:
                    view = view[os.write(self._orders, view) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._orders)

    async def follow(self) -> int:
        """Hear it until it has ended; return its exit code, when the system has nothing of the process any more."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.tell)
            tasks.start_soon(self._read, self._lines, self._hear_log)
            tasks.start_soon(self._read, self._output, self._hear_output)
            code = await anyio.to_thread.run_sync(
                self.process.wait, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )
            tasks.cancel_scope.cancel()
        return code

    def close(self) -> None:
        """Hear what the pipes still have, and close them."""
        for descriptor, hear in ((self._lines, self._hear_log), (self._output, self._hear_output)):
            with suppress(OSError):
                while chunk := os.read(descriptor, CHUNK):
                    hear(chunk)
        for lines, hear in ((self._log, self._hear_log), (self._printed, self._hear_output)):
            if torn := lines.rest():
                hear(torn + b"\n")
        for descriptor in (self._orders, self._lines, self._output):
            os.close(descriptor)

    def kill(self) -> None:
        """End it at once."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def _read(self, descriptor: int, hear: Callable[[bytes], None]) -> None:
        while True:
            await anyio.wait_readable(descriptor)
            try:
                chunk = os.read(descriptor, CHUNK)
            except BlockingIOError:
                continue
            if not chunk:  # it has closed the pipe, and may go on
                return
            hear(chunk)

    def _hear_log(self, chunk: bytes) -> None:
        root = logging.getLogger()
        for line in self._log.feed(chunk):
            record = record_of(line, self.number)
            if record is None:
                self._show(line)
            else:
                root.handle(record)

    def _hear_output(self, chunk: bytes) -> None:
        for line in self._printed.feed(chunk):
            self._show(line)

    def _show(self, line: bytes) -> None:
        text = line[: 4 * SHOWN].decode("utf-8", "replace").strip()
        if text:
            self.last_said = text[:SHOWN]
            log.warning("worker_output", worker=self.number, detail=self.last_said)


@define(eq=False)
class Worker:
    """One worker, through all of its processes."""

    number: int
    config: Config
    """What its next process is given."""
    process: WorkerProcess | None = field(default=None, init=False)
    began: float = field(default=0.0, init=False)
    """When the process was started, by the loop's clock."""
    reload: int = field(default=0, init=False)
    """The number of the reload whose config is that above."""
    has: int = field(default=0, init=False)
    """The number of the reload whose config the process has."""
    restarts: Restarts = field(factory=Restarts, init=False)
    _ended: Wakeup = field(factory=Wakeup, init=False)

    @property
    def directory(self) -> Path:
        """Its own directory."""
        return self.config.storage.directory

    @property
    def socket(self) -> Path:
        """Where its process takes commands."""
        return self.directory / paths.SOCKET

    @property
    def is_behind(self) -> bool:
        """Whether it has a process with another config than the next one would be given."""
        return self.process is not None and self.has != self.reload

    def begin(self, process: WorkerProcess, program: list[str]) -> None:
        """Give its config to a process that was started."""
        self.process, self.began, self.has = process, anyio.current_time(), self.reload
        process.configure(self.config, program)

    def end(self) -> None:
        """Have no process any more."""
        self.process = None
        self._ended.notify()

    async def has_ended(self, process: WorkerProcess | None) -> None:
        """Return when it does not have this process any more."""
        while self.process is process is not None:
            await self._ended.wait()

    def order(self, order: bytes) -> None:
        """Tell its process something, if it has one."""
        if self.process is not None:
            self.process.order(order)


def _pipes(count: int) -> list[int]:
    """Return both ends of so many pipes, or none at all. Raises ``OSError``."""
    made: list[int] = []
    try:
        for _ in range(count):
            made += os.pipe()
    except OSError:
        for descriptor in made:
            os.close(descriptor)
        raise
    return made


def _interpreter() -> list[str]:
    """Return Python, with the options that this process has."""
    flags: Any = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
    return [sys.executable, *flags]


def describe_end(code: int) -> str:
    """Return how a process has ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"been ended by {signal.Signals(-code).name}"
    return f"been ended by signal {-code}"
