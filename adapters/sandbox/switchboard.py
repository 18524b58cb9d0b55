"""The switchboard: which faults stand, whom they hurt now, and how often each has acted."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import attrs

from adapters.sandbox.errors import SandboxError
from adapters.sandbox.faults import TRAITS, Fault, Point

MOST_STANDING_FAULTS: Final = 1000


@attrs.define
class _Standing:
    fault: Fault
    end: float
    left: int | None
    """How often it still acts; None when it is not counted."""


@attrs.define
class Switchboard:
    """The faults that stand now. The newest one acts when several could at one point."""

    _clock: Callable[[], float]
    acted: Counter[str] = attrs.field(factory=Counter)
    """How often each kind has acted at a point that can be counted."""
    _standing: list[_Standing] = attrs.field(factory=list)

    def add(self, fault: Fault) -> None:
        """Lets a fault stand until its time is over. Raises SandboxError when there are too many."""
        if not fault.stands:
            return
        if len(self.standing()) >= MOST_STANDING_FAULTS:
            raise SandboxError(f"{MOST_STANDING_FAULTS} faults stand already; clear some before adding another.")
        lasts = float("inf") if fault.duration is None else fault.duration
        self._standing.append(_Standing(fault, self._clock() + lasts, fault.limit))

    def clear(self, account: str | None) -> None:
        """Ends the faults of one account, or with None every fault."""
        self._standing = [entry for entry in self._standing if account is not None and entry.fault.account != account]

    def standing(self) -> list[Fault]:
        """The faults that are not over, oldest first."""
        return [entry.fault for entry in self._live()]

    def at(self, point: Point, account: str | None, request: str | None = None) -> Fault | None:
        """What hurts this account at this point, without counting it as an act; None when nothing does."""
        if not self._standing:
            return None
        for entry in reversed(self._live()):
            fault = entry.fault
            if TRAITS[fault.kind].point is point and fault.concerns(account) and fault.means(request):
                return fault
        return None

    def strike(self, point: Point, account: str | None, request: str | None = None) -> Fault | None:
        """As `at`, and the fault that is returned has acted once more."""
        fault = self.at(point, account, request)
        if fault is not None:
            self.count(fault)
        return fault

    def count(self, fault: Fault) -> None:
        """Notes that this fault has acted once, and ends it if that was the last time."""
        self.acted[fault.kind] += 1
        for entry in self._standing:
            if entry.fault is fault and entry.left is not None:
                entry.left -= 1

    def is_over(self, fault: Fault) -> bool:
        """Whether a fault that stood stands no longer."""
        return fault.stands and not any(entry.fault is fault for entry in self._live())

    def next_end(self) -> float | None:
        """When the next fault is over, on the switchboard's clock; None when none ends by itself."""
        ends = [entry.end for entry in self._standing if entry.end != float("inf")]
        return min(ends, default=None)

    def _live(self) -> list[_Standing]:
        if self._standing:
            now = self._clock()
            self._standing = [entry for entry in self._standing if entry.end > now and entry.left != 0]
        return self._standing
