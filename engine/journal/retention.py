"""Retention: deletes old entries from the journal and the jobs, a few at a time, as the config demands."""

from collections.abc import Iterable
from typing import Final, Protocol

import anyio
import structlog
from attrs import define, field

from engine.fleet.ports import Clock
from states.snapshot import Snapshot

PAUSE = 0.25
"""Seconds between two deletions, so that a record waits behind one of them at most."""
CHECK_EVERY = 60.0
"""Seconds between two checks for entries that have become too old; a quarter of ``keep``, if that is less."""
MIN_CHECK_EVERY = 1.0
"""The shortest time between two checks, in seconds."""

DOUBTED_FOR: Final = 86_400.0
"""Seconds for which nothing is deleted after the clock was set ahead: it may be wrong, and be set right again."""
JUMP: Final = 3600.0
"""Seconds by which the clock may be set ahead without being doubted."""

log = structlog.get_logger("holdfast.journal")


class Prunable(Protocol):
    """A store with entries that can be deleted: the journal, or the jobs."""

    async def prune(self, before: float) -> int:
        """Delete some of the oldest entries from before ``before`` (Unix seconds); return how many."""


@define
class TrustedTime:
    """The time of day by which entries may be deleted.

    A clock that is a year ahead for a minute, in a running engine or when one starts, must not delete a year's entries.
    """

    clock: Clock
    continuous: Clock
    """A clock that cannot be set, and that goes on while the machine sleeps."""
    last_known: float | None = None
    """The newest time that an earlier engine has stored (Unix seconds)."""
    _apart: float = field(init=False)
    """By how much the clocks differed when the time of day was last trusted."""
    _doubted_since: float | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        now, apart = self.clock.now(), self.clock.now() - self.continuous.now()
        absent = 0.0 if self.last_known is None else max(0.0, now - self.last_known)
        self._apart = apart - absent if absent > DOUBTED_FOR else apart

    def now(self) -> float:
        """Return Unix seconds: of a clock that was set ahead, what it would have been without that, for a day."""
        steady = self.continuous.now()
        apart = self.clock.now() - steady
        if apart <= self._apart + JUMP:
            self._apart, self._doubted_since = apart, None
            return apart + steady
        if self._doubted_since is None:
            self._doubted_since = steady
        elif steady - self._doubted_since >= DOUBTED_FOR:
            self._apart, self._doubted_since = apart, None
        return self._apart + steady


def last_sign(snapshots: Iterable[Snapshot]) -> float | None:
    """Return the newest time (Unix seconds) in the snapshots that an engine has left; None if there are none."""
    return max((max(at.since, at.last_success or 0.0, at.proved_at or 0.0) for at in snapshots), default=None)


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
