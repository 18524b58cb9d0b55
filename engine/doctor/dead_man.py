"""The check of the dead-man timer, which ends a node at the end of its lease: nodes with a database need it."""

from collections.abc import Iterator

from adapters.system import DeadManUnusable, open_dead_man
from adapters.system.dead_man_process import ProcessDeadMan
from engine.config import Config
from engine.doctor.findings import Finding

NAME = "dead-man timer"


def check(config: Config) -> Iterator[Finding]:
    """Yield whether a process that is started as this one is would be ended at a deadline."""
    if config.storage.database is None:
        return
    try:
        timer = open_dead_man()
    except DeadManUnusable as exc:
        yield Finding(NAME, None, str(exc))  # a run may be started in another way
        return
    timer.close()
    who = "a process beside it" if isinstance(timer, ProcessDeadMan) else "the kernel"
    yield Finding(NAME, True, f"{who} ends a node at the end of its lease, whatever that is doing")
