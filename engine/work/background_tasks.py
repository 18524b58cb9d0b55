"""Standing work: coroutines that run for as long as their account is healthy, each with the client of the moment.

Like a job, each runs in a task of asyncio's own with this as its owner: one that does not let itself be cancelled is
given up, and holds nothing.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import structlog
from attrs import define, field

from engine.work.labels import WorkLabel
from engine.work.ports import ClientOf, JobErrorClassifier
from states.jobs import Lost

MAX_FAILURES = 5
"""Failures in a row, after which it is not started again."""
LASTED_SECONDS = 60.0
"""What ran for so long begins to count its failures anew."""
RESTART_SECONDS = (1.0, 2.0, 5.0, 15.0)
"""How long the second, third, … start waits."""
REST_SECONDS = 1.0
"""How long one waits that has lost its connection, unless it has another client by then."""
GRACE_SECONDS = 5.0
STOP_SECONDS = 5.0

Work = Callable[[Any], Awaitable[None]]

log = structlog.get_logger("holdfast.jobs")


@define(eq=False)
class BackgroundTask:
    """One function that stands with one account."""

    account: str
    function: Work
    client: Any = field(default=None, init=False)
    """The client that it has, or had for as long as that is connected."""
    task: "asyncio.Task[None] | None" = field(default=None, init=False)
    inside: bool = field(default=False, init=False)
    """Whether the task is in the function, and not after it."""
    failure: BaseException | None = field(default=None, init=False)
    failures: int = field(default=0, init=False)
    """In a row."""
    began: float = field(default=0.0, init=False)
    again_at: float = field(default=-math.inf, init=False)
    cancelled_at: float | None = field(default=None, init=False)
    """When it was told to end; these three by the loop's clock."""
    given_up: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        """The function's name."""
        return str(getattr(self.function, "__qualname__", repr(self.function)))

    @property
    def label(self) -> WorkLabel:
        """What log lines call it."""
        return WorkLabel(f"{self.name} of {self.account}", self.account)

    async def work(self) -> None:
        """Run the function, whatever it raises."""
        try:
            self.inside = True
            await self.function(self.client)
            self.inside = False
        except asyncio.CancelledError:
            self.inside = False
            if self.cancelled_at is None:
                self.failure = RuntimeError("it was cancelled, and nobody here had asked for that")
        except BaseException as exc:
            self.inside = False
            self.failure = exc


@define(eq=False)
class BackgroundTasks:
    """Starts and ends the work that stands with accounts. ``run`` it in a task group."""

    client_of: ClientOf
    blame: JobErrorClassifier
    tasks: list[BackgroundTask] = field(factory=list)
    _wakeup: asyncio.Event = field(factory=asyncio.Event, init=False)

    def add(self, account: str, function: Work) -> None:
        """Let ``await function(client)`` stand with an account."""
        self.tasks.append(BackgroundTask(account, function))

    def account_changed(self, _: str) -> None:
        """Look again: an account has another client, or none."""
        if self.tasks:
            self._wakeup.set()

    def label_of(self, task: "asyncio.Task[None]") -> WorkLabel | None:
        """Return what log lines call the work that a task does, if it does any."""
        return next(
            (background.label for background in self.tasks if background.task is task and background.inside), None
        )

    async def run(self) -> None:
        """Work until cancelled; then end all of it, bounded."""
        try:
            while True:
                self._wakeup.clear()
                now = anyio.current_time()
                wait = min((self._look_after(background, now) for background in self.tasks), default=math.inf)
                with anyio.move_on_after(None if wait == math.inf else max(0.0, wait - now)):
                    await self._wakeup.wait()
        finally:
            await self._end_all()

    async def _end_all(self) -> None:
        tasks = [background.task for background in self.tasks if background.task is not None]
        for background in self.tasks:
            self._cancel(background, anyio.current_time())
        if tasks:
            with anyio.CancelScope(shield=True):
                _, pending = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for background in self.tasks:
                if background.task in pending:
                    self._give_up(background)

    @property
    def stuck(self) -> list[BackgroundTask]:
        """Work that does not end although it was told to."""
        return [background for background in self.tasks if background.given_up and background.task is not None]

    def _look_after(self, background: BackgroundTask, now: float) -> float:
        """Do what there is to do for one; return when to look again, by the loop's clock."""
        client = self.client_of(background.account)
        if background.task is not None:
            if client is not background.client:
                self._cancel(background, now)
            if background.cancelled_at is None or background.given_up:
                return math.inf
            if now - background.cancelled_at >= GRACE_SECONDS:
                self._give_up(background)
            return background.cancelled_at + GRACE_SECONDS
        if client is None or background.given_up:
            background.client = None
            return math.inf
        if client is background.client and background.failure is None:  # it came to its end with this client
            return math.inf
        if now < background.again_at and client is background.client:
            return background.again_at
        background.client, background.failure, background.cancelled_at, background.began = client, None, None, now
        # Bare, and owned here: a group would wait for ever for one that swallows its cancellation.
        background.task = asyncio.get_running_loop().create_task(background.work(), name=background.label)
        background.task.add_done_callback(partial(self._ended, background))
        return math.inf

    def _cancel(self, background: BackgroundTask, now: float) -> None:
        if background.task is not None and background.cancelled_at is None:
            background.cancelled_at = now
            background.task.cancel()

    def _ended(self, background: BackgroundTask, _: "asyncio.Task[None]") -> None:
        background.task = None
        self._wakeup.set()
        now = anyio.current_time()
        if now - background.began >= LASTED_SECONDS:
            background.failures = 0
        if background.failure is None or background.cancelled_at is not None:
            background.failure = None
            return
        if isinstance(
            self.blame(background.failure, background.client), Lost
        ):  # the account will hear of it in a moment
            background.again_at = now + REST_SECONDS
            return
        background.failures += 1
        background.given_up = background.failures >= MAX_FAILURES
        wait = RESTART_SECONDS[min(background.failures, len(RESTART_SECONDS)) - 1]
        background.again_at = now + wait
        log.error(
            "background_task_failed",
            account=background.account,
            function=background.name,
            failures=background.failures,
            max_failures=MAX_FAILURES,
            delay=None if background.given_up else wait,
            exc_info=background.failure,
        )

    def _give_up(self, background: BackgroundTask) -> None:
        if not background.given_up:
            background.given_up = True
            log.error("background_task_stuck", account=background.account, function=background.name)
