"""``Ranking``: all accounts in the order of the live table, kept as they change."""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from attrs import define, field

from engine.console.account_status import AccountStatus, Statuses, status_of
from engine.console.status import Severity, severity_of
from states.names import name_key


@define(eq=False)
class Ranking:
    """Accounts, worst first, and how many are in each state.

    Only what has changed is ranked again (``update``), and only the first accounts are looked at: the live table shows
    a few lines, up to four times a second, of what may be ten thousand accounts.
    """

    names: Iterable[str]
    """The accounts that there may be; each is in the ranking from its first ``update`` on."""
    status: Callable[[str], AccountStatus]
    states: Counter[str] = field(factory=Counter, init=False)
    """How many accounts are in each state, ``paused`` and ``unknown`` included."""
    updates: int = field(default=0, init=False)
    """How often an account was ranked, by which the table knows that there is something to draw."""
    roster: int = field(default=0, init=False)
    """How often an account has come or gone."""
    _ordered: list[str] = field(init=False)
    _places: dict[str, int] = field(init=False)
    """The place of each account in the order of the names."""
    _groups: dict[Severity, list[int]] = field(factory=dict, init=False)
    """The places of the accounts that are equally bad, in order."""
    _new: dict[str, None] = field(factory=dict, init=False)
    """Accounts that have come since the ranking was last looked at."""
    _found: dict[str, tuple[Severity, str]] = field(factory=dict, init=False)
    """Where each account is in this ranking: its group, and its state."""

    def __attrs_post_init__(self) -> None:
        self._order(self.names)

    def _order(self, names: Iterable[str]) -> None:
        self._ordered = sorted(names, key=name_key)
        self._places = {name: place for place, name in enumerate(self._ordered)}

    @classmethod
    def of(cls, statuses: Statuses) -> "Ranking":
        """Return the ranking of accounts that do not change."""
        ranking = cls(statuses, lambda name: status_of(statuses[name]))
        for name in statuses:
            ranking.update(name)
        return ranking

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def __len__(self) -> int:
        return len(self._found)

    def update(self, name: str) -> None:
        """Rank an account where it is now; one that has come is in the ranking when it is next looked at."""
        self.updates += 1
        if name not in self._places:
            self._new[name] = None
            return
        at = self.status(name)
        found = severity_of(at), at.state
        before = self._found.get(name)
        if found == before:
            return
        place = self._places[name]
        if before is None:
            self.roster += 1
        else:
            group = self._groups[before[0]]
            del group[bisect_left(group, place)]
            self.states[before[1]] -= 1
        self._found[name] = found
        insort(self._groups.setdefault(found[0], []), place)
        self.states[found[1]] += 1

    def discard(self, name: str) -> None:
        """Have an account no more."""
        self.updates += 1
        self._new.pop(name, None)
        if (before := self._found.pop(name, None)) is not None:
            self.roster += 1
            group = self._groups[before[0]]
            del group[bisect_left(group, self._places[name])]
            self.states[before[1]] -= 1

    def _take_in(self) -> None:
        """Give the accounts that have come their places among the others: all at once, because each moves many."""
        if not self._new:
            return
        new, self._new = self._new, {}
        self._order({*self._ordered, *new})
        self._groups = {}
        for name, (severity, _) in self._found.items():
            self._groups.setdefault(severity, []).append(self._places[name])
        for group in self._groups.values():
            group.sort()
        for name in new:
            self.update(name)

    @property
    def needing(self) -> int:
        """How many accounts need a person."""
        self._take_in()
        return sum(len(places) for (calm, _, _), places in self._groups.items() if not calm)

    def ordered(self) -> Iterator[tuple[str, str]]:
        """Yield all accounts in order, each with its state, ``paused`` or ``unknown``."""
        self._take_in()
        for group in sorted(self._groups):
            for place in self._groups[group]:
                name = self._ordered[place]
                yield name, self._found[name][1]

    def first(self, count: int) -> list[tuple[str, AccountStatus]]:
        """Return the first accounts, at most so many, and where each is."""
        self._take_in()
        names = (self._ordered[place] for group in sorted(self._groups) for place in self._groups[group])
        return [(name, self.status(name)) for name in islice(names, count)]
