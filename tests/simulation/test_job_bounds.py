"""By when a job has to be over follows from what else there was to do, and from the promises of the config."""

from states.pace import Budget, KindPolicy, WorkPolicy
from tests.simulation import job_bounds
from tests.simulation.evidence import Evidence, JobSeen, Promises
from tests.simulation.story import JobOrder, Story, Workload

STORY = Story(seed=1, hours=1, workload=Workload(jobs=(JobOrder(at=1.0, count=9),)))


def _bound(*ended: float | None, policy: WorkPolicy | None = None) -> float:
    """Return the bound of the first of jobs of 100 s each, of which one that has ended did so at that time."""
    seen = Evidence(quiet_from=50.0, promises=Promises(work=policy or WorkPolicy()))
    seen.jobs = [
        JobSeen(number=number, kind="send", added=1.0, work=100.0, ended=at) for number, at in enumerate(ended)
    ]
    job_bounds.fill(seen, STORY)
    assert seen.jobs[0].bound is not None
    return seen.jobs[0].bound


def test_a_job_waits_for_every_other_that_is_open() -> None:
    """Each other open job is work in front of it; one that was over before the last fault is none."""
    assert _bound(None, None, 70.0) - _bound(None, 20.0, 20.0) == 200.0


def test_a_job_waits_for_the_budget_of_its_kind() -> None:
    """Where only some may begin in a while, the others wait for that while again and again."""
    budget = KindPolicy(budget=Budget(at_most=2, per=60.0, jitter=0.0))
    assert _bound(None, None, policy=WorkPolicy(kinds={"send": budget})) - _bound(None, None) == 180.0
