"""What an engine does so that others can work off the same jobs: nothing where the store is its own alone.

Other engines put jobs back that a dead one had, wait for the limits that one of them has met in a chat, and count the
running jobs of a limited kind together. An account that comes from another engine has places taken in its budgets.
"""

from collections.abc import Collection
from typing import Final

from attrs import define, field

from engine.fleet.ports import Clock
from engine.work.chat_holds import ChatHolds
from engine.work.pace import Pace
from engine.work.ports import JobStorage
from states.jobs import Job

PLACE_SECONDS: Final = 1.0
"""How long no job of a kind begins after all its places were taken: other engines do not say when one is free."""
WHY: Final = "its node ended under it"


@define(eq=False)
class SharedWork:
    """Keeps what an engine has in memory of its work in step with what others have stored."""

    store: JobStorage
    pace: Pace
    chats: ChatHolds
    clock: Clock
    _charged: set[str] = field(factory=set, init=False)
    """The accounts whose places in budgets are in memory."""

    @property
    def is_shared(self) -> bool:
        """Whether other engines have the same store."""
        return self.store.claims is not None

    async def catch_up(self, accounts: Collection[str]) -> None:
        """Learn what other engines have stored; ``accounts`` are this one's. Call it before the queues are read."""
        if not self.is_shared:
            return
        await self.store.recover(WHY)
        now = self.clock.now()
        self.chats.restore(await self.store.waiting_held(now))
        arrived = set(accounts) - self._charged
        if arrived:
            charges = await self.store.charges(now)
            self.pace.forget(arrived)
            self.pace.restore(charge for charge in charges if charge[1] in arrived)
        self._charged = set(accounts)

    async def has_place(self, job: Job) -> bool:
        """Return whether a job has a place under the limit that its kind has among all engines, if it has one."""
        at_once = self.pace.policy.of(job.kind).at_once
        if at_once is None or await self.store.take_place(job, at_once):
            return True
        self.pace.pause(job.kind, self.clock.now() + PLACE_SECONDS)
        return False
