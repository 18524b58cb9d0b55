"""What a session's file has to say to its account, link or no link: from the writer's threads to the event loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import attrs
from attrs import define, field

from states.events import DatabaseLocked, DatabaseRecovered, DatabaseUnavailable, Event, Failure


@define(eq=False)
class Notices:
    """Carries events from any thread to who listens on a loop."""

    link: int | None = field(default=None, init=False)
    """The link that is proven now. Without one nobody hears that the file waits: an attempt has nothing to do with it,
    and it is said again."""
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _hear: Callable[[Event], None] | None = field(default=None, init=False)

    def listen(self, hear: Callable[[Event], None]) -> None:
        """Call ``hear`` from now on, on the loop that runs now."""
        self._loop, self._hear = asyncio.get_running_loop(), hear

    def put(self, event: Failure | DatabaseRecovered) -> None:
        """Take note of an event; from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._tell, event)

    def _tell(self, event: Failure | DatabaseRecovered) -> None:
        if self._hear is None:
            return
        if not isinstance(event, DatabaseLocked | DatabaseUnavailable):
            self._hear(event)
        elif self.link is not None:
            self._hear(attrs.evolve(event, link=self.link))
