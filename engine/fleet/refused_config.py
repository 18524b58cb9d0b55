"""What the datacenter refuses of the config concerns every account on it: all stop, and a person is told once."""

from collections.abc import Iterable
from typing import Final

import anyio
import structlog
from attrs import define, field

from engine.fleet.supervisor import Supervisor
from states import State, Step
from states.events import ConfigRefused
from states.rules import ATTEMPT
from states.snapshot import SHARED_SETTING

POST_TIMEOUT: Final = 10.0
"""Seconds that an account gets to take the news."""

BEGINNINGS: Final = ("Started", "CredentialsReplaced")
"""What leads to an attempt that nobody asked for."""
OUT_OF_USE: Final = (State.AUTH_FAILED, State.SHUTTING_DOWN)

log = structlog.get_logger("holdfast.fleet")


@define(eq=False)
class RefusedConfig:
    """Passes a refused ``api_id`` on to all accounts, so that none asks again, and raises one alert.

    The alert stands until a person asks for a retry; the next refusal is news then. Without a retry nobody asks.
    """

    fleet: Supervisor
    _standing: ConfigRefused | None = field(default=None, init=False)
    _to_tell: dict[str, ConfigRefused] = field(factory=dict, init=False)
    _work: anyio.Event = field(factory=anyio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.fleet.listeners.append(self._listen)

    async def run(self) -> None:
        """Pass the news on until cancelled."""
        while True:
            await self._work.wait()
            self._work = anyio.Event()
            told, self._to_tell = self._to_tell, {}
            async with anyio.create_task_group() as tasks:
                for name, refusal in told.items():
                    tasks.start_soon(self._tell, name, refusal)

    async def _tell(self, name: str, refusal: ConfigRefused) -> None:
        if self.fleet.runners[name].snapshot.state in OUT_OF_USE:
            return  # it has found out by itself meanwhile
        with anyio.move_on_after(POST_TIMEOUT):
            await self.fleet.runners[name].post(refusal)

    def _listen(self, account: str, step: Step) -> None:
        record = step.record
        if record.event == "RetryRequested" and record.target is not record.source:
            self._standing = None
        elif record.target is State.AUTH_FAILED:
            if self._standing is None and step.concerns_all:
                self._stand(step)
        elif self._standing is not None and record.target in ATTEMPT and record.event in BEGINNINGS:
            self._pass_on([account], self._standing)

    def _stand(self, step: Step) -> None:
        """Raise the alert; when the refusal is fresh, every account stops, and else those that were stopped before."""
        record, cause, snapshots = step.record, step.snapshot.cause, self.fleet.snapshots
        fresh = record.event == ConfigRefused.__name__
        stopped = snapshots if fresh else [name for name, at in snapshots.items() if at.stopped_with_all]
        self._standing = ConfigRefused(
            setting=SHARED_SETTING, detail=str(record.payload.get("detail", "")), chain=record.cause
        )
        log.error("config_refused", detail=cause.detail if cause else SHARED_SETTING, accounts=len(stopped))
        if fresh:
            self._pass_on(snapshots, self._standing)

    def _pass_on(self, names: Iterable[str], refusal: ConfigRefused) -> None:
        self._to_tell.update(dict.fromkeys(names, refusal))
        self._work.set()
