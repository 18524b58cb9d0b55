"""The judge of attempts accepts what the law of jobs allows, and condemns jobs that run too often or wrongly."""

from collections.abc import Callable

import attrs
import pytest

from tests.simulation.evidence import Evidence, JobAttempt, Write
from tests.simulation.good_evidence import ONE, TWO, clean
from tests.simulation.judges.attempts import RUN_ONCE, done_once
from tests.simulation.judges.work import jobs_end

Change = Callable[[Evidence], None]


def _twice_at_once(seen: Evidence) -> None:
    seen.attempts.insert(1, JobAttempt(number=2, life=1, account=TWO, began=500.0, ended=600.0, attempt=1))


def _again_after_its_end(seen: Evidence) -> None:
    seen.attempts.append(JobAttempt(number=2, life=2, account=TWO, began=1200.0, ended=1300.0, attempt=1))


def _a_loss_that_counts(seen: Evidence) -> None:
    seen.attempts[0].ended, seen.attempts[1].attempt = 500.0, 2


def _with_another_account(seen: Evidence) -> None:
    seen.jobs[1].account = ONE


def _done_by_nobody(seen: Evidence) -> None:
    seen.attempts[1].returned = False


def _failed_too_early(seen: Evidence) -> None:
    seen.attempts[1].returned, seen.attempts[1].raised = False, True
    seen.jobs[1].state = "failed"


def _done_though_cancelled(seen: Evidence) -> None:
    seen.jobs[1].cancelled = 1080.0


def _goes_on_though_cancelled(seen: Evidence) -> None:
    seen.jobs[1].cancelled, seen.jobs[1].state = 500.0, "cancelled"
    seen.attempts.pop()


def _two_at_once(seen: Evidence) -> None:
    seen.attempts.append(JobAttempt(number=3, life=2, account=TWO, began=1050.0, ended=1060.0, attempt=1))


BROKEN = (
    _twice_at_once,
    _again_after_its_end,
    _a_loss_that_counts,
    _with_another_account,
    _done_by_nobody,
    _failed_too_early,
    _done_though_cancelled,
    _goes_on_though_cancelled,
    _two_at_once,
)


@pytest.mark.parametrize("change", BROKEN, ids=lambda change: change.__name__.strip("_"))
def test_what_a_job_must_not_do_is_condemned(change: Change) -> None:
    """Evidence with one broken promise gives one verdict, and the evidence without it none."""
    seen = clean()
    assert list(done_once(seen)) == []
    change(seen)
    assert [each.judge for each in done_once(seen)] == [RUN_ONCE]


def _failed_once_by_itself(seen: Evidence) -> None:
    seen.attempts[0].raised, seen.attempts[0].ended = True, 300.0
    seen.attempts[1].attempt = 2


def _silent_for_too_long(seen: Evidence) -> None:
    seen.attempts[0].ended = 20.1 + 600.0
    seen.attempts[1].attempt = 2


def _again_after_a_kill(seen: Evidence) -> None:
    seen.attempts[0].returned, seen.attempts[0].ended = True, 999.99


@pytest.mark.parametrize("change", [_failed_once_by_itself, _silent_for_too_long, _again_after_a_kill])
def test_what_a_job_may_do_is_accepted(change: Change) -> None:
    """A failure and a silence count, and a kill may take back that a job has ended."""
    seen = clean()
    change(seen)
    assert list(done_once(seen)) == []


def test_a_silence_counts_from_the_last_checkpoint() -> None:
    """A run that was cut off soon after a checkpoint has not failed, however long it had gone on."""
    seen = clean()
    _silent_for_too_long(seen)
    seen.writes.append(Write(kind="checkpoint", key="2", value='{"done": 2}', asked=600.0, acknowledged=600.0, life=1))
    assert [each.judge for each in done_once(seen)] == [RUN_ONCE]


def test_a_job_may_wait_for_an_account_that_is_not_healthy() -> None:
    """What is still queued at the end is condemned only if nothing stands in its way."""
    seen = clean()
    seen.jobs[1].state = "queued"
    assert len(list(jobs_end(seen))) == 1
    seen.standings = [
        attrs.evolve(each, state="auth_failed") if each.account == TWO else each for each in seen.standings
    ]
    assert list(jobs_end(seen)) == []
