"""What really happened, to be drawn over the machine."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from statistics import median

from attrs import field, frozen

from engine.console.format import seconds
from engine.console.safe_text import one_line
from engine.diagram.arrows import Arrow, Pair
from states import ROWS, Entry, State

PATH_STEPS = 5
"""Number of the last transitions that are marked as the path."""

_MOVES = frozenset(row.name for row in ROWS if row.target is not None)


@frozen(kw_only=True)
class Heat:
    """How often each transition was taken, and how long accounts stayed in each state (median, seconds)."""

    taken: Mapping[Pair, int]
    dwells: Mapping[State, float]

    def count(self, arrow: Arrow) -> int:
        """Return how often an arrow was taken."""
        return sum(self.taken.get(pair, 0) for pair in arrow.pairs)


@frozen(kw_only=True)
class Overlay:
    """What is drawn over the machine; an empty overlay leaves the machine as it is."""

    title: str = field(default="", converter=one_line)
    """The heading, which may have an account's name."""
    current: State | None = None
    left: State | None = None
    """Where the account was when it was last known, if its state is not known now."""
    path: tuple[Pair, ...] = ()
    heat: Heat | None = None

    def on_path(self, arrow: Arrow) -> bool:
        """Return whether the path took an arrow."""
        return not arrow.pairs.isdisjoint(self.path)

    def remarks(self, state: State) -> list[str]:
        """Return the remarks in a state's box."""
        found = ["● now here"] if state is self.current else []
        if state is self.left:
            found.append("○ was last known here")
        if self.heat and state in self.heat.dwells:
            found.append(f"stayed {seconds(self.heat.dwells[state])} (median)")
        return found

    def remark(self, arrow: Arrow) -> str:
        """Return the remark on an arrow; empty without ``heat``."""
        if self.heat is None:
            return ""
        count = self.heat.count(arrow)
        return f"{count}×" if count else "never taken"


PLAIN = Overlay()


@frozen
class ObservedPaths:
    """The transitions and stays in a journal, from the oldest entry to the newest."""

    path: deque[Pair] = field(factory=lambda: deque(maxlen=PATH_STEPS))
    taken: Counter[Pair] = field(factory=Counter)
    stays: defaultdict[State, list[float]] = field(factory=lambda: defaultdict(list))

    @property
    def heat(self) -> Heat:
        """The counts of the transitions and the medians of the stays."""
        return Heat(taken=self.taken, dwells={state: median(stays) for state, stays in self.stays.items()})


def observe(entries: Iterable[Entry]) -> ObservedPaths:
    """Return the transitions and stays in ``entries``, which must be oldest first."""
    observed = ObservedPaths()
    for entry in entries:
        # A rule may lead from a state to itself. That is a transition as well, because a new visit begins.
        if entry.source is entry.target and entry.rule not in _MOVES:
            continue
        pair = (entry.source, entry.target)
        observed.path.append(pair)
        observed.taken[pair] += 1
        observed.stays[entry.source].append(entry.dwell)
    return observed
