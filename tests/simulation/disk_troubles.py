"""Troubles with the disk in a story: it is full, broken, slow, or another process holds the lock of a database."""

import sqlite3
from pathlib import Path
from typing import Final

import anyio
from attrs import define, field

from tests.simulation.process import SimulatedProcess
from tests.simulation.story import Incident, IncidentKind
from tests.simulation.world import World

DATABASE: Final = "data/engine.db"
LOCK_SECONDS: Final = 0.01
"""Between two tries of the other process to get the lock."""
LEFT_BYTES: Final = 4096
"""What a disk that becomes full still has."""


@define(eq=False)
class DiskTroubles:
    """The troubles that last at this moment. A disk is full or broken as a whole."""

    world: World
    _lockers: dict[Path, sqlite3.Connection] = field(factory=dict)
    _slow: float = 0.0

    async def play(self, incident: Incident) -> None:
        """Make a trouble, and end it after its time."""
        match incident.kind:
            case IncidentKind.DISK_FULL | IncidentKind.DISK_BROKEN:
                await self._fail(incident)
            case IncidentKind.DISK_SLOW:
                await self._slow_down(incident)
            case _:
                await self._lock(incident)

    def dies(self) -> None:
        """Let go of all files, before those of a dead engine are put in place anew."""
        for connection in self._lockers.values():
            connection.close()
        self._lockers.clear()

    async def _fail(self, incident: Incident) -> None:
        if incident.kind is IncidentKind.DISK_FULL:
            self.world.disk.full(LEFT_BYTES)
        else:
            self.world.disk.broken()
        try:
            await anyio.sleep(incident.seconds)
        finally:
            self.world.disk.mend()

    async def _slow_down(self, incident: Incident) -> None:
        threads = self.world.threads
        self._slow = float(incident.value or 0.0)

        def wait() -> None:
            if self._slow and threads.current is not threads.main:
                threads.sleep(self._slow)

        self.world.disk.before_commit = wait
        await anyio.sleep(incident.seconds)
        self._slow = 0.0

    async def _lock(self, incident: Incident) -> None:
        name = DATABASE if incident.account is None else f"account{incident.account}.session"
        path = self.world.directory / name
        if not path.exists() or path in self._lockers:
            return
        process = SimulatedProcess(f"locker at {self.world.now}")
        await self.world.start(process, self._hold(path, incident.seconds))

    async def _hold(self, path: Path, seconds: float) -> None:
        connection = sqlite3.connect(path, timeout=0.0, isolation_level=None)
        self._lockers[path] = connection
        end = self.world.now + seconds
        while self._lockers.get(path) is connection and self.world.now < end:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                await anyio.sleep(LOCK_SECONDS)
                continue
            while self._lockers.get(path) is connection and (left := end - self.world.now) > 0:
                await anyio.sleep(min(1.0, left))
        if self._lockers.get(path) is connection:
            del self._lockers[path]
            connection.close()
