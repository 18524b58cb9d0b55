"""The runner: one account's life. It passes events to ``step`` and performs the effects that ``step`` decides."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint_if_cancelled
from attrs import define, field

from engine.fleet.mailbox import Mailbox
from engine.fleet.one_link import OneLink
from engine.fleet.ports import Clock, Connector, Journal, Limiter, Link, Observer
from engine.fleet.shared_timers import SharedTimer, SharedTimers
from engine.wakeup import Flag
from states import Event, Policy, Snapshot, State, begin, step
from states.effects import (
    Alert,
    ArmProbe,
    AskTurn,
    Close,
    Effect,
    FetchUpdates,
    Finish,
    HoldDatabase,
    HoldRequests,
    HoldWork,
    Open,
    Probe,
    Release,
    ReleaseRequests,
    ReleaseWork,
    Timer,
)
from states.events import Closed, Connected, Started, TurnGranted

MAILBOX_SIZE = 64
"""Events that may wait for an account. ``post`` waits for room when there are more."""

MAX_LATE = 32
"""Events of a link that may wait for room in the mailbox; of more only the latest are kept."""

SETTLE_TIMEOUT = 5.0
"""Seconds that the end of a life may take to store which updates were delivered."""

CLOSE_MARGIN = 3.0
"""Seconds beyond its own timeout in which a close may still drop what it could not close."""

SHARED_RNG = random.Random()
"""Where jitter is drawn from. All accounts share it, because each generator takes 2.5 kB."""


@define(eq=False)
class Runner:
    """Runs one account from ``Started`` to ``Finish``. All its tasks are in a task group of its own.

    An idle account has none but the one that reads its mailbox: timers, probes and the link are callbacks of the loop.
    ``restored`` is the account's stored snapshot, if there is one.
    """

    account: str
    connector: Connector
    limiter: Limiter
    journal: Journal
    clock: Clock
    policy: Policy
    observer: Observer
    rng: random.Random = field(default=SHARED_RNG, repr=False)
    restored: Snapshot | None = None
    probe_timers: SharedTimers = field(factory=SharedTimers, repr=False)
    """Those of all accounts of the fleet."""
    snapshot: Snapshot = field(factory=Snapshot, init=False)
    link: Link | None = field(default=None, init=False)
    work_held: bool = field(default=True, init=False)
    _tasks: TaskGroup = field(init=False, repr=False)
    _scopes: dict[str, anyio.CancelScope] = field(factory=dict, init=False, repr=False)
    _timers: dict[type[Timer], asyncio.TimerHandle | SharedTimer] = field(factory=dict, init=False, repr=False)
    _one_link: OneLink = field(factory=OneLink, init=False, repr=False)
    _late: deque[Event] | None = field(default=None, init=False, repr=False)
    """Events of the link that wait for room in the mailbox."""
    ended: Flag = field(factory=Flag, init=False, repr=False)
    _over: bool = field(default=False, init=False)
    _mailbox: Mailbox = field(factory=lambda: Mailbox(MAILBOX_SIZE), init=False, repr=False)
    _give_probe_up: Callable[[], None] | None = field(default=None, init=False, repr=False)

    @property
    def usable_client(self) -> Any:
        """The client that work may use now: the account is healthy, and work is not held; otherwise None."""
        if self.link is None or self.work_held or self.snapshot.state is not State.HEALTHY:
            return None
        return self.link.client

    @property
    def over(self) -> bool:
        """Whether the life's last decision was made, and its link is closed; the session may still be written."""
        return self._over

    async def post(self, event: Event) -> None:
        """Put an event into the account's mailbox, waiting for room. After the end of the life it does nothing."""
        await self._mailbox.post(event)

    def offer(self, event: Event) -> bool:
        """Put an event into the mailbox without waiting; return False if there is no room."""
        return self._mailbox.offer(event)

    def abort(self) -> None:
        """Drop the account's connection at once, also one that is being opened or closed, and open none any more.

        Its life goes on, and is to be cancelled.
        """
        self._one_link.abort()

    async def unlinked(self) -> None:
        """Return when no connection is there; after ``abort`` there will be none, whatever of the life still runs."""
        await self._one_link.wait()

    def use_policy(self, policy: Policy) -> None:
        """Decide by another policy from now on; what waits already keeps the time until which it waits."""
        if policy == self.policy:
            return
        if self.snapshot.life and not self.ended.is_set():
            self.journal.use_policy(self.account, policy)
        self.policy = policy

    def rest(self) -> None:
        """Begin no life: the account stays where it was left, and takes no events."""
        self.snapshot = self.restored or self.snapshot
        self._mailbox.close()
        self.ended.set()

    async def live(self) -> None:
        """Live one life; return when the machine decides ``Finish``."""
        now = self.clock.now()
        self.snapshot = begin(self.restored, now=now)
        await self.journal.begin_life(self.account, now, self.policy, self.snapshot)
        try:
            async with anyio.create_task_group() as self._tasks:
                self.connector.deliver(partial(self._tasks.start_soon, name=f"{self.account}: deliver"))
                self.connector.listen(self._receive)
                await self._take(Started(credentials=await self.connector.credentials()))
                while not self._over:
                    await self._take(await self._mailbox.take())
                self._tasks.cancel_scope.cancel()
        finally:
            self.connector.deliver(None)
            self._mailbox.close()
            self._disarm()
            self._end_probe()
            await self._close(self._take_link())
        await self._settle()

    async def _take(self, event: Event) -> None:
        """Decide, record, notify the observer, perform: in this order, so that every effect has its record."""
        before = self.snapshot
        decision = step(before, event, now=self.clock.now(), rng=self.rng, policy=self.policy)
        self.snapshot = decision.snapshot
        if not decision.record.quiet:
            await self.journal.write(self.account, decision.record, decision.snapshot)
        elif decision.snapshot != before:
            await self.journal.save(self.account, decision.snapshot)
        self.observer(self.account, decision)
        if decision.snapshot.generation != before.generation:
            self._leave_state()
        for effect in decision.effects:
            self._perform(effect)

    def _leave_state(self) -> None:
        """End what belongs to the state that is left: timers, turn, probe. Only the link and its opening stay."""
        self._disarm()
        self._end_probe()
        for slot in [slot for slot in self._scopes if slot != "link"]:
            self._cancel(slot)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case AskTurn():
                self._start("turn", partial(self._take_turn, effect))
            case Open():
                self._start("link", partial(self._open, effect, self._take_link()))
            case Probe():
                self._probe(effect)
            case Close():
                self._cancel("link")
                self._start("closing", partial(self._report_closed, effect, self._take_link()))
            case Release():
                self._start("release", self._release)
            case Timer():
                self._arm(effect)
            case HoldWork() | ReleaseWork():
                self.work_held = isinstance(effect, HoldWork)
            case Finish():
                self._over = True
            case HoldRequests():
                if self.link is not None:
                    self.link.hold(effect.request, effect.until)
            case FetchUpdates():
                if self.link is not None:
                    self.link.fetch_updates(effect.patience)
            case ReleaseRequests():
                if self.link is not None:
                    self.link.hold(effect.request, 0.0)
            case Alert() | HoldDatabase():
                pass  # the observer has reported them
            case _:
                raise AssertionError(f"the runner cannot perform {type(effect).__name__}")

    # --- timers: callbacks of the loop, because a task for each would cost an account a tenth of its memory ----------

    def _arm(self, timer: Timer) -> None:
        if (old := self._timers.pop(type(timer), None)) is not None:
            old.cancel()
        timers = self.probe_timers if isinstance(timer, ArmProbe) else asyncio.get_running_loop()
        self._timers[type(timer)] = timers.call_later(timer.delay, partial(self._due, timer))

    def _due(self, timer: Timer) -> None:
        self._timers.pop(type(timer), None)
        self._receive(timer.posts(generation=timer.generation))

    def _disarm(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # --- probes: callbacks, too, because they are most of what a healthy account does --------------------------------

    def _probe(self, effect: Probe) -> None:
        self._end_probe()
        if self.link is not None:
            self._give_probe_up = self.link.begin_probe(
                proof=effect.proof, timeout=effect.patience, report=self._report_probe
            )

    def _report_probe(self, events: Sequence[Event]) -> None:
        self._give_probe_up = None
        for event in events:
            self._receive(event)

    def _end_probe(self) -> None:
        if self._give_probe_up is not None:
            self._give_probe_up()
            self._give_probe_up = None

    # --- tasks: each has a name, and a new one replaces the one of the same name -------------------------------------

    def _start(self, slot: str, work: Callable[[], Awaitable[None]]) -> None:
        self._cancel(slot)
        scope = self._scopes[slot] = anyio.CancelScope()
        self._tasks.start_soon(self._run, slot, scope, work, name=f"{self.account}: {slot}")

    async def _run(self, slot: str, scope: anyio.CancelScope, work: Callable[[], Awaitable[None]]) -> None:
        with scope:
            await work()
        if self._scopes.get(slot) is scope:
            del self._scopes[slot]

    def _cancel(self, slot: str) -> None:
        if (scope := self._scopes.pop(slot, None)) is not None:
            scope.cancel()

    def _receive(self, event: Event) -> None:
        if not self.offer(event):
            self._tasks.start_soon(self.post, event)

    async def _take_turn(self, effect: AskTurn) -> None:
        async with self.limiter.turn():
            used = await self.connector.credentials()
            await self.post(TurnGranted(generation=effect.generation, credentials=used))
            await anyio.sleep_forever()  # the turn lasts as long as the attempt: leaving the state cancels it

    async def _release(self) -> None:
        await self._one_link.wait()
        await self._settle()

    async def _settle(self) -> None:
        with anyio.move_on_after(SETTLE_TIMEOUT, shield=True):
            await self.connector.settle()

    # --- the link: tasks open and close it; in between it only calls back --------------------------------------------

    async def _open(self, effect: Open, former: Link | None) -> None:
        """Open a link and watch it; ``former`` is closed first. A lost link stays until the machine closes it."""
        await self._close(former)
        await self._one_link.take()
        link = self._one_link.link = self.connector.link(effect.link, effect.holds)
        try:
            events = await link.open(timeout=effect.patience)
            await checkpoint_if_cancelled()  # a close that was decided in this very turn has found no link to close
        except BaseException:
            await self._close(link)
            raise
        self.link = link
        for event in events:
            await self.post(event)
        if isinstance(events[-1], Connected):
            link.watch(partial(self._hear, link))

    def _take_link(self) -> Link | None:
        """Return the link, which nothing is heard of any more; whoever takes it closes it."""
        link, self.link = self.link, None
        return link

    async def _close(self, link: Link | None) -> None:
        if link is None:
            return
        grace = self.policy.shutting_down.grace
        try:
            with anyio.move_on_after(grace + CLOSE_MARGIN, shield=True):
                await link.close(timeout=grace)
        finally:
            self._one_link.release()

    async def _report_closed(self, effect: Close, link: Link | None) -> None:
        """Close the link, or wait for the end of one that was being opened."""
        await self._close(link)
        await self._one_link.wait()
        await self.post(Closed(generation=effect.generation))

    def _hear(self, link: Link, event: Event) -> None:
        """Take an event of the link, which may have to wait for room."""
        if self.link is not link or (self._late is None and self.offer(event)):
            return
        if self._late is None:
            self._late = deque(maxlen=MAX_LATE)
            self._tasks.start_soon(self._post_late)
        self._late.append(event)

    async def _post_late(self) -> None:
        while self._late:
            await self.post(self._late.popleft())
        self._late = None
