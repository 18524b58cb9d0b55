"""Carries out commands on a running fleet: a command becomes an event, and the account's own decision is the answer."""

import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import anyio
import structlog
from attrs import define, field

from engine.console.format import moment
from engine.control.protocol import CommandOutcome, RefusalReason, Unwritten, refuse
from engine.fleet.supervisor import STOP_MARGIN, Supervisor
from states import Snapshot, State, Step
from states.events import RetryRequested, StopRequested
from states.snapshot import ADVICE, Action
from states.waits import RequestWait

DECISION_TIMEOUT: Final = 10.0
"""Seconds that an account has to decide; it takes milliseconds, unless the journal is far behind."""
LOOK_TIMEOUT: Final = 3.0
"""Seconds that a look at the database's file may take; a copy of a lost file may take longer."""
TROUBLED_LOOK_TIMEOUT: Final = 0.5
"""Seconds that it may take while the database cannot be written: the command is told that instead."""
FLUSH_TIMEOUT: Final = 10.0
"""Seconds that a pause has to reach the disk."""

log = structlog.get_logger("holdfast.control")


class Reload(Protocol):
    """Has the engine read its config again."""

    async def __call__(self, config: str, *, dry_run: bool) -> dict[str, Any]:
        """Apply it, or only say what that would do; return the answer."""


@define(eq=False)
class _DecisionWaiter:
    """Waits for one account's decision on one event."""

    step: Step | None = None
    _decided: anyio.Event = field(factory=anyio.Event)

    def set(self, step: Step) -> None:
        self.step = step
        self._decided.set()

    async def wait(self) -> Step | None:
        """Return the decision, or None if it does not come in time."""
        with anyio.move_on_after(DECISION_TIMEOUT):
            await self._decided.wait()
        return self.step


@define(eq=False)
class ControlHandlers:
    """Carries out the commands on a running fleet. Commands for the same account run one after another."""

    fleet: Supervisor
    jobs_changed: Callable[[], None] = lambda: None
    """Called when another process has changed the jobs in the file."""
    database_seen: Callable[[], Awaitable[None]] | None = None
    """Returns when the engine has compared its database with the file that others find under its name."""
    reload_config: Reload | None = None
    """Reads the config again and applies it; returns the answer."""
    storage_trouble: Callable[[], Unwritten | None] = lambda: None
    """Returns what could not be stored yet; None if nothing keeps the database from being written."""
    since: float = field(factory=time.time)
    """When this engine started (Unix seconds)."""
    _waiters: dict[tuple[str, str], _DecisionWaiter] = field(factory=dict, init=False)
    """By account and name of the event."""
    _held: set[str] = field(factory=set, init=False)
    """Accounts that are paused for as long as a command's connection stands."""
    _locks: defaultdict[str, anyio.Lock] = field(factory=lambda: defaultdict(anyio.Lock), init=False)

    def __attrs_post_init__(self) -> None:
        self.fleet.listeners.append(self._pass_on)

    @property
    def timeout(self) -> float:
        """Seconds that any command may take."""
        return self.fleet.grace + STOP_MARGIN + FLUSH_TIMEOUT + DECISION_TIMEOUT

    @property
    def names(self) -> Sequence[str]:
        """The names of all accounts."""
        return list(self.fleet.runners)

    def info(self) -> dict[str, Any]:
        """Describe this engine: process, start, number of accounts."""
        return {"pid": os.getpid(), "since": self.since, "accounts": len(self.fleet.runners)}

    def memory(self) -> dict[str, Any]:
        """Return what each account has in memory, by its name."""
        return {name: dict(runner.connector.memory_use()) for name, runner in self.fleet.runners.items()}

    @property
    def unwritten(self) -> Unwritten | None:
        """What is not in the database yet because it cannot be written; None if it can."""
        return self.storage_trouble()

    def waits(self) -> dict[str, tuple[RequestWait, ...]]:
        """Return the requests that wait in place until a hold is over, by account."""
        return {name: found for name, at in self.fleet.statuses.items() if (found := at.waits)}

    async def look(self) -> None:
        """Return when the engine has seen whether its database is still the file that others find."""
        if self.database_seen is not None:
            with anyio.move_on_after(LOOK_TIMEOUT if self.unwritten is None else TROUBLED_LOOK_TIMEOUT):
                await self.database_seen()

    async def reload(self, config: str, *, dry_run: bool) -> dict[str, Any]:
        """Apply the config as it is now, or only say what that would do; return the answer."""
        if self.reload_config is None:
            return refuse(RefusalReason.REFUSED, "this engine cannot read its config again; stop it and start it anew")
        return await self.reload_config(config, dry_run=dry_run)

    async def pause(self, account: str) -> CommandOutcome:
        """End the account's life, and begin another only when the account is resumed; durable when this returns."""
        async with self._locks[account]:
            self._held.discard(account)
            return await self._pause(account)

    async def hold(self, account: str) -> CommandOutcome:
        """Pause an account as ``pause`` does, until it is released, resumed, or paused by a person."""
        async with self._locks[account]:
            if account in self._held:
                return CommandOutcome(account, False, f"another login of {account} is under way; end that first")
            runner = self.fleet.runners.get(account)
            was_paused = runner is not None and runner.snapshot.paused
            outcome = await self._pause(account)
            if outcome.done and not was_paused:
                self._held.add(account)
            return outcome

    async def release(self, account: str) -> None:
        """Resume an account if it is paused by a hold alone: who held it has ended without resuming it."""
        if account in self._held:
            log.warning("hold_ended", account=account)
            await self.resume(account)

    async def _pause(self, account: str) -> CommandOutcome:
        if (refusal := self._refusal(account)) is not None:
            return refusal
        runner = self.fleet.runners[account]
        was_paused = runner.snapshot.paused
        if not was_paused:
            await runner.post(StopRequested(reason="a person pauses it", paused=True))
            with anyio.move_on_after(self.fleet.grace + STOP_MARGIN):
                await runner.ended.wait()
            if not (runner.ended.is_set() and runner.snapshot.paused):
                return CommandOutcome(
                    account, False, f"{account} is being paused, but its connection is not closed yet"
                )
        sentence = f"{account} is paused{' already' if was_paused else ''}"
        saved = False
        with anyio.move_on_after(FLUSH_TIMEOUT):
            await runner.journal.flush()
            saved = True
        unsaved = "" if saved else ", but that is not on disk yet: a crash now would forget it"
        return CommandOutcome(account, saved, sentence + unsaved)

    async def resume(self, account: str) -> CommandOutcome:
        """Begin the next life of a paused account."""
        async with self._locks[account]:
            self._held.discard(account)
            if (refusal := self._refusal(account)) is not None:
                return refusal
            if not self.fleet.runners[account].snapshot.paused:
                return CommandOutcome(account, True, f"{account} is not paused")
            with self._await_decision(account, "Started") as waiter:
                if not self.fleet.resume(account):
                    return CommandOutcome(account, False, f"{account} is still being paused; ask again in a moment")
                step = await waiter.wait()
            return _describe_resume(account, step)

    async def retry(self, account: str) -> CommandOutcome:
        """Request an attempt now; a command cannot shorten a flood wait."""
        async with self._locks[account]:
            if (refusal := self._refusal(account)) is not None:
                return refusal
            runner = self.fleet.runners[account]
            if runner.snapshot.paused:
                return CommandOutcome(account, False, f"{account} is paused; resume it to go on")
            before = runner.snapshot
            with self._await_decision(account, "RetryRequested") as waiter:
                await runner.post(RetryRequested())
                step = await waiter.wait()
            return _describe_retry(account, before, step)

    def _refusal(self, account: str) -> CommandOutcome | None:
        """Return why the account can carry out no command now; None if it can."""
        runner = self.fleet.runners.get(account)
        if runner is None:
            return CommandOutcome(account, False, f"{account} is in the config no more, and was removed meanwhile")
        if self.fleet.stopping:
            return CommandOutcome(account, False, f"{account} is being stopped, with the whole engine")
        if runner.ended.is_set() and not runner.snapshot.paused:
            why = "an error in the engine itself ended its life, and the next one begins in a few seconds"
            return CommandOutcome(account, False, f"{account}: {why}; ask again then")
        return None

    @contextmanager
    def _await_decision(self, account: str, event: str) -> Iterator[_DecisionWaiter]:
        waiter = self._waiters[account, event] = _DecisionWaiter()
        try:
            yield waiter
        finally:
            del self._waiters[account, event]

    def _pass_on(self, account: str, step: Step) -> None:
        """Pass a decision to the command that waits for it, if one does."""
        if self._waiters and (waiter := self._waiters.get((account, step.record.event))) is not None:
            waiter.set(step)


def _describe_resume(account: str, step: Step | None) -> CommandOutcome:
    if step is None:
        return CommandOutcome(account, False, f"{account} was resumed, but does not begin; see the log")
    at = step.snapshot
    match at.state:
        case State.BACKOFF if at.deadline is not None:
            return CommandOutcome(account, True, f"{account} goes on, waiting until {moment(at.deadline, at.since)}")
        case State.BACKOFF | State.AUTH_FAILED:
            return CommandOutcome(account, True, f"{account} goes on, {_describe_stuck(at)}")
        case _:
            return CommandOutcome(account, True, f"{account} is connecting")


def _describe_stuck(at: Snapshot) -> str:
    what = "stopped" if at.state is State.AUTH_FAILED else "parked"
    return f"{what} as it was; what to do: {ADVICE[at.action or Action.RETRY]}"


def _describe_retry(account: str, before: Snapshot, step: Step | None) -> CommandOutcome:
    if step is None:
        return CommandOutcome(account, False, f"{account} does not decide; see the log, then ask again")
    source, target, at = step.record.source, step.record.target, step.snapshot
    if target is State.SHUTTING_DOWN:
        return CommandOutcome(account, False, f"{account} is being stopped")
    if target is State.BACKOFF:
        until = moment(at.deadline, step.record.at) if at.deadline is not None else "the operator acts"
        return CommandOutcome(account, False, f"{account}: the flood wait that Telegram asked for stands until {until}")
    if target is State.HEALTHY:
        return CommandOutcome(account, True, f"{account} is healthy; it is asked for a sign of life now")
    if before.action is Action.MEND_CONFIG:
        advice = "if you have changed it, have it read: reload"
        return CommandOutcome(account, True, f"{account} is tried again with the config as it was; {advice}")
    if source is target:
        return CommandOutcome(account, True, f"{account} is connecting already")
    return CommandOutcome(account, True, f"{account} is tried again now")
