"""One story in this process: its sources of chance and time are replaced before anything of Holdfast is imported."""

import json
from typing import TYPE_CHECKING

from tests.simulation import entropy
from tests.simulation.entropy import VirtualClock
from tests.simulation.thread_patches import install
from tests.simulation.threads import Scheduler

if TYPE_CHECKING:
    from tests.simulation.outcome import Outcome


def prepare() -> None:
    """Make this process one in which a run is repeatable; it may start again for that."""
    entropy.fix_hashes()


def run_text(text: str) -> "Outcome":
    """Run the story that a text is the dump of. Once in a process, which is good for nothing else afterwards."""
    seed = int(json.loads(text)["seed"])
    threads = Scheduler(seed)
    clock = VirtualClock(threads)
    install(threads, clocks=False)
    entropy.install(seed, clock)
    from tests.simulation.run import run  # only now
    from tests.simulation.story import Story

    return run(Story.load(text), clock, threads)
