"""``SharedTimers``: probes of many accounts that are due at nearly the same time begin in one turn of the loop.

To wake the loop for a single probe costs about as much as the probe itself. So with many accounts there is a grid of
times, and a timer goes off at the next one: a moment late, and together with some others.
"""

import asyncio
from collections.abc import Callable
from math import ceil, log2

from attrs import define, field

TOGETHER = 16
"""So many shall go off at a time, if that makes none of them later than ``LATEST``."""
MOST = 2 * TOGETHER
"""No more do: what is due in the same turn of the loop must not hold others up."""
LATEST = 0.125
"""Seconds by which a timer may go off late, at most."""
LATEST_PART = 1 / 128
"""The same, as a part of its delay."""
FEW = 100
"""With fewer timers than this, each goes off at its own time."""


@define(eq=False)
class SharedTimers:
    """The timers of a fleet; all are of one event loop, and have about the same delay."""

    _slots: dict[float, "_Slot"] = field(factory=dict, init=False)
    """By the loop's time at which they go off."""
    _count: int = field(default=0, init=False)

    def __len__(self) -> int:
        return self._count

    def call_later(self, delay: float, callback: Callable[[], None]) -> "SharedTimer":
        """Call back after ``delay`` seconds or a moment later, unless the timer is cancelled."""
        loop = asyncio.get_running_loop()
        exact = loop.time() + delay
        due = self._round_up(exact, delay)
        slot = self._slots.get(due)
        if slot is not None and len(slot.timers) >= MOST:
            due, slot = exact, self._slots.get(exact)
        if slot is None:
            slot = self._slots[due] = _Slot()
            slot.handle = loop.call_at(due, self._go_off, due)
        timer = SharedTimer(self, due, callback)
        slot.timers[timer] = None
        self._count += 1
        return timer

    def _round_up(self, due: float, delay: float) -> float:
        if self._count < FEW:
            return due
        width = min(TOGETHER * delay / self._count, LATEST, LATEST_PART * delay)
        steps = 2.0 ** ceil(-log2(width))
        return ceil(due * steps) / steps

    def _go_off(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        timers = self._slots.pop(due).timers
        self._count -= len(timers)
        for timer in timers:
            loop.call_soon(timer.go_off)  # each for itself: one that fails is no other's

    def remove(self, timer: "SharedTimer") -> None:
        """Forget a timer; do nothing if it went off already."""
        slot = self._slots.get(timer.due)
        if slot is None or timer not in slot.timers:
            return
        del slot.timers[timer]
        self._count -= 1
        if not slot.timers:
            slot.handle.cancel()
            del self._slots[timer.due]


@define(eq=False)
class _Slot:
    """Timers that go off together, in the order in which they were set."""

    handle: asyncio.TimerHandle = field(init=False)
    timers: "dict[SharedTimer, None]" = field(factory=dict, init=False)


@define(eq=False)
class SharedTimer:
    """One of many; ``cancel`` is like that of the loop's own timers."""

    shared: SharedTimers
    due: float
    callback: Callable[[], None]
    cancelled: bool = field(default=False, init=False)

    def cancel(self) -> None:
        """Let it not go off, also if its turn has come in this very turn of the loop."""
        self.cancelled = True
        self.shared.remove(self)

    def go_off(self) -> None:
        """Call back, unless another one of the same turn has cancelled this one."""
        if not self.cancelled:
            self.callback()
