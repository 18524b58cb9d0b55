"""Notices code that blocks the event loop, reports it while it lasts, and throws out a job that does not end.

All accounts share one loop with the user's functions. A function that calls ``time.sleep`` stops them all, and the loop
itself cannot report that. So a heartbeat on the loop records the time, and a thread checks how old the last beat is. To
throw a job out, the thread sends a signal to the loop's thread, whose handler raises in the middle of the job, as
Ctrl+C would.

A call that waits in C without handling signals (``getaddrinfo``, SQLite for a lock) is reported, and thrown out when it
returns. A call that keeps the GIL meanwhile (a long ``sorted``, a runaway regular expression) is reported when it
releases the GIL.
"""

import asyncio
import itertools
import signal
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import structlog
from attrs import define, field

from engine.work.labels import WorkLabel

CHECK_EVERY = 0.25
"""Seconds between two beats, and between two checks."""
FIRST_REPORT = 1.0
"""Seconds without a beat after which the first report is made; the next ones follow at each doubling."""
THROW_AFTER = 30.0
"""Seconds for which a job may block the loop before it is thrown out."""
SUSPENDED_AFTER = 0.5
"""When a check is late by more seconds than this, and the process hardly used the processor meanwhile, the process was
stopped or the machine slept."""
RESTART_SECONDS = 1.0
"""Seconds after which a watch that failed starts again."""
MAX_FRAMES = 12
"""How many of the innermost calls a report shows."""
SIGNAL = signal.SIGURG
"""The signal to the loop's thread. Without a handler it is ignored, so a late one does no harm. SIGUSR2 and SIGALRM
would end the process, and scripts use those two themselves (``signal.alarm`` limits time)."""
LOOP_MODULES = ("asyncio.events", "asyncio.base_events", "asyncio.runners", "uvloop")
"""Modules whose calls run the loop: a report begins inside them."""
TASK_MODULES = ("asyncio.", "anyio.")
"""Modules whose calls a report leaves out."""
REMEDY = "let anyio.to_thread.run_sync do what takes so long"

Task = asyncio.Task[Any]

log = structlog.get_logger("holdfast.loop")


class Stalled(BaseException):
    """A job blocked the loop for too long and is thrown out.

    It is not an ``Exception``, so that few jobs catch it by mistake.
    """


@asynccontextmanager
async def watched(
    *,
    name: Callable[[Task], str | None],
    throw: bool,
    every: float = CHECK_EVERY,
    first_report: float = FIRST_REPORT,
    throw_after: float = THROW_AFTER,
) -> AsyncIterator[None]:
    """Watch the running loop for the length of the block, and log what blocks it; durations are in seconds.

    ``name`` returns the label of the job whose code is running in a task, or None. It is called from a thread and from
    a signal handler, so it must neither wait nor raise. With ``throw``, ``Stalled`` is raised in a job that blocks the
    loop for ``throw_after``, and again after as long if the job swallows it; other code is only reported. Raises
    ``ValueError`` if ``throw`` is set on a thread other than the main one.
    """
    watch = _Watch(name, every, first_report, throw_after if throw else None)
    previous = signal.signal(SIGNAL, watch.on_signal) if throw else None
    thread = threading.Thread(target=watch.watch, name="holdfast stall watch", daemon=True)
    watch.beat()
    try:
        thread.start()
    except RuntimeError as exc:  # the system has no room for another thread: the accounts can do without this one
        log.error("stall_watch_failed", detail=str(exc))
    try:
        yield
    finally:
        watch.end.set()
        watch.beats.cancel()
        if thread.ident is not None:
            thread.join(SUSPENDED_AFTER)  # not longer: it may hang in a log call
        if throw:
            signal.signal(SIGNAL, previous or signal.SIG_DFL)


@define(eq=False)
class _Standstill:
    """What the thread has seen since a beat. Its times leave out those in which the process was suspended."""

    beat: float
    since: float
    """When the next beat was due."""
    report_at: float
    """Seconds without a beat after which the next report is due."""
    task: Task | None = None
    task_since: float | None = None
    """Since when every check saw this task; None before the first check."""
    waiting_since: float = 0.0
    """When a check first saw this task, or when it was last thrown out."""
    reported: str = ""
    """What the last report named as running; empty before a report."""

    def fields(self) -> dict[str, Any]:
        """Return the log fields of the last report: what was running, and its account if it was a job."""
        return {
            "account": self.reported.account if isinstance(self.reported, WorkLabel) else None,
            "running": str(self.reported),
        }

    def note(self, task: Task | None, now: float) -> None:
        """Note which task runs at a check."""
        if self.task_since is None or task is not self.task:
            self.task_since = self.since if self.task_since is None else now
            self.task, self.waiting_since = task, now


@define(eq=False)
class _Watch:
    """The heartbeat, on the loop's thread, and the check of it, on a thread of its own."""

    name: Callable[[Task], str | None]
    every: float
    first_report: float
    throw_after: float | None
    end: threading.Event = field(factory=threading.Event, init=False)
    beats: asyncio.TimerHandle = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _thread: int = field(factory=threading.get_ident, init=False)
    _beat: float = field(default=0.0, init=False)
    _wanted: tuple[Task, str, float] | None = field(default=None, init=False)
    """The job to be thrown out: its task, its label, and the last beat before it began to block."""

    def beat(self) -> None:
        """Record the time, now and at every interval."""
        self._beat = time.monotonic()
        self.beats = self._loop.call_later(self.every, self.beat)

    def on_signal(self, _: int, __: FrameType | None) -> None:
        """Raise ``Stalled`` if the wanted job still blocks the loop, and its own code is what the signal interrupts."""
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        task, job, beat = wanted
        inside = asyncio.current_task(self._loop) is task and getattr(task.get_coro(), "cr_running", True)
        if inside and self._beat == beat and self.name(task) == job:
            raise Stalled(f"{job} blocked the event loop and was thrown out; {REMEDY}")

    def watch(self) -> None:
        """Check the heartbeat until the end; a check that fails is followed by others."""
        told = False
        while not self.end.is_set():
            try:
                self._watch()
            except Exception as exc:
                if not told:
                    told = True
                    log.error("stall_watch_failed", detail=f"{type(exc).__name__}: {exc}".removesuffix(": "))
                self.end.wait(RESTART_SECONDS)

    def _watch(self) -> None:
        suspended = 0.0
        seen = _Standstill(self._beat, self._beat + self.every, self.first_report)
        checked, worked = time.monotonic(), time.process_time()
        while not self.end.wait(self.every):
            clock, work = time.monotonic(), time.process_time()
            gap, idle = clock - checked, work - worked < 2 * self.every  # not idle: some call kept the GIL
            checked, worked = clock, work
            was_suspended = gap > self.every + SUSPENDED_AFTER and idle
            suspended += gap if was_suspended else 0.0
            now, beat = clock - suspended, self._beat
            if beat != seen.beat:
                if seen.reported:
                    log.info("loop_resumed", **seen.fields(), took=max(0.0, beat - suspended - seen.since))
                seen = _Standstill(beat, (now if was_suspended else beat - suspended) + self.every, self.first_report)
            if now > seen.since:
                self._check(seen, now)

    def _check(self, seen: _Standstill, now: float) -> None:
        task = asyncio.current_task(self._loop)
        job = None if task is None else self.name(task)
        seen.note(task, now)
        if now - seen.since >= seen.report_at:
            while seen.report_at <= now - seen.since:
                seen.report_at *= 2
            seen.reported = job or ("a callback" if task is None else f"the task {task.get_name()!r}")
            self._report(seen, now)
        if task is None or job is None or self.throw_after is None or now - seen.waiting_since < self.throw_after:
            return
        seen.reported, seen.waiting_since = job, now
        log.error("job_thrown_out", **seen.fields(), still=now - seen.since)
        self._wanted = task, job, seen.beat
        signal.pthread_kill(self._thread, SIGNAL)

    def _report(self, seen: _Standstill, now: float) -> None:
        still, same = now - seen.since, now - (seen.task_since or now)
        stack = _stack(self._thread)
        if same >= still / 2:
            log.error("loop_stalled", **seen.fields(), still=still, stack=stack)
        else:
            log.warning("loop_behind", **seen.fields(), still=still, stack=stack)


def _stack(thread: int) -> str:
    """Return the innermost calls of a thread, without those that run the loop and its tasks."""
    frame = sys._current_frames().get(thread)
    calls = traceback.walk_stack(frame) if frame else iter(())
    inner = itertools.takewhile(lambda call: not _module(call).startswith(LOOP_MODULES), calls)
    shown = [call for call in inner if not _module(call).startswith(TASK_MODULES)][:MAX_FRAMES]
    return "".join(traceback.StackSummary.extract(reversed(shown)).format()).rstrip()


def _module(call: tuple[FrameType, int]) -> str:
    return str(call[0].f_globals.get("__name__", ""))
