"""The faults that are active now: which one hits an account at a point, and how often each kind has acted."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from attrs import define, field

from adapters.sandbox.errors import SandboxError
from adapters.sandbox.faults.fault import Fault
from adapters.sandbox.faults.kinds import FAULT_RULES, FaultPoint

MAX_ACTIVE_FAULTS: Final = 1000


@define
class _ActiveFault:
    fault: Fault
    end: float
    acts_left: int | None
    """How often it will still act; None when it is not counted."""


@define
class ActiveFaults:
    """The faults that are active now. Of several at one point the newest acts."""

    _clock: Callable[[], float]
    acted: Counter[str] = field(factory=Counter)
    """How often each kind has acted at a point that can be counted."""
    _active: list[_ActiveFault] = field(factory=list)

    def add(self, fault: Fault) -> None:
        """Keep a fault active until its time is over. Raises SandboxError when there are too many."""
        if not fault.persists:
            return
        if len(self.active()) >= MAX_ACTIVE_FAULTS:
            raise SandboxError(f"{MAX_ACTIVE_FAULTS} faults are active already; clear some before adding another.")
        lasts = float("inf") if fault.duration is None else fault.duration
        self._active.append(_ActiveFault(fault, self._clock() + lasts, fault.max_acts))

    def clear(self, account: str | None) -> None:
        """End the faults of one account, or with None every fault."""
        self._active = [entry for entry in self._active if account is not None and entry.fault.account != account]

    @property
    def none(self) -> bool:
        """Whether no fault is active, as far as it can be said without a look at the clock."""
        return not self._active

    def active(self) -> list[Fault]:
        """Return the faults that are not over, oldest first."""
        return [entry.fault for entry in self._unexpired()]

    def find(
        self, point: FaultPoint, account: str | None, request: str | None = None, channel: str | None = None
    ) -> Fault | None:
        """Return the fault that hits this account at this point, without counting an act; None if none does."""
        if not self._active:
            return None
        for entry in reversed(self._unexpired()):
            fault = entry.fault
            if (
                FAULT_RULES[fault.kind].point is point
                and fault.matches_account(account)
                and fault.matches_request(request)
                and fault.matches_channel(channel)
            ):
                return fault
        return None

    def trigger(
        self, point: FaultPoint, account: str | None, request: str | None = None, channel: str | None = None
    ) -> Fault | None:
        """Return the same fault as ``find``, and count one act of it."""
        fault = self.find(point, account, request, channel)
        if fault is not None:
            self.count(fault)
        return fault

    def count(self, fault: Fault) -> None:
        """Count one act of this fault, and end it if that was its last."""
        self.acted[fault.kind] += 1
        for entry in self._active:
            if entry.fault is fault and entry.acts_left is not None:
                entry.acts_left -= 1

    def is_over(self, fault: Fault) -> bool:
        """Return whether a fault that was active no longer is."""
        return fault.persists and not any(entry.fault is fault for entry in self._unexpired())

    def next_end(self) -> float | None:
        """Return when the next fault is over, on this object's clock; None when none ends by itself."""
        ends = [entry.end for entry in self._active if entry.end != float("inf")]
        return min(ends, default=None)

    def _unexpired(self) -> list[_ActiveFault]:
        if self._active:
            now = self._clock()
            self._active = [entry for entry in self._active if entry.end > now and entry.acts_left != 0]
        return self._active
