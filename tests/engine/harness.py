"""A harness that runs an engine as a process of its own, with real signals and a real journal."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream, Process
from attrs import define, field
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.sandbox import Sandbox
from adapters.sqlite import JournalReader, StorageError
from states import Entry
from tests.timeouts import TIMEOUT

ROOT = Path(__file__).resolve().parents[2]

FAST = """
states:
  connecting: {patience: [30s]}
  reconnecting: {patience: [30s]}
  healthy: {probe_every: 200ms, prove_every: 500ms, stable_after: 400ms}
  timeout: {patience: [300ms, 400ms]}
  backoff:
    network: {first: 100ms, factor: 2, cap: 500ms, jitter: 0.2}
fleet: {stagger: 0}
"""
STRICT = ("-W", "error", "-W", "ignore:'imghdr' is deprecated:DeprecationWarning")
"""Python's own checks: a warning is an error, but for one that Apprise causes where Python has that module."""
STARTED = f"{shlex.join((sys.executable, *STRICT))} -m engine"
"""How the harness starts a command, as a shell reads it."""
COMPLAINTS = re.compile(
    "Task was destroyed|never retrieved|never awaited|ResourceWarning|unclosed|database is locked|Traceback"
)
"""What must never be read in a log."""


@define
class EngineHarness:
    """A config, its data, and the engines that run on it."""

    directory: Path
    program: str = field(default="engine", kw_only=True)
    """The module that is run as the engine."""
    said: bytearray = field(factory=bytearray)
    """What the engine wrote to stderr."""
    shown: bytearray = field(factory=bytearray)
    """What it wrote to stdout."""

    @property
    def config(self) -> Path:
        """The config file."""
        return self.directory / "config.yaml"

    @property
    def text(self) -> str:
        """What the engine wrote to stderr, as text."""
        return self.said.decode()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command."""
        # As without uv, so that the commands that are printed are the same however pytest was started.
        inherited = {name: value for name, value in os.environ.items() if name != "UV_RUN_RECURSION_DEPTH"}
        return {**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}

    @property
    def printed(self) -> str:
        """What the engine wrote to stdout, as text."""
        return self.shown.decode()

    def write(self, datacenter: str, accounts: str, rest: str = FAST) -> None:
        """Write a config."""
        self.config.write_text(
            "telegram:\n  api_id: 12345\n  api_hash: 0123456789abcdef0123456789abcdef\n"
            f"  datacenter: {datacenter}\naccounts:\n{accounts}\n{rest}",
            encoding="utf-8",
        )

    def at(self, dc: Sandbox, *phones: str, rest: str = FAST) -> None:
        """Write a config for a datacenter that runs in the test, with session files that Telethon wrote."""
        (self.directory / "dc.pem").write_text(dc.public_key)
        lines = []
        for number, phone in enumerate(phones, 1):
            session = SQLiteSession(str(self.directory / f"account{number}.session"))
            session.set_dc(dc.dc_id, "127.0.0.9", 443)  # nothing listens there: no mistake of ours leads outside
            session.auth_key = AuthKey(dc.authorize(phone))
            session.save()
            session.close()
            lines.append(f'  - {{name: Account {number}, session: account{number}, phone: "{phone}"}}')
        where = f"{{id: {dc.dc_id}, host: 127.0.0.1, port: {dc.port}, public_key: dc.pem}}"
        self.write(where, "\n".join(lines), rest)

    @asynccontextmanager
    async def running(self, *options: str, dev: bool = False) -> AsyncIterator[Process]:
        """Run the engine, with ``dev`` under all of Python's own checks; killed if the test leaves it running."""
        checks = ["-X", "dev", *STRICT] if dev else STRICT
        command = [sys.executable, *checks, "-m", self.program, "run", str(self.config), *options]
        async with await anyio.open_process(
            command, stdin=subprocess.DEVNULL, cwd=self.directory, env=self.environment
        ) as process:
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._read, process.stderr, self.said)
                    tasks.start_soon(self._read, process.stdout, self.shown)
                    yield process
                    if process.returncode is None:
                        process.kill()
            finally:
                if process.returncode is None:
                    process.kill()

    @asynccontextmanager
    async def beside(self, *words: str) -> AsyncIterator[Process]:
        """Run a command for the length of the block; killed if the test leaves it running."""
        command = [sys.executable, *STRICT, "-m", "engine", *words]
        async with await anyio.open_process(command, cwd=self.directory, env=self.environment) as process:
            try:
                yield process
            finally:
                if process.returncode is None:
                    process.kill()

    async def _read(self, stream: ByteReceiveStream | None, into: bytearray) -> None:
        assert stream is not None
        async for chunk in stream:
            into += chunk

    async def finish(self, process: Process, *signals: signal.Signals) -> int:
        """Send signals, and return the exit code."""
        for number in signals:
            process.send_signal(number)
        with anyio.fail_after(TIMEOUT):
            return await process.wait()

    async def until(self, holds: Callable[["EngineHarness"], bool]) -> None:
        """Wait until something can be seen from outside."""
        try:
            with anyio.fail_after(TIMEOUT):
                while not holds(self):
                    await anyio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"it did not come to pass; the engine said:\n{self.text}") from None

    async def command(self, *words: str) -> tuple[int, str]:
        """Run a command beside the engine; return its exit code and what it printed."""
        done = await anyio.run_process(
            [sys.executable, *STRICT, "-m", "engine", *words],
            check=False,
            cwd=self.directory,
            env=self.environment,
        )
        return done.returncode, done.stdout.decode() + done.stderr.decode()

    def entries(self) -> list[Entry]:
        """Return the journal so far."""
        try:
            with JournalReader.open(self.directory / "data" / "engine.db") as reader:
                return list(reader.entries())
        except StorageError:
            return []  # the engine has not made its file yet

    def states(self) -> list[str]:
        """Return the state of each account, as the journal's file has it now."""
        try:
            with JournalReader.open(self.directory / "data" / "engine.db") as reader:
                return [snapshot.state.value for snapshot, _ in reader.snapshots().values()]
        except StorageError:
            return []  # the engine has not made its file yet


def entries(printed: str) -> list[dict[str, Any]]:
    """Return the objects that ``log --json`` printed."""
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def all_are(state: str, count: int) -> Callable[[EngineHarness], bool]:
    """Return whether this many accounts are in this state."""
    return lambda harness: harness.states() == [state] * count
