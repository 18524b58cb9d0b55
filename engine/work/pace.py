"""When a job may begin: concurrency limits, budgets, hours and flood waits of a running engine."""

import heapq
import math
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime

from attrs import define, field

from states.clock import move_end
from states.pace import KindPolicy, WorkPolicy

KindAndAccount = tuple[str, str]
Place = tuple[float, float | None]
"""Until when a place is taken (Unix seconds), and for how long in all; None is not known."""
WHEN_ONE_ENDS = math.inf
"""What ``Pace.opening`` returns when a job may begin only after another one has ended."""


@define(eq=False)
class Pace:
    """Counts the running jobs and the budgets, and tells when a job of a kind may begin with an account."""

    policy: WorkPolicy
    rng: random.Random
    _running: Counter[str | KindAndAccount] = field(factory=Counter, init=False)
    """Running jobs by kind, and by kind and account."""
    _charged: defaultdict[KindAndAccount, list[Place]] = field(factory=lambda: defaultdict(list), init=False)
    """When each taken place of a budget becomes free, and how long it is taken in all, as a heap."""
    _held: dict[KindAndAccount, tuple[float, float | None]] = field(factory=dict, init=False)
    """Until when, and how long in all."""

    _paused: dict[str, float] = field(factory=dict, init=False)
    """Until when no job of a kind begins because other engines have all its places."""

    def restore(self, charges: Iterable[tuple[str, str, float, float | None]]) -> None:
        """Take over the places that were taken before this start."""
        for charge in charges:
            self.charge(*charge)

    def forget(self, accounts: Collection[str]) -> None:
        """Forget which places are taken in the budgets of these accounts: another engine may have taken more."""
        for key in [key for key in self._charged if key[1] in accounts]:
            del self._charged[key]

    def pause(self, kind: str, until: float) -> None:
        """Let no job of this kind begin before ``until`` (Unix seconds), with any account."""
        self._paused[kind] = until

    def move(self, shift: float, now: float) -> None:
        """Move all waits with a clock that was set by ``shift`` seconds and is now at ``now``."""
        for charged in self._charged.values():
            charged[:] = [(move_end(until, length, shift, now), length) for until, length in charged]
            heapq.heapify(charged)
        self._paused.clear()  # asked again
        for key, (until, length) in self._held.items():
            self._held[key] = move_end(until, length, shift, now), length

    def begun(self, kind: str, account: str) -> None:
        """Count a job that begins to run."""
        self._running[kind] += 1
        self._running[kind, account] += 1

    def ended(self, kind: str, account: str) -> None:
        """Count a job that has ended."""
        self._running[kind] -= 1
        self._running[kind, account] -= 1

    def taken_until(self, kind: str, now: float) -> float | None:
        """Return until when a job that begins now occupies a place in its budget; None if its kind has no budget."""
        budget = self.policy.of(kind).budget
        return None if budget is None else budget.taken_until(now, self.rng.random())

    def charge(self, kind: str, account: str, until: float, length: float | None = None) -> None:
        """Take a place in the budget of this kind and account until ``until`` (Unix seconds), ``length`` s in all."""
        heapq.heappush(self._charged[kind, account], (until, length))

    def hold(self, kind: str, account: str, until: float, length: float | None = None) -> None:
        """Let no job of this kind begin with this account before ``until`` (Unix seconds), ``length`` s in all."""
        held = self._held.get((kind, account))
        if held is None or until > held[0]:
            self._held[kind, account] = until, length

    def opening(self, kind: str, account: str, now: float, *, paid: bool = False) -> float | None:
        """Return None if a job may begin now, else when to ask again (Unix seconds, or ``WHEN_ONE_ENDS``).

        ``paid`` means that the job's place in the budget is taken already.
        """
        policy = self.policy.of(kind)
        if self._running[kind, account] >= policy.per_account:
            return WHEN_ONE_ENDS
        if policy.at_once is not None and self._running[kind] >= policy.at_once:
            return WHEN_ONE_ENDS
        held = max(self._held.get((kind, account), (0.0, None))[0], self._paused.get(kind, 0.0))
        if held > now:
            return held
        if policy.hours is None and policy.budget is None:
            return None
        return _hours(policy, now) or (None if paid else self._budget(policy, (kind, account), now))

    def _budget(self, policy: KindPolicy, key: KindAndAccount, now: float) -> float | None:
        if policy.budget is None:
            return None
        charged = self._charged[key]
        while charged and charged[0][0] <= now:
            heapq.heappop(charged)
        # With more places taken than the budget has now, that many must become free before one is available.
        surplus = len(charged) - policy.budget.at_most
        return None if surplus < 0 else heapq.nsmallest(surplus + 1, charged, key=lambda each: each[0])[-1][0]


def _hours(policy: KindPolicy, now: float) -> float | None:
    if policy.hours is None:
        return None
    # A local time without an offset: today's offset would be wrong after a night in which the clocks change.
    opening = policy.hours.opening(datetime.fromtimestamp(now))
    return None if opening is None else opening.timestamp()
