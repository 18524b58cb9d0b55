"""``run``: an engine with a terminal, signals and log files around it."""

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import structlog
from rich.console import Console

from adapters.sandbox import SandboxError
from adapters.session import writer
from adapters.session.inspect import is_shared, loose_permissions
from adapters.sqlite import StorageError
from adapters.system import DeadManUnusable, ServiceManager, TokenUnusable, raise_limit
from adapters.system.descriptors import Descriptors, exhaustion, is_exhaustion
from adapters.system.free_memory import give_back_free_memory
from engine import paths
from engine.app.engine import Engine
from engine.app.live_screen import screen_of
from engine.app.node_work import LifeLost
from engine.app.sandbox import SandboxDemo
from engine.app.stop import Stop, has_terminal, heeded
from engine.config import Config, LogFormat
from engine.console import live, logs, status, streams
from engine.console.ranking import Ranking
from engine.console.shell import engine_command
from engine.fleet.watchers import keep_running
from engine.screen import terminal
from engine.screen.screen import Screen

COLLECTIONS = (20_000, 5, 400)
"""The thresholds of the garbage collector: high, because clients are made and dropped in large numbers. A collection of
the middle generation goes through 100,000 objects at most, and so stops the loop for some milliseconds only; the whole
heap is gone through as rarely as it can be."""
CANNOT_RUN = (SandboxError, StorageError, DeadManUnusable, LifeLost)
"""The errors that end a run; the text of each is a sentence for the operator."""

_MAX_EXIT = 5.0
"""Seconds from the end of a run to the end of its process; twice as many while a session waits to be written."""

log = structlog.get_logger("holdfast.engine")


async def _watch_signals(stop: Stop, reload: Callable[[], None] | None) -> None:
    """Turn the first SIGINT, SIGTERM or SIGHUP into an orderly stop, and leave at the second.

    A terminal that closes sends SIGHUP, often twice, so that it never counts as the second. Where it is ignored, as
    ``nohup`` has it, it stays ignored. With ``reload``, which a process without a terminal has, SIGHUP comes from a
    person or a service manager on purpose, and means what it means to every service: read the config again.
    """
    with anyio.open_signal_receiver(*heeded(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)) as signals:
        async for number in signals:
            if stop.wanted.is_set() and number == signal.SIGHUP:
                continue
            if reload is not None and number == signal.SIGHUP:
                log.info("reload_signalled")
                reload()
                continue
            if stop.wanted.is_set():
                terminal.give_back()
                with suppress(OSError, ValueError):  # nobody reads stderr any more
                    print(f"Received signal {number:d} again. Leaving at once", file=sys.stderr, flush=True)
                os._exit(128 + number)
            log.info("signal_received", signal=int(number))
            stop.now()


def _private(config: Config) -> list[Path]:
    """Return the paths that other users must not be able to use: session files and their directories."""
    if config.storage.database is not None:
        return []
    sessions = [account.session for account in config.accounts]
    directories = dict.fromkeys(path.parent for path in sessions)
    return [*sessions, *(path for path in directories if not is_shared(path))]


def _warn(config: Config, descriptors: Descriptors) -> None:
    """Tell of what may be amiss with files and limits."""
    if loose := [path for path in _private(config) if loose_permissions(path)]:
        mend = engine_command("doctor", config.path, options=["--fix"])
        log.warning("files_not_private", path=str(loose[0]), others=len(loose) - 1, command=mend)
    if not descriptors.enough:
        few = {"needed": descriptors.needed, "limit": descriptors.soft, "command": descriptors.remedy}
        log.warning("descriptors_few", accounts=len(config.accounts), **few)


async def _show_link(config: Config, console: Console) -> None:
    """Show the link to the page, with its token: on the terminal alone, for what stderr gets may end up in a file."""
    from engine.app.page_tokens import FIRST_SECONDS, link_of  # noqa: PLC0415 - for those that have a page alone

    with anyio.move_on_after(FIRST_SECONDS), suppress(TokenUnusable):  # the log tells of it
        link = await anyio.to_thread.run_sync(link_of, config, abandon_on_cancel=True)
        print(f"🔍 The page, for you alone: {link}", file=console.file, flush=True)


CANCELLED = (
    "code in this process cancelled the engine's own tasks; look in jobs and handlers for asyncio.all_tasks(), and for "
    "sys.exit() in a task or callback, mend it and start again"
)
"""Why the engine ended, if nobody asked for it and nothing failed."""


def _opened_log(
    config: Config, log_format: LogFormat | None, recent: logs.RecentLines | None
) -> AbstractContextManager[logs.ChangeLog]:
    directory = config.storage.directory / paths.LOGS
    return logs.opened(directory, recent=recent, **_log_settings(config, log_format))


def _log_settings(config: Config, log_format: LogFormat | None) -> dict[str, Any]:
    return {
        "as_json": (log_format or config.logging.format) is LogFormat.JSON,
        "levels": {name: level.number for name, level in config.logging.levels.items()},
    }


def _shown(
    engine: Engine, recent: logs.RecentLines, console: Console
) -> tuple[Screen | None, Callable[[], Awaitable[None]]]:
    """Return the screen, and what shows it; on a terminal that can take only text, a table in the screen's place."""
    ranking = Ranking([account.name for account in engine.config.accounts], engine.fleet.status)
    engine.fleet.on_change.append(ranking.update)
    engine.fleet.removed.append(ranking.discard)
    if (screen := screen_of(engine, ranking, recent, console)) is not None:
        return screen, screen.run
    sources = (lambda: engine.info, ranking, lambda: engine.jobs.summary)
    return None, partial(live.show, console, *sources, recent, incidents=lambda: tuple(engine.incidents.open.values()))


async def run(config: Config, *, duration: float | None, console: Console, log_format: LogFormat | None = None) -> int:
    """Run the engine until a signal comes or the fleet ran for ``duration`` seconds; return the exit code.

    ``log_format`` is the form of log lines, by default that of the config.

    Raises ``LockHeld`` if another engine runs on the same data, and ``OSError`` if its directory cannot be used.
    """
    descriptors = raise_limit(len(config.accounts))
    engine = Engine(config, throws_out=True, manager=ServiceManager.from_environment())
    fleet = engine.fleet
    screen = None
    with ExitStack() as files:
        files.enter_context(engine.lock())
        recent = logs.RecentLines() if console.is_terminal else None
        change_log = files.enter_context(_opened_log(config, log_format, recent))
        engine.appliers["logging"] = lambda new: change_log(**_log_settings(new, log_format))
        log.info("engine_starting", accounts=len(config.accounts), config=str(config.path))
        _warn(config, descriptors)
        if config.web is not None and console.is_terminal:
            await _show_link(config, console)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_watch_signals, engine.stop, None if has_terminal() else engine.reload_soon)
            if recent is not None:
                screen, show = _shown(engine, recent, console)
                tasks.start_soon(keep_running, "the live table", show)
            _tidy_memory()
            code = None
            try:
                await engine.serve(duration)
                code = 0
            except CANNOT_RUN as exc:
                log.error("engine_failed", detail=str(exc))
                code = 1
            except Exception as exc:
                if not is_exhaustion(exc):
                    raise
                log.error("engine_failed", detail=exhaustion(exc, ends=True))
                code = 1
            tasks.cancel_scope.cancel()
        if code is None:
            log.error("engine_failed", detail=CANCELLED)
            code = 1
    if screen is not None:
        screen.print_last()
    if fleet.at_stop:
        print(status.block(fleet.at_stop), file=console.file)  # as it is: to wrap it takes longer than to stop
    if isinstance(engine.source, SandboxDemo) and engine.source.audit is not None:
        console.print(f"\n{engine.source.audit}", markup=False, emoji=False, highlight=False)
    if engine.jobs.stuck:
        # Some of the user's work cannot be cancelled, and the end of the loop would wait for it for ever.
        sys.stdout.flush()
        os._exit(code)
    if config.work.modules:
        # So that Python, as it ends, finds what these modules have in cycles, such as files that wait to be written.
        gc.unfreeze()
    _end_within(code)
    return code


def _tidy_memory() -> None:
    """Leave what the imports have made alone from now on, and give back what they have used for a moment.

    Telethon's classes alone are some hundred thousand objects that live for ever. The collector must not go through
    them at each collection while a thousand clients are made anew.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)
    give_back_free_memory()


def _end_within(code: int) -> None:
    """End this process in a moment, even if a job has left a pool that Python would wait for at its exit."""
    if not streams.are_prepared():
        return  # the process is not the program's own

    def end() -> None:
        time.sleep(_MAX_EXIT)
        if writer.shared.unsaved:  # Python's exit tries for a while, and says what could not be written
            time.sleep(_MAX_EXIT)
        failure = streams.finish()
        os._exit(code if failure is None else streams.EXIT_OUTPUT_LOST)

    with suppress(RuntimeError):  # the system has no room for a thread, and a job has found none for a pool
        threading.Thread(target=end, name="holdfast exit", daemon=True).start()
