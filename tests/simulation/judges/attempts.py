"""Attempts: what the function of a job saw of its runs agrees with what was promised of jobs."""

from collections.abc import Iterator
from typing import Final

from states.jobs import MAX_LOSSES
from tests.simulation.evidence import Evidence, JobAttempt, JobSeen, Verdict
from tests.simulation.judges.shared import DISK, MOMENT, active, faults_of, grouped, lives_by_number

RUN_ONCE: Final = "each job is done once"
STEPS: Final = "steps"
CANCELLED_WITHIN: Final = 90.0
"""Seconds within which a job that was cancelled does not run any more, also if the engine was not told of it."""


def done_once(evidence: Evidence) -> Iterator[Verdict]:
    """A job runs once at a time, not again after its end, with its account, and only its own failures count."""
    jobs = {job.number: job for job in evidence.jobs}
    by_job = grouped(evidence.attempts, lambda each: str(each.number))
    for attempts in by_job.values():
        yield from _one_after_the_other(evidence, attempts)
        yield from _counted(evidence, attempts)
        job = jobs.get(attempts[0].number)
        if job is not None and job.account:
            yield from _with_its_account(job, attempts)
    for job in evidence.jobs:
        if job.kind == STEPS:
            attempts = by_job.get(str(job.number), [])
            yield from _as_it_ended(evidence, job, attempts)
            yield from _ends_when_cancelled(evidence, job, attempts)
    yield from _so_many_at_once(evidence)


def _ends(evidence: Evidence, attempt: JobAttempt) -> float:
    """Return when an attempt was over: with its process at the latest."""
    life = lives_by_number(evidence).get(attempt.life)
    ends = [end for end in (attempt.ended, life.ended if life else None) if end is not None]
    return min(ends, default=float("inf"))


def _one_after_the_other(evidence: Evidence, attempts: list[JobAttempt]) -> Iterator[Verdict]:
    for place, former in enumerate(attempts):
        for later in attempts[place + 1 :]:
            if later.life != former.life:
                continue
            if later.began < _ends(evidence, former) - MOMENT:
                what = f"job {later.number} was begun while it ran with {former.account}, since {former.began:.3f} s"
            elif former.returned:
                what = f"job {later.number} was begun again, and had returned at {former.ended or 0.0:.3f} s"
            else:
                continue
            yield Verdict(judge=RUN_ONCE, what=what, at=later.began, account=later.account)
            return


def _failures(evidence: Evidence, attempts: list[JobAttempt]) -> int:
    """Return how many of these runs may count as failures of the job, rather of too many than of too few.

    A run counts that ended by an exception, or that was cut off after too long a silence; and so does each series of
    lost connections that is too long to be an accident.
    """
    lost = [each for each in attempts if not each.raised and not each.returned]
    silent = [each for each in lost if _silence(evidence, each) >= evidence.promises.work.of(STEPS).patience - 1.0]
    return sum(each.raised for each in attempts) + len(silent) + len(lost) // (MAX_LOSSES + 1)


def _silence(evidence: Evidence, attempt: JobAttempt) -> float:
    """Return how long an attempt had said nothing when it ended."""
    end = _ends(evidence, attempt)
    marks = [
        each.acknowledged
        for each in evidence.writes
        if each.kind == "checkpoint" and each.key == str(attempt.number) and each.acknowledged is not None
    ]
    return end - max([attempt.began, *(at for at in marks if at <= end)])


def _counted(evidence: Evidence, attempts: list[JobAttempt]) -> Iterator[Verdict]:
    """Condemn an attempt with a higher number than the failures before it explain."""
    for place, attempt in enumerate(attempts):
        failures = _failures(evidence, attempts[:place])
        if attempt.attempt > failures + 1:
            of_its_own = f"{failures} failure{'' if failures == 1 else 's'} of its own"
            what = f"job {attempt.number} is in attempt {attempt.attempt} after {of_its_own}; a lost link is none"
            yield Verdict(judge=RUN_ONCE, what=what, at=attempt.began, account=attempt.account)
            return


def _with_its_account(job: JobSeen, attempts: list[JobAttempt]) -> Iterator[Verdict]:
    for attempt in attempts:
        if attempt.account != job.account:
            what = f"job {job.number} of {job.account} was begun with {attempt.account}"
            yield Verdict(judge=RUN_ONCE, what=what, at=attempt.began, account=job.account)
            return


def _as_it_ended(evidence: Evidence, job: JobSeen, attempts: list[JobAttempt]) -> Iterator[Verdict]:
    """Condemn a job that is done though no run returned, or failed before it had its tries."""
    failures, tries = _failures(evidence, attempts), evidence.promises.job_tries
    if job.state == "done" and not any(each.returned for each in attempts):
        what = f"job {job.number} is done, and no run of it returned"
    elif job.state == "failed" and failures < tries:
        what = f"job {job.number} has failed for good after {failures} failures of its own, of {tries}"
    elif job.cancelled is not None and job.state not in ("cancelled", "gone"):
        what = f"job {job.number} was cancelled at {job.cancelled:.3f} s, and is {job.state}"
    else:
        return
    yield Verdict(judge=RUN_ONCE, what=what, at=job.cancelled or evidence.seconds, account=job.account)


def _ends_when_cancelled(evidence: Evidence, job: JobSeen, attempts: list[JobAttempt]) -> Iterator[Verdict]:
    """Condemn a run that goes on although its job was cancelled; the engine reads of that in the file."""
    for attempt in attempts:
        at, end = job.cancelled, _ends(evidence, attempt)
        if at is None or end < at + CANCELLED_WITHIN or active(faults_of(evidence, DISK), at, end):
            continue
        what = f"job {job.number} was cancelled at {at:.3f} s, and ran until {end:.3f} s"
        yield Verdict(judge=RUN_ONCE, what=what, at=at, account=attempt.account)
        return


def _so_many_at_once(evidence: Evidence) -> Iterator[Verdict]:
    """Condemn an account that does more jobs of one kind at once than it may."""
    work = evidence.promises.work
    most = min(work.per_account, work.of(STEPS).per_account)
    for name, attempts in grouped(evidence.attempts, lambda each: f"{each.account}\0{each.life}").items():
        running: list[JobAttempt] = []
        for attempt in sorted(attempts, key=lambda each: each.began):
            running = [each for each in running if _ends(evidence, each) > attempt.began + MOMENT] + [attempt]
            if len(running) > most:
                numbers = ", ".join(str(each.number) for each in running)
                what = f"{len(running)} jobs ran at once ({numbers}), of {most} allowed"
                yield Verdict(judge=RUN_ONCE, what=what, at=attempt.began, account=name.partition("\0")[0])
                break
