"""Retention: deletes old entries from the journal and the jobs, a few at a time, as the config demands."""

from typing import Protocol

import anyio
import structlog

from engine.fleet.ports import Clock

PAUSE = 0.25
"""Seconds between two deletions, so that a record waits behind one of them at most."""
CHECK_EVERY = 60.0
"""Seconds between two checks for entries that have become too old; a quarter of ``keep``, if that is less."""
MIN_CHECK_EVERY = 1.0
"""The shortest time between two checks, in seconds."""

log = structlog.get_logger("holdfast.journal")


class Prunable(Protocol):
    """A store with entries that can be deleted: the journal, or the jobs."""

    async def prune(self, before: float) -> int:
        """Delete some of the oldest entries from before ``before`` (Unix seconds); return how many."""


async def retain(journal: Prunable, keep: float, clock: Clock, *, unusable: type[Exception]) -> None:
    """Delete entries that are older than ``keep`` seconds, until cancelled.

    ``unusable`` is the exception of a file that cannot be used now; the deletion is then tried again.
    """
    idle = max(MIN_CHECK_EVERY, min(CHECK_EVERY, keep / 4))
    warned = False
    while True:
        deleted = 0
        try:
            deleted = await journal.prune(clock.now() - keep)
            warned = False
        except unusable as exc:
            if not warned:
                log.warning("retention_failed", detail=str(exc))
            warned = True
        await anyio.sleep(PAUSE if deleted else idle)
