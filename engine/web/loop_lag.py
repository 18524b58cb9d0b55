"""``LoopLag``: how late the event loop is, measured by a beat of its own."""

import math
from collections.abc import Callable

import anyio
from attrs import define, field

BEAT_SECONDS = 0.5
"""How often the loop is asked. A stall between two beats is measured at the next one."""


@define(eq=False)
class LoopLag:
    """Measures how late the loop runs what is due. ``on_beat`` is called with the seconds of each beat."""

    on_beat: Callable[[float], None] | None = None
    _late: float = field(default=0.0, init=False)
    """How late the last beat was."""
    _due: float = field(default=math.inf, init=False)

    @property
    def late(self) -> float:
        """How many seconds the last beat was late, or the next one is already."""
        return max(self._late, anyio.current_time() - self._due)

    async def run(self) -> None:
        """Beat until cancelled."""
        try:
            while True:
                self._due = anyio.current_time() + BEAT_SECONDS
                await anyio.sleep(BEAT_SECONDS)
                self._late = max(0.0, anyio.current_time() - self._due)
                if self.on_beat is not None:
                    self.on_beat(self._late)
        finally:
            self._late, self._due = 0.0, math.inf  # nobody measures any more
