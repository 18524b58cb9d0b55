"""Log lines about jobs: failures and waits. A finished job is routine, and is in ``jobs list`` and ``status``."""

import structlog

from engine.console.format import of_day, seconds
from engine.work.handle import Run
from states.jobs import Cancelled, Flooded, Job, JobState, Lost, Raised, Returned

LONG_SECONDS = 5.0
"""A job that took longer than this gets a line when it is done."""

log = structlog.get_logger()


def log_outcome(run: Run, job: Job, now: float) -> None:
    """Log how a run ended; ``job`` is the job after it."""
    match run.end:
        case Raised() if job.state is JobState.FAILED:
            log.error(f"{_label(run)} failed after {job.attempts} attempts: {job.detail}. Retry it by hand", icon="❌")
        case Raised() if job.due is not None:
            wait = seconds(max(0.0, job.due - now))
            log.warning(f"{_label(run)} failed at attempt {job.attempts}: {job.detail}; again in {wait}", icon="⚠️")
        case Flooded(request, until, alone):
            others = "" if alone else f", and so are {job.kind} jobs"
            log.warning(f"{_label(run)}: {request} is held until {of_day(until)}{others}", icon="⏱️")
        case Cancelled():
            log.info(f"{_label(run)} was cancelled", icon="⚠️")
        case Lost(why):
            log.info(f"{_label(run)} goes on later: {why}", icon="🔄")
        case Returned() if job.began is not None and now - job.began > LONG_SECONDS:
            amount = f", {job.done:g} of {job.total:g}" if job.done and job.total else ""
            log.info(f"{_label(run)} is done after {seconds(now - job.began)}{amount}", icon="✅")


def _label(run: Run) -> str:
    return run.label[0].upper() + run.label[1:]
