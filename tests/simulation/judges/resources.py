"""Resources: what an engine has when nothing happens does not grow, and nothing is left when it has ended."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from tests.simulation.evidence import EngineLife, Evidence, ResourceMoment, Verdict
from tests.simulation.judges.shared import active, faults_of, grouped

LEFT = "nothing is left behind"
OBJECTS_FACTOR, OBJECTS_SPARE = 1.2, 500
"""How many more objects than at the baseline there may be: caches fill up."""
SPARE: Final[Mapping[str, int]] = {"timers": 3, "descriptors": 4}
"""How many more there may be at a later rest: a wait that is over soon, a file that is opened when it is needed."""
RESTS: Final = 3
"""Of so many counts in a row the highest is what was there at first, and the lowest what is there at last."""


def nothing_is_left(evidence: Evidence) -> Iterator[Verdict]:
    """After each life there are as many tasks, timers, links, files, threads and objects as at the baseline.

    And while it runs no more at rest than when it was at rest first.
    """
    baseline: dict[str, int] = defaultdict(int)
    for count in evidence.resources:
        if count.moment is ResourceMoment.BASELINE:
            for kind, number in count.counts.items():
                baseline[kind] = max(baseline[kind], number)
    lives: dict[int, EngineLife] = {life.number: life for life in evidence.lives}
    for count in evidence.resources:
        if count.moment is not ResourceMoment.END:
            continue
        for kind, number in sorted(count.counts.items()):
            if kind not in baseline or (kind == "descriptors" and _is_locked(evidence, count.at)):
                continue
            most = _most_objects(baseline[kind]) if kind == "objects" else baseline[kind]
            if number > most:
                life = lives.get(count.life)
                how = life.ending.value if life is not None else "over"
                what = f"life {count.life} ({how}) left {number} {kind}; {most} are the most"
                yield Verdict(judge=LEFT, what=what, at=count.at)
    yield from _grown(evidence)


def _is_locked(evidence: Evidence, at: float) -> bool:
    """Return whether another program holds the database's lock, which is of the same real process here.

    SQLite keeps the descriptors of connections that were closed until no lock of its process is on the file.
    """
    return bool(active(faults_of(evidence, "disk.locked"), at, at))


def _grown(evidence: Evidence) -> Iterator[Verdict]:
    """Condemn what an engine has more of at its last rests than at its first ones."""
    running = [each for each in evidence.resources if each.moment is ResourceMoment.RUNNING]
    for rests in grouped(running, lambda each: str(each.life)).values():
        for kind in sorted({kind for each in rests for kind in each.counts}):
            counted = [each.counts[kind] for each in rests if kind in each.counts]
            few = 1 if kind == "objects" else RESTS
            if len(counted) < 2 * few:
                continue
            first, last = max(counted[:few]), min(counted[-few:])
            most = _most_objects(first) if kind == "objects" else first + SPARE.get(kind, 0)
            if last > most:
                what = f"life {rests[0].life} has {last} {kind} at rest, and had {first} at first"
                yield Verdict(judge=LEFT, what=what, at=rests[-1].at)


def _most_objects(before: int) -> int:
    return int(before * OBJECTS_FACTOR) + OBJECTS_SPARE
