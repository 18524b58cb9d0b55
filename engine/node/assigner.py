"""The assigner of a node: it takes free accounts and gives others away, as ``states.assignment`` plans.

It has a connection of its own, on which also deaths are declared: they may wait for others, and no beat waits for them.
An account is given away in a task of its own, link and jobs first, and its row is freed when nothing acts for it.
"""

import math
from collections.abc import Awaitable, Collection
from enum import Enum, auto
from typing import Final, TypeVar

import anyio
import structlog
from anyio.abc import TaskGroup
from attrs import define, field

from engine.node.holder import LeaseHolder
from engine.node.ports import LeaseClock, NodeStore, NodeWork, StoreLine, StoreSilent
from states.assignment import choose_surplus, count_surplus, has_claims, plan_claims
from states.lease import Claim, begin_claim, claim_counts

T = TypeVar("T")

JOIN_DELAY: Final = 3.0
"""Seconds of a life in which it claims nothing: without them the first of four nodes took half of all accounts."""
STAGGER: Final = 3.0
"""Seconds from one account that is given away because of an imbalance to the next."""
LOOK_EVERY: Final = 30.0
"""Seconds between two looks at the balance, which count all accounts of the store."""
AT_ONCE: Final = 32
"""How many accounts a draining node gives away at a time."""

log = structlog.get_logger("holdfast.node")


class _Drain(Enum):
    """What was told last of a request to give all accounts away."""

    NONE = auto()
    GIVING = auto()
    EMPTY = auto()


@define(eq=False)
class Assigner:
    """Takes and gives away accounts for a holder; ``run`` it beside the holder's."""

    store: NodeStore
    work: NodeWork
    holder: LeaseHolder
    clock: LeaseClock
    join_delay: float = JOIN_DELAY
    stagger: float = STAGGER
    _giving: set[str] = field(factory=set, init=False)
    """Accounts that are being given away, or whose rows are to be freed."""
    _given: list[tuple[int, dict[str, int]]] = field(factory=list, init=False)
    """Lives, and accounts of them with their epochs for which nothing acts any more: their rows are to be freed."""
    _broken_off: dict[str, int] = field(factory=dict, init=False)
    """Accounts, with their epochs, that may be closed although an error kept them from being given away."""
    _look_at: float = field(default=-math.inf, init=False)
    """When to look at the balance next, by the node's clock."""
    _others: frozenset[int] = field(default=frozenset(), init=False)
    """The other lives of the last beat: one that is new gets its share soon."""
    _told: _Drain = field(default=_Drain.NONE, init=False)
    _tasks: TaskGroup = field(init=False)

    async def run(self) -> None:
        """Follow the holder's beats until cancelled."""
        line: StoreLine | None = None
        try:
            async with anyio.create_task_group() as self._tasks:
                while True:
                    beat = self.holder.confirmed.upcoming
                    try:
                        line = line or await self.store.connect()
                        await self._turn(line)
                    except StoreSilent as exc:
                        log.info("node_assignment_waits", detail=str(exc))
                        if line is not None:
                            line.close()
                        line = None
                    await self._wait(beat)
        finally:
            if line is not None:
                line.close()

    async def _wait(self, beat: anyio.Event) -> None:
        """Wait for the next beat, or until something can be done before it."""
        joined = self.holder.began + self.join_delay
        now = self.clock.now()
        soonest = min((each for each in (joined, self._look_at) if each > now), default=math.inf)
        with anyio.move_on_after(soonest - now):
            await beat.wait()

    async def _turn(self, line: StoreLine) -> None:
        """Do what there is to do. Raises ``StoreSilent``."""
        holder = self.holder
        report, life = holder.report, holder.hold.life
        await self._free(line)
        if report is None or not holder.may_act:
            return
        died = await self._within(holder.watcher.tell(line))
        if holder.has_unknown:
            await self._return_unknown(line, life)
        if holder.hold.leaving:
            return
        self._give_again(life)
        self._tell_drain(report.draining)
        if report.draining:
            self._give(life, holder.accounts.keys())
            return
        if report.has_moves:
            self._give(life, await self._within(line.moving(life)))
        others = frozenset(report.others)
        if others - self._others:
            self._look_at = min(self._look_at, self.clock.now() + self.join_delay)
        self._others = others
        if died or report.has_free:
            await self._claim(line)
        elif self.clock.now() >= self._look_at:
            await self._balance(line, life)

    async def _within(self, answer: Awaitable[T]) -> T:
        """Await an answer for as long as it could be of use. Raises ``StoreSilent``."""
        limit = self.holder.times.stop_after
        with anyio.move_on_after(limit):
            return await answer
        raise StoreSilent(f"the store has not answered within {limit:g} s")

    # --- taking ---

    async def _claim(self, line: StoreLine) -> None:
        """Claim what the plan says, once all that began with this node can be seen."""
        holder = self.holder
        if self.clock.now() < holder.began + self.join_delay or self._begin() is None:
            return
        await self._within(line.free_accounts_of_the_dead())
        nodes, groups = await self._within(line.living()), await self._within(line.groups())
        plan = plan_claims(nodes, groups, holder.hold.life)
        for hosts, count in (await self._within(line.awaited(holder.hold.life))).items():
            plan[hosts] = max(plan.get(hosts, 0), count)  # somebody wants them to be here, whatever the plan
        claim = self._begin()
        if not plan or claim is None:
            return
        claimed = await self._within(line.claim(claim.life, claim.server, plan))
        watch = holder.watcher.watch
        if holder.hold.leaving or not claim_counts(claim, holder.hold, watch, self.clock.now(), holder.times):
            return  # the next beat tells of them, if they are this life's still
        for each in claimed:
            holder.accounts[each.name] = each.epoch
            self.work.take(each.name, each.epoch, each.last_host)
        if claimed:
            holder.counts.claimed += len(claimed)
            log.info("node_accounts_claimed", count=len(claimed), accounts=len(holder.accounts))

    def _begin(self) -> Claim | None:
        holder = self.holder
        return begin_claim(holder.hold, holder.watcher.watch, self.clock.now(), holder.times)

    async def _return_unknown(self, line: StoreLine, life: int) -> None:
        """Free what the store says is this life's and nobody here acts for: claims whose answers were of no use.

        No claim is under way, for this task makes them all.
        """
        owned = await self._within(line.owned(life))
        known = self.holder.accounts.keys() | self._giving
        unknown = {name: epoch for name, epoch in owned.items() if name not in known}
        if unknown and life == self.holder.hold.life:
            await self._within(line.release(life, unknown))
        self.holder.has_unknown = False

    # --- giving away ---

    def _tell_drain(self, draining: bool) -> None:
        """Log that the node is asked to have no accounts, that it has none, and that it takes accounts again."""
        has = len(self.holder.accounts) + len(self._given)
        now = (_Drain.GIVING if has else _Drain.EMPTY) if draining else _Drain.NONE
        if now is self._told:
            return
        if now is _Drain.GIVING:
            log.warning("node_draining", accounts=len(self.holder.accounts))
        elif now is _Drain.EMPTY:
            log.info("node_drained")
        elif self._told is not _Drain.NONE:
            log.info("node_resumed")
        self._told = now

    async def _balance(self, line: StoreLine, life: int) -> None:
        """Give an account away if the node has too many, or some that stay on this host."""
        nodes, groups = await self._within(line.living()), await self._within(line.groups())
        hosts = choose_surplus(nodes, groups, life)
        moving = hosts is not None or has_claims(nodes, groups)
        self._look_at = self.clock.now() + (self.stagger if moving else LOOK_EVERY)
        if hosts is not None and not self._giving:
            names, busy = self.work.idle(hosts)[: count_surplus(nodes, groups, life, hosts)], self.work.busy()
            self._give(life, [*names[:1], *(name for name in names[1:] if name not in busy)])

    def _give(self, life: int, names: Collection[str]) -> None:
        """Begin to give accounts away, some at a time."""
        wanted = [name for name in names if name in self.holder.accounts and name not in self._giving]
        if wanted:
            self._giving.update(wanted)
            self._tasks.start_soon(self._give_up, life, wanted, name="node: gives accounts up")

    def _give_again(self, life: int) -> None:
        """Give accounts away once more whose giving was broken off: nobody else would run them."""
        broken_off, self._broken_off = self._broken_off, {}
        self._give(life, [name for name, epoch in broken_off.items() if self.holder.accounts.get(name) == epoch])

    async def _give_up(self, life: int, names: list[str]) -> None:
        left, epochs = list(names), dict[str, int]()
        try:
            while left:
                some = left[:AT_ONCE]
                epochs = {name: self.holder.accounts[name] for name in some if name in self.holder.accounts}
                if self.holder.hold.life == life and epochs:
                    await self.work.give_up(epochs.keys())
                given = {name: epoch for name, epoch in epochs.items() if self.holder.accounts.get(name) == epoch}
                if given:  # otherwise the life has lost them in the meantime
                    self.holder.forget(given)
                    self._given.append((life, given))
                self._giving.difference_update(set(some) - given.keys())
                del left[:AT_ONCE]
                self.holder.confirmed.notify()
        finally:
            if left:  # an error, in this task or another one
                self._giving.difference_update(left)
                self._broken_off |= epochs

    async def _free(self, line: StoreLine) -> None:
        """Free the rows of accounts that were given up."""
        while self._given:
            life, given = self._given[0]
            await self._within(line.release(life, given))
            del self._given[0]
            self._giving -= given.keys()
            self.holder.counts.given_up += len(given)
            log.info("node_accounts_given_up", count=len(given), accounts=len(self.holder.accounts))
