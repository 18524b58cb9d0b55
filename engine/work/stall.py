"""Notices what blocks the event loop, says so while it lasts, and throws out a job that does not end by itself.

All accounts live on one loop, beside functions of the user's. One that calls ``time.sleep`` stops them all, and the
loop itself cannot tell. So a heartbeat on the loop writes down the time, and a thread looks how old the last beat is.
Throwing out is a signal to the loop's thread, whose handler raises in the middle of the job, as Ctrl+C would.

What waits in C without heeding signals (``getaddrinfo``, SQLite for a lock) is reported, and thrown out when it comes
back. What keeps the GIL meanwhile (a long ``sorted``, a regular expression that runs away) is reported when it lets go.
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

EVERY = 0.25
"""Seconds between two beats, and between two looks."""
FIRST_REPORT = 1.0
"""Seconds of standing still after which it is reported; again at each doubling."""
THROW_AFTER = 30.0
"""Seconds for which a job may block the loop."""
AWAY = 0.5
"""A look that is later by seconds, in which the process hardly used the processor: it was stopped, or all slept."""
FRAMES = 12
"""The innermost calls that are shown."""
SIGNAL = signal.SIGURG
"""What reaches the loop's thread. Where nobody handles it, it is ignored, so that one that comes late ends nothing, as
SIGUSR2 and SIGALRM would; and those two are what scripts use themselves (``signal.alarm`` limits time)."""
LOOP = ("asyncio.events", "asyncio.base_events", "asyncio.runners", "uvloop")
TASKS = ("asyncio.", "anyio.")
"""Modules whose calls run the loop, and those whose calls are of no interest."""
REMEDY = "let anyio.to_thread.run_sync do what takes so long"

Task = asyncio.Task[Any]

log = structlog.get_logger("holdfast.loop")


class Stalled(BaseException):
    """A job blocked the loop for too long and is thrown out. No ``Exception``, so that few jobs catch it by mistake."""


@asynccontextmanager
async def watched(
    *,
    name: Callable[[Task], str | None],
    throw: bool,
    every: float = EVERY,
    first_report: float = FIRST_REPORT,
    throw_after: float = THROW_AFTER,
) -> AsyncIterator[None]:
    """Watch over the running loop for the length of the block, and log what blocks it; durations are in seconds.

    ``name`` says which job's code runs in a task now, None if it is none. It is called from a thread and from a signal
    handler, so it must neither wait nor raise. With ``throw``, ``Stalled`` is raised in a job that blocks the loop for
    ``throw_after``, and again after as long if the job swallows it; what is no job is only reported. Raises
    ``ValueError`` if ``throw`` is wanted elsewhere than on the main thread.
    """
    watch = _Watch(name, every, first_report, throw_after if throw else None)
    previous = signal.signal(SIGNAL, watch.on_signal) if throw else None
    thread = threading.Thread(target=watch.look_on, name="holdfast stall watch", daemon=True)
    watch.beat()
    thread.start()
    try:
        yield
    finally:
        watch.end.set()
        watch.beats.cancel()
        thread.join(AWAY)  # it is given up if the log holds it
        if throw:
            signal.signal(SIGNAL, previous or signal.SIG_DFL)


@define(eq=False)
class _Standstill:
    """What the thread saw since a beat; its times leave out when the thread was away."""

    beat: float
    since: float
    """When the next beat was due."""
    report_at: float
    """Seconds of standing still upon which the next report is due."""
    task: Task | None = None
    task_since: float | None = None
    """Since when every look saw this task; None before the first look."""
    waiting_since: float = 0.0
    """When a look first saw this task, or when it was last thrown out."""
    told: str = ""
    """What was reported to run; empty if nothing was."""

    def fields(self) -> dict[str, Any]:
        """Return what was reported to run, and the account whose work it is, if it is one's."""
        return {"account": self.told.account if isinstance(self.told, WorkLabel) else None, "running": str(self.told)}

    def see(self, task: Task | None, now: float) -> None:
        """Note which task runs at a look."""
        if self.task_since is None or task is not self.task:
            self.task_since = self.since if self.task_since is None else now
            self.task, self.waiting_since = task, now


@define(eq=False)
class _Watch:
    """The heartbeat, on the loop's thread, and the one who looks at it, on a thread of its own."""

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
    """Who is to be thrown out: the task, its job, and the last beat before it."""

    def beat(self) -> None:
        """Show that the loop goes on, now and from now on."""
        self._beat = time.monotonic()
        self.beats = self._loop.call_later(self.every, self.beat)

    def on_signal(self, _: int, __: FrameType | None) -> None:
        """Raise ``Stalled`` if it is still the wanted job that blocks the loop, and its own code that gets it."""
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        task, job, beat = wanted
        inside = asyncio.current_task(self._loop) is task and getattr(task.get_coro(), "cr_running", True)
        if inside and self._beat == beat and self.name(task) == job:
            raise Stalled(f"{job} blocked the event loop and was thrown out; {REMEDY}")

    def look_on(self) -> None:
        """Look until the end."""
        away = 0.0
        seen = _Standstill(self._beat, self._beat + self.every, self.first_report)
        looked, worked = time.monotonic(), time.process_time()
        while not self.end.wait(self.every):
            clock, work = time.monotonic(), time.process_time()
            gap, idle = clock - looked, work - worked < 2 * self.every  # not idle: somebody kept the GIL
            looked, worked = clock, work
            was_away = gap > self.every + AWAY and idle
            away += gap if was_away else 0.0
            now, beat = clock - away, self._beat
            if beat != seen.beat:
                if seen.told:
                    log.info("loop_resumed", **seen.fields(), took=max(0.0, beat - away - seen.since))
                seen = _Standstill(beat, (now if was_away else beat - away) + self.every, self.first_report)
            if now > seen.since:
                self._look(seen, now)

    def _look(self, seen: _Standstill, now: float) -> None:
        task = asyncio.current_task(self._loop)
        job = None if task is None else self.name(task)
        seen.see(task, now)
        if now - seen.since >= seen.report_at:
            while seen.report_at <= now - seen.since:
                seen.report_at *= 2
            seen.told = job or ("a callback" if task is None else f"the task {task.get_name()!r}")
            self._report(seen, now)
        if task is None or job is None or self.throw_after is None or now - seen.waiting_since < self.throw_after:
            return
        seen.told, seen.waiting_since = job, now
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
    inner = itertools.takewhile(lambda call: not _module(call).startswith(LOOP), calls)
    shown = [call for call in inner if not _module(call).startswith(TASKS)][:FRAMES]
    return "".join(traceback.StackSummary.extract(reversed(shown)).format()).rstrip()


def _module(call: tuple[FrameType, int]) -> str:
    return str(call[0].f_globals.get("__name__", ""))
