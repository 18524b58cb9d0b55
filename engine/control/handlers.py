"""What becomes of a person's wish: it is put to the account, and the account's own decision is the answer."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import anyio
from attrs import define, field

from engine.console.format import of_day
from engine.control.protocol import CommandOutcome
from engine.fleet.runner import Runner
from engine.fleet.supervisor import STOP_MARGIN, Supervisor
from states import Snapshot, State, Step
from states.events import RetryRequested, StopRequested
from states.snapshot import ADVICE, Action

DECISION_TIMEOUT: Final = 10.0
"""Seconds that an account gets to decide; it takes milliseconds, unless the journal is far behind."""
FLUSH_TIMEOUT: Final = 10.0
"""Seconds that a pause gets to reach the disk."""


@define(eq=False)
class _DecisionWaiter:
    """Waits for a decision."""

    step: Step | None = None
    _heard: anyio.Event = field(factory=anyio.Event)

    def hear(self, step: Step) -> None:
        self.step = step
        self._heard.set()

    async def decision(self) -> Step | None:
        """Return the decision, or None if there is none in time."""
        with anyio.move_on_after(DECISION_TIMEOUT):
            await self._heard.wait()
        return self.step


@define(eq=False)
class ControlHandlers:
    """Does what the commands ask of a running fleet. Wishes for one account are met one after another."""

    fleet: Supervisor
    jobs_changed: Callable[[], None] = lambda: None
    """Told that jobs in the file were changed."""
    since: float = field(factory=time.time)
    """When this engine began (Unix seconds)."""
    _ears: dict[tuple[str, str], _DecisionWaiter] = field(factory=dict, init=False)
    _one_wish: defaultdict[str, anyio.Lock] = field(factory=lambda: defaultdict(anyio.Lock), init=False)

    def __attrs_post_init__(self) -> None:
        self.fleet.listeners.append(self._listen)

    @property
    def timeout(self) -> float:
        """Seconds that any wish may take."""
        return self.fleet.grace + STOP_MARGIN + FLUSH_TIMEOUT + DECISION_TIMEOUT

    @property
    def names(self) -> Sequence[str]:
        """The accounts there are."""
        return list(self.fleet.runners)

    def info(self) -> dict[str, Any]:
        """Say which engine this is."""
        return {"pid": os.getpid(), "since": self.since, "accounts": len(self.fleet.runners)}

    async def pause(self, account: str) -> CommandOutcome:
        """End the account's life, and begin no other until a person says so; durable when this returns."""
        async with self._one_wish[account]:
            runner = self.fleet.runners[account]
            if (refusal := self._refusal(account)) is not None:
                return refusal
            was_paused = runner.snapshot.paused
            if not was_paused:
                await runner.post(StopRequested(reason="a person pauses it", paused=True))
                with anyio.move_on_after(self.fleet.grace + STOP_MARGIN):
                    await runner.ended.wait()
                if not (runner.ended.is_set() and runner.snapshot.paused):
                    return CommandOutcome(
                        account, False, f"{account} is being paused, but its connection is not closed yet"
                    )
            said = f"{account} is paused{' already' if was_paused else ''}"
            saved = False
            with anyio.move_on_after(FLUSH_TIMEOUT):
                await runner.journal.flush()
                saved = True
            unsaved = "" if saved else ", but that is not on disk yet: a crash now would forget it"
            return CommandOutcome(account, saved, said + unsaved)

    async def resume(self, account: str) -> CommandOutcome:
        """Begin the next life of an account that is paused."""
        async with self._one_wish[account]:
            if (refusal := self._refusal(account)) is not None:
                return refusal
            if not self.fleet.runners[account].snapshot.paused:
                return CommandOutcome(account, True, f"{account} is not paused")
            with self._ear(account, "Started") as ear:
                if not self.fleet.resume(account):
                    return CommandOutcome(account, False, f"{account} is still being paused; ask again in a moment")
                step = await ear.decision()
            return _resumed(account, step)

    async def retry(self, account: str) -> CommandOutcome:
        """Ask for an attempt now; a flood wait is a floor, also for a person."""
        async with self._one_wish[account]:
            runner = self.fleet.runners[account]
            if (refusal := self._refusal(account)) is not None:
                return refusal
            if runner.snapshot.paused:
                return CommandOutcome(account, False, f"{account} is paused; resume it to go on")
            before = runner.snapshot
            with self._ear(account, "RetryRequested") as ear:
                await runner.post(RetryRequested())
                step = await ear.decision()
            return _retried(account, before, step)

    def _refusal(self, account: str) -> CommandOutcome | None:
        """Return why nothing can be asked of this account now."""
        runner = self.fleet.runners[account]
        if self.fleet.stopping:
            return CommandOutcome(account, False, f"{account} is being stopped, with the whole engine")
        if _between_lives(runner):
            why = "an error in the engine itself ended its life, and the next one begins in a few seconds"
            return CommandOutcome(account, False, f"{account}: {why}; ask again then")
        return None

    @contextmanager
    def _ear(self, account: str, event: str) -> Iterator[_DecisionWaiter]:
        ear = self._ears[account, event] = _DecisionWaiter()
        try:
            yield ear
        finally:
            del self._ears[account, event]

    def _listen(self, account: str, step: Step) -> None:
        if self._ears and (ear := self._ears.get((account, step.record.event))) is not None:
            ear.hear(step)


def _between_lives(runner: Runner) -> bool:
    return runner.ended.is_set() and not runner.snapshot.paused


def _resumed(account: str, step: Step | None) -> CommandOutcome:
    if step is None:
        return CommandOutcome(account, False, f"{account} was resumed, but does not begin; see the log")
    at = step.snapshot
    match at.state:
        case State.BACKOFF if at.deadline is not None:
            return CommandOutcome(account, True, f"{account} goes on, waiting until {of_day(at.deadline)}")
        case State.BACKOFF | State.AUTH_FAILED:
            return CommandOutcome(account, True, f"{account} goes on, {_stuck(at)}")
        case _:
            return CommandOutcome(account, True, f"{account} is connecting")


def _stuck(at: Snapshot) -> str:
    what = "stopped" if at.state is State.AUTH_FAILED else "parked"
    return f"{what} as it was; what to do: {ADVICE[at.action or Action.RETRY]}"


def _retried(account: str, before: Snapshot, step: Step | None) -> CommandOutcome:
    if step is None:
        return CommandOutcome(account, False, f"{account} does not decide; see the log, then ask again")
    source, target, at = step.record.source, step.record.target, step.snapshot
    if target is State.SHUTTING_DOWN:
        return CommandOutcome(account, False, f"{account} is being stopped")
    if target is State.BACKOFF:
        until = of_day(at.deadline) if at.deadline is not None else "a person helps"
        return CommandOutcome(account, False, f"{account}: the flood wait that Telegram asked for stands until {until}")
    if target is State.HEALTHY:
        return CommandOutcome(account, True, f"{account} is healthy; it is asked for a sign of life now")
    if before.action is Action.MEND_CONFIG:
        mended = "the config is read at the start only, so if you have mended it, restart the engine"
        return CommandOutcome(account, True, f"{account} is tried again with the config as it was; {mended}")
    if source is target:
        return CommandOutcome(account, True, f"{account} is connecting already")
    return CommandOutcome(account, True, f"{account} is tried again now")
