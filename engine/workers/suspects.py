"""Which accounts end the workers that have them: pure.

A worker that dies gives its accounts to the others. If one of its accounts is why it died (a message that a library in
C cannot bear, say), that account ends them in turn. Which one it is, no process lives to tell; but it was with each
worker that died. So when several have died one after another, half of what the last one had is withheld, and the rest
is on trial. If a worker dies that has some of it, half of that is on trial next. If workers live with it for long
enough, it is cleared, and more of what is withheld is on trial. An account whose worker died that had cleared ones
besides is guilty, and is withheld for longer. That finds any number of them.
"""

from collections.abc import Collection
from typing import Final

from attrs import define, evolve, field, frozen

DEATHS: Final = 4
"""So many deaths within ``WINDOW_SECONDS`` of workers with an account in common begin a search; accidents are fewer."""
WINDOW_SECONDS: Final = 120.0
LIVED_TIMES: Final = 2.0
"""Workers have to live with accounts for so many times as long as those lived that died."""
LEAST_PROOF: Final = 15.0
MOST_PROOF: Final = 180.0
MOST_WAIT: Final = 120.0
"""Seconds after which a trial begins though some of its accounts are with no worker: they may be paused elsewhere."""
MARGIN: Final = 60.0
"""Seconds beyond the next step for which accounts are withheld: they come back by themselves if the parent dies."""
FIRST_HOLD: Final = 600.0
LONGEST_HOLD: Final = 21_600.0


@frozen(kw_only=True)
class SearchStep:
    """What is to be done now."""

    withhold: frozenset[str] = frozenset()
    seconds: float = 0.0
    """For how long."""
    release: frozenset[str] = frozenset()
    guilty: str | None = None
    """An account that was found. It is to be withheld, too, for ``hold`` seconds."""
    hold: float = 0.0


NOTHING: Final = SearchStep()


@define
class Suspects:
    """The search of one parent."""

    searching: bool = field(default=False, init=False)
    """Whether ``look`` is to be called every few seconds."""
    trial: frozenset[str] = field(default=frozenset(), init=False)
    """The accounts that workers have on trial."""
    _rest: frozenset[str] = field(default=frozenset(), init=False)
    """With those on trial, they were with a worker that died; one of all these is guilty."""
    _cleared: frozenset[str] = field(default=frozenset(), init=False)
    """With these, workers have lived for long enough."""
    _guilty: frozenset[str] = field(default=frozenset(), init=False)
    """What was found in this search."""
    _others: list[frozenset[str]] = field(factory=list, init=False)
    """What is not known to have a guilty one, and is not cleared."""
    _deaths: list[tuple[float, float, frozenset[str]]] = field(factory=list, init=False)
    """When workers died, how long they had lived, and which accounts they had."""
    _proof: float = field(default=LEAST_PROOF, init=False)
    _released: float = field(default=0.0, init=False)
    """When the accounts on trial were released."""
    _since: float | None = field(default=None, init=False)
    """Since when workers have all of them; None if they do not."""
    _holds: dict[str, float] = field(factory=dict, init=False)
    """For how long each account was withheld last that was found."""

    @property
    def unknown(self) -> frozenset[str]:
        """The accounts that are withheld while others are on trial."""
        return self._rest.union(*self._others)

    def died(self, now: float, lived: float, owned: Collection[str]) -> SearchStep:
        """Note that a worker has died that had these accounts, and had lived for so many seconds."""
        accounts = frozenset(owned)
        if not accounts:
            return NOTHING
        if not self.searching:
            return self._first_step(now, lived, accounts)
        if accounts & self._guilty:
            return NOTHING  # it had not given that one up yet, or has just claimed it
        suspected = accounts - self._cleared
        if suspected:
            return self._convicted(now, suspected)
        step = SearchStep(release=self.unknown)  # it died of something else
        self._reset()
        return step

    def _convicted(self, now: float, suspected: frozenset[str]) -> SearchStep:
        """Go on after the death of a worker that had these accounts besides those that are cleared."""
        before = self.unknown
        groups = (*self._others, self._rest, self.trial)
        self._others = [left for each in groups if (left := each - suspected)]
        if len(suspected) > 1:
            return self._split(now, suspected, before)
        [guilty] = suspected
        self._guilty |= suspected
        hold = self._holds[guilty] = min(self._holds.get(guilty, FIRST_HOLD / 2) * 2, LONGEST_HOLD)
        self._rest = frozenset()
        return evolve(self._next(now, before), guilty=guilty, hold=hold)

    def look(self, now: float, owned: Collection[str]) -> SearchStep:
        """Go on with the search; ``owned`` are the accounts that nodes have."""
        if not self.searching:
            return NOTHING
        if self._since is None:
            if not self.trial <= frozenset(owned) and now - self._released < MOST_WAIT:
                return SearchStep(withhold=self.unknown, seconds=self._proof + MARGIN)
            self._since = now
        if now - self._since < self._proof:
            return NOTHING
        self._cleared |= self.trial.union(owned)
        return self._next(now, self.unknown)

    def _first_step(self, now: float, lived: float, accounts: frozenset[str]) -> SearchStep:
        recent = [each for each in self._deaths if now - each[0] <= WINDOW_SECONDS]
        self._deaths = [*recent, (now, lived, accounts)][-DEATHS:]
        if len(self._deaths) < DEATHS or not frozenset.intersection(*(each for _, _, each in self._deaths)):
            return NOTHING
        longest = max(lived for _, lived, _ in self._deaths)
        self._proof = min(max(LEAST_PROOF, LIVED_TIMES * longest), MOST_PROOF)
        self.searching = True
        return self._convicted(now, accounts)

    def _next(self, now: float, before: frozenset[str]) -> SearchStep:
        """Put more of what is withheld on trial; end the search if there is nothing."""
        if self._rest:
            return self._split(now, self._rest, before)
        if self._others:
            return self._try(now, self._others.pop(), frozenset(), before)
        self._reset()
        return SearchStep(release=before)

    def _split(self, now: float, accounts: frozenset[str], before: frozenset[str]) -> SearchStep:
        """Put half of some accounts on trial of which one is guilty."""
        half = frozenset(sorted(accounts)[: (len(accounts) + 1) // 2])
        return self._try(now, half, accounts - half, before)

    def _try(self, now: float, trial: frozenset[str], rest: frozenset[str], before: frozenset[str]) -> SearchStep:
        self.trial, self._rest, self._released, self._since = trial, rest, now, None
        return SearchStep(withhold=self.unknown, seconds=self._proof + MARGIN, release=before & trial)

    def _reset(self) -> None:
        self.searching, self._others, self._deaths = False, [], []
        self.trial = self._rest = self._cleared = self._guilty = frozenset()
