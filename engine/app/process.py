"""What a process with an engine does around it: signals, memory, what its end means, and that it comes."""

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import anyio
import structlog

from adapters.sandbox import SandboxError
from adapters.session import writer
from adapters.sqlite import StorageError
from adapters.system import DeadManUnusable
from adapters.system.descriptors import exhaustion, is_exhaustion
from adapters.system.free_memory import give_back_free_memory
from engine.app.engine import Engine
from engine.app.stop import Stop, heeded
from engine.console import streams
from engine.screen.terminal import give_back as give_back_terminal

COLLECTIONS = (20_000, 5, 400)
"""The thresholds of the garbage collector: high, because clients are made and dropped in large numbers. A collection of
the middle generation goes through 100,000 objects at most, and so stops the loop for some milliseconds only; the whole
heap is gone through as rarely as it can be."""
CANNOT_RUN = (SandboxError, StorageError, DeadManUnusable)
"""The errors that end a run; the text of each is a sentence for the operator."""

_MAX_EXIT = 5.0
"""Seconds from the end of a run to the end of its process; twice as many while a session waits to be written."""

CANCELLED = (
    "code in this process cancelled the engine's own tasks; look in jobs and handlers for asyncio.all_tasks(), and for "
    "sys.exit() in a task or callback, mend it and start again"
)
"""Why the engine ended, if nobody asked for it and nothing failed."""

log = structlog.get_logger("holdfast.engine")


async def watch_signals(
    stop: Stop, reload: Callable[[], None] | None, before_leaving: Callable[[], None] = lambda: None
) -> None:
    """Turn the first SIGINT, SIGTERM or SIGHUP into an orderly stop, and leave at the second.

    A terminal that closes sends SIGHUP, often twice, so that it never counts as the second. Where it is ignored, as
    ``nohup`` has it, it stays ignored. With ``reload``, which a process without a terminal has, SIGHUP comes from a
    person or a service manager on purpose, and means what it means to every service: read the config again. It says
    what becomes of that.
    ``before_leaving`` is called before the process leaves at once.
    """
    with anyio.open_signal_receiver(*heeded(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)) as signals:
        async for number in signals:
            if stop.wanted.is_set() and number == signal.SIGHUP:
                continue
            if reload is not None and number == signal.SIGHUP:
                reload()
                continue
            if stop.wanted.is_set():
                before_leaving()
                give_back_terminal()
                with suppress(OSError, ValueError):  # nobody reads stderr any more
                    print(f"Received signal {number:d} again. Leaving at once", file=sys.stderr, flush=True)
                os._exit(128 + number)
            log.info("signal_received", signal=int(number))
            stop.now()


async def served(engine: Engine, duration: float | None) -> int:
    """Let an engine serve until it ends, and return the exit code; the log has what failed."""
    try:
        await engine.serve(duration)
    except CANNOT_RUN as exc:
        log.error("engine_failed", detail=str(exc))
        return 1
    except Exception as exc:
        if not is_exhaustion(exc):
            raise
        log.error("engine_failed", detail=exhaustion(exc, ends=True))
        return 1
    return 0


def tidy_memory() -> None:
    """Leave what the imports have made alone from now on, and give back what they have used for a moment.

    Telethon's classes alone are some hundred thousand objects that live for ever. The collector must not go through
    them at each collection while a thousand clients are made anew.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)
    give_back_free_memory()


def leave(engine: Engine, code: int) -> None:
    """Make sure that this process ends soon, whatever the user's work has left in it."""
    if engine.jobs.stuck:
        # Some of the user's work cannot be cancelled, and the end of the loop would wait for it for ever.
        sys.stdout.flush()
        os._exit(code)
    if engine.config.work.modules:
        # So that Python, as it ends, finds what these modules have in cycles, such as files that wait to be written.
        gc.unfreeze()
    _end_within(code)


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
