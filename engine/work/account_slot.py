"""``AccountSlot``: an account, as far as work is concerned."""

import math

from attrs import define, field

from engine.work.handle import Run
from states.jobs import Job


@define(eq=False)
class AccountSlot:
    """The client that work may use with an account now, if any, and what runs with it."""

    name: str
    client: object | None = None
    rests_until: float = -math.inf
    """By the loop's clock."""
    runs: set[Run] = field(factory=set, init=False)

    def has_paid(self, job: Job) -> bool:
        """Say whether this attempt has its place in this account's budget; that it had one in another's is no help."""
        return job.paid == job.attempt and job.worker == self.name
