"""The law of jobs: what a piece of durable work is, and how its state changes. Pure, like ``step``.

    queued ──Begun──▶ running ──Returned──▶ done
      ▲ ▲                │ │
      │ └─Lost, Flooded──┘ │         the account's trouble: not counted as a failure, the checkpoint is kept; after
      │                    │         Flooded the job stays with the account, after Lost any other may go on (Job.held)
      └────── Raised ──────┴──▶ failed     the job's own: retried by a schedule, then left to the operator
    Cancelled leads from queued and running to cancelled; Retried from failed and cancelled back to queued.

``done`` is final. Any other event changes nothing: a cancelled job stays cancelled when it returns.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import attrs
from attrs import field, frozen

from states.job import FLOOD_WAIT, Job, JobState, JobSummary, by_state, rate_of, remaining_of
from states.schedules import Backoff

__all__ = [
    "FLOOD_WAIT",
    "MAX_DETAIL",
    "MAX_LOSSES",
    "OPEN",
    "RETRY",
    "Begun",
    "Cancelled",
    "Flooded",
    "Job",
    "JobEvent",
    "JobState",
    "JobSummary",
    "KeptBack",
    "Lost",
    "Raised",
    "Retried",
    "Returned",
    "Saved",
    "by_state",
    "decide",
    "move_times",
    "rate_of",
    "remaining_of",
]

MAX_LOSSES: Final = 25
"""Connections that a job may lose in a row without a checkpoint; one more counts as a failure of the job. Otherwise a
request that makes the datacenter hang up would hurt its account for ever."""
RETRY: Final = Backoff()
"""The default schedule for a job's own failures: five attempts, 10 s to 120 s apart."""
MAX_DETAIL: Final = 300
"""Characters of a failure's message that are kept."""


@frozen
class Begun:
    """The job begins, or goes on, with this account."""

    worker: str


@frozen(kw_only=True)
class Saved:
    """The job reports its progress. ``checkpoint`` None keeps the last one; ``stay`` binds the job to its account.

    ``results`` is the number of results that it stores in the same transaction.
    """

    checkpoint: Mapping[str, Any] | None = None
    results: int = 0
    done: float | None = None
    total: float | None = None
    stay: bool = False
    settled: bool = False
    """Whether its failures count from zero again: a job without an end would run out of attempts some day."""


@frozen
class Returned:
    """The job's function returned."""

    result: Any = None


@frozen
class Lost:
    """The account's connection was lost, or the engine stopped, while the job ran.

    ``limited`` says that Telegram limits the account as a whole: the job stays with it, because another account must
    not do what the first may not.
    """

    why: str
    limited: bool = False


@frozen
class Flooded:
    """The server demands a wait: requests of this kind, and with them the account's jobs of this kind, are held.

    ``until`` is in Unix seconds. With ``alone`` no other job of the kind waits with it, because the wait is for one
    chat (slow mode) or for some people. With ``of_chat`` no account does jobs of the kind for the same chat meanwhile.
    """

    request: str
    until: float
    alone: bool = False
    of_chat: bool = field(default=True, kw_only=True)
    seconds: float | None = None
    """Length of the wait, which begins now; None if only its end is known."""

    def end(self, now: float) -> float:
        """Return when the wait ends."""
        return max(now, self.until) if self.seconds is None else now + self.seconds


@frozen
class KeptBack:
    """Another job of its kind, for the same chat, met a limit of this account: the job waits for that with it.

    ``until`` is in Unix seconds; ``seconds`` is what is left, None if only the end is known.
    """

    account: str
    until: float
    why: str
    seconds: float | None = None

    def end(self, now: float) -> float:
        """Return when the wait ends."""
        return max(now, self.until) if self.seconds is None else now + self.seconds


@frozen
class Raised:
    """The job failed by itself."""

    detail: str
    chain: tuple[str, ...] = ()
    final: bool = False
    """Whether another attempt would have the same end, so that none is made."""
    trace: str = field(default="", repr=False)
    """Where it happened, for whoever mends it; it decides nothing."""


@frozen
class Cancelled:
    """The operator cancelled the job."""


@frozen
class Retried:
    """The operator asked for an attempt now."""


JobEvent: TypeAlias = Begun | Saved | Returned | Lost | Flooded | KeptBack | Raised | Cancelled | Retried
OPEN: Final = (JobState.QUEUED, JobState.RUNNING)
"""The states of jobs that are still to be done."""


def decide(job: Job, event: JobEvent, *, now: float, draw: float = 0.5, retry: Backoff = RETRY) -> Job:
    """Return the job after ``event``; the unchanged job if the picture above has no arrow for it.

    ``draw`` from [0, 1) determines the jitter of the wait after a failure, within the limits of ``retry``.
    """
    match job.state, event:
        case JobState.QUEUED, Begun(worker):
            return attrs.evolve(
                job, state=JobState.RUNNING, worker=worker, due=None, wait=None, began=job.began or now, since=now,
                since_done=job.done, seen=now, detail="",
            )  # fmt: skip
        case JobState.QUEUED, Retried():
            return attrs.evolve(job, due=None, wait=None)
        case JobState.RUNNING, Saved():
            return _save(job, event, now)
        case JobState.RUNNING, Returned(result):
            done = job.done if job.total is None else job.total
            return attrs.evolve(
                job, state=JobState.DONE, result=result, done=done, ended=now, seen=now, detail="", error=()
            )
        case JobState.QUEUED, KeptBack(account):
            return attrs.evolve(
                job, account=account, held=True, due=event.end(now), wait=event.end(now) - now, detail=event.why
            )
        case JobState.RUNNING, Lost(why, limited) if limited:
            return attrs.evolve(_kept(job), state=JobState.QUEUED, detail=why)
        case JobState.RUNNING, Lost(why):
            job = _released(job)
            if job.losses < MAX_LOSSES:
                return attrs.evolve(job, state=JobState.QUEUED, losses=job.losses + 1, detail=why)
            return _fail(
                job, Raised(f"the connection was lost {job.losses + 1} times in a row: {why}"), now, draw, retry
            )
        case JobState.RUNNING, Flooded(request):
            # This holds for jobs of any account, too: another account must not do what the first has to wait for.
            return attrs.evolve(
                _kept(job), state=JobState.QUEUED, due=event.end(now), wait=event.end(now) - now,
                detail=f"{FLOOD_WAIT}{request}",
            )  # fmt: skip
        case JobState.RUNNING, Raised():
            return _fail(job, event, now, draw, retry)
        case ((JobState.QUEUED | JobState.RUNNING), Cancelled()):
            return attrs.evolve(job, state=JobState.CANCELLED, due=None, wait=None, ended=now, detail="cancelled")
        case ((JobState.FAILED | JobState.CANCELLED), Retried()):
            return attrs.evolve(
                job, state=JobState.QUEUED, attempts=0, losses=0, paid=0, due=None, wait=None, ended=None
            )
        case _:
            return job


def _kept(job: Job) -> Job:
    """Return a job that met a limit: it stays with its account until that is of no use, see ``Job.held``."""
    return attrs.evolve(job, account=job.worker, held=True) if job.account is None else job


def _released(job: Job) -> Job:
    """Return a job whose account is of no use now: any account may do it, unless it was meant for that one."""
    return attrs.evolve(job, account=None, held=False) if job.held else job


def _save(job: Job, event: Saved, now: float) -> Job:
    kept = job.checkpoint if event.checkpoint is None else event.checkpoint
    return attrs.evolve(
        job,
        checkpoint=kept,
        done=job.done if event.done is None else event.done,
        total=job.total if event.total is None else event.total,
        account=job.worker if event.stay else job.account,
        held=job.held and not event.stay,
        losses=0 if event.checkpoint is not None else job.losses,
        attempts=0 if event.settled else job.attempts,
        results=job.results + event.results,
        seen=now,
    )


def _fail(job: Job, event: Raised, now: float, draw: float, retry: Backoff) -> Job:
    attempts, text = job.attempts + 1, event.detail[:MAX_DETAIL]
    failed = attrs.evolve(job, attempts=attempts, losses=0, detail=text, error=event.chain)
    if attempts >= retry.tries or event.final:
        return attrs.evolve(failed, state=JobState.FAILED, ended=now)
    wait = retry.delay(attempts, draw)
    return attrs.evolve(failed, state=JobState.QUEUED, due=now + wait, wait=wait)


def move_times(job: Job, shift: float) -> Job:
    """Return a running job after the clock was set by ``shift`` seconds: how long it has run stays as it is."""

    def moved(time: float | None) -> float | None:
        return None if time is None else time + shift

    return attrs.evolve(job, began=moved(job.began), since=moved(job.since), seen=moved(job.seen))
