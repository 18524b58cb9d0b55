"""``ServiceReports``: what the engine tells the service manager that started it."""

from collections.abc import Callable
from typing import Protocol

import anyio
from attrs import define, field

STATUS_SECONDS = 5.0
"""How often the status may change."""


class ServiceManagerPort(Protocol):
    """The service manager. No call waits or raises."""

    @property
    def watchdog(self) -> float | None:
        """Seconds after which it takes the process for dead if it has heard nothing; None if it does not watch."""

    def ready(self) -> object:
        """Tell that the program has started."""

    def stopping(self) -> object:
        """Tell that the program ends."""

    def alive(self) -> object:
        """Tell that the program lives."""

    def status(self, text: str) -> object:
        """Tell in one line what the program does."""


@define(eq=False)
class ServiceReports:
    """Tells the service manager that the engine is ready, how the accounts are, that it lives, and that it stops.

    It is ready when its accounts have begun to connect: a datacenter that is down for hours must not look like a start
    that failed. ``hangs`` says whether a part of it does no work that only a new process would do; then the watchdog
    hears nothing.
    """

    manager: ServiceManagerPort
    status: Callable[[], str]
    hangs: Callable[[], bool]
    stop: anyio.Event
    _said: str = field(default="", init=False)

    async def run(self) -> None:
        """Report until cancelled, also while the engine stops."""
        self.manager.ready()
        async with anyio.create_task_group() as tasks:
            if self.manager.watchdog is not None:
                tasks.start_soon(self._feed, self.manager.watchdog / 2)
            tasks.start_soon(self._tell)
            await self.stop.wait()
            self.manager.stopping()

    async def _feed(self, every: float) -> None:
        while True:
            if not self.hangs():
                self.manager.alive()
            await anyio.sleep(every)

    async def _tell(self) -> None:
        while True:
            if (said := self.status()) != self._said:
                self._said = said
                self.manager.status(said)
            await anyio.sleep(STATUS_SECONDS)
