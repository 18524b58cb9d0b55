"""Background tasks: the user's coroutines that run for as long as their account is healthy, each with its client."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import anyio
import structlog
from attrs import define, field

from engine.work.labels import WorkLabel
from engine.work.owned_task import CANCELLED_BY_OTHERS, STOP_TIMEOUT, OwnedTask
from engine.work.ports import ClientOf, JobErrorClassifier
from states.jobs import Lost

MAX_CANCELLATIONS = 1
MAX_FAILURES = 5
"""Failures in a row after which a function is not started again."""
STABLE_SECONDS = 60.0
"""A function that ran for so long counts its failures from zero again."""
RESTART_SECONDS = (1.0, 2.0, 5.0, 15.0)
"""How long the second, third, … start waits."""
REST_SECONDS = 1.0
"""How long a function that lost its connection waits, unless its account has another client by then."""

FOLLOW_SECONDS = 0.1
"""How often one that follows another looks whether that has ended."""

Work = Callable[[Any], Awaitable[None]]

log = structlog.get_logger("holdfast.jobs")


@define(eq=False)
class BackgroundTask:
    """One function that runs while one account is healthy."""

    account: str
    function: Work
    client: Any = field(default=None, init=False)
    """The client of its present or last run; None once the account has left ``healthy``."""
    owned: OwnedTask | None = field(default=None, init=False)
    """The task in which it runs now."""
    failure: BaseException | None = field(default=None, init=False)
    failures: int = field(default=0, init=False)
    """Failures in a row."""
    began: float = field(default=0.0, init=False)
    """When it last started, by the loop's clock."""
    again_at: float = field(default=-math.inf, init=False)
    """When it may start again, by the loop's clock."""
    retired: bool = field(default=False, init=False)
    """Whether it ends for good: its account has left, or its code is another now."""
    follows: "tuple[BackgroundTask, ...]" = ()
    """Those that end before this one begins."""
    given_up: bool = field(default=False, init=False)
    """Whether it is never started again: it fails too often, or does not end."""

    @property
    def name(self) -> str:
        """The function's name."""
        return str(getattr(self.function, "__qualname__", repr(self.function)))

    @property
    def label(self) -> WorkLabel:
        """What log lines call it."""
        return WorkLabel(f"{self.name} of {self.account}", self.account)

    async def work(self, owned: OwnedTask) -> None:
        """Call the function, and keep its exception."""
        try:
            await owned.call(self.function, self.client)
        except asyncio.CancelledError:
            if not owned.cancelled:
                self.failure = RuntimeError(CANCELLED_BY_OTHERS)
        except BaseException as exc:
            self.failure = exc


@define(eq=False)
class BackgroundTasks:
    """Starts and ends the background tasks of all accounts. ``run`` it in a task group."""

    client_of: ClientOf
    classify_error: JobErrorClassifier
    tasks: list[BackgroundTask] = field(factory=list, init=False)
    _of: dict[str, list[BackgroundTask]] = field(factory=dict, init=False)
    """Those of each account."""
    _changed: dict[BackgroundTask, None] = field(factory=dict, init=False)
    """Those to be checked now."""
    _due: dict[BackgroundTask, float] = field(factory=dict, init=False)
    """When those that wait for a time are to be checked again, by the loop's clock."""
    _wakeup: asyncio.Event = field(factory=asyncio.Event, init=False)

    def add(self, account: str, function: Work) -> None:
        """Run ``await function(client)`` whenever the account is healthy."""
        background = BackgroundTask(account, function)
        self.tasks.append(background)
        self._of.setdefault(account, []).append(background)
        self._changed[background] = None

    def use(self, wanted: Mapping[str, Sequence[Work]]) -> None:
        """Run these functions from now on, by account; one that runs goes on if it is among them.

        What is not among them is cancelled, and what is new for its account begins when that has ended.
        """
        for account in dict.fromkeys((*self._of, *wanted)):
            before, functions = self._of.get(account, []), list(wanted.get(account, ()))
            kept = [each for each in before if each.function in functions]
            retired = tuple(each for each in before if each not in kept)
            for each in retired:
                each.retired = True
                self._changed[each] = None
            self._of[account] = kept
            for function in functions:
                if not any(each.function == function for each in kept):
                    background = BackgroundTask(account, function, follows=retired)
                    self.tasks.append(background)
                    self._of[account].append(background)
                    self._changed[background] = None
            if not self._of[account]:
                del self._of[account]
        self._wakeup.set()

    def account_changed(self, name: str) -> None:
        """Check an account again: it may have another client, or none."""
        if name in self._of:
            self._changed |= dict.fromkeys(self._of[name])
            self._wakeup.set()

    def label_of(self, task: "asyncio.Task[None]") -> WorkLabel | None:
        """Return what log lines call the function that is running in a task; None if there is none."""
        running = (background.owned for background in self.tasks if background.owned is not None)
        return next((owned.label for owned in running if owned.inside and owned.runs_in(task)), None)

    async def run(self) -> None:
        """Work until cancelled; then end all background tasks within ``STOP_TIMEOUT``."""
        try:
            while True:
                self._wakeup.clear()
                now = anyio.current_time()
                changed, self._changed = self._changed, {}
                changed |= dict.fromkeys(each for each, due in self._due.items() if due <= now)
                for background in changed:
                    self._due[background] = self._advance(background, now)
                    if self._due[background] == math.inf:
                        del self._due[background]
                wait = min(self._due.values(), default=math.inf)
                with anyio.move_on_after(None if wait == math.inf else max(0.0, wait - now)):
                    await self._wakeup.wait()
        finally:
            await self._end_all()

    async def _end_all(self) -> None:
        for background in self.tasks:
            if background.owned is not None:
                background.owned.cancel()
        with anyio.move_on_after(STOP_TIMEOUT, shield=True):
            while any(background.owned is not None for background in self.tasks):
                self._wakeup.clear()
                await self._wakeup.wait()
        for background in self.tasks:
            if background.owned is not None:
                self._give_up(background)

    @property
    def stuck(self) -> list[BackgroundTask]:
        """Background tasks that do not end although they were cancelled."""
        return [background for background in self.tasks if background.given_up and background.owned is not None]

    def _advance(self, background: BackgroundTask, now: float) -> float:
        """Start or end one as its account's client demands; return when to check it again, by the loop's clock."""
        client, owned = self.client_of(background.account), background.owned
        if background.retired:
            client = None
        if owned is not None:
            if client is not background.client:
                owned.cancel()
            if not background.given_up and now >= owned.grace_ends and not owned.cancel():
                self._give_up(background)
            return math.inf if background.given_up else owned.grace_ends
        if background.retired:
            if background in self.tasks:
                self.tasks.remove(background)
            return math.inf
        if client is None or background.given_up:
            background.client = None
            return math.inf
        if any(each.owned is not None and not each.given_up for each in background.follows):
            return now + FOLLOW_SECONDS
        background.follows = ()
        if client is background.client and background.failure is None:  # it returned by itself with this client
            return math.inf
        if now < background.again_at and client is background.client:
            return background.again_at
        self._start(background, client, now)
        return math.inf

    def _start(self, background: BackgroundTask, client: Any, now: float) -> None:
        background.client, background.failure, background.began = client, None, now
        owned = background.owned = OwnedTask(background.label, MAX_CANCELLATIONS)
        owned.start(background.work(owned), partial(self._ended, background, owned))

    def _ended(self, background: BackgroundTask, owned: OwnedTask, _: "asyncio.Task[None]") -> None:
        background.owned = None
        self._changed[background] = None
        self._wakeup.set()
        now = anyio.current_time()
        if now - background.began >= STABLE_SECONDS:
            background.failures = 0
        if background.failure is None or owned.cancelled:
            background.failure = None
            return
        if isinstance(self.classify_error(background.failure, background.client), Lost):
            background.again_at = now + REST_SECONDS  # the engine itself notices the loss a moment later
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
