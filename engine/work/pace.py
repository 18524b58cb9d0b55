"""Who may begin now: limits at once, budgets, hours and flood waits, as they stand in a running engine."""

import heapq
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime

from attrs import define, field

from states.pace import KindPolicy, WorkPolicy

Place = tuple[str, str]
"""A kind, and an account."""
WHEN_ONE_ENDS = math.inf
"""What ``Pace.opening`` returns when a job may begin only after another one has ended."""


@define(eq=False)
class Pace:
    """Keeps count, and answers when a job of a kind may begin with an account."""

    policy: WorkPolicy
    rng: random.Random
    _running: Counter[str | Place] = field(factory=Counter, init=False)
    """By kind, and by kind and account."""
    _charged: defaultdict[Place, list[float]] = field(factory=lambda: defaultdict(list), init=False)
    """When each place of a budget is free again: a heap."""
    _held: dict[Place, float] = field(factory=dict, init=False)

    def restore(self, charges: Iterable[tuple[str, str, float]]) -> None:
        """Take note of the places that are taken since before the start."""
        for charge in charges:
            self.charge(*charge)

    def begun(self, kind: str, account: str) -> None:
        """Count a job that runs."""
        self._running[kind] += 1
        self._running[kind, account] += 1

    def ended(self, kind: str, account: str) -> None:
        """Count it no more."""
        self._running[kind] -= 1
        self._running[kind, account] -= 1

    def taken_until(self, kind: str, now: float) -> float | None:
        """Return until when a job that begins now takes a place in its budget, or None where there is no budget."""
        budget = self.policy.of(kind).budget
        return None if budget is None else budget.taken_until(now, self.rng.random())

    def charge(self, kind: str, account: str, until: float) -> None:
        """Take a place in the budget of this kind with this account until then."""
        heapq.heappush(self._charged[kind, account], until)

    def hold(self, kind: str, account: str, until: float) -> None:
        """Begin no job of this kind with this account until then (Unix seconds)."""
        self._held[kind, account] = max(until, self._held.get((kind, account), 0.0))

    def opening(self, kind: str, account: str, now: float, *, paid: bool = False) -> float | None:
        """Return when to ask again (Unix seconds; ``WHEN_ONE_ENDS``: when one has ended), or None if it may begin now.

        ``paid``: the job's place in the budget has been taken already.
        """
        policy = self.policy.of(kind)
        if self._running[kind, account] >= policy.per_account:
            return WHEN_ONE_ENDS
        if policy.at_once is not None and self._running[kind] >= policy.at_once:
            return WHEN_ONE_ENDS
        held = self._held.get((kind, account), 0.0)
        if held > now:
            return held
        if policy.hours is None and policy.budget is None:
            return None
        return _hours(policy, now) or (None if paid else self._budget(policy, (kind, account), now))

    def _budget(self, policy: KindPolicy, place: Place, now: float) -> float | None:
        if policy.budget is None:
            return None
        charged = self._charged[place]
        while charged and charged[0] <= now:
            heapq.heappop(charged)
        # Of those that are taken, as many have to come back first as there are too many.
        surplus = len(charged) - policy.budget.at_most
        return None if surplus < 0 else heapq.nsmallest(surplus + 1, charged)[-1]


def _hours(policy: KindPolicy, now: float) -> float | None:
    if policy.hours is None:
        return None
    # A time of the wall without an offset: today's would be wrong after a night in which the clock is changed.
    opening = policy.hours.opening(datetime.fromtimestamp(now))
    return None if opening is None else opening.timestamp()
