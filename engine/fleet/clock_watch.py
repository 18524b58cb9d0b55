"""Notices that the time of day and the machine's steady clock have parted: a laptop slept, or its clock was set."""

from collections.abc import Callable

import anyio
import structlog

from engine.fleet.ports import Clock
from states.events import ClockJumped

EVERY = 1.0
"""Seconds between two looks at the clocks."""

THRESHOLD = 5.0
"""Seconds by which the clocks may part between two looks; a clock that is slewed stays far below it."""

log = structlog.get_logger("holdfast.fleet")


async def watch_clocks(wall: Clock, steady: Clock, tell: Callable[[ClockJumped], None]) -> None:
    """Compare the clocks for ever, and tell of every jump once. ``steady`` stands still while the machine sleeps."""
    apart = wall.now() - steady.now()
    while True:
        await anyio.sleep(EVERY)
        before, apart = apart, wall.now() - steady.now()
        jump = apart - before
        if abs(jump) < THRESHOLD:
            continue
        log.warning("clock_jumped", seconds=jump)
        tell(ClockJumped(seconds=jump))
