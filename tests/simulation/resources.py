"""What there is of a simulated process at one moment, as its world sees it: tasks, timers, links, threads, files.

It is counted when an engine has ended, and now and then at rest: every account has had its link for a while, nothing
is under way, and no fault lasts. What grows from rest to rest is left by what happened in between.
"""

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.simulation.evidence import ResourceCount, ResourceMoment

if TYPE_CHECKING:
    from tests.simulation.process import SimulatedProcess
    from tests.simulation.run import Run

POOLS: Final = ("AnyIO worker thread", "session writer")
"""How the threads of pools are named, which a process has for all its engines, and which wait for more work."""
OURS: Final = ("engine.", "states.", "adapters.", "telethon.")
DATACENTER: Final = "adapters.sandbox."
REST: Final = 60.0
"""Seconds for which nothing has happened at rest."""
EVERY: Final = 300.0
"""Seconds between two counts at rest."""
DESCRIPTORS: Final = Path("/proc/self/fd")


def note_baseline(run: "Run") -> None:
    """Count before there is any engine."""
    _note(run, 0, ResourceMoment.BASELINE, count(run, run.world.datacenter) | {"tasks": 0, "timers": 0, "links": 0})


def note_end(run: "Run", process: "SimulatedProcess", life: int) -> None:
    """Count what an engine that has ended by itself has left in its process."""
    _note(run, life, ResourceMoment.END, count(run, process))


def note_rest(run: "Run", *, last: bool = False) -> None:
    """Count, if the engine is at rest; what it holds in memory only the first time and the ``last``."""
    process, life = run.process, run.ledger.life
    if process is None or not is_at_rest(run):
        return
    before = [each for each in run.ledger.evidence.resources if each.life == life]
    if before and not last and run.ledger.now < before[-1].at + EVERY:
        return
    counts = count(run, process)
    if last or not before:
        counts["objects"] = count_objects()
    _note(run, life, ResourceMoment.RUNNING, counts)


def is_at_rest(run: "Run") -> bool:
    """Return whether nothing has happened for a while, and every account of the engine has its link."""
    evidence, now, life = run.ledger.evidence, run.ledger.now, run.ledger.life
    if run.stopping or any(each.ended is None for each in evidence.faults):
        return False
    linked = {
        link.port for link in run.world.network.links.values() if not link.client.closing and link.began < now - REST
    }
    if not linked.issuperset(run.ports.values()) or (evidence.requests and evidence.requests[-1].at > now - REST / 3):
        return False
    work = (*evidence.hearings[-50:], *evidence.attempts[-50:])
    return not any(each.ended is None and each.life == life for each in work)


def count(run: "Run", process: "SimulatedProcess") -> dict[str, int]:
    """Return how many there are of each kind. Tasks that the world has begun in the process do not count."""
    world = run.world
    links = [each.client for each in world.network.links.values() if each.client.process is process]
    threads = [each.name for each in world.threads.strands if each.process == process.name]
    counts = {
        "tasks": sum(task.get_name() != process.name for task in world.tasks_of(process)),
        "timers": len(world.loop.timers_of(process)),
        "links": sum(not end.closing for end in links),
        "sockets": len(world.sockets.of(process)),
        "threads": sum(not name.startswith(POOLS) for name in threads),
    }
    if DESCRIPTORS.is_dir():
        counts["descriptors"] = sum(_is_open_on(world.directory, each) for each in os.listdir(DESCRIPTORS))
    return counts


def _is_open_on(directory: Path, number: str) -> bool:
    """Return whether a descriptor is of a file that a process of now has; those of dead ones are deleted."""
    try:
        path = os.readlink(DESCRIPTORS / number)
    except OSError:
        return False  # that of the listing itself
    return path.startswith(f"{directory}/") and not path.endswith(" (deleted)")


def count_objects() -> int:
    """Return how many objects of the engine's classes there are, apart from those that nobody can reach."""
    gc.collect()
    modules = [type(each).__module__ for each in gc.get_objects()]
    names = [each for each in modules if isinstance(each, str)]
    return sum(each.startswith(OURS) and not each.startswith(DATACENTER) for each in names)


def _note(run: "Run", life: int, moment: ResourceMoment, counts: dict[str, int]) -> None:
    run.ledger.evidence.resources.append(ResourceCount(at=run.ledger.now, life=life, moment=moment, counts=counts))
