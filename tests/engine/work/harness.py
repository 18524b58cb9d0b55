"""A harness for the dispatcher in virtual time: a store in memory, any object as client, kinds of the test."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import anyio
import attrs
from attrs import define, field

from engine.work.dispatcher import Dispatcher
from engine.work.handle import JobHandle
from engine.work.kinds import Function, JobKind, JobKinds
from engine.work.ports import ContextsOf
from states.clock import cap_end, move_end
from states.jobs import FLOOD_WAIT, OPEN, Flooded, Job, JobEvent, JobState, Lost, Raised, decide
from states.pace import KindPolicy, WorkPolicy
from states.schedules import Backoff
from tests.engine.fakes import VirtualClock

STEADY = WorkPolicy(retry=Backoff(jitter=0))
"""The default rules, without chance."""
Write = Callable[[], None]


def as_read_back(job: Job) -> Job:
    """Return a job as a file would give it back. Raises ``TypeError`` or ``ValueError`` for what is not JSON."""
    row = json.dumps(attrs.asdict(job), allow_nan=False)
    read = json.loads(row)
    return Job(**read | {"state": JobState(read["state"]), "error": tuple(read["error"])})


@define(eq=False)
class MemoryStore:
    """Jobs in memory, as strict as a file: what was written can be read after a flush only, and is lost without one."""

    claims: ClassVar[None] = None
    clock: VirtualClock = field(factory=VirtualClock)
    jobs: dict[int, Job] = field(factory=dict)
    results: dict[int, list[Any]] = field(factory=dict)
    messages: list[Any] = field(factory=list)
    traces: dict[int, str] = field(factory=dict)
    taken: list[tuple[str, str, float, float | None]] = field(factory=list)
    """Places in budgets."""
    fails: set[str] = field(factory=set)
    """Methods that raise."""
    failed: list[str] = field(factory=list)
    read: list[int] = field(factory=list)
    """Jobs that were read as ready."""
    most_read: int = 0
    asked: Counter[str] = field(factory=Counter)
    """How often each question was asked."""
    written: Counter[str] = field(factory=Counter)
    takes: float = 0.0
    """Seconds that a flush and each question take."""
    _writes: list[Write] = field(factory=list)

    # --- what a command does -----------------------------------------------------------------------------------------

    def add(self, kind: str, **given: Any) -> int:
        """Add a job, durably; return its number."""
        number = len(self.jobs) + 1
        self.jobs[number] = Job(id=number, kind=kind, added=self.clock.now(), **given)
        return number

    def change(self, number: int, event: JobEvent) -> None:
        """Apply a command's change to a job, durably."""
        self.jobs[number] = decide(self.jobs[number], event, now=self.clock.now())

    def kill(self) -> "MemoryStore":
        """Return what the next process finds after ``kill -9``: nothing that was not flushed."""
        return attrs.evolve(self, jobs=dict(self.jobs), writes=[], read=[], fails=set())

    # --- the port ----------------------------------------------------------------------------------------------------

    async def recover(self, why: str) -> None:
        def write() -> None:
            for job in self.jobs.values():
                if job.state is JobState.RUNNING:
                    self.jobs[job.id] = attrs.evolve(job, state=JobState.QUEUED, losses=job.losses + 1, detail=why)

        await self._write("recover", write)

    async def keep_trace(self, job: int, trace: str) -> None:
        self.traces[job] = trace

    async def save(self, job: Job) -> None:
        kept = as_read_back(job)
        await self._write("save", lambda: self._put(kept))

    async def keep(
        self, job: Job, messages: Sequence[Any] = (), results: Sequence[Any] = (), history: Any = None
    ) -> None:
        kept = as_read_back(job)

        def write() -> None:
            self.messages += messages
            mine = self.results.setdefault(job.id, [])
            mine[job.results - len(results) :] = results
            self._put(kept)

        await self._write("keep", write)

    def _put(self, job: Job) -> None:
        if self.jobs[job.id].state in OPEN:  # a job that a command has ended stays ended
            self.jobs[job.id] = job

    async def charge(self, job: Job, account: str, until: float, length: float) -> None:
        kept = as_read_back(job)

        def write() -> None:
            self.taken.append((job.kind, account, until, length))
            self._put(kept)

        await self._write("charge", write)
        await self.flush()

    async def charges(self, now: float) -> list[tuple[str, str, float, float | None]]:
        await self._ask("charges")
        return [each for each in self.taken if each[2] >= now]

    async def move_waits(self, shift: float, now: float) -> None:
        def write() -> None:
            for job in self.jobs.values():
                if job.state is JobState.QUEUED and job.due is not None and job.wait is not None:
                    due = move_end(job.due, job.wait, shift, now) if shift else cap_end(job.due, job.wait, now)
                    self.jobs[job.id] = attrs.evolve(job, due=due)
            self.taken = [
                (kind, account, move_end(until, length, shift, now) if shift else cap_end(until, length, now), length)
                for kind, account, until, length in self.taken
            ]

        await self._write("move_waits", write)
        await self.flush()

    async def wake_due(self, now: float) -> None:
        def write() -> None:
            for job in self.jobs.values():
                if job.state is JobState.QUEUED and job.due is not None and job.due <= now:
                    self.jobs[job.id] = attrs.evolve(job, due=None)

        await self._write("wake_due", write)

    async def held_by(self) -> set[str]:
        await self._ask("held_by")
        return {job.account for job in self.jobs.values() if job.held and job.account and job.state is JobState.QUEUED}

    async def waiting_held(self, now: float) -> list[Job]:
        await self._ask("waiting_held")
        waiting = [job for job in self.jobs.values() if job.state is JobState.QUEUED and job.account is not None]
        met = [job for job in waiting if job.detail.startswith(FLOOD_WAIT)]
        return [job for job in met if job.due is not None and job.due > now]

    async def release_waiting(self, account: str, details: tuple[str, str]) -> None:
        def write() -> None:
            for job in self.jobs.values():
                if job.state is JobState.QUEUED and job.account == account and job.detail in details:
                    self.jobs[job.id] = attrs.evolve(job, due=None, wait=None)

        await self._write("release_waiting", write)
        await self.flush()

    async def release_held(self, account: str, now: float) -> None:
        def write() -> None:
            for job in self.jobs.values():
                over = job.due is None or job.due <= now
                if job.held and job.account == account and job.state is JobState.QUEUED and over:
                    self.jobs[job.id] = attrs.evolve(job, account=None, held=False)

        await self._write("release_held", write)

    async def flush(self) -> None:
        writes = len(self._writes)
        await self._ask("flush")
        for write in self._writes[:writes]:
            write()
        del self._writes[:writes]

    async def queues(self) -> list[tuple[str, str | None]]:
        found = list(dict.fromkeys((job.kind, job.account) for job in self._ready()))
        await self._ask("queues")
        return found

    async def next_due(self) -> float | None:
        await self._ask("next_due")
        dues = [job.due for job in self.jobs.values() if job.state is JobState.QUEUED and job.due is not None]
        return min(dues, default=None)

    async def ready(self, kind: str, account: str | None, limit: int) -> list[Job]:
        await self._ask("ready")
        mine = [job for job in self._ready() if (job.kind, job.account) == (kind, account)]
        found = sorted(mine, key=lambda job: (-job.priority, job.id))[:limit]
        self.read += [job.id for job in found]
        self.most_read = max(self.most_read, len(found))
        return found

    async def give_back(self, busy: Collection[int]) -> None:
        pass

    async def take_place(self, job: Job, at_once: int) -> bool:
        return True

    async def ended(self, ids: Sequence[int]) -> set[int]:
        await self._ask("ended")
        return {number for number in ids if self.jobs[number].state is JobState.CANCELLED}

    async def counts(self) -> dict[str, dict[str, int]]:
        await self._ask("counts")
        counts: dict[str, dict[str, int]] = {}
        for job in self.jobs.values():
            mine = counts.setdefault(job.kind, {})
            mine[job.state] = mine.get(job.state, 0) + 1
        return counts

    def _ready(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.state is JobState.QUEUED and job.due is None]

    async def _write(self, name: str, write: Write) -> None:
        """Queue a write; a call that is cancelled or fails here has queued nothing."""
        self._fail(name)
        await anyio.lowlevel.checkpoint()
        self.written[name] += 1
        self._writes.append(write)

    async def _ask(self, name: str) -> None:
        self._fail(name)
        self.asked[name] += 1
        await anyio.sleep(self.takes)

    def _fail(self, name: str) -> None:
        if name in self.fails:
            self.failed.append(name)
            raise OSError(f"{name}: the disk is gone")


class Wait(Exception):
    """Stands for a flood wait of so many seconds, and for the job alone if there is a ``True`` after them."""


def classify_error(exc: BaseException, _: Any) -> Lost | Flooded | Raised:
    """Tell the connection's errors, waits and others apart by their class."""
    if isinstance(exc, Wait):
        return Flooded("SendMessage", VirtualClock().now() + exc.args[0], *exc.args[1:])
    if isinstance(exc, ConnectionError):
        return Lost(str(exc))
    return Raised(f"{type(exc).__name__}: {exc}", (type(exc).__name__,))


@define(eq=False)
class DispatcherHarness:
    """A dispatcher that runs, its accounts and its store."""

    dispatcher: Dispatcher
    store: MemoryStore
    clients: dict[str, object | None]

    def arrive(self, *names: str) -> None:
        """Give accounts a new client each."""
        for name in names:
            self.clients[name] = object()
            self.dispatcher.account_changed(name)

    def leave(self, *names: str) -> None:
        """Take the clients of accounts away."""
        for name in names:
            self.clients[name] = None
            self.dispatcher.account_changed(name)

    def add(self, kind: str, **given: Any) -> int:
        """Add a job as a command does, and tell the dispatcher."""
        number = self.store.add(kind, **given)
        self.dispatcher.jobs_changed()
        return number

    def change(self, number: int, event: JobEvent) -> None:
        """Change a job as a command does, and tell the dispatcher."""
        self.store.change(number, event)
        self.dispatcher.jobs_changed()

    async def job(self, number: int) -> Job:
        """Return a job as it is stored, when all that was written is."""
        await self.store.flush()
        return self.store.jobs[number]

    async def until(self, number: int, *states: JobState) -> Job:
        """Wait until a job is stored in one of these states; give up after two virtual hours."""
        pause = 0.01
        with anyio.fail_after(7200):
            while (job := await self.job(number)).state not in states:
                await anyio.sleep(pause)
                pause = min(10.0, pause * 1.1)
        return job

    async def over(self, *numbers: int) -> list[Job]:
        """Wait until jobs are done, failed or cancelled, and return them."""
        return [await self.until(number, JobState.DONE, JobState.FAILED, JobState.CANCELLED) for number in numbers]


@asynccontextmanager
async def dispatching(
    kinds: dict[str, Function],
    store: MemoryStore,
    *,
    here: str = "A",
    away: str = "",
    policy: WorkPolicy = STEADY,
    data: type[Any] | None = None,
    seed: int = 1,
    contexts_of: ContextsOf = lambda client: (),
    moves_work: Callable[[str], bool] = lambda account: True,
) -> AsyncIterator[DispatcherHarness]:
    """Let a dispatcher work for the length of the block, with the accounts ``here``, and those ``away`` to come."""
    clients: dict[str, object | None] = {name: object() for name in here} | dict.fromkeys(away)
    dispatcher = Dispatcher(
        accounts=list(clients),
        kinds=JobKinds.of(JobKind(name, function, data) for name, function in kinds.items()),
        policy=policy,
        store=store,
        client_of=clients.get,
        classify_error=classify_error,
        clock=store.clock,
        contexts_of=contexts_of,
        moves_work=moves_work,
        rng=random.Random(seed),
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dispatcher.run)
        try:
            yield DispatcherHarness(dispatcher, store, clients)
        finally:
            tasks.cancel_scope.cancel()


Begins = list[tuple[float, int, str]]
"""When a run began (virtual seconds), the job's number, and the account."""


class RunLog:
    """Kinds that note their begins."""

    def __init__(self) -> None:
        self.begins: Begins = []
        self.jobs: list[int] = []

    def note(self, job: JobHandle) -> None:
        """Note that a run begins."""
        self.begins.append((round(anyio.current_time(), 2), job.id, job.account))
        self.jobs.append(job.id)

    async def quick(self, job: JobHandle, _: Any) -> int:
        """Return at once."""
        self.note(job)
        return job.id

    async def second(self, job: JobHandle, _: Any) -> None:
        """Take a second."""
        self.note(job)
        await anyio.sleep(1)

    async def endless(self, job: JobHandle, _: Any) -> None:
        """Never return, and say every minute that all is well."""
        self.note(job)
        while True:
            await anyio.sleep(60)
            job.progress(1)

    async def paged(self, job: JobHandle, _: Any) -> list[int]:
        """Do five pages of ten seconds, each with a checkpoint; return those that this run did."""
        self.note(job)
        mine = []
        for page in range(job.saved.get("page", 0), 5):
            await anyio.sleep(10)
            mine.append(page)
            await job.checkpoint({"page": page + 1}, results=[page], done=page + 1, total=5, stay=job.data.get("stay"))
        return mine


def rules(**kinds: KindPolicy) -> WorkPolicy:
    """Return rules without chance."""
    return WorkPolicy(retry=Backoff(jitter=0), kinds=kinds)


class Stubborn(RunLog):
    """A kind that does not let itself be cancelled until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = anyio.Event()
        self.told = 0

    async def stay(self, job: JobHandle, _: Any) -> str:
        """Swallow every cancellation, for a thousand seconds at most: a test that fails ends, too."""
        self.note(job)
        while not self.let_go.is_set() and anyio.current_time() < 1000:
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                self.told += 1
        return "at last"
