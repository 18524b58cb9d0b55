"""``LiveConfig``: runs what a config wants, made anew when a reload has changed that part of it."""

from collections.abc import Callable, Iterable

import anyio
from attrs import define, field

from engine.config import Config
from engine.fleet.watchers import Watcher, keep_running
from engine.wakeup import Wakeup


@define(eq=False)
class LiveConfig:
    """The config that a running engine has now, which ``current`` returns."""

    current: Callable[[], Config]
    _changed: Wakeup = field(factory=Wakeup, init=False)

    def changed(self) -> None:
        """Tell that the config is another one."""
        self._changed.notify()

    async def follow(self, part: Callable[[Config], object], watchers: Callable[[Config], Iterable[Watcher]]) -> None:
        """Run the watchers of the config until cancelled; when ``part`` of it changes, end them and make others."""
        while True:
            config, changed = self.current(), self._changed.upcoming
            async with anyio.create_task_group() as tasks:
                for name, watcher in watchers(config):
                    tasks.start_soon(keep_running, name, watcher, name=name)
                while part(self.current()) == part(config):
                    await changed.wait()
                    changed = self._changed.upcoming
                tasks.cancel_scope.cancel()
