"""The supervisor: runs all accounts side by side, so that none can stop another, and ends them in bounded time."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from engine.console.account_status import AccountStatus
from engine.fleet.ports import Observer
from engine.fleet.runner import Runner
from engine.fleet.watchers import describe, is_bug
from engine.wakeup import Flag
from states import Event, Policy, Snapshot, State, Step
from states.events import StopRequested
from states.waits import RequestWait

RESTART_DELAY = 10.0
"""Seconds between a life that a bug in the engine ended and the next one."""

OBSERVER_QUIET = 600.0
"""Seconds for which the failure of an observer is not told again."""

STOP_MARGIN = 5.0
"""Seconds beyond the grace after which accounts that have not ended are abandoned."""

log = structlog.get_logger("holdfast.fleet")


@define(eq=False)
class _AccountLives:
    """The lives of one account, one after another, until it is removed."""

    scope: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)
    over: bool = field(default=False, init=False)
    """Whether no other begins."""
    ended: Flag = field(factory=Flag, init=False)


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
    removed: list[Callable[[str], None]] = field(factory=list, init=False)
    """Called with the name of an account that the fleet has no more."""
    life_failed: Callable[[str, int], Awaitable[None]] | None = field(default=None, init=False)
    """Called with an account and the number of its life when an error of the engine has ended that life."""
    waits_of: Callable[[Any], tuple[RequestWait, ...]] = field(default=lambda client: (), init=False)
    """Returns which requests of a client wait in place."""
    _resting: dict[str, anyio.Event] = field(factory=dict, init=False)
    _lives: dict[str, "_AccountLives"] = field(factory=dict, init=False)
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
        present = at.state is State.SHUTTING_DOWN or not runner.ended.is_set()
        return AccountStatus(at, present, self.waits_of(runner.link.client) if runner.link is not None else ())

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
                self._begin(fleet, name)
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
            self._begin(self._fleet, runner.account)

    async def remove(self, name: str, reason: str) -> bool:
        """Close an account's connection in order, within the grace, and have the account no more.

        Returns whether it closed in time; otherwise its life is cancelled. Where it was is stored, as at every end of a
        life. Raises ``KeyError`` for an account that the fleet does not have.
        """
        runner, lives = self.runners[name], self._lives.get(name)
        if lives is not None:
            lives.over = True
        with anyio.move_on_after(self.grace + STOP_MARGIN):
            if not runner.ended.is_set():
                await runner.post(StopRequested(reason=reason))
                await runner.ended.wait()
        orderly = runner.ended.is_set()
        if lives is not None:
            lives.scope.cancel()
            await lives.ended.wait()
        if self.runners.get(name) is runner:
            del self.runners[name]
        self._lives.pop(name, None)
        for tell in self.removed:
            tell(name)
        return orderly

    def abort(self, names: Iterable[str]) -> None:
        """Drop the connections of accounts at once and cancel their lives: they may be another node's. Does not wait.

        ``remove`` them then, which waits for their end. Names that the fleet does not have are passed over.
        """
        for name in names:
            runner, lives = self.runners.get(name), self._lives.get(name)
            if runner is not None:
                runner.abort()
            if lives is not None:
                lives.over = True
                lives.scope.cancel()

    async def unlinked(self, names: Iterable[str]) -> None:
        """Return when no connection of these accounts is there, which were aborted; their lives may still end."""
        for name in names:
            if (runner := self.runners.get(name)) is not None:
                await runner.unlinked()

    def use_policy(self, policy: Policy) -> None:
        """Let all accounts decide by this policy from now on, each in the life that it lives."""
        self.grace = policy.shutting_down.grace
        for runner in self.runners.values():
            runner.use_policy(policy)

    def resume(self, name: str) -> bool:
        """Let a resting account begin its next life; return False if it is not resting."""
        resumed = self._resting.get(name)
        if resumed is None or self.stopping:
            return False
        resumed.set()
        return True

    def _begin(self, fleet: TaskGroup, name: str) -> None:
        """Begin the lives of an account."""
        self._lives[name] = _AccountLives()
        fleet.start_soon(self._live_on, name, self._lives[name], name=name)

    async def _live_on(self, name: str, lives: "_AccountLives") -> None:
        """Live an account's lives until the last is over, or the account is removed."""
        try:
            with lives.scope:
                await self._keep_alive(name, lives)
        finally:
            lives.ended.set()

    async def _end(self, runner: Runner) -> None:
        await runner.post(StopRequested(reason="the engine stops"))
        await runner.ended.wait()

    async def _keep_alive(self, name: str, lives: "_AccountLives") -> None:
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
            if self.stopping or lives.over:
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
        except Exception as exc:
            if is_bug(exc):
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
