"""Ready queues: the jobs of one kind for one account (or for any) that may begin, in order, a few of them in memory."""

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
"""Jobs that are read from a queue at a time, while few are in memory."""
MIN_FETCH_ROWS = 8
FULL_ROWS = 8192
"""The number of jobs in memory, of all queues together, from which on only ``MIN_FETCH_ROWS`` are read at a time."""

log = structlog.get_logger("holdfast.jobs")


def _order(job: Job) -> tuple[int, int]:
    """Return the sort key of a queue: the most urgent job first, then the oldest."""
    return -job.priority, job.id


@define(eq=False)
class ReadyQueue:
    """Jobs of one kind for one account (None: for any): those in memory, and whether the file may have more."""

    kind: str
    account: str | None
    ready: deque[Job] = field(factory=deque, init=False)
    more: bool = field(default=True, init=False)

    @property
    def head(self) -> Job | None:
        """The first job of those in memory."""
        return self.ready[0] if self.ready else None


@define(eq=False)
class ReadyQueues:
    """All queues that have jobs.

    A queue is read only when none of its jobs is in memory, and after a flush. Jobs that have ended are then no longer
    ready in the file, and those that have not are known, so no job is read twice.
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

    async def load(self, busy: Collection[int]) -> None:
        """Forget the jobs in memory but ``busy``, and read anew which queues there are and when the next job is due.

        Call it after a flush.
        """
        self.wanted.clear()
        self._queues.clear()
        await self.store.give_back(busy)
        for kind, account in await self.store.queues():
            if self.kinds.get(kind) is None:
                self._warn("job_kind_unknown", kind=kind)
            elif account is not None and account not in self.accounts:
                if self.store.claims is None:  # otherwise it has been claimed, and does not run yet
                    self._warn("job_account_unknown", account=account)
            else:
                self._queues[kind, account] = ReadyQueue(kind, account)
        due = await self.store.next_due()
        self.next_due = math.inf if due is None else due

    def _warn(self, event: str, **of: str) -> None:
        """Log once why jobs wait."""
        if (event, *of.values()) not in self._warned:
            self._warned.add((event, *of.values()))
            log.warning(event, **of)

    async def wake_due(self, now: float, busy: Collection[int]) -> None:
        """Make the jobs ready that are due, and read the queues anew, see ``load``."""
        await self.store.wake_due(now)
        await self.store.flush()
        await self.load(busy)

    def of(self, account: str) -> Iterator[ReadyQueue]:
        """Yield the queues that an account takes jobs from."""
        for kind in self.kinds.by_name:
            for owner in (account, None):
                if (queue := self._queues.get((kind, owner))) is not None:
                    yield queue

    def concerned(self) -> dict[str, None]:
        """Return the accounts for which there is a queue, in the order of all accounts."""
        owners = {account for _, account in self._queues}
        return {name: None for name in self.accounts if None in owners or name in owners} if owners else {}

    def want(self, queue: ReadyQueue) -> None:
        """Read a queue at the next ``fetch``."""
        self.wanted[queue.kind, queue.account] = queue

    async def fetch(self, busy: Collection[int]) -> bool:
        """Read the wanted queues, without the jobs in ``busy``; return whether any queue was wanted."""
        wanted, self.wanted = self.wanted, {}
        if not wanted:
            return False
        await self.store.flush()
        for queue in wanted.values():
            room = FULL_ROWS - sum(len(each.ready) for each in self._queues.values())
            limit = max(MIN_FETCH_ROWS, min(FETCH_ROWS, room)) + len(busy)
            if queue.account is None and self.store.claims is not None:
                limit = self.store.claims  # not counting those that are this engine's already
            jobs = await self.store.ready(queue.kind, queue.account, limit)
            queue.ready.extend(job for job in jobs if job.id not in busy)
            queue.more = len(jobs) >= limit
        return True

    def put_back(self, job: Job) -> None:
        """Put a job back into its queue."""
        if job.due is not None:
            self.next_due = min(self.next_due, job.due)
            return
        queue = self._queues.setdefault((job.kind, job.account), ReadyQueue(job.kind, job.account))
        place = bisect(queue.ready, _order(job), key=_order)
        if place < len(queue.ready):  # it goes before a job that is in memory
            queue.ready.insert(place, job)
        else:
            queue.more = True
