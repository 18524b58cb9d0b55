"""``run``: an engine with a terminal, signals and log files around it."""

import gc
import os
import resource
import signal
import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import anyio
import structlog
from rich.console import Console

from adapters.sandbox import SandboxError
from adapters.session.inspect import belongs_to_many, loose_permissions
from adapters.sqlite import StorageError
from engine import paths
from engine.app.engine import Engine, Stop
from engine.app.sandbox import SandboxDemo
from engine.config import Config, LogFormat
from engine.console import live, logs, status
from engine.console.shell import engine_command

COLLECTIONS = (20_000, 20, 100)
"""How many new objects bring about a collection, and how rarely it looks at older ones: clients come and go in bulk."""
CANNOT_RUN = (SandboxError, StorageError)
"""What ends a run, each with a sentence for people."""

log = structlog.get_logger("holdfast.engine")


async def _watch_signals(stop: Stop) -> None:
    """Turn the first SIGINT or SIGTERM into an orderly stop, and leave at the second."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            if stop.wanted.is_set():
                print(f"Received signal {number:d} again. Leaving at once", file=sys.stderr, flush=True)
                os._exit(128 + number)
            log.info("signal_received", signal=int(number))
            stop.now()


def _open_files(accounts: int) -> None:
    """Let this process open as many files as the fleet needs: a socket and a lock for each, and what is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, 4 * accounts + 256)
    if soft != resource.RLIM_INFINITY and wanted > soft:
        wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _private(config: Config) -> list[Path]:
    """Return what nobody else should be able to use: session files and their directories."""
    sessions = [account.session for account in config.accounts]
    directories = dict.fromkeys(path.parent for path in sessions)
    return [*sessions, *(path for path in directories if not belongs_to_many(path))]


def _opened_log(
    config: Config, log_format: LogFormat | None, recent: logs.RecentLines | None
) -> AbstractContextManager[None]:
    return logs.opened(
        config.storage.directory / paths.LOGS,
        recent=recent,
        as_json=(log_format or config.logging.format) is LogFormat.JSON,
        levels={name: level.number for name, level in config.logging.levels.items()},
    )


async def run(config: Config, *, duration: float | None, console: Console, log_format: LogFormat | None = None) -> int:
    """Run the engine until a signal comes or the fleet ran for ``duration`` seconds; return the exit code.

    ``log_format`` is the form of log lines, by default that of the config.

    Raises ``LockHeld`` if another engine runs on the same data, and ``OSError`` if its directory cannot be used.
    """
    _open_files(len(config.accounts))
    engine = Engine(config, throws_out=True)
    fleet = engine.fleet
    with ExitStack() as files:
        files.enter_context(engine.lock())
        recent = logs.RecentLines() if console.is_terminal else None
        files.enter_context(_opened_log(config, log_format, recent))
        log.info("engine_starting", accounts=len(config.accounts), config=str(config.path))
        if loose := [path for path in _private(config) if loose_permissions(path)]:
            mend = engine_command("doctor", config.path, "--fix")
            log.warning("files_not_private", path=str(loose[0]), others=len(loose) - 1, command=mend)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_watch_signals, engine.stop)
            if recent is not None:
                look = (lambda: engine.info, lambda: fleet.snapshots, lambda: engine.jobs.summary)
                tasks.start_soon(live.show, console, *look, recent)
            # Telethon's classes alone are some hundred thousand objects that live for ever: not to be looked through at
            # each collection, while a thousand clients are made anew.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECTIONS)
            try:
                await engine.serve(duration)
                code = 0
            except CANNOT_RUN as exc:
                log.error("engine_failed", detail=str(exc))
                code = 1
            tasks.cancel_scope.cancel()
    if fleet.at_stop:
        console.print(status.block(fleet.at_stop), markup=False, highlight=False)
    if isinstance(engine.source, SandboxDemo) and engine.source.audit is not None:
        console.print(f"\n{engine.source.audit}", markup=False, highlight=False)
    if engine.jobs.stuck:
        # Some work of the user's does not let itself be cancelled, and the end of the loop would wait for it for ever.
        sys.stdout.flush()
        os._exit(code)
    return code
