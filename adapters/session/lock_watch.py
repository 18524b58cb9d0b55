"""``LockWatch``: looks after all locks of this process, at little cost.

A lock file or a session can only go when a name in its directory changes, and that changes the directory's stamp. So
where that is what it was, nothing is looked at: one look for a directory in place of two for each of its accounts.
"""

import os
import time
from pathlib import Path
from typing import Final

from attrs import define, field

from adapters.session.login_claim import renew_claims
from adapters.session.owner import held_locks

SETTLED_NS: Final = 2_000_000_000
"""Nanoseconds after its last change from which a directory's stamp is trusted: close changes may have the same one."""
COMPLETE_EVERY: Final = 30.0
"""Seconds after which all locks are looked at anyway: a network's file system may tell of a change late."""


@define(eq=False)
class LockWatch:
    """Renews the locks of this process; ask it now and then."""

    _complete: float = field(default=float("-inf"), init=False)
    """When all locks were last looked at, by ``time.monotonic``."""

    def renew_all(self) -> list[tuple[Path | str, str]]:
        """Make the locks again that are gone; return the sessions of which something is to be said. Blocks."""
        complete = time.monotonic() - self._complete >= COMPLETE_EVERY
        if complete:
            self._complete = time.monotonic()
        found: list[tuple[Path | str, str]] = renew_claims() if complete else []
        stamps: dict[str, tuple[int, ...] | None] = {}
        for lock in held_locks():
            if lock.directory not in stamps:
                stamps[lock.directory] = _settled_stamp(lock.directory)
            stamp = stamps[lock.directory]
            if stamp is not None and stamp == lock.looked_at and not complete:
                continue
            try:
                said = lock.renew()
            except OSError as exc:
                said = f"cannot be made again ({exc.strerror or type(exc).__name__})"
            if said is not None:
                found.append((lock.session, said))
            # What a link points at is in another directory.
            lock.looked_at = None if stamp is None or said is not None or lock.session.is_symlink() else stamp
        return found


def _settled_stamp(directory: str) -> tuple[int, ...] | None:
    """Return what changes whenever a name in the directory does; None if it may have changed at this very moment."""
    try:
        found = os.stat(directory)
    except OSError:
        return None
    if time.time_ns() - found.st_ctime_ns < SETTLED_NS:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns
