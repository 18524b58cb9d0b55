"""The simulated world: clocks, network, threads, disk, and the machine on which an engine lives and dies."""

import asyncio
import os
import random
import sqlite3
from collections.abc import Coroutine
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from anyio.lowlevel import RunVar
from attrs import define, field

from tests.simulation.disk import Disk
from tests.simulation.disk_connections import DiskConnection
from tests.simulation.entropy import VirtualClock
from tests.simulation.loop import SimulatedLoop, run_in
from tests.simulation.network import Network
from tests.simulation.process import SimulatedProcess, current, is_alive
from tests.simulation.thread_database import SwitchingConnection
from tests.simulation.threads import Scheduler
from tests.simulation.unix_sockets import UnixSockets


@define(eq=False)
class World:
    """Everything around the engines. ``directory`` is where their files are."""

    directory: Path
    clock: VirtualClock
    threads: Scheduler
    seed: int
    network: Network = field(init=False)
    loop: SimulatedLoop = field(init=False)
    disk: Disk = field(init=False)
    sockets: UnixSockets = field(init=False)
    datacenter: SimulatedProcess = field(factory=lambda: SimulatedProcess("datacenter"))
    _graveyard: list[Any] = field(factory=list)
    """What dead processes had: collecting it would run their cleanup, which no dead process does."""

    def __attrs_post_init__(self) -> None:
        self.network = Network(self.random("network"))
        self.loop = SimulatedLoop(self.network, self.threads)
        self.sockets = UnixSockets(self.loop)
        self.disk = Disk(self.directory, self.random("disk"))
        self.disk.lock = nullcontext()  # one thread runs all, and none may be interrupted inside of SQLite
        self.clock.is_elsewhere = lambda: current() is self.datacenter

    def random(self, purpose: str) -> random.Random:
        """Return a source of chance for one purpose."""
        return random.Random(f"{self.seed}:{purpose}")

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return self.clock.now

    def start(self, process: SimulatedProcess, coro: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start the first task of a process."""
        return run_in(process, self.loop, coro, process.name)

    def kill(self, process: SimulatedProcess, *, power: bool = False) -> None:
        """End a process at once, as ``kill -9`` does, or with ``power`` its machine, as a power cut does."""
        if not self.disk.is_frozen:  # it may have been stopped at a write
            (self.disk.power_cut if power else self.disk.kill)()
        self.end(process, silently=power)
        drop_locks(self.threads)
        self.disk.restore()

    def end(self, process: SimulatedProcess, *, silently: bool = False) -> None:
        """End a process at once that has no file open and holds no lock."""
        process.alive = False
        self._graveyard += self.tasks_of(process)
        self.loop.forget(process)
        self._graveyard += self.threads.kill(process.name)
        self.network.process_died(process, silently=silently)
        self.sockets.process_died(process)

    def tasks_of(self, process: SimulatedProcess) -> "list[asyncio.Task[Any]]":
        """Return the tasks of a process that are not done."""
        return [task for task in asyncio.all_tasks(self.loop) if getattr(task, "process", None) is process]


class WorldConnection(SwitchingConnection, DiskConnection):
    """A connection on the simulated disk, between whose statements other threads run."""


def install_connections() -> None:
    """Make all connections of this process such ones; the disk is installed already."""
    of_disk: Any = sqlite3.connect

    def connect(*arguments: Any, **options: Any) -> Any:
        options.setdefault("factory", WorldConnection)
        return of_disk(*arguments, **options)

    setattr(sqlite3, "connect", connect)  # noqa: B010  # it has overloads, and this one takes what they take


def drop_locks(threads: Scheduler) -> None:
    """Close the locks of a dead process. The modules forget them, as in a forked child."""
    from adapters.system import forks  # after ``install``

    for descriptor in sorted(forks._DESCRIPTORS):
        os.close(descriptor)
    forks._DESCRIPTORS.clear()
    forks._DATABASES.clear()
    for forget in threads.fork_hooks:
        if forget.__module__.startswith("adapters.") and forget.__module__ != forks.__name__:
            forget()


def install_processes() -> None:
    """Give each process its own number, and its own worker threads: those of a dead one answer nobody."""
    from adapters.system import kernel_locks  # after ``install``

    real = kernel_locks.is_alive
    os.getpid = lambda: current().pid
    kernel_locks.is_alive = lambda number: is_alive(number) or real(number)
    setattr(RunVar, "_current_vars", property(lambda _: current().run_vars))  # noqa: B010  # read-only to mypy
