"""``run``: an engine with a terminal, signals and log files around it."""

import gc
import os
import resource
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import anyio
import structlog
from rich.console import Console

from adapters.sandbox import SandboxError
from adapters.session.inspect import belongs_to_many, loose_permissions
from adapters.sqlite import StorageError
from engine import paths
from engine.app.engine import Engine
from engine.app.sandbox import SandboxDemo
from engine.app.stop import Stop
from engine.config import Config
from engine.console import live, logs, status
from engine.console.shell import engine_command

COLLECTIONS = (20_000, 20, 100)
"""The thresholds of the garbage collector: high, because clients are made and dropped in large numbers."""
CANNOT_RUN = (SandboxError, StorageError)
"""The errors that end a run; the text of each is a sentence for the operator."""

log = structlog.get_logger()


async def _watch_signals(stop: Stop) -> None:
    """Turn the first SIGINT or SIGTERM into an orderly stop, and leave at the second."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            if stop.wanted.is_set():
                print(f"Received signal {number:d} again. Leaving at once", file=sys.stderr, flush=True)
                os._exit(128 + number)
            log.info(f"Received signal {number:d}. Initiating graceful shutdown")
            stop.now()


def _open_files(accounts: int) -> None:
    """Let this process open as many files as the fleet needs: a socket, a lock and a session for each account."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, 4 * accounts + 256)
    if soft != resource.RLIM_INFINITY and wanted > soft:
        wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _private(config: Config) -> list[Path]:
    """Return the paths that other users must not be able to use: session files and their directories."""
    sessions = [account.session for account in config.accounts]
    directories = dict.fromkeys(path.parent for path in sessions)
    return [*sessions, *(path for path in directories if not belongs_to_many(path))]


def _more(paths: list[Path]) -> str:
    return f" and {len(paths) - 1} more session files or directories" if len(paths) > 1 else ""


async def run(config: Config, *, duration: float | None, console: Console) -> int:
    """Run the engine until a signal comes or the fleet ran for ``duration`` seconds; return the exit code.

    Raises ``LockHeld`` if another engine runs on the same data, and ``OSError`` if its directory cannot be used.
    """
    _open_files(len(config.accounts))
    engine = Engine(config, throws_out=True)
    fleet = engine.fleet
    with ExitStack() as files:
        files.enter_context(engine.lock())
        recent = logs.RecentLines() if console.is_terminal else None
        files.enter_context(logs.opened(config.storage.directory / paths.LOGS, recent=recent))
        log.info(f"Starting {len(config.accounts)} accounts from {config.path}", icon="🔍")
        if loose := [path for path in _private(config) if loose_permissions(path)]:
            mend = engine_command("doctor", config.path, "--fix")
            log.warning(f"Others can use {loose[0]}{_more(loose)}; this mends it: {mend}", icon="⚠️")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_watch_signals, engine.stop)
            if recent is not None:
                sources = (lambda: engine.info, lambda: fleet.snapshots, lambda: engine.jobs.summary)
                tasks.start_soon(live.show, console, *sources, recent)
            # Telethon's classes alone are some hundred thousand objects that live for ever. The collector must not go
            # through them at each collection while a thousand clients are made anew.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECTIONS)
            try:
                await engine.serve(duration)
                code = 0
            except CANNOT_RUN as exc:
                log.error(str(exc), icon="❌")
                code = 1
            tasks.cancel_scope.cancel()
    if fleet.at_stop:
        console.print(status.block(fleet.at_stop), markup=False, highlight=False)
    if isinstance(engine.source, SandboxDemo) and engine.source.audit is not None:
        console.print(f"\n{engine.source.audit}", markup=False, highlight=False)
    if engine.jobs.stuck:
        # Some of the user's work cannot be cancelled, and the end of the loop would wait for it for ever.
        sys.stdout.flush()
        os._exit(code)
    return code
