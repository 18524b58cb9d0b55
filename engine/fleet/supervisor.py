"""The supervisor: runs all accounts side by side, so that none can stop another, and ends them in bounded time."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import anyio
import structlog
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from engine.console.account_status import AccountStatus
from engine.fleet.ports import Observer
from engine.fleet.runner import Runner
from engine.fleet.watchers import describe, is_bug
from states import Event, Snapshot, State, Step
from states.events import StopRequested

RESTART_DELAY = 10.0
"""Seconds between a life that a bug in the engine ended and the next one."""

OBSERVER_QUIET = 600.0
"""Seconds for which the failure of an observer is not told again."""

STOP_MARGIN = 5.0
"""Seconds beyond the grace after which accounts that have not ended are abandoned."""

log = structlog.get_logger("holdfast.fleet")


@define(eq=False, repr=False)
class Supervisor:
    """Runs the runners of all accounts until ``stop`` is set, then stops them all at once.

    A paused account rests: it has no life until ``resume``. ``listeners`` are called with every decision of every
    account; add them before ``run``.
    """

    runners: dict[str, Runner]
    stop: anyio.Event
    grace: float
    listeners: list[Observer] = field(factory=list, init=False)
    on_change: list[Callable[[str], None]] = field(factory=list, init=False)
    """Called with the name of an account whose status may be another than before."""
    at_stop: Mapping[str, AccountStatus] = field(factory=dict, init=False)
    """Where each account was when the stop began."""
    stopping: bool = field(default=False, init=False)
    life_failed: Callable[[str, int], Awaitable[None]] | None = field(default=None, init=False)
    """Called with an account and the number of its life when an error of the engine has ended that life."""
    _resting: dict[str, anyio.Event] = field(factory=dict, init=False)
    _fleet: TaskGroup | None = field(default=None, init=False)
    _told: dict[Observer, float] = field(factory=dict, init=False)
    """When the failure of an observer was last told, by the loop's clock."""

    @property
    def snapshots(self) -> Mapping[str, Snapshot]:
        """Where each account is now, or where it was left if its first life has not begun."""
        return {
            name: runner.snapshot if runner.snapshot.life else runner.restored or runner.snapshot
            for name, runner in self.runners.items()
        }

    @property
    def statuses(self) -> Mapping[str, AccountStatus]:
        """Where each account is; that is not known before its first life, and after one that an error ended."""
        return {name: self.status(name) for name in self.runners}

    def status(self, name: str) -> AccountStatus:
        """Return where an account is; raises ``KeyError`` for one that the fleet does not have."""
        runner = self.runners[name]
        at = runner.snapshot
        if not at.life:
            return AccountStatus(runner.restored, present=False)
        return AccountStatus(at, present=at.state is State.SHUTTING_DOWN or not runner.ended.is_set())

    def notify(self, accounts: Iterable[str], event: Event) -> None:
        """Send accounts an event without waiting. A full mailbox does not get it: such events are only hints."""
        for name in accounts:
            runner = self.runners.get(name)
            if runner is not None and not runner.offer(event):
                log.debug("hint_dropped", account=name, trigger=type(event).__name__)

    def notify_all(self, event: Event) -> None:
        """Send every account an event, without waiting. An account whose mailbox is full gets it later."""
        for runner in self.runners.values():
            if not runner.offer(event) and self._fleet is not None:
                self._fleet.start_soon(runner.post, event)

    async def run(self) -> bool:
        """Run the fleet until the stop; return whether every account closed its connection within the grace.

        What is only still writing a session then has its own deadline.
        """
        orderly = False
        async with anyio.create_task_group() as fleet:
            self._fleet = fleet
            for name in self.runners:
                fleet.start_soon(self._keep_alive, name, name=name)
            await self.stop.wait()
            self.stopping, self.at_stop = True, self.statuses
            with anyio.move_on_after(self.grace + STOP_MARGIN):
                async with anyio.create_task_group() as closing:
                    for runner in self.runners.values():
                        closing.start_soon(self._end, runner)
                orderly = True
            orderly = orderly or all(runner.ended.is_set() or runner.over for runner in self.runners.values())
            fleet.cancel_scope.cancel()
        return orderly

    def add(self, runner: Runner) -> None:
        """Add an account. It begins to live with the others, or at once if they live already."""
        self.runners[runner.account] = runner
        self._changed(runner.account)
        if self._fleet is not None and not self.stopping:
            self._fleet.start_soon(self._keep_alive, runner.account, name=runner.account)

    def resume(self, name: str) -> bool:
        """Let a resting account begin its next life; return False if it is not resting."""
        resumed = self._resting.get(name)
        if resumed is None or self.stopping:
            return False
        resumed.set()
        return True

    async def _end(self, runner: Runner) -> None:
        await runner.post(StopRequested(reason="the engine stops"))
        await runner.ended.wait()

    async def _keep_alive(self, name: str) -> None:
        """Keep an account alive: a life that a bug in the engine ended is followed by another."""
        runner = self.runners[name]
        runner.observer = partial(self._observe, runner.observer)
        if runner.restored is not None and runner.restored.paused:
            runner.rest()
            self._changed(name)
        elif await self._live(runner):
            return
        while True:
            await (self._rest(name) if self.runners[name].snapshot.paused else self._recover())
            if self.stopping:
                return
            before = self.runners[name]
            runner = self.runners[name] = evolve(before, restored=before.snapshot)
            self._changed(name)
            if await self._live(runner):
                return

    async def _live(self, runner: Runner) -> bool:
        """Live one life; return whether it was the last."""
        try:
            await runner.live()
        except Exception as exc:
            if is_bug(exc):
                log.exception("life_failed", account=runner.account)
            else:
                log.error("life_refused", account=runner.account, detail=describe(exc), delay=RESTART_DELAY)
            await self._abandon(runner)
            return False
        finally:
            runner.ended.set()
            self._changed(runner.account)
        return not runner.snapshot.paused

    async def _abandon(self, runner: Runner) -> None:
        """Have it stored that a life is over, which its last snapshot does not say."""
        if self.life_failed is None or runner.snapshot.state is State.SHUTTING_DOWN:
            return
        try:
            await self.life_failed(runner.account, runner.snapshot.life)
        except Exception:
            log.exception("observer_failed", account=runner.account, trigger="life_failed")

    async def _rest(self, name: str) -> None:
        resumed = self._resting[name] = anyio.Event()
        try:
            await resumed.wait()
        finally:
            del self._resting[name]

    async def _recover(self) -> None:
        with anyio.move_on_after(RESTART_DELAY):
            await self.stop.wait()

    def _observe(self, shown: Observer, account: str, step: Step) -> None:
        """Tell all observers of a decision. None of them may end the life of the account that it hears of."""
        for observer in (shown, *self.listeners):
            try:
                observer(account, step)
            except Exception:
                now = anyio.current_time()
                if now >= self._told.get(observer, -OBSERVER_QUIET) + OBSERVER_QUIET:
                    self._told[observer] = now
                    log.exception("observer_failed", account=account, trigger=step.record.event)
        if not step.record.quiet:
            self._changed(account)

    def _changed(self, account: str) -> None:
        """Tell that an account's status may be another."""
        for tell in self.on_change:
            try:
                tell(account)
            except Exception:
                log.exception("observer_failed", account=account, trigger="status")
