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

SETTLED = 1.0
"""Seconds by which a clock may be set without anything being moved: a time server corrects it after a sleep."""

log = structlog.get_logger("holdfast.fleet")


async def watch_clocks(
    wall: Clock,
    steady: Clock,
    notify: Callable[[ClockJumped], None],
    *,
    continuous: Clock | None = None,
    accept: Callable[[], None] = lambda: None,
) -> None:
    """Compare the clocks until cancelled, and report each jump once to ``notify``.

    ``steady`` must stand still while the machine sleeps, and ``continuous`` must not: their difference is how long it
    slept, and the rest of a jump is by how much the clock was set. Without ``continuous`` it never slept. ``accept`` is
    called at every comparison, before ``notify``: the time of day may be used as it is now.
    """
    continuous = continuous or steady
    apart, asleep = wall.now() - steady.now(), continuous.now() - steady.now()
    while True:
        await anyio.sleep(CHECK_EVERY)
        before, apart = (apart, asleep), wall.now() - steady.now()
        asleep = continuous.now() - steady.now()
        jump, slept = apart - before[0], asleep - before[1]
        accept()
        if max(abs(jump), abs(slept)) < THRESHOLD:
            continue
        if abs(jump - slept) < SETTLED:
            slept = jump  # it slept and nobody set it; the clocks were not read in the same instant
        log.warning("clock_jumped", seconds=jump)
        notify(ClockJumped(seconds=jump, slept=slept))
