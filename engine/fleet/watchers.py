"""What runs beside the fleet is kept running: no failure of a watcher, a listener or a table ends the fleet.

The system may run out of descriptors, memory or threads, and each of these helpers may have a mistake of its own. A
helper that failed starts again after a pause, and the accounts do not notice.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import anyio
import structlog

Watcher = tuple[str, Callable[[], Coroutine[Any, Any, None]]]
"""What runs beside the fleet until it is cancelled: what the log calls it, and the function."""
PAUSES: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Seconds from the first, second, … failure in a row to the next start; the last value repeats."""
NO_NEW_THREAD: Final = "can't start new thread"
"""What Python says when the system has no room for another thread."""
STABLE_SECONDS: Final = 60.0
"""A watcher that ran for so long counts its failures from zero again."""

log = structlog.get_logger("holdfast.fleet")


def pause_after(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row, at least one."""
    return PAUSES[min(failures, len(PAUSES)) - 1]


async def keep_running(watcher: str, work: Callable[[], Awaitable[object]]) -> None:
    """Run ``work`` until it returns or is cancelled, however often it fails; tell the first of the failures in a row.

    ``watcher`` is what the log calls it.
    """
    failures = 0
    while True:
        began = anyio.current_time()
        try:
            await work()
        except Exception as exc:
            failures = 1 if anyio.current_time() - began >= STABLE_SECONDS else failures + 1
            delay = pause_after(failures)
            if failures == 1:
                log.error("watcher_failed", watcher=watcher, detail=describe(exc), delay=delay, exc_info=is_bug(exc))
        else:
            return
        await anyio.sleep(delay)


def is_bug(exc: BaseException) -> bool:
    """Return whether an exception needs its traceback: neither the system nor another node is the reason."""
    first = _first(exc)
    explained = bool(getattr(first, "is_expected", False))
    return not (explained or isinstance(first, OSError | MemoryError) or str(first) == NO_NEW_THREAD)


def describe(exc: BaseException) -> str:
    """Return what happened, in a few words."""
    first = _first(exc)
    if isinstance(first, OSError) and first.strerror:
        return f"{first.filename}: {first.strerror.lower()}" if first.filename else first.strerror.lower()
    if isinstance(first, MemoryError):
        return "no memory left"
    if str(first) == NO_NEW_THREAD:
        return NO_NEW_THREAD
    if getattr(first, "is_expected", False):
        return str(first)
    return f"{type(first).__name__}: {first}" if str(first) else type(first).__name__


def _first(exc: BaseException) -> BaseException:
    """Return the first exception of a group, and what an error of anyio's was made from."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    if isinstance(exc, anyio.BrokenResourceError) and exc.__cause__ is not None:
        return exc.__cause__
    return exc
