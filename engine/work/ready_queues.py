"""Queues: the jobs of one kind for one account (or for any) that are ready, a few of them in memory, in their order."""

import math
from bisect import bisect
from collections import deque
from collections.abc import Collection, Iterator

import structlog
from attrs import define, field

from engine.work.kinds import JobKinds
from engine.work.ports import JobStorage
from states.jobs import Job

FETCH_ROWS = 1024
"""Jobs that are read of one queue at a time, while not many are in memory."""
MIN_FETCH_ROWS = 8
MEMORY_ROWS = 8192
"""Jobs in memory, of all queues together, from which on only a few are read at a time."""

log = structlog.get_logger("holdfast.jobs")


def _order(job: Job) -> tuple[int, int]:
    """Return what jobs of a queue are sorted by: the most urgent first, then the oldest."""
    return -job.priority, job.id


@define(eq=False)
class ReadyQueue:
    """Jobs of one kind for one account, None for any: those in memory, and whether there may be more in the file."""

    kind: str
    account: str | None
    ready: deque[Job] = field(factory=deque, init=False)
    more: bool = field(default=True, init=False)

    @property
    def head(self) -> Job | None:
        """The job that goes first, of those in memory."""
        return self.ready[0] if self.ready else None


@define(eq=False)
class ReadyQueues:
    """All queues that have something to do.

    A queue is read only when none of its jobs is in memory, and after a flush: what has ended is then no longer ready
    in the file, and what has not is known, so that no job is read twice.
    """

    store: JobStorage
    kinds: JobKinds
    accounts: Collection[str]
    next_due: float = field(default=math.inf, init=False)
    """When the next waiting job is due (Unix seconds)."""
    wanted: dict[tuple[str, str | None], ReadyQueue] = field(factory=dict, init=False)
    """Queues to be read."""
    _queues: dict[tuple[str, str | None], ReadyQueue] = field(factory=dict, init=False)
    _warned: set[tuple[str, ...]] = field(factory=set, init=False)

    async def load(self) -> None:
        """Read anew which queues there are, and when the next job is due; what is in memory is forgotten.

        To be called after a flush.
        """
        self.wanted.clear()
        self._queues.clear()
        for kind, account in await self.store.queues():
            if self.kinds.get(kind) is None:
                self._warn("job_kind_unknown", kind=kind)
            elif account is not None and account not in self.accounts:
                self._warn("job_account_unknown", account=account)
            else:
                self._queues[kind, account] = ReadyQueue(kind, account)
        due = await self.store.next_due()
        self.next_due = math.inf if due is None else due

    def _warn(self, event: str, **of: str) -> None:
        """Log what keeps jobs waiting, once."""
        if (event, *of.values()) not in self._warned:
            self._warned.add((event, *of.values()))
            log.warning(event, **of)

    async def wake_due(self, now: float) -> None:
        """Make those ready whose time has come."""
        await self.store.wake_due(now)
        await self.store.flush()
        await self.load()

    def of(self, account: str) -> Iterator[ReadyQueue]:
        """Yield the queues that an account takes jobs from."""
        for kind in self.kinds.by_name:
            for who in (account, None):
                if (queue := self._queues.get((kind, who))) is not None:
                    yield queue

    def want(self, queue: ReadyQueue) -> None:
        """Have a queue read at the next ``fetch``."""
        self.wanted[queue.kind, queue.account] = queue

    async def fetch(self, busy: Collection[int]) -> bool:
        """Read the queues that are wanted, without the jobs in ``busy``; return whether there were any."""
        wanted, self.wanted = self.wanted, {}
        if not wanted:
            return False
        await self.store.flush()
        for queue in wanted.values():
            room = MEMORY_ROWS - sum(len(each.ready) for each in self._queues.values())
            limit = max(MIN_FETCH_ROWS, min(FETCH_ROWS, room)) + len(busy)
            jobs = await self.store.ready(queue.kind, queue.account, limit)
            queue.ready.extend(job for job in jobs if job.id not in busy)
            queue.more = len(jobs) == limit
        return True

    def returned(self, job: Job) -> None:
        """Take note that a job is in the queue again."""
        if job.due is not None:
            self.next_due = min(self.next_due, job.due)
            return
        queue = self._queues.setdefault((job.kind, job.account), ReadyQueue(job.kind, job.account))
        place = bisect(queue.ready, _order(job), key=_order)
        if place < len(queue.ready):  # not behind all newer ones that are in memory already
            queue.ready.insert(place, job)
        else:
            queue.more = True
