"""Goes to every world that can be reached, and says what it found."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from attrs import define, field, frozen

from engine.verify.lease.node import LeaseLaw
from engine.verify.lease.tables import NONE
from engine.verify.lease.world import LeaseWorld, World
from states.lease import LeaseTimes

TIMES: Final = LeaseTimes(beat_every=1, answer_within=1, stop_after=3, death_after=4, lease=5)
"""In ticks. With smaller numbers a deadline that is counted from the answer would not be found: the longest that an
answer can take is ``stop_after`` less a tick, and that and ``death_after`` together must exceed ``lease``."""
AT_ONCE: Final = LeaseLaw(times=TIMES, patience=0)
"""No answer takes time."""
PATIENT: Final = LeaseLaw(times=TIMES, patience=2)
"""An answer to a beat may take 2 ticks."""
NEVER_TWO: Final = "never two owners that may send"
ALWAYS_ONE: Final = "always eventually one owner"
SLOW: Final = frozenset({0})


@frozen
class LeaseFinding:
    """A property that does not hold, and a shortest path to where it fails."""

    property: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        steps = "\n".join(f"  {number}. {text}" for number, text in enumerate(self.path, 1))
        return f"{self.property}: {len(self.path)} steps\n{steps}"


@define
class LeaseReport:
    """What an exploration covered, and what it found."""

    configurations: int = 0
    moves: int = 0
    finding: LeaseFinding | None = None
    happened: set[str] = field(factory=set)
    """What happened, without the numbers of nodes."""
    whole: bool = True
    """Whether it went everywhere."""


def explore_leases(world: LeaseWorld, *, limit: int | None = None, silent: bool = False) -> LeaseReport:
    """Explore a world breadth first, up to ``limit`` configurations or the first finding.

    With ``silent`` one owner is to be found also if any one of the nodes is stopped for ever.
    """
    report = LeaseReport()
    first = world.canonical(world.first())
    before: dict[World, World | None] = {first: None}
    queue = deque([first])
    while queue:
        if limit is not None and len(before) >= limit:
            report.whole = False
            break
        at = queue.popleft()
        for what, after in world.successors(at):
            report.moves += 1
            report.happened.add(what)
            found = world.canonical(after)
            if found in before:
                continue
            before[found] = at
            if world.workers(found) > 1:
                report.configurations = len(before)
                report.finding = LeaseFinding(NEVER_TWO, _path(world, before, found))
                return report
            queue.append(found)
    report.configurations = len(before)
    for stopped in (NONE, *(range(world.nodes) if silent else ())):
        if (stuck := _without_owner(world, before, stopped)) is not None:
            end = f"nothing goes wrong any more{'' if stopped == NONE else f', but {stopped} is stopped for ever'}"
            report.finding = LeaseFinding(ALWAYS_ONE, (*_path(world, before, stuck), end))
            return report
    return report


def _without_owner(world: LeaseWorld, reached: Mapping[World, object], silent: int) -> World | None:
    """Return a world from which no node ever works, though nothing goes wrong any more; None if there is none."""
    good: set[World] = set()
    for start in reached:
        trail: dict[World, None] = {}
        at: World | None = start
        while at is not None and at not in good:
            if at in trail:
                return start
            trail[at] = None
            at = world.benign(at, silent)
            if at is not None and silent == NONE:
                at = world.canonical(at)
        good.update(trail)
    return None


def _path(world: LeaseWorld, before: Mapping[World, World | None], last: World) -> tuple[str, ...]:
    """Return the steps to a world, in which each node keeps its name."""
    chain = [last]
    while (earlier := before[chain[-1]]) is not None:
        chain.append(earlier)
    at, steps = world.first(), []
    for wanted in reversed(chain[:-1]):
        what, at = next(each for each in world.successors(at) if world.canonical(each[1]) == wanted)
        steps.append(what)
    return tuple(steps)


@frozen(kw_only=True)
class LeaseCase:
    """A world to be explored, and how much of it."""

    name: str
    """What can happen in it."""
    world: LeaseWorld
    limit: int | None = None
    """How many configurations to explore; None is all."""
    silent: bool = True
    """Whether an owner is to be found also if a node is stopped for ever."""


def usual_cases() -> tuple[LeaseCase, ...]:
    """Return what is explored each time: one trouble after the other."""
    at_once, patient = AT_ONCE, PATIENT
    failover = LeaseWorld(law=at_once, failovers=1, forgets=1, lives=1)
    return (
        LeaseCase(name="a process is stopped", world=LeaseWorld(law=at_once, stops=1)),
        LeaseCase(name="a statement or an answer is late", world=LeaseWorld(law=patient, delays=1, lives=1)),
        LeaseCase(name="a clock is slow", world=LeaseWorld(law=at_once, slow=SLOW)),
        LeaseCase(name="the store fails over, and forgets a commit", world=failover),
        LeaseCase(name="nodes leave", world=LeaseWorld(law=at_once, leaves=True)),
        LeaseCase(name="beats are lost", world=LeaseWorld(law=at_once, nodes=3), limit=10_000, silent=False),
    )


def thorough_cases() -> tuple[LeaseCase, ...]:
    """Return what takes minutes: several troubles together, any number of times where that is finite, three nodes."""
    at_once, patient = AT_ONCE, PATIENT
    return (
        LeaseCase(name="processes are stopped", world=LeaseWorld(law=at_once, stops=None)),
        LeaseCase(name="a statement or an answer is late", world=LeaseWorld(law=patient, delays=1)),
        LeaseCase(
            name="a process is killed, and what it asked for is committed later",
            world=LeaseWorld(law=at_once, kills=1, lates=True),
        ),
        LeaseCase(
            name="the store fails over, and forgets two commits", world=LeaseWorld(law=at_once, failovers=1, forgets=2)
        ),
        LeaseCase(name="beats are lost", world=LeaseWorld(law=at_once, nodes=3), silent=False),
        LeaseCase(
            name="processes are stopped, and a clock is slow", world=LeaseWorld(law=at_once, stops=None, slow=SLOW)
        ),
        LeaseCase(
            name="processes are stopped, and nodes leave", world=LeaseWorld(law=at_once, stops=None, leaves=True)
        ),
        LeaseCase(
            name="the store fails over and forgets two commits, and a process is stopped",
            world=LeaseWorld(law=at_once, failovers=1, stops=1),
            silent=False,
        ),
        LeaseCase(
            name="two statements or answers are late",
            world=LeaseWorld(law=patient, delays=2),
            silent=False,
        ),
    )


def explore_cases(cases: Iterable[LeaseCase]) -> Iterator[tuple[LeaseCase, LeaseReport]]:
    """Explore one after the other."""
    for case in cases:
        yield case, explore_leases(case.world, limit=case.limit, silent=case.silent)
