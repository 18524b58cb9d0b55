"""``LifeSigns``: whether the links of healthy accounts are still asked for signs of life.

While an account is healthy, the engine sends a ping every ``healthy.probe_every`` and an authorised request,
``updates.getState``, every ``healthy.prove_every``; an account that does not answer in time is healthy no longer. The
latter is what the datacenter goes on sending updates for. So updates come as long as this goes on, and an account that
is called healthy without it is one that the engine has lost sight of: its timer, its task or the reading of its link
stands still. Whether an update also reaches its handler is not measured here.
"""

import asyncio
from typing import Final

from attrs import define, field

from states import State, Step
from states.effects import ArmProbe, Probe

SLACK: Final = 90.0
"""Seconds beyond the time within which an account must decide something again."""
KEEP_SECONDS: Final = 1.0
"""How old a count may be. Counting goes through all accounts, and anybody may ask."""


@define(eq=False)
class LifeSigns:
    """An observer of all accounts. Times are the loop's, so that neither a set clock nor a suspended machine counts."""

    _due: dict[str, float] = field(factory=dict, init=False)
    """Until when each healthy account must ask for a sign of life, or have one, or be healthy no longer."""
    _overdue: int = field(default=0, init=False)
    _counted_at: float = field(default=float("-inf"), init=False)

    def observe(self, account: str, step: Step) -> None:
        """Take a decision of an account, also one that leaves no record."""
        if step.snapshot.state is not State.HEALTHY:
            self._due.pop(account, None)
            return
        for effect in step.effects:  # by what was decided, not by the policy: that may be another one by now
            if isinstance(effect, ArmProbe):
                self._due[account] = asyncio.get_running_loop().time() + effect.delay + SLACK
            elif isinstance(effect, Probe):
                self._due[account] = asyncio.get_running_loop().time() + effect.patience + SLACK

    def forget(self, account: str) -> None:
        """Forget an account that was removed."""
        self._due.pop(account, None)

    def count(self) -> tuple[int, int]:
        """Return how many accounts are healthy, as far as it was seen, and how many of them are overdue."""
        now = asyncio.get_running_loop().time()
        if now - self._counted_at > KEEP_SECONDS:
            self._overdue = sum(due < now for due in self._due.values())
            self._counted_at = now
        return len(self._due), min(self._overdue, len(self._due))
