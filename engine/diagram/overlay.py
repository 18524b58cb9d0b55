"""What really happened, to be drawn over the machine."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from statistics import median

from attrs import field, frozen

from engine.console.format import seconds
from engine.diagram.arrows import Arrow, Pair
from states import ROWS, Entry, State

PATH_STEPS = 5
"""So many of the last changes of state are the path that is marked."""

_MOVES = frozenset(row.name for row in ROWS if row.target is not None)


@frozen(kw_only=True)
class Heat:
    """How often each way was taken, and how long accounts stayed in each state (median, seconds)."""

    taken: Mapping[Pair, int]
    dwells: Mapping[State, float]

    def of(self, arrow: Arrow) -> int:
        """Return how often an arrow was taken."""
        return sum(self.taken.get(pair, 0) for pair in arrow.pairs)


@frozen(kw_only=True)
class Overlay:
    """What is drawn over the machine; an empty one draws the machine alone."""

    title: str = ""
    current: State | None = None
    path: tuple[Pair, ...] = ()
    heat: Heat | None = None

    def on_path(self, arrow: Arrow) -> bool:
        """Return whether the path took an arrow."""
        return not arrow.pairs.isdisjoint(self.path)

    def remarks(self, state: State) -> list[str]:
        """Return what to write into a state."""
        found = ["● now here"] if state is self.current else []
        if self.heat and state in self.heat.dwells:
            found.append(f"stayed {seconds(self.heat.dwells[state])} (median)")
        return found

    def remark(self, arrow: Arrow) -> str:
        """Return what to write on an arrow; empty if nothing is known."""
        if self.heat is None:
            return ""
        count = self.heat.of(arrow)
        return f"{count}×" if count else "never taken"


PLAIN = Overlay()


@frozen
class ObservedPaths:
    """What a journal tells: the ways and the stays, from the oldest entry to the newest."""

    path: deque[Pair] = field(factory=lambda: deque(maxlen=PATH_STEPS))
    taken: Counter[Pair] = field(factory=Counter)
    stays: defaultdict[State, list[float]] = field(factory=lambda: defaultdict(list))

    @property
    def heat(self) -> Heat:
        """Counts and medians."""
        return Heat(taken=self.taken, dwells={state: median(stays) for state, stays in self.stays.items()})


def look(entries: Iterable[Entry]) -> ObservedPaths:
    """Return what entries tell, which are to come oldest first."""
    seen = ObservedPaths()
    for entry in entries:
        # A rule may lead from a state to itself, which is a change as well: the visit of the state is another one.
        if entry.source is entry.target and entry.rule not in _MOVES:
            continue
        way = (entry.source, entry.target)
        seen.path.append(way)
        seen.taken[way] += 1
        seen.stays[entry.source].append(entry.dwell)
    return seen
