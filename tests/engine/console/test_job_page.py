"""The lines about jobs on the status page."""

import pytest

from engine.console.job_lines import line, page, progress_text
from engine.console.log_work import WORK
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


@pytest.mark.parametrize(
    ("done", "seconds", "said"),
    [
        (12_400_000.0, 4.0, "12.4 of 80.0 MB (16 %), 3.1 MB/s, 22 s left"),
        (50_000.0, 10.0, "0.05 of 80.0 MB (0 %), 0.005 MB/s, 4 h 26 min left"),
        (83.0, 0.0, "0.000083 of 80.0 MB (0 %)"),
        (0.0, 10.0, "0.0 of 80.0 MB (0 %)"),
    ],
)
def test_a_transfer_is_told_in_megabytes(done: float, seconds: float, said: str) -> None:
    """How far it is, how fast, and how long it will take."""
    running = Job(
        id=1, kind="download", state=JobState.RUNNING, done=done, total=80e6, since=100.0, seen=100.0 + seconds
    )
    assert progress_text(running) == said


def test_the_line_of_a_long_transfer_is_in_megabytes_and_no_number_is_shortened() -> None:
    """Of other kinds the numbers are whole, however large."""
    fields = {"account": "A", "job": 1, "took": 31.0, "done": 1_500_000.0, "total": 1_500_000.0}
    event = next(each for each in WORK if each.name == "job_done")
    assert event.line({**fields, "kind": "upload"}).endswith("31 s, 1.5 MB")
    assert event.line({**fields, "kind": "collect"}).endswith("31 s, 1500000 of 1500000")
