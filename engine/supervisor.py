"""The supervisor: all accounts side by side, none able to stop another, and an end that is ordered and bounded."""

from collections.abc import Mapping

import anyio
import structlog
from attrs import define, evolve, field

from engine.runner import Runner
from states import Snapshot
from states.events import StopRequested

REBIRTH_DELAY = 10.0
"""Seconds between the end of a life by an error of our own and the next."""

MARGIN = 5.0
"""Seconds beyond the grace, after which accounts that have not ended are left as they are."""

log = structlog.get_logger()


@define(eq=False)
class Supervisor:
    """Runs the runners of all accounts until ``stop`` is set, then stops them all at once."""

    runners: dict[str, Runner]
    stop: anyio.Event
    grace: float
    at_stop: Mapping[str, Snapshot] = field(factory=dict, init=False)
    """Where each account was when the stop began."""
    _stopping: bool = field(default=False, init=False)

    @property
    def snapshots(self) -> Mapping[str, Snapshot]:
        """Where each account is now."""
        return {name: runner.snapshot for name, runner in self.runners.items()}

    async def run(self) -> bool:
        """Run the fleet; return whether every account ended by itself within the grace."""
        orderly = False
        async with anyio.create_task_group() as fleet:
            for name in self.runners:
                fleet.start_soon(self._keep, name, name=name)
            await self.stop.wait()
            self._stopping, self.at_stop = True, self.snapshots
            with anyio.move_on_after(self.grace + MARGIN):
                async with anyio.create_task_group() as closing:
                    for runner in self.runners.values():
                        closing.start_soon(self._end, runner)
                orderly = True
            fleet.cancel_scope.cancel()
        return orderly

    async def _end(self, runner: Runner) -> None:
        await runner.post(StopRequested(reason="the engine stops"))
        await runner.ended.wait()

    async def _keep(self, name: str) -> None:
        """Keep an account alive: a life that an error of ours ended is followed by another, and the rest never know."""
        while True:
            runner = self.runners[name]
            try:
                await runner.live()
                return
            except Exception:
                log.exception(
                    "An error in the engine itself ended this life; a new one follows", icon="❌", account=name
                )
            finally:
                runner.ended.set()
            if self._stopping:
                return
            with anyio.move_on_after(REBIRTH_DELAY):
                await self.stop.wait()
                return
            self.runners[name] = evolve(runner, restored=runner.snapshot)
