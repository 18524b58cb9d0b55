"""Signals that let tasks sleep: ``Wakeup`` until something changes, ``Flag`` until something is so.

Each account has some, and nearly always nobody waits for them. So what a task waits for is made when one does.
"""

import anyio
from attrs import define, field


@define(eq=False)
class Wakeup:
    """Wakes every task that waits at the moment of ``notify``; a task that waits later sleeps until the next one.

    It carries no news itself: a task that wakes looks at the state again.
    """

    _event: anyio.Event | None = field(default=None, init=False)
    """None while no task waits."""

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


@define(eq=False)
class Flag:
    """Is set once, which wakes every task that waits for it; whoever waits later goes on at once."""

    _is_set: bool = field(default=False, init=False)
    _wakeup: Wakeup = field(factory=Wakeup, init=False)

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, once and for all."""
        self._is_set = True
        self._wakeup.notify()

    async def wait(self) -> None:
        """Wait until it is set."""
        if not self._is_set:
            await self._wakeup.wait()
