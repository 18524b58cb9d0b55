"""The dispatcher: gives jobs to accounts that are healthy, takes them away again, and stores how they ended.

    engine.db ──ready──▶ queues (a few jobs of each kind and account) ──▶ a task of its own for each job that runs
        ▲                                                                      │ returned, raised, taken away
        └────────────── decide(job, event), see states/jobs.py ◀───────────────┘

It is one task, which sleeps until something happens: an account connected or was lost, a job ended or was added, a time
has come. Only this task starts jobs and stores how they ended, so there is one order. It does not matter how many jobs
wait: the dispatcher has a few of each queue in memory, and reads more when these are used up.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

import anyio
import anyio.lowlevel
import structlog
from attrs import define, evolve, field

from engine.console.format import seconds
from engine.fleet.ports import Clock
from engine.fleet.watchers import is_bug
from engine.work.account_slot import AccountSlot
from engine.work.chat_holds import ChatHolds, details_of
from engine.work.handle import CURRENT_JOB, Run
from engine.work.job_log import log_outcome
from engine.work.kinds import JobKinds
from engine.work.labels import WorkLabel
from engine.work.owned_task import STOP_TIMEOUT
from engine.work.pace import WHEN_ONE_ENDS, Pace
from engine.work.ports import ClientOf, ContextsOf, JobErrorClassifier, JobStorage
from engine.work.ready_queues import ReadyQueues
from engine.work.running_jobs import RunningJobs
from engine.work.shared_work import SharedWork
from states.events import ClockJumped
from states.jobs import (
    OPEN,
    Begun,
    Cancelled,
    Flooded,
    Job,
    JobState,
    JobSummary,
    Lost,
    Raised,
    by_state,
    decide,
    move_times,
)
from states.pace import MAX_ENDLESS, WorkPolicy

TICK_SECONDS = 1.0
"""How often running jobs are stored with their progress, and checked for silence."""
REST_SECONDS = 1.0
"""How long an account begins no job after one lost its connection, unless it has another client by then. The engine
itself notices the loss a moment later."""
RETRY_SECONDS = 5.0
"""How long the dispatcher waits after an error, of the file or of its own."""
SAID_SECONDS = 60.0
"""How long the log does not repeat why nothing could be done."""
REREAD_SECONDS = 30.0
"""How often the file is read for jobs that were added without a word to the engine."""
REREAD_SHARED_SECONDS = 5.0
"""The same where other engines have the same jobs: they end, die and give jobs back without a word to this one."""
IDLE_PAUSE = 0.02
"""Seconds between two looks whether accounts that leave have no jobs any more."""
NOT_HEALTHY = "the connection is not healthy"
MIN_WAIT_SECONDS = 0.001
"""The shortest wait: the two clocks round differently, and the loop must not spin until they agree."""

log = structlog.get_logger("holdfast.jobs")


def _explains_itself(exc: Exception) -> bool:
    """Return whether an exception needs no traceback: one of storage explains itself, a bug in the engine does not."""
    return bool(getattr(exc, "for_people", False)) or not is_bug(exc)


@define(eq=False, kw_only=True)
class Dispatcher:
    """See the module's docstring. ``run`` it in a task group; its store must stay open until that has ended."""

    accounts: Iterable[str]
    kinds: JobKinds
    policy: WorkPolicy
    store: JobStorage
    client_of: ClientOf
    classify_error: JobErrorClassifier
    clock: Clock
    contexts_of: ContextsOf = lambda client: ()
    moves_work: Callable[[str], bool] = lambda account: True
    """Whether others may do the work of an account that has no client: not while Telegram limits it."""
    ended: Callable[[Job, str], None] = lambda job, account: None
    """Called with each job whose end is stored, and the account with which it ran."""
    rng: random.Random = field(factory=random.Random, repr=False)
    abandoned: bool = field(default=False, init=False)
    """Whether the store takes nothing of this dispatcher any more: at its end nothing is stored."""
    _slots: dict[str, AccountSlot] = field(init=False)
    _queues: ReadyQueues = field(init=False)
    _pace: Pace = field(init=False)
    _chats: ChatHolds = field(factory=ChatHolds, init=False)
    _shared: SharedWork = field(init=False)
    _running: RunningJobs = field(init=False)
    _wakeup: asyncio.Event = field(factory=asyncio.Event, init=False)
    _runs: dict[Run, None] = field(factory=dict, init=False)
    """All jobs that run, in the order in which they began."""
    _changed: dict[str, None] = field(factory=dict, init=False)
    """Accounts whose client has changed, or that may begin another job, oldest change first."""
    _unsettled: set[int] = field(factory=set, init=False)
    """Numbers of the jobs whose run has begun and whose end is not stored: the file may still call them queued."""
    _reread: bool = field(default=False, init=False)
    """Whether the queues have to be read anew."""
    _reread_at: float = field(default=math.inf, init=False)
    """When they are to be read anew in any case, by the loop's clock."""
    counts: Mapping[str, Mapping[str, int]] = field(factory=dict, init=False)
    """How many jobs there are, by kind and state, as of a second ago."""
    _counts: Mapping[str, int] = field(factory=dict, init=False)
    _ticked_at: float = field(default=math.inf, init=False)
    """When it last looked at its jobs, by the loop's clock; inf before it began."""
    _round_at: float = field(default=math.inf, init=False)
    """When the present round began; inf while it sleeps."""
    _told_at: float = field(default=-math.inf, init=False)
    """When it last said why it waits."""
    _outgoing: Counter[str] = field(factory=Counter, init=False)
    """How many jobs of a kind still run with the code that the kind had before."""
    _jumped: bool = field(default=False, init=False)
    """Whether the clock jumped since the last round, and by how much it was set."""
    _shift: float = field(default=0.0, init=False)
    _ended_limits: dict[tuple[str, str], None] = field(factory=dict, init=False)
    """Accounts with limits that are over, and whose jobs still wait for that."""
    _wake_at: float = field(default=math.inf, init=False)
    """When a queue opens, in Unix seconds."""

    def __attrs_post_init__(self) -> None:
        self._slots = {name: AccountSlot(name) for name in self.accounts}
        self._queues = ReadyQueues(self.store, self.kinds, self._slots)
        self._pace = Pace(self.policy, self.rng)
        self._shared = SharedWork(self.store, self._pace, self._chats, self.clock)
        self._running = RunningJobs(
            store=self.store,
            clock=self.clock,
            classify_error=self.classify_error,
            on_end=self._wakeup.set,
            on_stuck=self._free_place,
        )

    # --- for the rest of the engine ----------------------------------------------------------------------------------

    def account_changed(self, name: str) -> None:
        """Check an account again: it may have another client, or none."""
        if (slot := self._slots.get(name)) is not None:
            self._changed[name] = None
            self._wakeup.set()
            # Soon, when the decision that changed the account is also performed. The next round may wait for the file.
            asyncio.get_running_loop().call_soon(self._update_client, slot)

    def use(self, accounts: Collection[str], kinds: JobKinds, policy: WorkPolicy) -> None:
        """Go by these accounts, kinds and rules from now on.

        Jobs that run end as they began. Of a kind with other code, none begins before those with the code of before
        have ended. An account that is left out must have no client any more; its jobs wait for its return.
        """
        self.accounts, self.kinds, self.policy = accounts, kinds, policy
        self._queues.kinds, self._pace.policy = kinds, policy
        for name in accounts:
            self._slots.setdefault(name, AccountSlot(name))
        wanted = set(accounts)
        for slot in [slot for name, slot in self._slots.items() if name not in wanted]:
            slot.leaves = True
            self._update_client(slot)
            self._drop_if_idle(slot)
        for name in accounts:
            self._slots[name].leaves = False
        self._outgoing = Counter(run.job.kind for run in self._runs if self._has_other_code(run))
        self._all_changed()
        self.jobs_changed()

    async def idle(self, accounts: Collection[str]) -> None:
        """Return when no job runs with these accounts, and all that did is stored; those that do not end are left."""
        wanted = set(accounts)
        while any(run.account in wanted for run in self._runs):
            self._wakeup.set()
            await anyio.sleep(IDLE_PAUSE)
        await self.store.flush()

    def _has_other_code(self, run: Run) -> bool:
        kind = self.kinds.get(run.job.kind)
        return kind is not None and kind is not run.kind and kind != run.kind

    def _drop_if_idle(self, slot: AccountSlot) -> None:
        """Forget an account that has left, once none of its jobs runs."""
        if slot.leaves and not slot.runs:
            self._slots.pop(slot.name, None)
            self._changed.pop(slot.name, None)

    def jobs_changed(self) -> None:
        """Read the file again: jobs were added, retried or cancelled."""
        self._reread = True
        self._wakeup.set()

    def limit_ended(self, account: str, limit: str) -> None:
        """Let the jobs begin that wait for the end of this limit."""
        self._ended_limits[account, limit] = None
        self._wakeup.set()

    def clock_jumped(self, event: ClockJumped) -> None:
        """Move all waits with a clock that was set, and look again what may begin: hours are times of day."""
        self._shift += event.shift
        self._jumped = True
        self._wakeup.set()

    def label_of(self, task: "asyncio.Task[None]") -> WorkLabel | None:
        """Return what log lines call the job whose function is running in a task; None if there is none."""
        return self._running.label_of(task)

    @property
    def stuck(self) -> Mapping[int, Run]:
        """Jobs whose function does not end although it was cancelled, by number."""
        return self._running.stuck

    @property
    def silent(self) -> float:
        """For how many seconds it has neither looked at its jobs, nor ended the round that it is in, nor said why."""
        return max(0.0, anyio.current_time() - max(self._told_at, min(self._ticked_at, self._round_at)))

    @property
    def summary(self) -> JobSummary:
        """How many jobs there are (up to a second ago), and those that run now."""
        running = tuple(run.job for run in self._runs)
        waiting = max(0, sum(self._counts.get(state, 0) for state in OPEN) - len(running))
        open_ones = {JobState.QUEUED.value: waiting, JobState.RUNNING.value: len(running)}
        return JobSummary({**self._counts, **open_ones}, running)

    # --- the loop ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled; then take all jobs away and store how far they are, within ``STOP_TIMEOUT``."""
        self._ticked_at, self._round_at = anyio.current_time(), math.inf
        try:
            async with anyio.create_task_group() as tasks:
                await self._retrying(self._begin_work)
                tasks.start_soon(self._tick)
                while True:
                    self._wakeup.clear()
                    self._round_at = anyio.current_time()
                    await self._retrying(self._round)
                    self._round_at = math.inf
                    wait = min(self._wake_at, self._queues.next_due) - self.clock.now()
                    with anyio.move_on_after(None if wait == math.inf else max(wait, MIN_WAIT_SECONDS)):
                        await self._wakeup.wait()
        finally:
            with anyio.move_on_after(STOP_TIMEOUT, shield=True):
                await self._retrying(self._wind_up)
            for run in list(self._runs):
                if run.end is None:
                    self._running.give_up(run)

    async def _wind_up(self) -> None:
        for run in list(self._runs):
            self._running.take_away(run, Lost("the engine stopped"))
        while True:
            self._wakeup.clear()
            if self.abandoned:
                if all(run.end is not None for run in self._runs):
                    return None
                await self._wakeup.wait()
                continue
            await self._settle_all()
            if not self._runs:
                await self.store.flush()
                return await self.store.give_back(())
            await self._wakeup.wait()

    async def _begin_work(self) -> None:
        await self.store.recover("the engine ended under it")
        await self.store.move_waits(0.0, self.clock.now())  # the clock may have been set since they were stored
        self._pace.restore(await self.store.charges(self.clock.now()))
        self._chats.restore(await self.store.waiting_held(self.clock.now()))
        await self._read_queues()

    async def _retrying(self, work: Callable[[], Awaitable[None]]) -> None:
        """Repeat ``work`` until it succeeds: an error of the file, or a bug in the engine, must not stop an account."""
        said, said_at = "", -math.inf
        while True:
            try:
                return await work()
            except Exception as exc:
                detail, now = str(exc) or type(exc).__name__, anyio.current_time()
                if detail != said or now >= said_at + SAID_SECONDS:  # the log needs not each try of a long outage
                    log.error("jobs_wait", detail=detail, delay=RETRY_SECONDS, exc_info=not _explains_itself(exc))
                    said, said_at = detail, now
                self._reread, self._told_at = True, now
                await anyio.sleep(RETRY_SECONDS)

    async def _round(self) -> None:
        """Do everything that can be done now."""
        if self._jumped:
            await self._move_waits()
        await self._settle_all()
        while self._ended_limits:
            account, limit = ended = next(iter(self._ended_limits))
            self._chats.release(account, limit)
            await self.store.release_waiting(account, details_of(limit))
            self._reread = True
            self._ended_limits.pop(ended, None)
        if self._reread:
            self._reread = False  # before: a change during the reading calls for another one
            await self._read_queues()
        now = self.clock.now()
        if now >= self._queues.next_due:
            await self._queues.wake_due(now, self._unsettled)
            self._all_changed()
        if now >= self._wake_at:
            self._wake_at = math.inf
            self._all_changed()
        while self._changed:
            names, self._changed = self._changed, {}
            starved: dict[str, None] = {}
            for name in names:
                slot = self._slots.get(name)
                if slot is None:  # it has left
                    continue
                self._update_client(slot)
                if slot.client is not None and not await self._fill(slot):
                    starved[name] = None
            if starved and await self._queues.fetch(self._unsettled):
                self._changed |= starved

    async def _move_waits(self) -> None:
        """Move the waits in the file and in memory, once each: a file that cannot be written is tried again."""
        self._jumped, shift, now = False, self._shift, self.clock.now()
        if shift:
            self._shift = 0.0
            self._pace.move(shift, now)
            self._chats.move(shift, now)
            for run in list(self._runs):
                run.job, run.unsaved = move_times(run.job, shift), True
            await self.store.move_waits(shift, now)  # queued: it becomes durable, whatever the file does now
        self._reread, self._wake_at = True, math.inf
        self._all_changed()

    def _all_changed(self) -> None:
        """Check all accounts again for which there is a queue."""
        self._changed |= self._queues.concerned()

    def _update_client(self, slot: AccountSlot) -> None:
        """Note an account's present client, and take away the jobs that run with the one before."""
        client = self.client_of(slot.name)
        if client is slot.client:
            return
        if slot.runs:
            lost = Lost(NOT_HEALTHY, limited=client is None and not self.moves_work(slot.name))
            for run in slot.runs:
                self._running.take_away(run, lost)
        slot.client, slot.rests_until = client, -math.inf

    async def _read_queues(self) -> None:
        """Read the queues anew, and end the runs of jobs that were cancelled."""
        await self.store.flush()
        await self._shared.catch_up(self._slots)
        await self._queues.load(self._unsettled)
        self._reread_at = anyio.current_time() + (REREAD_SHARED_SECONDS if self._shared.is_shared else REREAD_SECONDS)
        self._all_changed()
        runs = {run.job.id: run for run in self._runs}
        for number in await self.store.ended(list(runs)) if runs else ():
            self._running.take_away(runs[number], Cancelled())

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(TICK_SECONDS)
            await self._retrying(self._check_runs)
            self._ticked_at = anyio.current_time()

    async def _check_runs(self) -> None:
        """Take silent jobs away, cancel again those that do not end, and store the progress of the others."""
        loop_now = anyio.current_time()
        if loop_now >= self._reread_at:
            await self._release_held()
            self.jobs_changed()
        if self.clock.now() >= min(self._wake_at, self._queues.next_due):  # also where the clock was set
            self._wakeup.set()
        for run in list(self._runs):
            if run.end is not None:  # it has ended, and only its end is still to be stored
                continue
            if run.job.id in self._waiting(run.client):
                run.active_at = loop_now  # the datacenter asked for the silence
            timeout = self.policy.of(run.job.kind).patience
            if run.why is None and not run.storing and loop_now - run.active_at > timeout:
                silence = f"no end, no checkpoint and no progress within {seconds(timeout)}"
                self._running.take_away(run, Raised(silence))
            elif run.why is not None and loop_now > run.owned.grace_ends:
                self._running.cancel(run)
        for run in list(self._runs):
            if run.unsaved and run.end is None:
                run.unsaved = False
                await self.store.save(run.job)
        self.counts = await self.store.counts()
        self._counts = by_state(self.counts)

    async def _release_held(self) -> None:
        """Let others do the jobs that stay with an account which is of no use now, once their wait is over."""
        for account in await self.store.held_by():
            slot = self._slots.get(account)
            if slot is None or (slot.client is None and self.moves_work(account)):
                await self.store.release_held(account, self.clock.now())

    def _waiting(self, client: Any) -> set[int]:
        """Return the jobs that have a request which waits in place for a flood wait to end."""
        return {context[CURRENT_JOB] for context in self.contexts_of(client) if CURRENT_JOB in context}

    # --- beginning ---------------------------------------------------------------------------------------------------

    async def _fill(self, slot: AccountSlot) -> bool:
        """Begin the jobs that an account may begin; return False if its queues have to be read first."""
        loop_now = anyio.current_time()
        if slot.rests_until > loop_now:
            self._wake_at = min(self._wake_at, self.clock.now() + slot.rests_until - loop_now)
            return True
        while any(self._has_room(slot, endless) for endless in (False, True)):
            job = self._next(slot)
            if job is None:
                return not self._queues.wanted
            if job.id in self._unsettled:
                continue
            if (kept := self._chats.keeps(job, self.clock.now())) is not None:
                await self._keep(decide(job, kept, now=self.clock.now()))
            else:
                await self._begin(slot, job)
        return True

    def _has_room(self, slot: AccountSlot, endless: bool) -> bool:
        """Return whether another job may begin; those that never end have places of their own."""
        there = sum(run.kind.endless is endless for run in slot.runs)
        return there < (MAX_ENDLESS if endless else self.policy.per_account)

    def _is_endless(self, kind: str) -> bool:
        known = self.kinds.get(kind)
        return known is not None and known.endless

    def _next(self, slot: AccountSlot) -> Job | None:
        """Take the job that goes first out of an account's queues; None if none may begin now."""
        now, best = self.clock.now(), None
        room = {endless: self._has_room(slot, endless) for endless in (False, True)}
        for queue in self._queues.of(slot.name):
            if not room[self._is_endless(queue.kind)]:
                continue
            head = queue.head
            if (head is None and not queue.more) or self._outgoing[queue.kind]:
                continue
            paid = head is None or slot.has_paid(head)
            opening = self._pace.opening(queue.kind, slot.name, now, paid=paid)
            if opening is not None:
                if opening != WHEN_ONE_ENDS:
                    self._wake_at = min(self._wake_at, opening)
            elif head is None:
                self._queues.want(queue)
            elif best is None or (-head.priority, head.id) < best[0]:
                best = (-head.priority, head.id), queue
        if best is None or self._queues.wanted:  # a job that is not read yet may go before those in memory
            return None
        return best[1].ready.popleft()

    async def _keep(self, job: Job) -> None:
        """Store that a job waits for the end of a limit which another one for its chat has met."""
        await self.store.save(job)
        self._queues.put_back(job)
        await anyio.lowlevel.checkpoint()  # there may be thousands of them

    async def _begin(self, slot: AccountSlot, job: Job) -> None:
        kind = self.kinds.get(job.kind)
        assert kind is not None, "queues are of known kinds"
        client = slot.client
        if not await self._shared.has_place(job):
            return self._queues.put_back(job)
        now = self.clock.now()
        if not slot.has_paid(job) and (until := self._pace.taken_until(job.kind, now)) is not None:
            job = evolve(job, paid=job.attempt, worker=slot.name)
            await self.store.charge(job, slot.name, until, until - now)
            self._pace.charge(job.kind, slot.name, until, until - now)
        begun = decide(job, Begun(slot.name), now=now)
        # Only now: if the place in the budget could not be stored, nothing must be left of the job here.
        run = Run(begun, kind, slot.name, client)
        self._pace.begun(job.kind, slot.name)
        self._unsettled.add(job.id)
        slot.runs.append(run)
        self._runs[run] = None
        # Its begin is stored with the next tick: most jobs are over by then, and after a crash it makes no difference.
        run.unsaved = True
        self._running.start(run)
        if slot.client is not client:  # it was lost while the place in the budget was stored
            self._running.take_away(run, Lost(NOT_HEALTHY))

    # --- ending ------------------------------------------------------------------------------------------------------

    def _free_place(self, run: Run) -> None:
        """Let another job begin in the place of this one."""
        slot = self._slots.get(run.account)
        if slot is not None and run in slot.runs:
            slot.runs.remove(run)
            del self._runs[run]
            self._pace.ended(run.job.kind, run.account)
            if self._outgoing[run.job.kind] and self._has_other_code(run):
                self._outgoing[run.job.kind] -= 1
                self._all_changed()
            self._drop_if_idle(slot)
            self._changed[slot.name] = None
            if self.policy.of(run.job.kind).at_once is not None:
                self._all_changed()

    async def _settle_all(self) -> None:
        while self._running.ended:
            run = self._running.ended[0]
            now = self.clock.now()
            await self._settle(run, now)
            self._running.ended.popleft()  # only now: a call that is cancelled before has stored nothing
            log_outcome(run, run.job, now)
            self.ended(run.job, run.account)

    async def _settle(self, run: Run, now: float) -> None:
        """Store how a run ended, and let another job begin in its place."""
        assert run.end is not None
        job = decide(run.job, run.end, now=now, draw=self.rng.random(), retry=self.policy.retry)
        if job.state is JobState.CANCELLED:  # the command that cancelled it has stored that; it may be retried by now
            self._reread = True
        else:
            await self.store.save(job)
            if isinstance(run.end, Raised) and run.end.trace:
                await self.store.keep_trace(job.id, run.end.trace)
        run.job = job
        self._running.stuck.pop(job.id, None)
        self._unsettled.discard(job.id)
        self._free_place(run)
        if isinstance(run.end, Flooded):
            until = run.end.end(now)
            if not run.end.alone:
                self._pace.hold(job.kind, run.account, until, until - now)
            if run.end.of_chat:
                self._chats.hold(job, run.account, until, until - now, run.end.request)
        slot = self._slots.get(run.account)
        if slot is not None and isinstance(run.end, Lost) and run.why is None and slot.client is run.client:
            slot.rests_until = anyio.current_time() + REST_SECONDS
        if job.state is JobState.QUEUED:
            self._queues.put_back(job)
            self._changed |= dict.fromkeys(self._slots if job.account is None else [job.account])
