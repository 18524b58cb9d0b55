"""``run``: an engine with a terminal, signals and log files around it."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import structlog
from rich.console import Console

from adapters.session.inspect import is_shared, loose_permissions
from adapters.system import ServiceManager, TokenUnusable, raise_limit
from adapters.system.descriptors import Descriptors
from engine import paths
from engine.app.engine import Engine
from engine.app.live_screen import screen_of
from engine.app.process import CANCELLED, COLLECTIONS, leave, served, tidy_memory, watch_signals
from engine.app.sandbox import SandboxDemo
from engine.app.stop import has_terminal
from engine.config import Config, LogFormat
from engine.console import live, logs, status
from engine.console.ranking import Ranking
from engine.console.shell import engine_command
from engine.fleet.watchers import keep_running
from engine.screen.screen import Screen

__all__ = ["COLLECTIONS", "log_settings", "opened_log", "run", "show_link", "warn"]

log = structlog.get_logger("holdfast.engine")


def _private(config: Config) -> list[Path]:
    """Return the paths that other users must not be able to use: session files and their directories."""
    if config.storage.database is not None:
        return []
    sessions = [account.session for account in config.accounts]
    directories = dict.fromkeys(path.parent for path in sessions)
    return [*sessions, *(path for path in directories if not is_shared(path))]


def warn(config: Config, descriptors: Descriptors) -> None:
    """Tell of what may be amiss with files and limits."""
    if loose := [path for path in _private(config) if loose_permissions(path)]:
        mend = engine_command("doctor", config.path, options=["--fix"])
        log.warning("files_not_private", path=str(loose[0]), others=len(loose) - 1, command=mend)
    if not descriptors.enough:
        few = {"needed": descriptors.needed, "limit": descriptors.soft, "command": descriptors.remedy}
        log.warning("descriptors_few", accounts=len(config.accounts), **few)


async def show_link(config: Config, console: Console) -> None:
    """Show the link to the page, with its token: on the terminal alone, for what stderr gets may end up in a file."""
    from engine.app.page_tokens import FIRST_SECONDS, link_of  # noqa: PLC0415 - for those that have a page alone

    with anyio.move_on_after(FIRST_SECONDS), suppress(TokenUnusable):  # the log tells of it
        link = await anyio.to_thread.run_sync(link_of, config, abandon_on_cancel=True)
        print(f"🔍 The page, for you alone: {link}", file=console.file, flush=True)


def opened_log(
    config: Config, log_format: LogFormat | None, recent: logs.RecentLines | None
) -> AbstractContextManager[logs.ChangeLog]:
    """Return the log of a config, for a block."""
    directory = config.storage.directory / paths.LOGS
    return logs.opened(directory, recent=recent, **log_settings(config, log_format))


def log_settings(config: Config, log_format: LogFormat | None) -> dict[str, Any]:
    """Return how a log is written."""
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


def _reload(engine: Engine) -> None:
    log.info("reload_signalled")
    engine.reload_soon()


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
        change_log = files.enter_context(opened_log(config, log_format, recent))
        engine.appliers["logging"] = lambda new: change_log(**log_settings(new, log_format))
        log.info("engine_starting", accounts=len(config.accounts), config=str(config.path))
        warn(config, descriptors)
        if config.web is not None and console.is_terminal:
            await show_link(config, console)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_signals, engine.stop, None if has_terminal() else partial(_reload, engine))
            if recent is not None:
                screen, show = _shown(engine, recent, console)
                tasks.start_soon(keep_running, "the live table", show)
            tidy_memory()
            code = None  # if something in this process cancels what serves
            code = await served(engine, duration)
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
    leave(engine, code)
    return code
