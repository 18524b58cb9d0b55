"""Notices when the time of day and the machine's steady clock part: a laptop slept, or its clock was set."""

from collections.abc import Callable

import anyio
import structlog

from engine.fleet.ports import Clock
from states.events import ClockJumped

CHECK_EVERY = 1.0
"""Seconds between two comparisons of the clocks."""

THRESHOLD = 5.0
"""Seconds by which the clocks may part between two comparisons. A clock that is slewed stays far below that."""

log = structlog.get_logger("holdfast.fleet")


async def watch_clocks(wall: Clock, steady: Clock, notify: Callable[[ClockJumped], None]) -> None:
    """Compare the clocks until cancelled, and report each jump once to ``notify``.

    ``steady`` must stand still while the machine sleeps.
    """
    apart = wall.now() - steady.now()
    while True:
        await anyio.sleep(CHECK_EVERY)
        before, apart = apart, wall.now() - steady.now()
        jump = apart - before
        if abs(jump) < THRESHOLD:
            continue
        log.warning("clock_jumped", seconds=jump)
        notify(ClockJumped(seconds=jump))
