"""By when jobs have to be over: their work takes its time, one after the other, and failures have their waits."""

from typing import Final

from tests.simulation.evidence import Evidence, JobSeen
from tests.simulation.story import JobOrder, Story

ANSWER: Final = 5.0
"""Seconds that a request may take where no fault delays it, with all that a job writes besides."""
MARGIN: Final = 120.0
"""Seconds for a dispatcher that looks again, and for what was queued before."""


def work_of(order: JobOrder, tries: int) -> float:
    """Return the seconds that one job of an order takes at most; each try may do a step again that had failed."""
    if order.kind != "steps":
        return tries * 3 * ANSWER
    return (order.steps + tries) * (order.seconds + ANSWER)


def fill(evidence: Evidence, story: Story) -> None:
    """Set the bounds of all jobs, once it is known how they ended.

    In the worst case all jobs that are open then are for one account, which does one at a time: each waits for all the
    others, and for the budget of its kind; the last one fails and fails again; and an attempt that was stuck before is
    given up after its patience.
    """
    promises, quiet = evidence.promises, evidence.quiet_from or 0.0
    tries = promises.job_tries
    unknown = sum(each.kind == "job" and each.acknowledged is None for each in evidence.writes)
    longest = max((work_of(order, tries) for order in story.workload.jobs), default=0.0)
    waits = sum(promises.work.retry.delay(nth, 1.0) for nth in range(1, tries))
    patience = max(promises.work.of(order.kind).patience for order in story.workload.jobs) if evidence.jobs else 0.0
    for job in evidence.jobs:
        since = max(quiet, job.added)
        still = [each for each in evidence.jobs if each.ended is None or each.ended > since]
        work = sum(each.work for each in still) + unknown * longest
        job.bound = work + _budget(evidence, still, unknown) + waits + patience + MARGIN


def _budget(evidence: Evidence, jobs: list[JobSeen], unknown: int) -> float:
    """Return how long the budgets let these jobs wait, one after the other."""
    waits = 0.0
    for kind in sorted({job.kind for job in jobs}):
        budget = evidence.promises.work.of(kind).budget
        if budget is not None:
            rounds = (sum(job.kind == kind for job in jobs) + unknown) // budget.at_most + 2
            waits += rounds * budget.taken_until(0.0, 1.0)
    return waits
