"""A setting that the datacenter refuses concerns every account: all of them stop, and the operator gets one alert."""

from collections.abc import Iterable
from typing import Final

import anyio
import structlog
from attrs import define, field

from engine.fleet.supervisor import Supervisor
from engine.wakeup import Wakeup
from states import State, Step
from states.events import ConfigRefused
from states.rules import ATTEMPT
from states.snapshot import SHARED_SETTING

POST_TIMEOUT: Final = 10.0
"""Seconds that an account may take to accept the event."""

AUTOMATIC_BEGINNINGS: Final = ("Started", "CredentialsReplaced")
"""Events that lead to an attempt without a command of the operator."""
NOT_IN_USE: Final = (State.AUTH_FAILED, State.SHUTTING_DOWN)

log = structlog.get_logger("holdfast.fleet")


@define(eq=False)
class RefusedConfig:
    """Passes a refused ``api_id`` on to all accounts, so that none tries it again, and raises one alert.

    The refusal is in force until the operator asks for a retry; after that, another refusal raises another alert.
    """

    fleet: Supervisor
    _in_force: ConfigRefused | None = field(default=None, init=False)
    _pending: dict[str, ConfigRefused] = field(factory=dict, init=False)
    _wakeup: Wakeup = field(factory=Wakeup, init=False)

    def __attrs_post_init__(self) -> None:
        self.fleet.listeners.append(self._observe)

    async def run(self) -> None:
        """Pass refusals on to accounts until cancelled."""
        while True:
            upcoming = self._wakeup.upcoming
            pending, self._pending = self._pending, {}
            async with anyio.create_task_group() as tasks:
                for name, refusal in pending.items():
                    tasks.start_soon(self._notify, name, refusal)
            await upcoming.wait()

    async def _notify(self, name: str, refusal: ConfigRefused) -> None:
        runner = self.fleet.runners.get(name)
        if runner is None or runner.snapshot.state in NOT_IN_USE:
            return  # it was removed, or refused itself, meanwhile
        with anyio.move_on_after(POST_TIMEOUT):
            await runner.post(refusal)

    def lift(self) -> None:
        """Take the refusal for over: the setting is another now."""
        self._in_force = None
        self._pending.clear()

    def _observe(self, account: str, step: Step) -> None:
        record = step.record
        if record.event == "RetryRequested" and record.target is not record.source:
            self._in_force = None
        elif record.target is State.AUTH_FAILED:
            if self._in_force is None and step.concerns_all:
                self._raise_alert(step)
        elif self._in_force is not None and record.target in ATTEMPT and record.event in AUTOMATIC_BEGINNINGS:
            self._pass_on([account], self._in_force)

    def _raise_alert(self, step: Step) -> None:
        """Put the refusal in force. If it is fresh every account stops; otherwise those that it stopped before."""
        record, cause, snapshots = step.record, step.snapshot.cause, self.fleet.snapshots
        fresh = record.event == ConfigRefused.__name__
        stopped = snapshots if fresh else [name for name, at in snapshots.items() if at.stopped_with_all]
        self._in_force = ConfigRefused(
            setting=SHARED_SETTING, detail=str(record.payload.get("detail", "")), chain=record.cause
        )
        log.error("config_refused", detail=cause.detail if cause else SHARED_SETTING, accounts=len(stopped))
        if fresh:
            self._pass_on(snapshots, self._in_force)

    def _pass_on(self, names: Iterable[str], refusal: ConfigRefused) -> None:
        self._pending.update(dict.fromkeys(names, refusal))
        self._wakeup.notify()
