"""The dispatcher: gives jobs to accounts that are healthy, takes them away again, and writes down what came of them.

    engine.db ──ready──▶ queues (a few jobs of each kind and account) ──▶ a task of its own for each job that runs
        ▲                                                                      │ returned, raised, taken away
        └────────────── decide(job, event), see states/jobs.py ◀───────────────┘

It is one task that sleeps until it is woken: an account came or went, a job ended, a job was added, a time has come.
Only it starts jobs and writes ends, so that there is one order. How many jobs wait makes no difference: it knows a few
of each queue, and asks for more when these are gone.

A job's task is asyncio's own and in no task group, with this as its owner: a function that does not let itself be
cancelled would hold a group, and with it the engine, for ever. Here it is given up after a while, and named.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import anyio
import structlog
from attrs import define, evolve, field

from engine.console.format import seconds
from engine.fleet.ports import Clock
from engine.work.account_slot import AccountSlot
from engine.work.handle import JobHandle, Run, as_json
from engine.work.job_log import fields_of, log_outcome
from engine.work.kinds import BadJob, JobKinds
from engine.work.labels import WorkLabel
from engine.work.pace import LATER, Pace
from engine.work.ports import ClientOf, JobErrorClassifier, JobStorage
from engine.work.ready_queues import ReadyQueues
from states.jobs import (
    OPEN,
    Begun,
    Cancelled,
    Flooded,
    Job,
    JobEvent,
    JobState,
    JobSummary,
    Lost,
    Raised,
    Returned,
    by_state,
    decide,
)
from states.pace import WorkPolicy

TICK_SECONDS = 1.0
"""How often it is stored what runs and how far it is, and patience looked at."""
GRACE_SECONDS = 5.0
"""How long a job gets to end when it is told to; and again, until it was told ``MAX_CANCELLATIONS`` times."""
MAX_CANCELLATIONS = 3
REST_SECONDS = 1.0
"""How long an account begins nothing after a job lost its connection, unless it has another client by then: the account
itself hears of the loss a moment later."""
STOP_SECONDS = 5.0
"""How long a stop waits for the jobs that it takes away."""
TRY_AGAIN_SECONDS = 5.0
LOOK_SECONDS = 30.0
"""How often the file is looked at for jobs of which nobody has told."""
NOT_HEALTHY = "the connection is not healthy"
MIN_WAIT_SECONDS = 0.001
"""No wait is shorter: the two clocks round differently, and it must not turn until they agree."""
CHANCE = random.Random()

log = structlog.get_logger("holdfast.jobs")


def _is_told(exc: Exception) -> bool:
    """Say whether an exception explains itself to a person: one of storage does, a mistake of ours does not."""
    return bool(getattr(exc, "for_people", False))


@define(eq=False, kw_only=True)
class Dispatcher:
    """See the module's docstring. ``run`` it in a task group; its store is to be open until that has ended."""

    accounts: Iterable[str]
    kinds: JobKinds
    policy: WorkPolicy
    store: JobStorage
    client_of: ClientOf
    blame: JobErrorClassifier
    clock: Clock
    rng: random.Random = field(default=CHANCE, repr=False)
    stuck: dict[int, Run] = field(factory=dict, init=False)
    """Jobs whose function does not end although it was told to, by number."""
    _slots: dict[str, AccountSlot] = field(init=False)
    _queues: ReadyQueues = field(init=False)
    _pace: Pace = field(init=False)
    _wakeup: asyncio.Event = field(factory=asyncio.Event, init=False)
    _changed: dict[str, None] = field(factory=dict, init=False)
    """Accounts that came, went, or have room, in the order in which they said so."""
    _ends: deque[Run] = field(factory=deque, init=False)
    _labels: dict["asyncio.Task[None]", Run] = field(factory=dict, init=False)
    _at_work: set[int] = field(factory=set, init=False)
    """Jobs whose run is not settled, by number: the file may call them queued."""
    _look_again: bool = field(default=False, init=False)
    _counts: Mapping[str, int] = field(factory=dict, init=False)
    _look_at: float = field(default=math.inf, init=False)
    """When to look at the file again, by the loop's clock."""
    _wake_at: float = field(default=math.inf, init=False)
    """When a queue opens, in Unix seconds."""

    def __attrs_post_init__(self) -> None:
        self._slots = {name: AccountSlot(name) for name in self.accounts}
        self._queues = ReadyQueues(self.store, self.kinds, self._slots)
        self._pace = Pace(self.policy, self.rng)

    # --- what others say ---------------------------------------------------------------------------------------------

    def account_changed(self, name: str) -> None:
        """Look at an account again: it may have another client, or none."""
        if (slot := self._slots.get(name)) is not None:
            self._changed[name] = None
            self._wakeup.set()
            # In a moment, when what was decided is also done; not with the next turn, which may wait for the file.
            asyncio.get_running_loop().call_soon(self._see, slot)

    def jobs_changed(self) -> None:
        """Look at the file again: a person has added, retried or cancelled jobs."""
        self._look_again = True
        self._wakeup.set()

    def label_of(self, task: "asyncio.Task[None]") -> WorkLabel | None:
        """Return what log lines call the job whose function a task runs now, if it does."""
        run = self._labels.get(task)
        return run.label if run is not None and run.inside else None

    @property
    def summary(self) -> JobSummary:
        """How many jobs there are (a second old), and those that run now."""
        running = tuple(run.job for run in self._runs())
        waiting = max(0, sum(self._counts.get(state, 0) for state in OPEN) - len(running))
        open_ones = {JobState.QUEUED.value: waiting, JobState.RUNNING.value: len(running)}
        return JobSummary({**self._counts, **open_ones}, running)

    # --- the loop ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled; then take all jobs away and store where they are, bounded."""
        try:
            async with anyio.create_task_group() as tasks:
                await self._trying(self._begin_work)
                tasks.start_soon(self._tick)
                while True:
                    self._wakeup.clear()
                    await self._trying(self._turn)
                    wait = min(self._wake_at, self._queues.next_due) - self.clock.now()
                    with anyio.move_on_after(None if wait == math.inf else max(wait, MIN_WAIT_SECONDS)):
                        await self._wakeup.wait()
        finally:
            with anyio.move_on_after(STOP_SECONDS, shield=True):
                await self._trying(self._wind_up)
            for run in self._runs():
                if run.end is None:
                    self._give_up(run)

    async def _wind_up(self) -> None:
        for run in self._runs():
            self._take_away(run, Lost("the engine stopped"))
        while True:
            self._wakeup.clear()
            await self._settle_all()
            if not self._runs():
                return await self.store.flush()
            await self._wakeup.wait()

    async def _begin_work(self) -> None:
        await self.store.recover("the engine ended under it")
        self._pace.restore(await self.store.charges(self.clock.now()))
        await self._look()

    async def _trying(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something until it works: trouble with the file, or a mistake of ours, stops no account and no job."""
        while True:
            try:
                return await work()
            except Exception as exc:
                log.error(
                    "jobs_wait",
                    detail=str(exc) or type(exc).__name__,
                    delay=TRY_AGAIN_SECONDS,
                    exc_info=not _is_told(exc),
                )
                self._look_again = True
                await anyio.sleep(TRY_AGAIN_SECONDS)

    async def _turn(self) -> None:
        """Do all that there is to do now."""
        await self._settle_all()
        if self._look_again:
            self._look_again = False  # before: who tells it while it looks has it look again
            await self._look()
        now = self.clock.now()
        if now >= self._queues.next_due:
            await self._queues.wake_due(now)
            self._all_changed()
        if now >= self._wake_at:
            self._wake_at = math.inf
            self._all_changed()
        while self._changed:
            names, self._changed = self._changed, {}
            hungry: dict[str, None] = {}
            for name in names:
                slot = self._slots[name]
                self._see(slot)
                if slot.client is not None and not await self._fill(slot):
                    hungry[name] = None
            if hungry and await self._queues.fetch(self._at_work):
                self._changed |= hungry

    def _runs(self) -> list[Run]:
        return [run for slot in self._slots.values() for run in slot.runs]

    def _all_changed(self) -> None:
        self._changed |= dict.fromkeys(self._slots)

    def _see(self, slot: AccountSlot) -> None:
        """Take the jobs of an account away whose client is gone."""
        client = self.client_of(slot.name)
        if client is slot.client:
            return
        for run in slot.runs:
            self._take_away(run, Lost(NOT_HEALTHY))
        slot.client, slot.rests_until = client, -math.inf

    async def _look(self) -> None:
        """Read the queues anew, and end what a person has cancelled."""
        await self.store.flush()
        await self._queues.load()
        self._look_at = anyio.current_time() + LOOK_SECONDS
        self._all_changed()
        runs = {run.job.id: run for run in self._runs()}
        for number in await self.store.ended(list(runs)) if runs else ():
            self._take_away(runs[number], Cancelled())

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(TICK_SECONDS)
            await self._trying(self._look_after_runs)

    async def _look_after_runs(self) -> None:
        """End those that are silent, or that do not end, and store what the others said of their progress."""
        loop_now = anyio.current_time()
        if loop_now >= self._look_at:
            self.jobs_changed()
        if self.clock.now() >= min(self._wake_at, self._queues.next_due):  # also where the clock was set
            self._wakeup.set()
        for run in self._runs():
            timeout = self.policy.of(run.job.kind).patience
            if run.why is None and loop_now - run.heard_at > timeout:
                silence = f"no end, no checkpoint and no progress within {seconds(timeout)}"
                self._take_away(run, Raised(silence))
            elif run.why is not None and loop_now - run.asked_at > GRACE_SECONDS:
                self._ask_again(run)
        for run in self._runs():
            if run.unsaved and run.end is None:
                run.unsaved = False
                await self.store.save(run.job)
        self._counts = by_state(await self.store.counts())

    # --- beginning ---------------------------------------------------------------------------------------------------

    async def _fill(self, slot: AccountSlot) -> bool:
        """Begin what may begin with an account; return False if its queues have to be filled first."""
        loop_now = anyio.current_time()
        if slot.rests_until > loop_now:
            self._wake_at = min(self._wake_at, self.clock.now() + slot.rests_until - loop_now)
            return True
        while len(slot.runs) < self.policy.per_account:
            job = self._next(slot)
            if job is None:
                return not self._queues.wanted
            if job.id not in self._at_work:
                await self._begin(slot, job)
        return True

    def _next(self, slot: AccountSlot) -> Job | None:
        """Take the job that goes first out of the queues of an account."""
        now, best = self.clock.now(), None
        for queue in self._queues.of(slot.name):
            head = queue.head
            if head is None and not queue.more:
                continue
            paid = head is None or slot.has_paid(head)
            opening = self._pace.opening(queue.kind, slot.name, now, paid=paid)
            if opening is not None:
                if opening != LATER:
                    self._wake_at = min(self._wake_at, opening)
            elif head is None:
                self._queues.want(queue)
            elif best is None or (-head.priority, head.id) < best[0]:
                best = (-head.priority, head.id), queue
        if best is None or self._queues.wanted:  # what is not read yet may go before what is
            return None
        return best[1].ready.popleft()

    async def _begin(self, slot: AccountSlot, job: Job) -> None:
        kind = self.kinds.get(job.kind)
        assert kind is not None, "queues are of known kinds"
        now, client = self.clock.now(), slot.client
        if not slot.has_paid(job) and (until := self._pace.taken_until(job.kind, now)) is not None:
            job = evolve(job, paid=job.attempt, worker=slot.name)
            await self.store.charge(job, slot.name, until)
            self._pace.charge(job.kind, slot.name, until)
        begun = decide(job, Begun(slot.name), now=now)
        # Only now: of a job whose place could not be stored, nothing is left here.
        run = Run(begun, kind, slot.name, client)
        self._pace.begun(job.kind, slot.name)
        self._at_work.add(job.id)
        slot.runs.add(run)
        # That it has begun is stored with the next tick: most are over by then, and a crash makes no difference.
        run.unsaved = True
        # Bare, and owned here: a group would wait for ever for one that swallows its cancellation.
        run.task = asyncio.get_running_loop().create_task(self._work(run), name=run.label)
        self._labels[run.task] = run
        run.task.add_done_callback(partial(self._ended, run))
        if slot.client is not client:  # it went while the place was stored
            self._take_away(run, Lost(NOT_HEALTHY))

    async def _work(self, run: Run) -> None:
        """Do the job, whatever its function does: nothing that it raises gets out of here."""
        try:
            handle = JobHandle(run.kind.read(run.job.data), run, self.store, self.clock)
            run.inside = True
            result = await run.kind.function(handle, run.client)
            run.inside = False
            run.end = Returned(as_json(result))
        except asyncio.CancelledError:
            run.inside = False
            run.end = run.why or Raised("it was cancelled, and nobody here had asked for that")
        except BadJob as exc:
            run.end = Raised(str(exc))
        except BaseException as exc:
            run.inside = False
            run.end = run.why or self.blame(exc, run.client)

    # --- ending ------------------------------------------------------------------------------------------------------

    def _take_away(self, run: Run, why: JobEvent) -> None:
        if run.why is None and run.end is None:
            run.why = why
            self._ask_again(run)

    def _ask_again(self, run: Run) -> None:
        if run.asked >= MAX_CANCELLATIONS:
            self._give_up(run)
        elif run.task is not None:
            run.asked, run.asked_at = run.asked + 1, anyio.current_time()
            run.task.cancel()

    def _give_up(self, run: Run) -> None:
        if run.job.id in self.stuck:
            return
        self.stuck[run.job.id] = run
        self._leave(run)
        log.error("job_stuck", **fields_of(run), cancellations=run.asked)

    def _leave(self, run: Run) -> None:
        slot = self._slots[run.account]
        if run in slot.runs:
            slot.runs.discard(run)
            self._pace.ended(run.job.kind, run.account)
            self._changed[slot.name] = None
            if self.policy.of(run.job.kind).at_once is not None:
                self._all_changed()

    def _ended(self, run: Run, task: "asyncio.Task[None]") -> None:
        del self._labels[task]
        if run.end is None:  # cancelled before its first step, or what it raised cannot even be described
            cut_off = task.cancelled() or (exc := task.exception()) is None
            run.end = run.why or (Lost("it was cancelled before it began") if cut_off else Raised(type(exc).__name__))
        self._ends.append(run)
        self._wakeup.set()

    async def _settle_all(self) -> None:
        while self._ends:
            run = self._ends[0]
            now = self.clock.now()
            await self._settle(run, now)
            self._ends.popleft()  # only now: what a cancelled call has not stored is still to be stored
            log_outcome(run, run.job, now)

    async def _settle(self, run: Run, now: float) -> None:
        """Store what came of a run, and let others have its place."""
        assert run.end is not None
        job = decide(run.job, run.end, now=now, draw=self.rng.random(), retry=self.policy.retry)
        if job.state is JobState.CANCELLED:  # stored by the person who wanted it, and perhaps retried since
            self._look_again = True
        else:
            await self.store.save(job)
        run.job = job
        self.stuck.pop(job.id, None)
        self._at_work.discard(job.id)
        self._leave(run)
        if isinstance(run.end, Flooded) and not run.end.alone:
            self._pace.hold(job.kind, run.account, run.end.until)
        slot = self._slots[run.account]
        if isinstance(run.end, Lost) and run.why is None and slot.client is run.client:
            slot.rests_until = anyio.current_time() + REST_SECONDS
        if job.state is JobState.QUEUED:
            self._queues.returned(job)
            self._changed |= dict.fromkeys(self._slots if job.account is None else [job.account])
