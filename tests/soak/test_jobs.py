"""Durable jobs through chaos and ``kill -9``. ``python -m tests.soak.jobs`` does the same for two minutes."""

from pathlib import Path

import pytest

from tests.soak import job_record, jobs
from tests.soak.storage import Lost

PLAN = jobs.Plan(seconds=6.0, kills=5, seed=1)


@pytest.mark.slow
async def test_no_job_is_missed_or_done_twice(tmp_path: Path) -> None:
    """A thousand messages sent, ten thousand collected, five kills of an engine whose jobs run: each once."""
    figures = await jobs.run(tmp_path, PLAN)
    assert (figures.sends, figures.collected, figures.lives) == (1000, 10_000, 6)
    assert figures.cut > 0, "no kill has hit a job that ran"
    assert figures.lost > 0, "no job has lost its connection"


def test_the_same_seed_hurts_in_the_same_way() -> None:
    """What a run found can be run again: moments, steps and jobs depend on the seed alone."""

    def all_of(seed: int) -> tuple[object, ...]:
        plan = jobs.Plan(seconds=60.0, seed=seed)
        return plan.jobs([("@a", None)], now=0.0), plan.steps(), plan.moments()

    assert all_of(3) == all_of(3)
    assert all_of(3) != all_of(4)


@pytest.mark.parametrize("rows", [[], [1, 2, 2]])
def test_a_difference_is_told(rows: list[int]) -> None:
    """What is missing, or there twice, ends the run with an exception that shows it."""
    with pytest.raises(Lost, match=r"messages: \d instead of 2"):
        job_record._same("messages", rows, [1, 2])
