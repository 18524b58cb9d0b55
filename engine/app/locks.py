"""The locks of a running engine: those of others are heeded, and its own are kept where others look for them."""

from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import structlog

from adapters.session.lock_watch import LockWatch
from adapters.session.owner import held_error, owner_of
from adapters.system import EngineLock
from engine import paths
from engine.config import Config

ENGINE: Final = "engine"
"""The name of ``python -m engine`` in the lock of a session that it uses."""
LOOK_EVERY: Final = 2.0
"""Seconds between two looks."""

log = structlog.get_logger("holdfast.engine")


def refuse_sessions_of_engines(config: Config) -> None:
    """Raise ``SessionHeld`` for a session that another engine uses: two engines must not run one account.

    A session that a script uses is let through: its account waits until it is free.
    """
    for account in config.accounts:
        owner = owner_of(account.session)
        if owner is not None and owner.program == ENGINE:
            raise held_error(account.session, owner)


def refuse_remaining_workers(config: Config) -> None:
    """Raise ``LockHeld`` while a worker runs whose parent has died: it ends by itself, in a moment."""
    directory = config.storage.directory / paths.WORKERS
    if directory.is_dir():
        for each in sorted(directory.iterdir()):
            if (each / paths.LOCK).exists():
                with EngineLock(each / paths.LOCK).held(0.0):
                    pass


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


def _look(lock: EngineLock, sessions: LockWatch) -> list[tuple[Path | str, str]]:
    try:
        said = lock.renew()
    except OSError as exc:
        said = f"cannot be made again ({exc.strerror or type(exc).__name__})"
    return [*([(lock.path.parent, said)] if said else []), *sessions.renew_all()]
