"""Simulated processes: what runs in each, and whose code is running.

A process is a name in the context of its tasks, callbacks and threads (``threads.PROCESS``).
"""

from contextvars import Context, copy_context
from typing import Any

from attrs import define, field

from tests.simulation.threads import PROCESS, scheduler_now

FIRST_PID = 4_000_000
"""Larger than the number of any real process."""


@define(eq=False)
class SimulatedProcess:
    """One life of an engine, or a part of the world."""

    name: str
    """No other process of the run has it."""
    alive: bool = True
    pid: int = field(factory=lambda: FIRST_PID + len(_processes), init=False)
    run_vars: dict[Any, Any] = field(factory=dict, init=False, repr=False)
    """What AnyIO keeps for each loop: worker threads, and how many of them there may be."""
    context: Context = field(init=False, repr=False)
    """Of what no code of it has scheduled: its first task, and what arrives from the network."""

    def __attrs_post_init__(self) -> None:
        self.context = copy_context()
        self.context.run(PROCESS.set, self.name)
        _processes[self.name] = self

    def owns(self, context: Context | None) -> bool:
        """Return whether code with this context is the process's."""
        return context is not None and context.get(PROCESS) == self.name


_processes: dict[str, SimulatedProcess] = {}
WORLD = SimulatedProcess("")
"""What is outside of all machines: the network, and who injects faults."""


def is_alive(pid: int) -> bool:
    """Return whether a simulated process of this number runs."""
    return any(each.pid == pid and each.alive for each in _processes.values())


def current() -> SimulatedProcess:
    """Return the process whose code runs."""
    return _processes[scheduler_now().process]


def process_of(context: Context | None) -> SimulatedProcess:
    """Return the process of a context, or else the one whose code runs."""
    name = None if context is None else context.get(PROCESS)
    return current() if name is None else _processes[name]
