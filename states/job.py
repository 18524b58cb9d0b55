"""What a job is, as it is stored and shown; what changes it is in ``jobs``."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen

FLOOD_WAIT: Final = "flood wait for "
"""How the detail of a job begins that waits for the end of a flood wait or a limit; the kind of request follows."""


class JobState(StrEnum):
    """The states of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@frozen(kw_only=True)
class Job:
    """One job as it is stored. Times are Unix seconds; ``None`` is never, or unknown."""

    id: int
    kind: str
    account: str | None = None
    """The account that has to do the job; None is any. A checkpoint can bind the job to its present account."""
    held: bool = False
    """Whether it stays with ``account`` only because it met a limit there, or another job for its chat did: a limit is
    not to be evaded. When that account is of no use (connection lost, login dead, paused), any other may do the job."""
    data: Mapping[str, Any] = field(factory=dict)
    priority: int = 0
    """Of the jobs that could begin, the one with the highest priority goes first, then the oldest."""
    state: JobState = JobState.QUEUED
    attempts: int = 0
    """The job's own failures so far."""
    losses: int = 0
    """Connections lost since its last checkpoint."""
    due: float | None = None
    """The earliest time at which it may begin; None is at once."""
    wait: float | None = None
    """Length in seconds of the wait that ends at ``due``, which moves with a clock that is set; None where ``due`` is a
    time of day that the operator chose."""
    paid: int = 0
    """The attempt for which the budget of its kind was charged; 0 is none."""
    worker: str | None = None
    """The account that does the job, or did it last."""
    checkpoint: Mapping[str, Any] | None = None
    result: Any = None
    detail: str = ""
    """What happened last, in a few words."""
    error: tuple[str, ...] = ()
    """The chain of causes of its last failure, outermost first."""
    results: int = 0
    """Number of results that it has stored."""
    done: float | None = None
    """How much of ``total`` is done, in the job's own units."""
    total: float | None = None
    added: float = 0.0
    began: float | None = None
    """When it first ran."""
    since: float | None = None
    """When this run began. ``since_done`` is what was done by then: its rate is counted from there."""
    since_done: float | None = None
    seen: float | None = None
    """When it last reported its progress."""
    ended: float | None = None

    @property
    def attempt(self) -> int:
        """Number of the present or next attempt, from 1."""
        return self.attempts + 1


def rate_of(job: Job) -> float | None:
    """Return the job's rate per second over its present run; None while it cannot be computed."""
    if job.state is not JobState.RUNNING or job.done is None or job.since is None or job.seen is None:
        return None
    took, made = job.seen - job.since, job.done - (job.since_done or 0.0)
    return made / took if took > 0 and made > 0 else None


def remaining_of(job: Job) -> float | None:
    """Return the seconds until the job is done at its present rate; None while they cannot be computed."""
    rate = rate_of(job)
    if rate is None or job.total is None or job.done is None:
        return None
    return max(0.0, (job.total - job.done) / rate)


@frozen
class JobSummary:
    """The number of jobs in each state, and the running jobs."""

    counts: Mapping[str, int] = field(factory=dict)
    running: tuple[Job, ...] = ()


def by_state(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return the number of jobs in each state, of all kinds together; states without jobs are left out."""
    return {
        state.value: total
        for state in JobState
        if (total := sum(of_kind.get(state.value, 0) for of_kind in counts.values()))
    }
