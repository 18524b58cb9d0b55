"""Events of a session file on their way to its account: from the writer's threads to the event loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import attrs
from attrs import define, field

from states.events import DatabaseLocked, DatabaseRecovered, DatabaseUnavailable, Event, Failure


@define(eq=False)
class SessionEvents:
    """Carries events from any thread to an observer on the loop, whether a link is open or not."""

    link: int | None = field(default=None, init=False)
    """The link that is proven now. Without one, an event that only says that the file waits is dropped: it does not
    concern a connection attempt, and the file repeats it."""
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _observer: Callable[[Event], None] | None = field(default=None, init=False)

    def listen(self, observer: Callable[[Event], None]) -> None:
        """Call ``observer`` from now on, on the loop that runs now."""
        self._loop, self._observer = asyncio.get_running_loop(), observer

    def put(self, event: Failure | DatabaseRecovered) -> None:
        """Pass an event on; from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and the observer is gone with it
                self._loop.call_soon_threadsafe(self._pass_on, event)

    def _pass_on(self, event: Failure | DatabaseRecovered) -> None:
        if self._observer is None:
            return
        if not isinstance(event, DatabaseLocked | DatabaseUnavailable):
            self._observer(event)
        elif self.link is not None:
            self._observer(attrs.evolve(event, link=self.link))
