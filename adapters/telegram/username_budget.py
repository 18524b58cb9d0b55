"""How many usernames an account may look up: Telegram allows about 200 a day, and then refuses for hours. Pure."""

from typing import Final

from attrs import define, field

DAY: Final = 86_400.0


@define(eq=False)
class LookupBudget:
    """The look-ups of one account in the last 24 hours, oldest first, at times of a clock that is never set."""

    times: list[float] = field(factory=list)

    def used(self, now: float) -> int:
        """Return how many look-ups count now."""
        while self.times and self.times[0] <= now - DAY:
            self.times.pop(0)
        return len(self.times)

    def free_at(self, now: float, per_day: int) -> float:
        """Return from when on another one is allowed; that is ``now`` unless the budget is used up."""
        used = self.used(now)
        return now if used < per_day else self.times[used - per_day] + DAY

    def charge(self, now: float) -> None:
        """Count a look-up that begins now."""
        self.times.append(now)
