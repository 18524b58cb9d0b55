"""The lines about jobs on the status page."""

from engine.console.job_lines import line, page
from states.jobs import Job, JobState, JobSummary

RUNNING = Job(id=3, kind="collect", account=None, worker="News", state=JobState.RUNNING, done=5.0, total=10.0)


def test_a_job_of_a_dead_engine_does_not_run() -> None:
    """It was cut off with its engine, and has no rate and no remaining time."""
    summary = JobSummary({"running": 1}, (RUNNING,))
    assert "5 of 10" in page(summary)[-1].plain
    assert page(summary, engine_runs=False)[-1].plain.endswith("was cut off; goes on when the engine runs")


def test_a_time_that_has_come_is_no_wait() -> None:
    """A job that is due says nothing of it, and one that is not, when."""
    queued = Job(id=3, kind="collect", account=None, state=JobState.QUEUED, due=100.0)
    assert "not before" not in line(queued, now=101.0).plain
    assert "not before 1 s from now" in line(queued, now=99.0).plain
