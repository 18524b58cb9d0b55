"""One story in this process: its sources of chance and time are replaced before anything of Holdfast is imported."""

import json
from typing import TYPE_CHECKING

from tests.simulation import entropy
from tests.simulation.entropy import VirtualClock
from tests.simulation.thread_patches import install
from tests.simulation.threads import Scheduler, scheduler_now, use

if TYPE_CHECKING:
    from tests.simulation.outcome import Outcome


def prepare() -> VirtualClock:
    """Make this process one in which a run is repeatable, with all that a run imports; it may start again for that."""
    entropy.fix_hashes()
    threads = Scheduler(0)
    clock = VirtualClock(threads)
    install(threads, clocks=False)
    entropy.install(clock)
    from adapters.sandbox.mtproto import datacenter_key

    datacenter_key.process_key()  # half a second, which a forked child need not spend
    return clock


def run_text(text: str, clock: VirtualClock) -> "Outcome":
    """Run the story that a text is the dump of. Once in a process, which is good for nothing else afterwards."""
    from tests.simulation.run import run
    from tests.simulation.story import Story

    seed = int(json.loads(text)["seed"])
    threads = Scheduler(seed)
    threads.fork_hooks = scheduler_now().fork_hooks
    use(threads)
    clock.threads = threads
    entropy.seed(seed)
    return run(Story.load(text), clock, threads)
