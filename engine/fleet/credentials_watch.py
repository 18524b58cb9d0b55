"""Notices that a person has put other credentials where an account's session file is.

Telethon writes into that file all the time, so what counts is the fingerprint of its key; the file's own marks only
say when it is worth a look. One task looks after the whole fleet, and no look is on the event loop.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import structlog
from attrs import define, field

from engine.fleet.runner import Runner
from engine.fleet.supervisor import Supervisor
from states import Snapshot, State
from states.events import CredentialsReplaced

LOOK_EVERY: Final = 2.0
"""Seconds between two looks at all files."""
MAX_LOOKS_AT_ONCE: Final = 4
"""Keys that are read at a time; each may wait some seconds for somebody's lock."""
POST_TIMEOUT: Final = 1.0
"""Seconds that an account gets to take the news; it is told again at the next look."""
SETTLED: Final = 0.5
"""Seconds after which what is written to a damaged file is no longer the closing of it."""

log = structlog.get_logger("holdfast.fleet")

StatStamp = tuple[tuple[int, int, int, int] | None, ...]
"""What the file system says of a file and of its log: device, inode, size, time of change in nanoseconds."""


def stat_stamp_of(path: Path) -> StatStamp:
    """Return what changes when the file does, whether it is replaced or written to; ``-wal`` belongs to it."""
    return tuple(_marks(file) for file in (path, path.with_name(f"{path.name}-wal")))


def _marks(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns


def replaced(at: Snapshot, credentials: str, marks: StatStamp) -> bool:
    """Say whether ``credentials`` are others than those that the account uses or failed with.

    ``marks`` are the stat stamps of their file. A damaged file has no credentials that could be compared: there it is
    that the file was changed.
    """
    if not credentials or credentials == at.credentials or at.waiting_for_turn:
        return False  # an attempt that waits for its turn reads them then
    if at.state is State.AUTH_FAILED and at.cause is not None and at.cause.event == "DatabaseCorrupt":
        changed = max((mark[3] for mark in marks if mark is not None), default=0) / 1e9
        return changed > at.since + SETTLED
    return True


@define(eq=False)
class CredentialsWatch:
    """Looks at the session files of a fleet, and posts ``CredentialsReplaced`` where a key is another one."""

    fleet: Supervisor
    sessions: Mapping[str, Path]
    every: float = LOOK_EVERY
    _known: dict[str, tuple[StatStamp, str]] = field(factory=dict, init=False)
    """For each account the marks of its file, and the fingerprint of the key that was read then."""
    _looking: anyio.CapacityLimiter = field(factory=lambda: anyio.CapacityLimiter(MAX_LOOKS_AT_ONCE), init=False)

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await anyio.sleep(self.every)
            try:
                await self.look(*self.fleet.runners)
            except Exception:  # a mistake of ours here must not stop the fleet
                log.exception("credentials_watch_failed")

    async def look(self, *names: str) -> None:
        """Look at the files of these accounts now, and tell those whose credentials are others than before."""
        watched = {name: self.sessions[name] for name in names if name in self.sessions and self._alive(name)}
        if not watched:
            return
        found = await anyio.to_thread.run_sync(_all_marks, watched.items())
        async with anyio.create_task_group() as tasks:
            for name, marks in found.items():
                tasks.start_soon(self._compare, name, marks)

    def _alive(self, name: str) -> bool:
        runner = self.fleet.runners[name]
        return not runner.ended.is_set() and runner.snapshot.state is not State.SHUTTING_DOWN

    async def _compare(self, name: str, marks: StatStamp) -> None:
        if marks[0] is None:
            return
        runner = self.fleet.runners[name]
        known, credentials = self._known.get(name, (None, ""))
        if known != marks:
            async with self._looking:
                credentials = await runner.connector.credentials()
            if credentials:  # a file that could not be read is read again at the next look
                self._known[name] = marks, credentials
        if self._alive(name) and replaced(runner.snapshot, credentials, marks):
            await self._tell(runner, credentials)

    async def _tell(self, runner: Runner, credentials: str) -> None:
        with anyio.move_on_after(POST_TIMEOUT):
            await runner.post(CredentialsReplaced(credentials=credentials))


def _all_marks(files: Iterable[tuple[str, Path]]) -> dict[str, StatStamp]:
    return {name: stat_stamp_of(path) for name, path in files}
