"""The arrows of a drawing: the rules that change the state, with like ones merged."""

from collections import defaultdict
from collections.abc import Iterator

from attrs import frozen

from engine.diagram.words import RANK, event_names
from states import ROWS, Row, State
from states.machine import by_pair
from states.rules import ALIVE, ATTEMPT

ORDER = {state: number for number, state in enumerate(State)}
SHARING = (ALIVE, ATTEMPT)
"""Groups of states that may share an arrow, the largest first."""

Pair = tuple[State, State]
"""Source and target of a transition."""


@frozen
class ArrowLabel:
    """Rules with the same guard and effects: ``event, event [guard] / effect, effect``."""

    events: tuple[str, ...]
    guard: str | None
    effects: tuple[str, ...]

    @property
    def cause(self) -> str:
        """The events that trigger the rules, and their guard."""
        return ", ".join(event_names(self.events)) + (f" [{self.guard}]" if self.guard else "")

    @property
    def does(self) -> str:
        """The effects; empty if there are none."""
        return f"/ {', '.join(self.effects)}" if self.effects else ""


@frozen
class Arrow:
    """All transitions to one state from another, or from several whose rules are alike."""

    sources: tuple[State, ...]
    target: State
    lines: tuple[ArrowLabel, ...]

    @property
    def pairs(self) -> frozenset[Pair]:
        """Source and target of each transition."""
        return frozenset((source, self.target) for source in self.sources)


def _merge_rows(rows: list[Row]) -> tuple[ArrowLabel, ...]:
    """Return the lines of one arrow, sorted by their first event; for the same event, in the order of its guards."""
    tried = {row: place for group in by_pair(ROWS).values() for place, row in enumerate(group)}
    alike: dict[tuple[str | None, tuple[str, ...]], list[Row]] = defaultdict(list)
    for row in rows:
        alike[row.guard, tuple(effect.__name__ for effect in row.does)].append(row)
    found = []
    for (guard, effects), members in alike.items():
        events = tuple(sorted((row.event.__name__ for row in members), key=RANK.__getitem__))
        first = next(row for row in members if row.event.__name__ == events[0])
        found.append((RANK[events[0]], tried[first], ArrowLabel(events, guard, effects)))
    return tuple(line for _, _, line in sorted(found, key=lambda item: item[:2]))


def _pop_shared(transitions: dict[Pair, tuple[ArrowLabel, ...]]) -> Iterator[Arrow]:
    """Yield the arrows that several states share, and remove them from ``transitions``."""
    for sources in SHARING:
        for target in State:
            labels = {transitions.get((source, target)) for source in sources}
            # A frame cannot point at a state inside it.
            if target in sources or len(labels) != 1 or (lines := labels.pop()) is None:
                continue
            for source in sources:
                del transitions[source, target]
            yield Arrow(sources, target, lines)


def build_arrows() -> list[Arrow]:
    """Return all arrows, sorted by their states; every rule that changes the state is in exactly one."""
    rows: dict[Pair, list[Row]] = defaultdict(list)
    for row in ROWS:
        if row.target is not None:
            rows[row.source, row.target].append(row)
    transitions = {pair: _merge_rows(members) for pair, members in rows.items()}
    shared = list(_pop_shared(transitions))
    single = [Arrow((source,), target, lines) for (source, target), lines in transitions.items()]
    return sorted(
        shared + single, key=lambda arrow: (ORDER[arrow.sources[0]], -len(arrow.sources), ORDER[arrow.target])
    )
