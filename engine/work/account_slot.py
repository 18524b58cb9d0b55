"""``AccountSlot``: an account as the dispatcher sees it."""

import math

from attrs import define, field

from engine.work.handle import Run
from states.jobs import Job


@define(eq=False)
class AccountSlot:
    """The client of an account that work may use now, if there is one, and the jobs that run with it."""

    name: str
    client: object | None = None
    rests_until: float = -math.inf
    """When it may begin jobs again, by the loop's clock."""
    leaves: bool = field(default=False, init=False)
    """Whether it is in the config no more; it is forgotten when none of its jobs runs."""
    runs: list[Run] = field(factory=list, init=False)

    def has_paid(self, job: Job) -> bool:
        """Return whether this attempt has a place in this account's budget; one in another account's does not count."""
        return job.paid == job.attempt and job.worker == self.name
