"""What is counted while a simulation runs: per virtual second, per disturbance and, if asked for, per account."""

from array import array
from collections.abc import Sequence
from typing import Final

from attrs import define, field

from engine.simulate.account import SimulatedAccount
from engine.simulate.disturbances import Disturbance
from engine.simulate.ticks import TICKS
from states import Record, State

STATES = tuple(State)
AWAY: Final = -1
"""Stands for the time at which an account was back, while it is not."""


@define(eq=False)
class LostAccounts:
    """The accounts that a disturbance took their healthy link, each once, however often it did."""

    disturbance: Disturbance
    back: "array[int]" = field(factory=lambda: array("q"))
    """When each was back for the last time, in ticks; ``AWAY`` while it is not."""

    @property
    def count(self) -> int:
        """How many accounts there are."""
        return len(self.back)


@define(eq=False)
class SimulatedLife:
    """One account's way through the states, and what it tried. Times are Unix seconds."""

    spans: list[tuple[State, float]] = field(factory=list)
    """Each state that was entered, and when; the first is ``connecting``."""
    attempts: list[float] = field(factory=list)
    """When each attempt to connect began."""
    records: list[Record] = field(factory=list)
    """What the journal would have."""


@define(eq=False)
class Observed:
    """What has been seen so far."""

    accounts: int
    seconds: int
    """For how many virtual seconds there is room."""
    lost: Sequence[LostAccounts]
    begin: int
    """In Unix seconds."""
    lives: list[SimulatedLife] | None = None
    """One for each account, if they are kept."""
    counts: dict[State, int] = field(init=False)
    """How many accounts are in each state now."""
    attempts: "array[int]" = field(init=False)
    """Attempts that began, per second."""
    rows: "array[int]" = field(init=False)
    """Records of the journal, per second."""
    healthy: "array[int]" = field(init=False)
    """Healthy accounts at the end of each second so far."""
    at_once: "array[int]" = field(init=False)
    """The most attempts under way at a time, per second."""
    under_way: int = field(default=0, init=False)
    decisions: int = field(default=0, init=False)
    """How many decisions were made."""
    _healthy_ticks: int = field(default=0, init=False)
    """Ticks for which accounts were healthy, all together."""
    _since: int = field(default=0, init=False)
    _now_healthy: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.counts = dict.fromkeys(STATES, 0)
        self.counts[State.CONNECTING] = self.accounts
        for life in self.lives or ():
            life.spans.append((State.CONNECTING, float(self.begin)))
        zeros = array("L", bytes(array("L").itemsize * (self.seconds + 1)))
        self.attempts, self.rows, self.at_once = zeros, zeros[:], zeros[:]
        self.healthy = array("L")

    def attempt_begins(self, account: SimulatedAccount, at: int) -> None:
        """Count an attempt."""
        if self.lives is not None:
            self.lives[account.index].attempts.append(self.begin + at / TICKS)
        second = at // TICKS
        self.attempts[second] += 1
        self.under_way += 1
        self.at_once[second] = max(self.at_once[second], self.under_way)

    def moved(self, account: SimulatedAccount, before: State, after: State, at: int, by: int) -> None:
        """Note that an account went from one state to another; ``by`` is the disturbance that may be the reason."""
        self.counts[before] -= 1
        self.counts[after] += 1
        if self.lives is not None:
            self.lives[account.index].spans.append((after, self.begin + at / TICKS))
        if after is State.HEALTHY:
            self._count_until(at)
            self._now_healthy += 1
            if account.lost_by >= 0:
                self.lost[account.lost_by].back[account.lost_place] = at
        elif before is State.HEALTHY:
            self._count_until(at)
            self._now_healthy -= 1
            if by >= 0:
                self._lose(account, by)

    def _lose(self, account: SimulatedAccount, by: int) -> None:
        """Note that a disturbance took an account its link; the number ``by`` never becomes lower for an account."""
        back = self.lost[by].back
        if account.lost_by == by:
            back[account.lost_place] = AWAY
        else:
            account.lost_by, account.lost_place = by, len(back)
            back.append(AWAY)

    def finish(self, at: int) -> None:
        """Count up to the end."""
        self._count_until(at)
        if len(self.healthy) < self.seconds and at % TICKS:
            self.healthy.append(self._now_healthy)

    def availability(self, at: int) -> float:
        """Return the part of the time until ``at`` for which an account was healthy, on average; ``finish`` first."""
        return self._healthy_ticks / (self.accounts * at) if at else 0.0

    def _count_until(self, at: int) -> None:
        self._healthy_ticks += self._now_healthy * (at - self._since)
        self._since = at
        while len(self.healthy) < at // TICKS:
            self.healthy.append(self._now_healthy)
