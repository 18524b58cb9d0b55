"""The holder of a node's lease: it begins lives, beats, and lets nothing act for an account past the deadline.

What follows from what is decided by ``states.lease``; here it is carried out. Three things are apart on purpose:

- The beats have a connection of their own, so that nothing waits in front of them.
- The end of the links has a timer of its own: a beat that hangs does not make it late.
- The end of the process is the kernel's: it needs nothing of this process.
"""

import asyncio
import math
import random
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

import anyio
import structlog
from anyio.abc import TaskGroup
from attrs import Factory, define, evolve, field

from engine.node.counts import NodeCounts
from engine.node.ports import (
    BeatReport,
    DeadMan,
    LeaseClock,
    LifeOver,
    NameTaken,
    NodeStore,
    NodeWork,
    StoreLine,
    StoreSilent,
)
from engine.node.watcher import Watcher
from engine.wakeup import Wakeup
from states.lease import (
    AbortLinks,
    ArmDeadlines,
    AskLife,
    BeatConfirmed,
    BeatDue,
    BeatRefused,
    DisarmDeath,
    DropAccounts,
    EndLife,
    HoldEffect,
    HoldEvent,
    HoldStanding,
    LeaseTimes,
    LeaveRequested,
    LifeGiven,
    LinksGone,
    NodeHold,
    SendBeat,
    decide_hold,
)
from states.nodes import STOPPED

T = TypeVar("T")

RETRY_SECONDS: Final = 1.0
"""Between two attempts to reach a store that does not answer, as long as the lease lasts."""
ASK_PAUSES: Final = (1.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds between such attempts without a lease, by how many have failed; the last value repeats."""
JITTER: Final = 1.5
"""By what factor such a pause is longer at most: nodes that lost their leases together do not come back together."""
MAX_CAUSES: Final = 4
"""How many causes of one silence are told: the first is often only that the connection was cut."""
END_SECONDS: Final = 5.0
"""How long a node that has left tries to tell the store: afterwards the others wait for the length of the lease."""
CLOSE_SECONDS: Final = 30.0
"""How long the end of the holder waits for links that it has aborted; then the kernel ends the process."""
LIFE_BITS: Final = 62
"""Of the number of a life, which the store keeps as a signed integer of 64."""

ROUNDING: Final = 0.01
"""Seconds by which a timer may be early."""

log = structlog.get_logger("holdfast.node")


def draw_life() -> int:
    """Return a number for a life that was never given before, whatever a store has forgotten."""
    return 1 + secrets.randbits(LIFE_BITS)


@define(eq=False)
class LeaseHolder:
    """Holds the lease of one node. ``run`` it once; ``leave`` ends it."""

    store: NodeStore
    work: NodeWork
    dead_man: DeadMan
    clock: LeaseClock
    times: LeaseTimes = field(factory=LeaseTimes)
    former: int = 0
    """A life of this node whose process is known to be gone: the first new one ends it. 0 is none."""
    life_begun: Callable[[int], None] = lambda _: None
    """Called with the number of each life before anything acts under it; must not raise."""
    silence_changed: Callable[[str], None] = lambda _: None
    """Called with why the store gives no answer, at each attempt, and with nothing when it does; must not raise."""
    draw: Callable[[], int] = draw_life
    rng: random.Random = field(factory=random.Random, repr=False)
    hold: NodeHold = field(default=Factory(lambda self: NodeHold(life=self.former), takes_self=True), init=False)
    watcher: Watcher = field(default=Factory(lambda self: Watcher(self.clock, self.times), takes_self=True), init=False)
    accounts: dict[str, int] = field(factory=dict, init=False)
    """The accounts for which the node acts, each with its epoch."""
    report: BeatReport | None = field(default=None, init=False)
    """What the store last confirmed to the life that is; None before that."""
    has_unknown: bool = field(default=False, init=False)
    """Whether the store says that the life owns accounts for which the node does not act."""
    began: float = field(default=-math.inf, init=False)
    """When the life that is began, by the node's clock."""
    confirmed: Wakeup = field(factory=Wakeup, init=False)
    """Wakes after each beat that the store has confirmed."""
    counts: NodeCounts = field(factory=NodeCounts, init=False)
    """What has been done since the start."""
    _former_watch: Watcher = field(
        default=Factory(lambda self: Watcher(self.clock, self.times), takes_self=True), init=False
    )
    """Of a life that has this node's name."""
    _number: int = field(default=0, init=False)
    """Of the life that was asked for and not answered; 0 is none."""
    _asked: float = field(default=0.0, init=False)
    """When it was asked for first: the store may have begun it then, and the others watch it from then on."""
    _ask_after: float = field(default=-math.inf, init=False)
    """When a life may be asked for again, by the loop's clock: lives that end at once are not begun at once."""
    _wanted: AskLife | SendBeat | None = field(default=None, init=False)
    _ends: list[int] = field(factory=list, init=False)
    """Lives that are to be ended in the store."""
    _due: float = field(default=-math.inf, init=False)
    """When the store is to be spoken to next, by the loop's clock."""
    _changed: Wakeup = field(factory=Wakeup, init=False)
    _stop: asyncio.TimerHandle | None = field(default=None, init=False)
    _stop_at: float = field(default=math.inf, init=False)
    """When the links are aborted, by the node's clock."""
    silence: str = field(default="", init=False)
    """Why the store gives no answer; empty while it does."""
    _causes: set[str] = field(factory=set, init=False)
    """What was told of this silence."""
    _failures: int = field(default=0, init=False)
    """How many attempts without a lease have failed in a row."""
    _tasks: TaskGroup = field(init=False)

    @property
    def may_act(self) -> bool:
        """Whether the node may act for its accounts now, and take others."""
        return self.hold.may_act(self.clock.now(), self.times)

    async def run(self) -> None:
        """Hold the lease until the node has left. However it ends, no link is open afterwards."""
        try:
            async with anyio.create_task_group() as self._tasks:
                await self._talk()
                self._tasks.cancel_scope.cancel()
        finally:
            if self._stop is not None:
                self._stop.cancel()
            with anyio.CancelScope(shield=True):
                await self._close()

    def leave(self) -> None:
        """Have the node give its accounts up and end its life; ``run`` returns then."""
        leaving = self.hold.leaving
        self._on(LeaveRequested())
        if not leaving and self.hold.standing is HoldStanding.HOLDING:
            self._tasks.start_soon(self._give_up_all, name="node: gives all accounts up")
        self._speak_at(-math.inf)

    def beat_soon(self) -> None:
        """Beat now instead of when it is due: somebody knows that the store has news."""
        self._speak_at(-math.inf)

    def refused(self, life: int) -> None:
        """Take into account that the store takes nothing of this life any more: it is over."""
        self._on(BeatRefused(life=life))

    def forget(self, names: Iterable[str]) -> None:
        """Note that nothing acts for these accounts any more."""
        for name in names:
            self.accounts.pop(name, None)

    # --- what the law wants ---

    def _on(self, event: HoldEvent) -> None:
        """Decide what follows from an event, and do it, in the order of the effects."""
        self.hold, effects = decide_hold(self.hold, event, self.clock.now(), self.times)
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: HoldEffect) -> None:
        match effect:
            case AskLife() | SendBeat():
                self._wanted = effect
                self._speak_at(-math.inf)
            case ArmDeadlines(stop=stop, death=death):
                self._arm(stop, death)
            case DropAccounts(accounts=accounts):
                log.error("node_accounts_dropped", count=len(accounts), life=self.hold.life)
                self.counts.dropped += len(accounts)
                self.forget(accounts)
                self.work.abort(accounts)
            case AbortLinks():
                self._abort()
            case DisarmDeath():
                self.dead_man.disarm()
            case EndLife(life=life):
                self._ends.append(life)
                self._speak_at(-math.inf)

    def _arm(self, stop: float, death: float) -> None:
        try:
            self.dead_man.arm(death)
        except Exception as exc:  # nothing would end this process, so it must not act
            log.error("node_without_deadline", detail=str(exc), life=self.hold.life)
            self._on(BeatRefused(life=self.hold.life))
            return
        self._stop_at = stop
        self._set_timer()

    def _set_timer(self) -> None:
        if self._stop is not None:
            self._stop.cancel()
        rest = max(self._stop_at - self.clock.now(), 0.0)
        self._stop = asyncio.get_running_loop().call_later(rest, self._stop_due)

    def _stop_due(self) -> None:
        """Abort the links at their deadline. The loop may have come a little early, for it rounds."""
        if self.clock.now() < self._stop_at:
            self._set_timer()
        else:
            self._on(BeatDue())

    def _abort(self) -> None:
        detail = self.silence or None
        log.error("node_life_over", life=self.hold.life, accounts=len(self.accounts), detail=detail)
        self.counts.lost += 1
        self.counts.dropped += len(self.accounts)
        self._stop_at, self.report = math.inf, None
        if self._stop is not None:
            self._stop.cancel()
        self.accounts.clear()
        self.work.abort_all()
        self._tasks.start_soon(self._report_gone, name="node: waits for its links' end")

    async def _report_gone(self) -> None:
        await self.work.gone()
        self._on(LinksGone())

    async def _give_up_all(self) -> None:
        names = set(self.accounts)
        await self.work.give_up(names)
        self.forget(names)
        self._on(LinksGone())

    # --- what is said to the store ---

    def _speak_at(self, due: float) -> None:
        self._due = due
        self._changed.notify()

    async def _talk(self) -> None:
        """Beat, begin lives and end them, until the node has left."""
        line: StoreLine | None = None
        last_try = math.inf
        try:
            while self.hold.standing is not HoldStanding.LEFT or self._ends:
                await self._until_due()
                if self.hold.standing is HoldStanding.LEFT:
                    last_try = min(last_try, anyio.current_time() + END_SECONDS)
                    if anyio.current_time() >= last_try:
                        return
                self._due = anyio.current_time() + self._beats_apart
                try:
                    line = line or await self.store.connect()
                    await self._say(line)
                except StoreSilent as exc:
                    self._lost(line, exc)
                    line = None
        finally:
            if line is not None:
                line.close()

    @property
    def _beats_apart(self) -> float:
        return self.times.beats_apart(1 + len(self.watcher.watch.sights))

    async def _until_due(self) -> None:
        while (rest := self._due - anyio.current_time()) > 0:
            with anyio.move_on_after(rest):
                await self._changed.wait()

    def _lost(self, line: StoreLine | None, why: StoreSilent) -> None:
        """Give a connection up, and all that was observed over it."""
        if line is not None:
            line.close()
        self.watcher.lost()
        self._former_watch.lost()
        if len(self._causes) < MAX_CAUSES and str(why) not in self._causes:
            self._causes.add(str(why))
            left = max(self._stop_at - self.clock.now(), 0.0)
            log.warning("node_store_silent", detail=str(why), left=None if math.isinf(left) else left)
        self.silence = str(why)
        self.silence_changed(self.silence)
        self._due = anyio.current_time() + self._pause()

    def _answers_again(self) -> None:
        self.silence = ""
        self._causes.clear()
        self.silence_changed("")

    def _pause(self) -> float:
        """Return the seconds until the next attempt to reach the store."""
        if self.hold.standing is not HoldStanding.BEGINNING:
            self._failures = 0
            return min(RETRY_SECONDS, self.times.beat_every)
        self._failures += 1
        pause = ASK_PAUSES[min(self._failures, len(ASK_PAUSES)) - 1]
        return pause * self.rng.uniform(1.0, JITTER)

    async def _say(self, line: StoreLine) -> None:
        """Say one thing: the end of a life, a life to begin, or a beat."""
        if self._ends:
            await self._within(line.end(self._ends[0], STOPPED))
            del self._ends[0]
            self._due = -math.inf
            return
        self._on(BeatDue())
        wanted, self._wanted = self._wanted, None
        match wanted:
            case AskLife(ends=ends):
                now = anyio.current_time()
                if now < self._ask_after:
                    self._due = self._ask_after
                    return
                self._due, self._ask_after = now + self._beats_apart, now + RETRY_SECONDS
                await self._ask_life(line, ends)
            case SendBeat(life=life):
                await self._beat(line, life)

    async def _within(self, answer: Awaitable[T]) -> T:
        """Await an answer of the store. Raises ``StoreSilent``."""
        with anyio.move_on_after(self.times.answer_within):
            return await answer
        raise StoreSilent(f"the store has not answered within {self.times.answer_within:g} s")

    async def _ask_life(self, line: StoreLine, ends: int) -> None:
        """Ask for a life, under the same number until it is answered."""
        now = self.clock.now()
        if not self._number:
            self._number, self._asked = self.draw(), now
        number, asked = self._number, self._asked
        try:
            await self._within(line.begin(number, ends=ends))
        except NameTaken as exc:
            self._number = 0
            await self._watch_namesake(line, exc, now)
        except LifeOver:
            self._number = 0
        else:
            self._number, self._failures = 0, 0
            self.began, self.report, self.has_unknown = self.clock.now(), None, False
            self._answers_again()
            self.life_begun(number)
            self._on(LifeGiven(life=number, asked=asked))
            if self.hold.standing is HoldStanding.HOLDING:
                log.info("node_life_begun", life=number)
                self.counts.lives += 1
            self._due = -math.inf

    async def _watch_namesake(self, line: StoreLine, taken: NameTaken, asked: float) -> None:
        """Wait for a life that has this node's name: one whose process is gone is declared dead as any other."""
        if taken.life not in self._former_watch.watch.sights:
            log.warning("node_name_taken", detail=str(taken), lease=self.times.lease)
        self._former_watch.answered(asked, taken.server, {taken.life: taken.beat})
        if await self._within(self._former_watch.tell(line)):
            self._due = -math.inf

    async def _beat(self, line: StoreLine, life: int) -> None:
        """Beat once, and compare what the store says is the life's with what the node acts for."""
        own, asked = dict(self.accounts), self.clock.now()
        self._due = anyio.current_time() + self._beats_apart
        report = await self._within(line.beat(life))
        if report is None:
            self._on(BeatRefused(life=life))
            return
        unconfirmed, has_unknown = frozenset[str](), False
        same_server = report.server == self.watcher.watch.server
        if not same_server or (report.accounts, report.epochs) != (len(own), sum(own.values())):
            owned = await self._within(line.owned(life))
            # What was given up or claimed anew in the meantime is not what the beat was about.
            unconfirmed = frozenset(
                name for name, epoch in own.items() if owned.get(name) != epoch and self.accounts.get(name) == epoch
            )
            has_unknown = not owned.keys() <= self.accounts.keys()
        self.counts.beats += 1
        self._on(BeatConfirmed(life=life, asked=asked, unconfirmed=unconfirmed))
        if self.hold.standing is not HoldStanding.HOLDING or self.hold.life != life:
            return
        self.watcher.answered(asked, report.server, report.others, settled=report.settled)
        self.report, self.has_unknown = report, has_unknown
        if self.silence:
            self._answers_again()
            log.info("node_store_answers", life=life)
        self._expect_death()
        self.confirmed.notify()

    def _expect_death(self) -> None:
        """Beat more often when a life may be declared dead soon: whoever takes its accounts learns of it at a beat."""
        death = self.watcher.next_death()
        if death is not None and (rest := death - self.clock.now()) < 2 * self._beats_apart:
            wait = min(rest, self.times.beat_every) if rest > 0 else self.times.beat_every
            self._due = min(self._due, anyio.current_time() + wait + ROUNDING)

    async def _close(self) -> None:
        """Leave no link open: whoever ran the holder has stopped it, or it has failed."""
        if self.hold.standing is not HoldStanding.LEFT:
            self.hold = evolve(self.hold, standing=HoldStanding.CLOSING)
            self.accounts.clear()
            self.work.abort_all()
            with anyio.move_on_after(CLOSE_SECONDS) as limit:
                await self.work.gone()
            if limit.cancelled_caught:
                return  # the kernel's timer stays
        self.dead_man.close()
