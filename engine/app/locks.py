"""Keeps the locks of a running engine where others look for them: a lock file can be removed or replaced."""

from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import structlog

from adapters.session.lock_watch import LockWatch
from adapters.system import EngineLock

LOOK_EVERY: Final = 2.0
"""Seconds between two looks."""

log = structlog.get_logger("holdfast.engine")


async def watch_locks(lock: EngineLock) -> None:
    """Look after the engine's lock and those of its sessions, until cancelled; say once what was found."""
    told: set[tuple[str, str]] = set()
    sessions = LockWatch()
    while True:
        await anyio.sleep(LOOK_EVERY)
        found = {(str(path), said) for path, said in await anyio.to_thread.run_sync(_look, lock, sessions)}
        for path, said in sorted(found - told):
            log.warning("lock_lost", path=path, detail=said)
        told = found


def _look(lock: EngineLock, sessions: LockWatch) -> list[tuple[Path, str]]:
    try:
        said = lock.renew()
    except OSError as exc:
        said = f"cannot be made again ({exc.strerror or type(exc).__name__})"
    return [*([(lock.path.parent, said)] if said else []), *sessions.renew_all()]
