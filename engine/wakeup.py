"""``Wakeup``: lets tasks sleep until something changes."""

import anyio
from attrs import define, field


@define(eq=False)
class Wakeup:
    """Wakes every task that waits at the moment of ``notify``; a task that waits later sleeps until the next one.

    It carries no news itself: a task that wakes looks at the state again.
    """

    _event: anyio.Event | None = field(default=None, init=False)
    """None while no task waits: each account has a wakeup, and most of them never wake anybody."""

    @property
    def upcoming(self) -> anyio.Event:
        """The event that the next ``notify`` sets.

        A task that awaits anything between looking at the state and waiting takes it before it looks, and waits for it
        afterwards. A change in between then ends the wait at once.
        """
        if self._event is None:
            self._event = anyio.Event()
        return self._event

    def notify(self) -> None:
        """Wake all tasks that wait."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Wait for the next ``notify``."""
        await self.upcoming.wait()
