"""Log lines about jobs: failures and waits. A finished job is routine, and is in ``jobs list`` and ``status``."""

from typing import Any

import structlog

from engine.work.handle import Run
from states.jobs import Cancelled, Flooded, Job, JobState, Lost, Raised, Returned

LONG_SECONDS = 5.0
"""A job that took longer than this gets a line when it is done."""

log = structlog.get_logger("holdfast.jobs")


def fields_of(run: Run) -> dict[str, Any]:
    """Return the fields that say which job it is, and with which account."""
    return {"account": run.account, "job": run.job.id, "kind": run.job.kind}


def log_outcome(run: Run, job: Job, now: float) -> None:
    """Log how a run ended; ``job`` is the job after it."""
    which = fields_of(run)
    match run.end:
        case Raised() if job.state is JobState.FAILED:
            log.error("job_failed", **which, attempts=job.attempts, detail=job.detail)
        case Raised() if job.due is not None:
            wait = max(0.0, job.due - now)
            log.warning("job_retry_scheduled", **which, attempts=job.attempts, detail=job.detail, delay=wait)
        case Flooded(request, until, alone):
            log.warning("job_held", **which, request=request, until=until, alone=alone)
        case Cancelled():
            log.info("job_cancelled", **which)
        case Lost(why):
            log.info("job_interrupted", **which, detail=why)
        case Returned() if job.began is not None and now - job.began > LONG_SECONDS:
            log.info("job_done", **which, took=now - job.began, done=job.done, total=job.total)
