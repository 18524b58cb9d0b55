"""``OwnedTask``: the task in which a function of the user's runs.

It is asyncio's own and in no task group. A function that swallows its cancellation would hold a group, and with it the
engine, for ever. Here the task has an owner instead, which cancels it a limited number of times and then leaves it
alone.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import anyio
from attrs import define, field

from engine.work.labels import WorkLabel

GRACE_SECONDS = 5.0
"""How long a cancelled task gets to end."""
STOP_TIMEOUT = 5.0
"""Seconds that the end of the engine waits for the tasks that it cancels."""
CANCELLED_BY_OTHERS = "it was cancelled, but not by the engine"
"""What is said of a task that something other than its owner cancelled."""

T = TypeVar("T")


@define(eq=False)
class OwnedTask:
    """One task, the call of the user's function in it, and its cancellations."""

    label: WorkLabel
    """What log lines call it."""
    max_cancellations: int
    cancellations: int = field(default=0, init=False)
    cancelled_at: float = field(default=math.inf, init=False)
    """When it was last cancelled, by the loop's clock."""
    inside: bool = field(default=False, init=False)
    """Whether the task is in the user's function, and not before or after it."""
    _task: "asyncio.Task[None] | None" = field(default=None, init=False)

    def start(
        self, work: Coroutine[Any, Any, None], ended: Callable[["asyncio.Task[None]"], None]
    ) -> "asyncio.Task[None]":
        """Run ``work`` in the task, and call ``ended`` after it; return the task."""
        self._task = asyncio.get_running_loop().create_task(work, name=self.label)
        self._task.add_done_callback(ended)
        return self._task

    def runs_in(self, task: "asyncio.Task[None]") -> bool:
        """Return whether this is the task."""
        return self._task is task

    async def call(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Call the user's function, from within the task, and return what it returns."""
        try:
            self.inside = True
            return await function(*arguments)
        finally:
            self.inside = False

    def cancel(self) -> bool:
        """Cancel the task once more; return False if it has been cancelled ``max_cancellations`` times already."""
        if self.cancellations >= self.max_cancellations:
            return False
        if self._task is not None:
            self.cancellations, self.cancelled_at = self.cancellations + 1, anyio.current_time()
            self._task.cancel()
        return True

    @property
    def cancelled(self) -> bool:
        """Whether the owner has cancelled it."""
        return self.cancellations > 0

    @property
    def grace_ends(self) -> float:
        """When the task should have ended after its last cancellation, by the loop's clock; infinity before one."""
        return self.cancelled_at + GRACE_SECONDS
