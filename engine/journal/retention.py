"""Retention: what is older than the config wants to keep leaves the journal and the jobs, a little at a time."""

from typing import Protocol

import anyio
import structlog

from engine.fleet.ports import Clock

PAUSE = 0.25
"""Seconds between two steps: no account's record waits behind more than one of them."""
EVERY = 60.0
"""Seconds between two looks for what has become too old; a quarter of what is kept, if that is less."""
MIN_IDLE = 1.0
"""Seconds between two looks at least."""

log = structlog.get_logger("holdfast.journal")


class Prunable(Protocol):
    """What can forget: the journal, or the jobs."""

    async def prune(self, before: float) -> int:
        """Delete some of the oldest entries from before ``before`` (Unix seconds); return how many, 0 if none is."""


async def retain(journal: Prunable, keep: float, clock: Clock, *, unusable: type[Exception]) -> None:
    """Delete what is older than ``keep`` seconds, for ever. ``unusable`` is what a file in trouble raises: tried again.

    Never returns; to be cancelled.
    """
    idle = max(MIN_IDLE, min(EVERY, keep / 4))
    told = False
    while True:
        deleted = 0
        try:
            deleted = await journal.prune(clock.now() - keep)
            told = False
        except unusable as exc:
            if not told:
                log.warning("retention_failed", detail=str(exc))
            told = True
        await anyio.sleep(PAUSE if deleted else idle)
