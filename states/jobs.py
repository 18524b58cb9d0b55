"""The law of jobs: what a piece of durable work is, and what becomes of it. Pure, like ``step``.

    queued ──Begun──▶ running ──Returned──▶ done
      ▲ ▲                │ │
      │ └─Lost, Flooded──┘ │         the account's trouble: nothing is counted, the checkpoint is kept
      └────── Raised ──────┴──▶ failed     its own: tries by a schedule, then a person's
    Cancelled leads from queued and running to cancelled; Retried from failed and cancelled back to queued.

``done`` is final. Whatever is not in this picture changes nothing: a job that was cancelled stays so when it returns.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias

import attrs
from attrs import field, frozen

from states.schedules import Backoff

MAX_LOSSES: Final = 25
"""Connections that a job may lose in a row without a checkpoint; one more is a failure of its own. A request that makes
the datacenter hang up would otherwise hurt its account for ever."""
RETRY: Final = Backoff()
"""How a job's own failures are tried again, if the config does not say: five attempts, 10 s to 120 s apart."""
MAX_DETAIL: Final = 300
"""Characters that are kept of what a failure says."""


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@frozen(kw_only=True)
class Job:
    """One job as it is stored. Times are Unix seconds; ``None`` is never, or not known."""

    id: int
    kind: str
    account: str | None = None
    """Who has to do it; None is any account. A checkpoint can bind it to the account that it is with."""
    data: Mapping[str, Any] = field(factory=dict)
    priority: int = 0
    """Of jobs that could begin, the highest goes first, then the oldest."""
    state: JobState = JobState.QUEUED
    attempts: int = 0
    """Failures of its own so far."""
    losses: int = 0
    """Connections lost since it last made a checkpoint."""
    due: float | None = None
    """Not before then; None is at once."""
    paid: int = 0
    """The attempt for which its kind's budget has been charged; 0 is none."""
    worker: str | None = None
    """The account that it is with, or was last."""
    checkpoint: Mapping[str, Any] | None = None
    result: Any = None
    detail: str = ""
    """What happened last, in a few words."""
    error: tuple[str, ...] = ()
    """The cause chain of its last failure, outermost first."""
    results: int = 0
    """How many results it has stored."""
    done: float | None = None
    """How much of ``total`` is done, in units of the job's own."""
    total: float | None = None
    added: float = 0.0
    began: float | None = None
    """When it first ran."""
    since: float | None = None
    """When this run began, and ``since_done`` how much was done then: what its rate is counted from."""
    since_done: float | None = None
    seen: float | None = None
    """When it last said how far it is."""
    ended: float | None = None

    @property
    def attempt(self) -> int:
        """Which attempt this is, or would be, from 1."""
        return self.attempts + 1


@frozen
class Begun:
    """It begins, or goes on, with this account."""

    worker: str


@frozen(kw_only=True)
class Saved:
    """It says how far it is; ``checkpoint`` None leaves the last one, ``stay`` binds it to the account it is with.

    ``results`` is how many more it stores with it.
    """

    checkpoint: Mapping[str, Any] | None = None
    results: int = 0
    done: float | None = None
    total: float | None = None
    stay: bool = False


@frozen
class Returned:
    """It came to its end."""

    result: Any = None


@frozen
class Lost:
    """Its account's connection, or the engine, ended under it."""

    why: str


@frozen
class Flooded:
    """The server asked for a wait: requests of this kind, and so jobs of this kind with this account, wait until.

    ``alone``: this job alone waits, because the wait is for its chat (slow mode).
    """

    request: str
    until: float
    alone: bool = False


@frozen
class Raised:
    """It failed by itself."""

    detail: str
    chain: tuple[str, ...] = ()


@frozen
class Cancelled:
    """A person wants it no more."""


@frozen
class Retried:
    """A person wants it tried (again) now."""


JobEvent: TypeAlias = Begun | Saved | Returned | Lost | Flooded | Raised | Cancelled | Retried
OPEN: Final = (JobState.QUEUED, JobState.RUNNING)
"""What still has something to do."""


def decide(job: Job, event: JobEvent, *, now: float, draw: float = 0.5, retry: Backoff = RETRY) -> Job:
    """Return the job after ``event``; the same job where the picture above has no arrow.

    ``draw`` from [0, 1) places the wait after a failure within the jitter of ``retry``.
    """
    match job.state, event:
        case JobState.QUEUED, Begun(worker):
            return attrs.evolve(
                job, state=JobState.RUNNING, worker=worker, due=None, began=job.began or now, since=now,
                since_done=job.done, seen=now, detail="",
            )  # fmt: skip
        case JobState.QUEUED, Retried():
            return attrs.evolve(job, due=None)
        case JobState.RUNNING, Saved():
            return _saved(job, event, now)
        case JobState.RUNNING, Returned(result):
            done = job.done if job.total is None else job.total
            return attrs.evolve(
                job, state=JobState.DONE, result=result, done=done, ended=now, seen=now, detail="", error=()
            )
        case JobState.RUNNING, Lost(why):
            if job.losses < MAX_LOSSES:
                return attrs.evolve(job, state=JobState.QUEUED, losses=job.losses + 1, detail=why)
            return _raised(
                job, Raised(f"the connection was lost {job.losses + 1} times in a row: {why}"), now, draw, retry
            )
        case JobState.RUNNING, Flooded(request, until):
            # Also one for any account: what one was told to wait for, another must not do in its place.
            return attrs.evolve(job, state=JobState.QUEUED, due=until, detail=f"flood wait for {request}")
        case JobState.RUNNING, Raised():
            return _raised(job, event, now, draw, retry)
        case ((JobState.QUEUED | JobState.RUNNING), Cancelled()):
            return attrs.evolve(job, state=JobState.CANCELLED, due=None, ended=now, detail="cancelled")
        case ((JobState.FAILED | JobState.CANCELLED), Retried()):
            return attrs.evolve(job, state=JobState.QUEUED, attempts=0, losses=0, paid=0, due=None, ended=None)
        case _:
            return job


def _saved(job: Job, event: Saved, now: float) -> Job:
    kept = job.checkpoint if event.checkpoint is None else event.checkpoint
    return attrs.evolve(
        job,
        checkpoint=kept,
        done=job.done if event.done is None else event.done,
        total=job.total if event.total is None else event.total,
        account=job.worker if event.stay else job.account,
        losses=0 if event.checkpoint is not None else job.losses,
        results=job.results + event.results,
        seen=now,
    )


def _raised(job: Job, event: Raised, now: float, draw: float, retry: Backoff) -> Job:
    attempts, text = job.attempts + 1, event.detail[:MAX_DETAIL]
    failed = attrs.evolve(job, attempts=attempts, losses=0, detail=text, error=event.chain)
    if attempts >= retry.tries:
        return attrs.evolve(failed, state=JobState.FAILED, ended=now)
    return attrs.evolve(failed, state=JobState.QUEUED, due=now + retry.delay(attempts, draw))


def rate_of(job: Job) -> float | None:
    """Return how much it does in a second, counted over its present run; None while that cannot be said."""
    if job.state is not JobState.RUNNING or job.done is None or job.since is None or job.seen is None:
        return None
    took, made = job.seen - job.since, job.done - (job.since_done or 0.0)
    return made / took if took > 0 and made > 0 else None


def remaining_of(job: Job) -> float | None:
    """Return in how many seconds it may be done, as things go; None while that cannot be said."""
    rate = rate_of(job)
    if rate is None or job.total is None or job.done is None:
        return None
    return max(0.0, (job.total - job.done) / rate)


@frozen
class JobSummary:
    """How many jobs there are in each state, and those that run."""

    counts: Mapping[str, int] = field(factory=dict)
    running: tuple[Job, ...] = ()


def by_state(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return how many jobs are in each state, of all kinds together, in the order in which they come by them."""
    return {
        state.value: total
        for state in JobState
        if (total := sum(of_kind.get(state.value, 0) for of_kind in counts.values()))
    }
