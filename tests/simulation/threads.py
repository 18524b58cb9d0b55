"""Threads as greenlets: they run one at a time, in an order that the seed draws, in virtual time.

One real thread runs everything. What a program calls a thread is a *strand*: a greenlet that gives way to another one
where a thread would wait (a lock, a condition, a join, a sleep), and sometimes, if the seed says so, where a thread can
be interrupted (before a lock is taken, after it is released). The strand of the event loop is ``main``. Time passes
only when no strand can run: in the loop's ``select``, or here while main itself waits for a thread.

``thread_patches.install`` puts these locks and strands under ``threading``, whose classes stay as they are.
"""

import asyncio
import heapq
import itertools
import random
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, Final

from attrs import define, field, frozen
from greenlet import getcurrent, greenlet

PROCESS: Final[ContextVar[str]] = ContextVar("simulated process", default="")
"""The simulated process whose code runs in a task of the loop; a thread belongs to that of its starter."""
MAIN_IDENT: Final = 1
FOREVER: Final = 1e9
"""A timeout of so many seconds or more never ends."""
MAX_TURNS: Final = 100_000
"""Turns at one moment of virtual time after which the threads are called livelocked."""
PATIENCE: Final = 3600.0
"""Virtual seconds after which main, which waits without a timeout while others only idle, is called deadlocked."""


class Deadlock(BaseException):
    """Nobody can go on. It says who waits for what, and where. Not an ``Exception``: no program handles it."""


@frozen
class Turns:
    """How often the seed lets others run where a thread can be interrupted, and delays a thread that could run."""

    yields: float = 0.15
    """The probability that a strand gives way at a switch point."""
    late: float = 0.02
    """The probability that a woken thread, or one at a switch point, goes on only later."""
    latest: float = 0.05
    """The longest such delay, in virtual seconds."""
    statements: float = 0.02
    """The probability that a strand gives way between two statements of a module with points (``thread_points``)."""


NO_TURNS: Final = Turns(yields=0, late=0, statements=0)


@define(eq=False)
class Strand:
    """A thread of the simulation."""

    name: str
    ident: int
    process: str
    greenlet: greenlet
    waits: int = 0
    """Counts its waits, so that a timer of an earlier one is known as stale."""
    state: str = "ready"
    """ready, running, waiting, idle (main in ``select``), ended or killed."""
    reason: str = ""
    """Why its wait ended: wake, timeout, signal or deadlock."""
    waits_for: "SimulatedLock | str | None" = None
    held: "dict[SimulatedLock, str]" = field(factory=dict)
    """The locks it holds, each with the process for which it took it."""
    sentinel: "SimulatedLock | None" = None
    """Released when it ends; who joins it waits for this."""
    on_end: Callable[[], None] | None = None
    signals: list[int] = field(factory=list)

    def describe(self) -> str:
        """Say who it is, what it waits for, and where."""
        frame = sys._getframe() if self.greenlet is getcurrent() else self.greenlet.gr_frame
        frames = [call for call in traceback.extract_stack(frame) if call.filename != __file__] if frame else []
        where = "".join(traceback.format_list(frames)) if frames else "  (not begun)\n"
        process = f" of {self.process}" if self.process else ""
        what = self.waits_for.describe() if isinstance(self.waits_for, SimulatedLock) else self.waits_for
        return f"{self.name}{process} waits for {what or 'its turn'}\n{where}"


@define(eq=False)
class ThreadFailure:
    """An exception that ended a thread."""

    thread: str
    process: str
    error: BaseException

    def describe(self) -> str:
        """Return the traceback, after who it was."""
        return f"{self.thread}: " + "".join(traceback.format_exception(self.error))


class Scheduler:
    """The strands of one run, and its clock. ``seed`` None is first in, first out, without any interruption."""

    def __init__(self, seed: int | None = None, turns: Turns | None = None) -> None:
        self.seed = seed
        self.now = 0.0
        """Virtual seconds."""
        self.failures: list[ThreadFailure] = []
        self.fork_hooks: list[Callable[[], object]] = []
        """What modules registered to forget their state in a child; ``kill`` leaves it to its caller to call them."""
        self.trace: list[tuple[float, int]] | None = None
        """The ident of who ran, and when, if it is a list."""
        self.switches = 0
        self.turns = NO_TURNS if seed is None else turns or Turns()
        self.patience = PATIENCE
        self._random = None if seed is None else random.Random(f"threads {seed}")
        self._idents = itertools.count(MAIN_IDENT + 1)
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, Strand, int, str]] = []
        self._ready: list[Strand] = []
        self._moment = (0.0, 0)
        """The time of the last turn, and how many turns there were before it."""
        self._calm = 0
        """Above 0 nobody gives way: a finalizer that runs in the middle of a switch must not begin another one."""
        self.main = Strand("main", MAIN_IDENT, "", getcurrent(), state="running")
        self.current = self.main
        self.strands: list[Strand] = [self.main]
        self.graveyard: list[Strand] = []
        """Killed strands: kept, because a greenlet that is collected runs its ``finally`` blocks."""

    # --- for the loop ------------------------------------------------------------------------------------------------

    @property
    def process(self) -> str:
        """The simulated process whose code is running."""
        return PROCESS.get() if self.current is self.main else self.current.process

    def run_ready(self, *, busy: bool = False) -> None:
        """Called by the loop in ``select``: let threads run until all wait, or ``wake_main`` was called.

        With ``busy`` the loop has callbacks of its own to run: it gets its turn among the threads, by seed.
        """
        assert self.current is self.main, "only the loop's strand can run the others"
        if self._ready:
            self._calm += 1
            if busy:
                self._enqueue(self.main, "wake")
            else:
                self.main.state = "idle"
            self._switch(self.main)
            self._check_progress(self.main)
            self._run_signals(self.main)

    def pass_time(self, timeout: float | None, has_work: Callable[[], object]) -> None:
        """The ``select`` of a loop that has nothing but threads: return when it has work, or at the timeout."""
        if timeout is not None and timeout <= 0:
            self.run_ready(busy=True)
            return
        deadline = None if timeout is None else self.now + timeout
        give_up = self.now + self.patience
        while True:
            self.run_ready()
            if has_work():
                return
            at = self.next_timer()
            if deadline is not None and (at is None or at >= deadline):
                self.advance(deadline)
                return
            if at is None or (deadline is None and at > give_up):
                raise Deadlock("the loop has nothing to do, and no thread gives it any:\n" + self.describe())
            self.advance(at)

    def wake_main(self) -> None:
        """Let the loop go on: it has something to do. For ``_write_to_self``."""
        if self.main.state == "idle":
            self._enqueue(self.main, "wake")

    def next_timer(self) -> float | None:
        """Return when the next strand's wait ends; None if none ends by itself."""
        while self._timers:
            at, _, strand, wait, _ = self._timers[0]
            if strand.waits == wait and strand.state == "waiting":
                return at
            heapq.heappop(self._timers)
        return None

    def advance(self, to: float) -> None:
        """Let time pass, and make those ready whose waits are over."""
        self.now = max(self.now, to)
        while (at := self.next_timer()) is not None and at <= self.now:
            _, _, strand, _, reason = heapq.heappop(self._timers)
            self._enqueue(strand, reason)

    def kill(self, process: str) -> list[Strand]:
        """End a simulated process: its threads never go on, and the locks that its code holds are free again.

        Called by main. Nothing of the threads runs any more, no ``finally`` either. Module-level state of the program
        stays as it is: see ``fork_hooks``.
        """
        assert self.current is self.main, "processes are killed from outside"
        dead = [strand for strand in self.strands if strand.process == process and strand is not self.main]
        free = [lock for strand in self.strands for lock, holder in strand.held.items() if holder == process]
        for strand in dead:
            strand.state = "killed"
            if isinstance(strand.waits_for, SimulatedLock):
                free.append(strand.waits_for)  # it may have been woken for it, and will not take it
            self.strands.remove(strand)
            threading._active.pop(strand.ident, None)  # type: ignore[attr-defined]
        self.graveyard += dead
        self._ready = [strand for strand in self._ready if strand.state != "killed"]
        for lock in free:
            lock.abandon(process)
        for strand in dead:
            self._finish(strand)
        return dead

    def describe(self) -> str:
        """Return all strands that are not at an end: who they are, what they wait for, and where."""
        return "\n".join(strand.describe() for strand in self.strands)

    # --- for threads -------------------------------------------------------------------------------------------------

    def start(
        self, run: Callable[..., object], arguments: tuple[Any, ...] = (), keywords: dict[str, Any] | None = None
    ) -> Strand:
        """Start a strand; it is ready, and runs when its turn comes."""
        ident = next(self._idents)
        strand = Strand(f"thread {ident}", ident, self.process, greenlet(lambda *_: body(), self.main.greenlet))

        def body() -> None:
            PROCESS.set(strand.process)
            try:
                run(*arguments, **(keywords or {}))
            except SystemExit:
                pass
            except BaseException as exc:  # like an exception that a bare thread does not catch
                self.failures.append(ThreadFailure(strand.name, strand.process, exc))
            self._end(strand)

        strand.greenlet.gr_context = Context()
        self.strands.append(strand)
        self._ready.append(strand)
        return strand

    def sleep(self, seconds: float) -> None:
        """``time.sleep``."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        if seconds == 0:
            self.give_way()
            return
        deadline = self.now + seconds
        while self.now < deadline:
            self.wait(f"{seconds:g} s to pass", deadline)

    def switch_point(self) -> None:
        """A place where a thread can be interrupted: by seed, others run before it returns, or time passes."""
        if self._random is None or self._calm:
            return
        drawn = self._random.random()
        if drawn < self.turns.yields:
            self.give_way()
        elif drawn < self.turns.yields + self.turns.late and self.current is not self.main:
            self.wait("its turn", self.now + self._random.random() * self.turns.latest)

    def statement_point(self) -> None:
        """A place between two statements: as a switch point, but many."""
        if self._random is not None and self._ready and self._random.random() < self.turns.statements:
            self.give_way()

    def give_way(self) -> None:
        """Let others run that are ready."""
        if self._ready and not self._calm:
            self._calm += 1
            strand = self.current
            self._enqueue(strand, "wake")
            self._switch(strand)
            self._run_signals(strand)

    def wait(self, what: "SimulatedLock | str", deadline: float | None) -> bool:
        """Let others run until ``wake`` or the deadline; return False at the deadline."""
        assert not self._calm, "a finalizer waits in the middle of a switch"
        strand = self.current
        strand.waits_for = what
        try:
            while True:
                self._calm += 1
                strand.state, strand.waits = "waiting", strand.waits + 1
                if deadline is not None:
                    self._set_timer(strand, deadline, "timeout")
                self._switch(strand)
                self._check_progress(strand)
                self._run_signals(strand)
                if strand.reason != "signal":
                    return strand.reason == "wake"
        finally:
            strand.waits_for = None

    def wake(self, strand: Strand) -> None:
        """End a strand's wait; it runs when its turn comes, which by seed is later."""
        if strand.state != "waiting":
            return
        if self._random is not None and strand is not self.main and self._random.random() < self.turns.late:
            strand.waits += 1
            self._set_timer(strand, self.now + self._random.random() * self.turns.latest, "wake")
        else:
            self._enqueue(strand, "wake")

    def choose(self, among: int) -> int:
        """Draw one of so many; the first without a seed."""
        return 0 if self._random is None or among == 1 else self._random.randrange(among)

    def send_signal(self, ident: int, number: int) -> None:
        """``signal.pthread_kill``: the handler runs in main, as soon as main has its turn."""
        if ident != MAIN_IDENT:
            raise ProcessLookupError(f"no thread with ident {ident} takes signals")
        self.main.signals.append(number)
        if self.main.state in ("waiting", "idle"):
            self._enqueue(self.main, "signal")

    # --- inside ------------------------------------------------------------------------------------------------------

    def _check_progress(self, strand: Strand) -> None:
        """Raise in main what was found when nobody could go on, or somebody went on without end."""
        reason, strand.reason = strand.reason, "" if strand.reason in ("deadlock", "livelock") else strand.reason
        if reason == "deadlock":
            raise Deadlock("no thread can go on:\n" + self.describe())
        if reason == "livelock":
            raise Deadlock(f"{MAX_TURNS} turns, and no time has passed:\n" + self.describe())

    def _run_signals(self, strand: Strand) -> None:
        while strand.signals:
            handler = signal.getsignal(number := strand.signals.pop(0))
            if callable(handler):
                handler(number, sys._getframe())

    def _set_timer(self, strand: Strand, at: float, reason: str) -> None:
        if at < FOREVER:
            heapq.heappush(self._timers, (at, next(self._numbers), strand, strand.waits, reason))

    def _enqueue(self, strand: Strand, reason: str) -> None:
        strand.state, strand.reason, strand.waits = "ready", reason, strand.waits + 1
        self._ready.append(strand)

    def _pick(self) -> Strand:
        give_up = self.now + self.patience
        if self._moment[0] != self.now:
            self._moment = (self.now, self.switches)
        elif self.switches - self._moment[1] > MAX_TURNS and self.main.state in ("waiting", "idle"):
            self._moment = (self.now, self.switches)
            self.main.reason = "livelock"
            return self.main
        while not self._ready:
            if self.main.state == "idle":
                return self.main
            at = self.next_timer()
            if at is None or (at > give_up and not self._main_has_timer()):
                self.main.reason = "deadlock"
                return self.main
            self.advance(at)
        return self._ready.pop(self.choose(len(self._ready)))

    def _main_has_timer(self) -> bool:
        return any(strand is self.main and strand.waits == wait for _, _, strand, wait, _ in self._timers)

    def _switch(self, strand: Strand) -> None:
        """Run others until it is this strand's turn again. The caller has raised ``_calm``, which ends here."""
        loop = asyncio._get_running_loop()
        asyncio._set_running_loop(None)  # asyncio looks it up by the real thread, of which there is one
        try:
            try:
                picked = self._pick()
                self._note(picked)
            finally:
                self._calm -= 1
            if picked is not strand:
                picked.greenlet.switch()
        finally:
            asyncio._set_running_loop(loop)

    def _note(self, picked: Strand) -> None:
        self.current, picked.state = picked, "running"
        self.switches += 1
        if self.trace is not None:
            self.trace.append((self.now, picked.ident))

    def _end(self, strand: Strand) -> None:
        """Let the next strand run when this one's greenlet returns."""
        self._calm += 1
        strand.state = "ended"
        self.strands.remove(strand)
        self._finish(strand)
        asyncio._set_running_loop(None)
        picked = self._pick()
        self._note(picked)
        strand.greenlet.parent = picked.greenlet
        self._calm -= 1

    def _finish(self, strand: Strand) -> None:
        if strand.on_end is not None:
            strand.on_end()
        if strand.sentinel is not None and strand.sentinel.locked():
            strand.sentinel.free()


class SimulatedLock:
    """``threading.Lock``. Who is woken may find it taken again, as with real ones."""

    __slots__ = ("__weakref__", "holder", "waiters")
    holder: Strand | None
    waiters: deque[Strand]

    def __init__(self) -> None:
        self.holder = None
        self.waiters = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As ``threading.Lock.acquire``."""
        if not blocking and timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        if timeout < 0 and timeout != -1:
            raise ValueError("timeout value must be a non-negative number")
        scheduler = scheduler_now()
        scheduler.switch_point()
        if self.holder is not None and not (blocking and self._wait(scheduler, timeout)):
            return False
        self.take()
        return True

    def take(self) -> None:
        """Hold it, which is free."""
        scheduler = scheduler_now()
        self.holder = scheduler.current
        self.holder.held[self] = scheduler.process

    def _wait(self, scheduler: Scheduler, timeout: float) -> bool:
        """Wait until it is free; return False if it is not within the timeout."""
        strand, deadline = scheduler.current, None if timeout < 0 else scheduler.now + timeout
        while self.holder is not None:
            if deadline is not None and scheduler.now >= deadline:
                return False
            self.waiters.append(strand)
            try:
                scheduler.wait(self, deadline)
            finally:
                if strand in self.waiters:
                    self.waiters.remove(strand)
        return True

    def release(self) -> None:
        """As ``threading.Lock.release``."""
        if self.holder is None:
            raise RuntimeError("release unlocked lock")
        self.free()
        scheduler_now().switch_point()

    def free(self) -> None:
        """Make it free, and wake one who waits for it."""
        if self.holder is not None:
            self.holder.held.pop(self, None)
            self.holder = None
        if self.waiters:
            scheduler = scheduler_now()
            place = scheduler.choose(len(self.waiters))
            strand = self.waiters[place]
            del self.waiters[place]
            scheduler.wake(strand)

    def abandon(self, process: str) -> None:
        """Free it if a dead process holds it, and wake another one if a dead thread had been woken for it."""
        self.waiters = deque(strand for strand in self.waiters if strand.state != "killed")
        if self.holder is None or self.holder.held.get(self) == process:
            self.free()

    def locked(self) -> bool:
        """As ``threading.Lock.locked``."""
        return self.holder is not None

    def describe(self) -> str:
        """Say who holds it."""
        return f"a lock of {self.holder.name}" if self.holder is not None else "a lock that is free"

    acquire_lock, release_lock, locked_lock = acquire, release, locked

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        self.holder = None
        self.waiters.clear()


_scheduler: Scheduler | None = None


def scheduler_now() -> Scheduler:
    """Return the scheduler of the run."""
    assert _scheduler is not None, "no scheduler is in use"
    return _scheduler


def use(scheduler: Scheduler) -> Scheduler:
    """Make a scheduler that of the run: the caller is its main strand."""
    global _scheduler  # noqa: PLW0603 - locks are made by programs that know of no scheduler
    _scheduler = scheduler
    return scheduler
