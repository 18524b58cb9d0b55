"""Puts strands and simulated locks under ``threading``, in a process that simulates and does nothing else.

Only what the standard library takes from C is replaced: locks, the start of a thread and its end, who is running, what
is local to a thread, sleeping. ``Thread``, ``Condition``, ``Event``, ``Queue``, ``ThreadPoolExecutor`` and anyio's
worker threads are the real ones, so all that they do and forbid holds in the simulation, too.
"""

import _thread
import _threading_local
import itertools
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from greenlet import getcurrent

from tests.simulation.threads import (
    MAIN_IDENT,
    Scheduler,
    SimulatedLock,
    Strand,
    ThreadFailure,
    scheduler_now,
    use,
)

_numbers = itertools.count()
EPOCH = 1_800_000_000.0
"""``time.time`` at virtual time 0, if ``install`` is asked to replace clocks."""


class ThreadHandle:
    """What Python 3.13 knows of a thread: ``_thread._ThreadHandle``."""

    def __init__(self, ident: int = 0) -> None:
        self.ident = ident
        self._done = False
        self._lock = SimulatedLock()

    def begin(self, strand: Strand) -> None:
        """Take the place of a strand's end."""
        self.ident = strand.ident
        self._lock.holder = strand
        strand.held[self._lock] = strand.process
        strand.sentinel, strand.on_end = self._lock, self._set_done

    def is_done(self) -> bool:
        """Return whether the thread has ended."""
        return self._done

    def _set_done(self) -> None:
        self._done = True

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end."""
        while not self._done:
            if not self._lock.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
                return
            self._lock.release()


def _start_new_thread(
    function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
) -> int:
    strand = scheduler_now().start(function, args, kwargs)
    _name(strand, function)
    return strand.ident


def _start_joinable_thread(
    function: Callable[[], object], handle: ThreadHandle | None = None, daemon: bool = True
) -> ThreadHandle:
    strand = scheduler_now().start(function)
    handle = handle or ThreadHandle()
    handle.begin(strand)
    _name(strand, function)
    return handle


def _name(strand: Strand, function: Callable[..., object]) -> None:
    thread = getattr(function, "__self__", None)
    if isinstance(thread, threading.Thread):
        strand.name = thread.name


def _set_sentinel() -> SimulatedLock:
    lock = SimulatedLock()
    scheduler_now().current.sentinel = lock
    return lock


def _get_ident() -> int:
    return scheduler_now().current.ident


def _hash_of(thread: threading.Thread) -> int:
    """Return a number by creation, not by address: executors join a set of threads in its order."""
    number: int = thread.__dict__.setdefault("_simulated_number", next(_numbers))
    return number


def _pthread_kill(thread_id: int, signalnum: int) -> None:
    scheduler_now().send_signal(thread_id, signalnum)


def _current_frames() -> dict[int, FrameType]:
    scheduler = scheduler_now()
    frames = {strand.ident: strand.greenlet.gr_frame for strand in scheduler.strands}
    frames[scheduler.current.ident] = sys._getframe(1)
    return {ident: frame for ident, frame in frames.items() if frame is not None}


def _register_at_fork(**hooks: Callable[[], object]) -> None:
    if (hook := hooks.get("after_in_child")) is not None:
        scheduler_now().fork_hooks.append(hook)


def _excepthook(args: "threading.ExceptHookArgs") -> None:
    strand = scheduler_now().current
    if args.exc_value is not None:
        scheduler_now().failures.append(ThreadFailure(strand.name, strand.process, args.exc_value))


def install(scheduler: Scheduler, *, clocks: bool = True) -> Scheduler:
    """Make all threads of this process strands of ``scheduler``, for good. Call it before ``engine`` is imported.

    With ``clocks``, the clocks of ``time`` show the scheduler's time, too. A later run in the same process calls
    ``use`` with a scheduler of its own.
    """
    assert scheduler.main.greenlet is getcurrent()
    use(scheduler)
    for module in (_thread, threading):
        _put(module, "allocate_lock", SimulatedLock)
        _put(module, "_allocate_lock", SimulatedLock)
        _put(module, "LockType", SimulatedLock)
        _put(module, "_LockType", SimulatedLock)
        _put(module, "start_new_thread", _start_new_thread)
        _put(module, "_start_new_thread", _start_new_thread)
        _put(module, "start_joinable_thread", _start_joinable_thread)
        _put(module, "_start_joinable_thread", _start_joinable_thread)
        _put(module, "_ThreadHandle", ThreadHandle)
        _put(module, "_make_thread_handle", ThreadHandle)
        _put(module, "_set_sentinel", _set_sentinel)
        _put(module, "get_ident", _get_ident)
        _put(module, "get_native_id", _get_ident)
        _put(module, "_get_main_thread_ident", lambda: MAIN_IDENT)
    _put(threading, "Lock", SimulatedLock)
    _put(threading, "_CRLock", None)
    _put(_thread, "RLock", threading._RLock)
    _put(_thread, "_local", _threading_local.local)
    _put(threading, "local", _threading_local.local)
    _put(threading, "_active_limbo_lock", threading.RLock())
    _put(threading, "_shutdown_locks_lock", SimulatedLock())
    _put(threading, "excepthook", _excepthook)
    _put(threading.Thread, "__hash__", _hash_of)
    _put(threading, "_time", lambda: scheduler_now().now)
    _put(queue, "time", lambda: scheduler_now().now)
    _put(queue, "SimpleQueue", queue._PySimpleQueue)  # type: ignore[attr-defined]
    _put(signal, "pthread_kill", _pthread_kill)
    _put(sys, "_current_frames", _current_frames)
    _put(os, "register_at_fork", _register_at_fork)
    _put(time, "sleep", lambda seconds: scheduler_now().sleep(seconds))
    _replace_loaded()
    _rename_main()
    if clocks:
        install_clocks()
    return scheduler


def install_clocks() -> None:
    """Make the clocks of ``time`` show the scheduler's time."""
    for name, start in (("monotonic", 0.0), ("perf_counter", 0.0), ("time", EPOCH)):
        _put(time, name, lambda start=start: start + scheduler_now().now)
        _put(time, name + "_ns", lambda start=start: int((start + scheduler_now().now) * 1e9))
    for name in ("process_time", "thread_time"):
        _put(time, name, lambda: 0.0)


def _put(module: Any, name: str, new: object) -> None:
    """Replace a name of a module, if this Python has it."""
    if hasattr(module, name):
        setattr(module, name, new)


def _replace_loaded() -> None:
    """Replace what modules took that were loaded before: logging's lock is held while handlers wait."""
    if (logging := sys.modules.get("logging")) is not None:
        _put(logging, "_lock", threading.RLock())
        for reference in list(logging._handlerList):
            if (handler := reference()) is not None:
                handler.createLock()
    if (executors := sys.modules.get("concurrent.futures.thread")) is not None:
        _put(executors, "_global_shutdown_lock", threading.Lock())


def _rename_main() -> None:
    """Give the main thread the same ident in each run."""
    main = threading.main_thread()
    main._ident = main._native_id = MAIN_IDENT  # type: ignore[attr-defined]
    active = threading._active  # type: ignore[attr-defined]
    active.clear()
    active[MAIN_IDENT] = main
